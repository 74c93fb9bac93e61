"""What a report tells of a model's trial, from its entry in the audit log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest
from typer.testing import CliRunner

from sharewell.cli.forecast import app
from sharewell.cli.forecast_trial import lines, read
from sharewell.domain.audit import Decision, Json
from sharewell.domain.errors import Invalid

MODEL, CHAMPION = "ab" * 32, "cd" * 32


def score(method: str, wis: str, horizon: int = 0) -> dict[str, Json]:
    coverage: dict[str, Json] = {"500": "0.4900", "800": "0.7900", "950": "0.9400"}
    return {"method": method, "horizon": horizon, "tasks": 672, "wis": wis, "log_wis": "0.1", "coverage": coverage}


def entry(kind: str = "model.adopted", **details: Json) -> bytes:
    scores: list[Json] = [
        score("model", "3.0000"), score("in-force", "4.0000"), score("seasonal-naive", "6.0000"),
        score("persistence", "5.0000"), score("model", "9.9", 1),
    ]  # fmt: skip
    backtest: dict[str, Json] = {"origins": ["2026-01-01", "2026-01-07"], "scores": scores}
    told: dict[str, Json] = {"model_sha256": MODEL, "champion": CHAMPION, "reason": "", "backtest": backtest}
    told.update(details)
    return Decision(
        id=UUID(int=7), kind=kind, at=datetime(2026, 1, 9, tzinfo=UTC), actor="worker:forecast", institution=None,
        action="adoptForecast", outcome="allowed", policy_set="00" * 32, policies=("forecast",), subject_kind="model",
        subject_id="7", details=told, request_id="r", nonce="00" * 16,
    ).entry()  # fmt: skip


def told(tmp_path: Path, data: bytes, model: str | None = None) -> str:
    (tmp_path / "trial.json").write_bytes(data)
    return "\n".join(lines(read(tmp_path / "trial.json"), model))


def test_an_adopted_model_is_told_with_its_scores_beside_the_champion(tmp_path: Path) -> None:
    text = told(tmp_path, entry(), MODEL)
    assert f"Trial: adopted on 2026-01-09; {MODEL}" in text
    assert CHAMPION in text
    assert "672 forecasts from 2 days, 2026-01-01 to 2026-01-07: WIS 3.0000" in text
    assert "0.750 of what was in force, 0.500 of seasonal-naive, 0.600 of persistence" in text
    assert "50 %: 0.49, 80 %: 0.79, 95 %: 0.94" in text
    assert "another model" not in text


def test_a_model_that_was_kept_out_is_told_with_the_reason(tmp_path: Path) -> None:
    text = told(tmp_path, entry("model.refused", reason="it did worse"), "ef" * 32)
    assert "Trial: refused" in text
    assert "Because it did worse." in text
    assert "another model" in text


def test_a_training_that_failed_has_no_scores_and_is_told(tmp_path: Path) -> None:
    text = told(tmp_path, entry("model.failed", model_sha256="", reason="too few rows", backtest={}))
    assert "a model that could not be trained" in text
    assert "too few rows" in text
    assert "WIS" not in text


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"{}", "is no bundle and no entry"), (b"\xff", "is no bundle and no entry"),
     (entry("offer.published"), "is of offer.published, not of a model")],
)  # fmt: skip
def test_a_file_of_something_else_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        told(tmp_path, data)


def test_a_report_tells_the_trial(wave: Callable[..., pl.DataFrame], tmp_path: Path) -> None:
    wave(12, 40).write_csv(tmp_path / "beds.csv")
    (tmp_path / "trial.json").write_bytes(entry())
    words = ["report", "beds.csv", "--trial", "trial.json", "--ahead", "1", "--origins", "1", "--output", "out"]
    found = CliRunner().invoke(app, [str(tmp_path / w) if "." in w or w == "out" else w for w in words])
    assert found.exit_code == 0
    assert "Trial: adopted" in found.stdout
