"""Trials of new models in PostgreSQL; the newest that was adopted is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sharewell.domain.trial import ForecastTrial, TrialOutcome
from sharewell.store.paging import LIMIT, From, Listed, Page
from sharewell.store.paging import NEWEST as LAST_ID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import asyncpg

_COLUMNS = """id, resource, step_days, outcome, reason, model, champion, origin, known_at, data_sha256, code, training,
  backtest, decided_at"""
ADD = f"""
insert into sharewell.forecast_trial ({_COLUMNS}, decision_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12::text::jsonb, $13::text::jsonb, $14, $15)
"""
#: By its own id or that of its decision.
BY_ID = f"select {_COLUMNS} from sharewell.forecast_trial where id = $1 or decision_id = $1"
#: Of each model, the trial that put it into force last.
BY_MODELS = f"""
select distinct on (model) {_COLUMNS} from sharewell.forecast_trial
 where model = any ($1::text[]) and outcome = 'adopted' order by model, id desc
"""
NEWEST = f"""
select {_COLUMNS} from sharewell.forecast_trial where resource = $1 and step_days = $2 order by id desc limit 1
"""
IN_FORCE = f"""
select {_COLUMNS} from sharewell.forecast_trial
 where resource = $1 and step_days = $2 and outcome = 'adopted' order by id desc limit 1
"""
PAGE = f"""
select {_COLUMNS} from sharewell.forecast_trial
 where id < $1 and ($2::text is null or resource = $2) order by id desc limit $3
"""


class TrialRepository:
    """What became of new models."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, trial: ForecastTrial, decision: UUID) -> None:
        await self._conn.execute(
            ADD, trial.id, trial.resource, trial.step_days, trial.outcome, trial.reason, trial.model, trial.champion,
            trial.origin, trial.known_at, trial.data_sha256,
            *(orjson.dumps(dict(each)).decode() for each in (trial.code, trial.training, trial.backtest)),
            trial.decided_at, decision,
        )  # fmt: skip

    async def get(self, id: UUID) -> ForecastTrial | None:  # noqa: A002
        """The trial with this id, or with the decision of this id."""
        return _one(await self._conn.fetchrow(BY_ID, id))

    async def newest(self, resource: str, step_days: int) -> ForecastTrial | None:
        """The last one there was, whatever became of it."""
        return _one(await self._conn.fetchrow(NEWEST, resource, step_days))

    async def in_force(self, resource: str, step_days: int) -> ForecastTrial | None:
        """The one whose model answers now."""
        return _one(await self._conn.fetchrow(IN_FORCE, resource, step_days))

    async def by_models(self, models: Sequence[str]) -> dict[str, ForecastTrial]:
        """By hash of a model, the trial that adopted it."""
        return {row["model"]: _trial(row) for row in await self._conn.fetch(BY_MODELS, models)}

    async def page(self, *, before: UUID, resource: str | None, first: int) -> Page[ForecastTrial]:
        """Newest first."""
        asked = Listed(PAGE, (From(before, LAST_ID), resource, LIMIT))
        return await asked.page(self._conn, _trial, first)


def _one(row: asyncpg.Record | None) -> ForecastTrial | None:
    return None if row is None else _trial(row)


def _trial(row: asyncpg.Record) -> ForecastTrial:
    plain = {name: orjson.loads(row[name]) for name in ("code", "training", "backtest")}
    return ForecastTrial(**{**row, **plain, "outcome": TrialOutcome(row["outcome"])})
