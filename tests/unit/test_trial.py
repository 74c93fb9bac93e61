"""What makes a new model come into force, from the scores in its entry alone."""

from __future__ import annotations

from typing import Any

import pytest

from sharewell.domain.trial import UNTRIED, TrialOutcome, verdict


def backtest(ours: str, theirs: str) -> dict[str, Any]:
    rows = [("model", 0, ours), ("in-force", 0, theirs), ("model", 1, "9.0000"), ("in-force", 1, "1.0000")]
    return {"scores": [{"method": method, "horizon": horizon, "wis": wis} for method, horizon, wis in rows]}


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        ("1.0000", "1.0001", TrialOutcome.ADOPTED),
        ("1.0000", "1.0000", TrialOutcome.ADOPTED),
        ("0.0000", "0.0000", TrialOutcome.ADOPTED),
        ("1.0001", "1.0000", TrialOutcome.REFUSED),
        ("10.0000", "9.0000", TrialOutcome.REFUSED),
    ],
)
def test_a_model_comes_into_force_if_it_is_not_worse_over_all(ours: str, theirs: str, outcome: TrialOutcome) -> None:
    found, reason = verdict(backtest(ours, theirs))
    assert found is outcome
    assert (reason == "") == (outcome is TrialOutcome.ADOPTED)
    assert outcome is TrialOutcome.ADOPTED or f"{ours} against {theirs}" in reason


@pytest.mark.parametrize("told", [{}, {"scores": []}, {"scores": backtest("1.0", "1.0")["scores"][:1]}])
def test_a_model_that_nobody_could_be_asked_beside_is_kept_out(told: dict[str, Any]) -> None:
    assert verdict(told) == (TrialOutcome.REFUSED, UNTRIED)
