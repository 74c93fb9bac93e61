"""What makes a new model come into force, from the scores in its entry alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from sharewell.domain.audit import Decision
from sharewell.domain.errors import Invalid
from sharewell.domain.recheck import RECHECKS
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


def entry(kind: str, told: object, reason: str = "") -> Decision:
    return Decision(
        id=UUID(int=1), kind=kind, at=datetime(2026, 3, 1, tzinfo=UTC), actor="forecast", institution=None,
        action="adoptForecast", outcome="allowed", policy_set="", policies=(), subject_kind="model", subject_id="1",
        details={"backtest": told, "reason": reason}, request_id="r-1", nonce="0" * 32,  # type: ignore[dict-item]
    )  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), [("1.0000", "1.5000"), ("1.5000", "1.0000")])
def test_a_stranger_works_the_verdict_out_again_from_the_entry(ours: str, theirs: str) -> None:
    told = backtest(ours, theirs)
    outcome, reason = verdict(told)
    kind = f"model.{outcome}"
    assert RECHECKS[kind].check(entry(kind, told, reason), {}) == f"by the scores of both, its model is {outcome}"
    other = "model.refused" if kind == "model.adopted" else "model.adopted"
    with pytest.raises(Invalid, match="says otherwise"):
        RECHECKS[other].check(entry(other, told, reason), {})
    with pytest.raises(Invalid, match="says otherwise"):
        RECHECKS[kind].check(entry(kind, told, "because"), {})


@pytest.mark.parametrize("told", [None, [], "scores", {"scores": 1}, {"scores": [{}]}, {"scores": [None]}])
def test_an_entry_without_readable_scores_is_refused_and_no_crash(told: object) -> None:
    with pytest.raises(Invalid, match="scores of a trial"):
        RECHECKS["model.adopted"].check(entry("model.adopted", told), {})
