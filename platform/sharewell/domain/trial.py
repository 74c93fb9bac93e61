"""A new model's trial: what it was trained on and with, how it did beside the one in force, and what became of it.

A model is adopted if its backtest is not worse than that of what is in force, asked for the same past days and scored
on the same outcomes; otherwise it is kept out, and what is in force stays there. How models are found, and made to
answer for the past, is the workers' trade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

IN_FORCE: Final = "in-force"  #: in a backtest: the champion, what answered so far
CHALLENGER: Final = "model"  #: in a backtest: the new model
WORSE: Final = "it did worse on past days than what is in force"
UNTRIED: Final = "there is no past day that both could be asked for"


class TrialOutcome(StrEnum):
    """What became of a new model."""

    ADOPTED = "adopted"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastTrial:
    """One trial, as it is on record. The same data, code and training give the same model, byte for byte."""

    id: UUID
    resource: str
    step_days: int  #: 1 for daily series, 7 for weekly ones
    outcome: TrialOutcome
    reason: str  #: why it was not adopted; empty where it was
    model: str  #: SHA-256 of the challenger; empty where its training failed
    champion: str  #: SHA-256 of the model in force until then, or the name of what stood in for one
    origin: date  #: last day whose value was known
    known_at: datetime  #: when the history was read; it can be read again as of then
    data_sha256: str  #: of the series it was trained on
    code: Mapping[str, str]  #: version and hash of the code, and versions of the libraries that did the arithmetic
    training: Mapping[str, Any]  #: recipe, seeds and horizons
    backtest: Mapping[str, Any]  #: scores of both and of the naive methods on the same tasks; empty where untried
    decided_at: datetime


def verdict(backtest: Mapping[str, Any]) -> tuple[TrialOutcome, str]:
    """Adopted, or refused and why, from the scores alone: anybody can check it on an entry of the log.

    Compared is the mean weighted interval score to four digits of the unit, as it stands in the entry. A tie is
    adopted: of two that did alike, the one that knows more of the present is kept.
    """
    scores = {(row["method"], row["horizon"]): row["wis"] for row in backtest.get("scores", ())}
    if (CHALLENGER, 0) not in scores or (IN_FORCE, 0) not in scores:
        return TrialOutcome.REFUSED, UNTRIED
    ours, theirs = scores[CHALLENGER, 0], scores[IN_FORCE, 0]
    if float(ours) <= float(theirs):
        return TrialOutcome.ADOPTED, ""
    return TrialOutcome.REFUSED, f"{WORSE}: a weighted interval score of {ours} against {theirs}"
