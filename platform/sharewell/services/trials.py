"""Conclude trials of new models: adopt one that is not worse than what is in force, keep out one that is; read them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sharewell.domain.audit import format_time
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.trial import ForecastTrial, TrialOutcome, verdict
from sharewell.services.act import Act, Done
from sharewell.services.forecasts import History, still_whole
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.artifacts import keep_artifact, read_artifact
from sharewell.store.paging import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a worker brings: a new model and how it did, or why there is none."""

    step_days: int
    origin: date
    champion: str
    data_sha256: str
    code: Mapping[str, str]
    training: Mapping[str, Any]
    body: bytes | None = None  #: the model; None where its training failed
    backtest: Mapping[str, Any]
    failure: str = ""  #: why its training failed


class TrialService:
    """Which model is in force, and why."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def standing(self, resource: str, step_days: int) -> tuple[ForecastTrial | None, ForecastTrial | None]:
        """The trial whose model is in force for daily (1) or weekly (7) series, and the newest of any outcome."""
        async with self._office.looking() as tx:
            return await tx.trials.in_force(resource, step_days), await tx.trials.newest(resource, step_days)

    async def model(self, sha256: str) -> bytes:
        """The bytes of a model that was adopted; raises `NotFound`."""
        async with self._office.looking() as tx:
            return await read_artifact(tx.conn, sha256)

    async def conclude(self, caller: Caller, history: History, attempt: Attempt) -> Done[ForecastTrial]:
        """Put the model of `attempt` into force, or keep it out; either is on record with what it rests on.

        Raises `StaleSnapshot` where a report that belongs to the history came in after it was read.
        """
        async with self._office.act(caller, Action.ADOPT_FORECAST, Target(kind="forecast", id="new")) as act:
            await still_whole(act.tx, history)
            trial = _concluded(history, attempt, act)
            if trial.outcome is TrialOutcome.ADOPTED and attempt.body is not None:
                await keep_artifact(act.tx.conn, "model", attempt.body)
            decision = await act.record(
                f"model.{trial.outcome}", "model", trial.id,
                {"resource": trial.resource, "step_days": trial.step_days, "reason": trial.reason,
                 "model_sha256": trial.model, "champion": trial.champion, "origin": trial.origin.isoformat(),
                 "known_at": format_time(trial.known_at), "data_sha256": trial.data_sha256, "code": dict(trial.code),
                 "training": dict(trial.training), "backtest": dict(trial.backtest)},
            )  # fmt: skip
            await act.tx.trials.add(trial, decision)
            return Done(trial, decision, act.at)

    async def by_models(self, caller: Caller, models: Sequence[str]) -> dict[str, ForecastTrial]:
        """The trials of the models that made a caller's forecasts, for lists that name them.

        How a model did is no more than its forecasts say: whoever may see some forecasts may see it.
        """
        own = Target.list("forecast", owner=caller.institution)
        await self._office.allow(caller, Action.VIEW_FORECAST, own)
        async with self._office.reading(caller) as tx:
            return await tx.trials.by_models(models)

    async def page(
        self, caller: Caller, *, before: UUID, resource: str | None, first: int
    ) -> Page[ForecastTrial]:
        await self._office.allow(caller, Action.VIEW_FORECAST, Target.list("forecast"))
        async with self._office.reading(caller) as tx:
            return await tx.trials.page(before=before, resource=resource, first=first)


def _concluded(history: History, attempt: Attempt, act: Act) -> ForecastTrial:
    outcome, reason = TrialOutcome.FAILED, attempt.failure
    if attempt.body is not None:
        outcome, reason = verdict(attempt.backtest)
    return ForecastTrial(
        id=new_id(), resource=history.resource, step_days=attempt.step_days, outcome=outcome, reason=reason,
        model="" if attempt.body is None else hashlib.sha256(attempt.body).hexdigest(), champion=attempt.champion,
        origin=attempt.origin, known_at=history.known_at, data_sha256=attempt.data_sha256, code=attempt.code,
        training=attempt.training, backtest=attempt.backtest, decided_at=act.at,
    )  # fmt: skip
