"""Trials of new models in the API: how a model did on past days before it was let near a plan."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.forecast import NAIVE
from sharewell.domain.trial import CHALLENGER, IN_FORCE, TrialOutcome
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info
from sharewell_schema.describe import argument, described, field, query
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.scalars import Json
from sharewell_schema.stretch import Stretch

described(
    TrialOutcome, "What became of a new model.",
    adopted="It came into force: on past days it was not worse than what was in force.",
    refused="It was kept out, and what was in force stays: it did worse, or there was no past day to ask both for.",
    failed="It could not be trained, and what was in force stays.",
)  # fmt: skip


@strawberry.type(
    description="How a model did on past days that it had not seen. Ratios below 1 mean that it was better; they are "
    "null where the other one never missed."
)
class BacktestScore:
    horizon: int = field("Steps ahead; 0 for all together.")
    tasks: int = field("Forecasts that were scored.")
    wis: float = field("Mean weighted interval score, in units: smaller is better.")
    log_wis: float = field("The same of log(1 + value): how far off by ratio.")
    relative_wis: float | None = field("Score over that of seasonal-naive: the value one season ago.")
    relative_log_wis: float | None = field("The same of log(1 + value).")
    relative_to_persistence: float | None = field("Score over that of persistence: the last value goes on.")
    relative_to_in_force: float | None = field("Score over that of what was in force before; above 1 it is kept out.")
    coverage50: float = field("Share of outcomes that the 50 % band held.", name="coverage50")
    coverage80: float = field("Share of outcomes that the 80 % band held.", name="coverage80")
    coverage95: float = field("Share of outcomes that the 95 % band held.", name="coverage95")


def _ratio(ours: str, theirs: str) -> float | None:
    if float(theirs) == 0:
        return 1.0 if float(ours) == 0 else None
    return float(ours) / float(theirs)


def _score(rows: Mapping[tuple[str, int], Any], horizon: int) -> BacktestScore:
    ours, seasonal, last = (rows[name, horizon] for name in (CHALLENGER, *NAIVE))
    return BacktestScore(
        horizon=horizon, tasks=ours["tasks"], wis=float(ours["wis"]), log_wis=float(ours["log_wis"]),
        relative_wis=_ratio(ours["wis"], seasonal["wis"]),
        relative_log_wis=_ratio(ours["log_wis"], seasonal["log_wis"]),
        relative_to_persistence=_ratio(ours["wis"], last["wis"]),
        relative_to_in_force=_ratio(ours["wis"], rows[IN_FORCE, horizon]["wis"]),
        **{f"coverage{band // 10}": float(ours["coverage"][str(band)]) for band in (500, 800, 950)},
    )  # fmt: skip


def _scores(self: Any) -> list[BacktestScore]:
    rows = {(row["method"], row["horizon"]): row for row in self.backtest.get("scores", ())}
    return [_score(rows, horizon) for horizon in sorted({horizon for _, horizon in rows})]


def _origins(self: Any) -> list[date]:
    return [date.fromisoformat(day) for day in self.backtest.get("origins", ())]


@strawberry.type(description="A new model, how it did on past days beside what was in force, and what became of it.")
class ForecastTrial:
    id: UUID = field("Its identifier.")
    resource: str = field("Code of the resource.")
    step_days: int = field("Days from one value of a series to the next: 1 or 7.")
    outcome: TrialOutcome = field("What became of the model.")
    reason: str = field("Why it was not adopted; empty where it was.")
    model: str = field("SHA-256 of the model; empty where its training failed.")
    champion: str = field("SHA-256 of the model in force until then; `naive` where there was none.")
    origin: date = field("The last day whose value was known.")
    known_at: datetime = field("When the history was read; it can be read again as of then.")
    data_sha256: str = field("SHA-256 of the series it was trained on.", name="dataSha256")
    code: Json = field("Version and SHA-256 of the code, and versions of the libraries that did the arithmetic.")
    training: Json = field("Recipe (as JSON in a text), seed, how many models are averaged, and steps ahead.")
    origins: list[date] = strawberry.field(resolver=_origins, description="The past days that were forecast from.")
    scores: list[BacktestScore] = strawberry.field(
        resolver=_scores, description="Over all horizons (0), then for each; empty where no past day could be asked."
    )
    decided_at: datetime = field("When it was decided.")


@strawberry.type
class TrialQueries:
    @query("Trials of new models, newest first: what was adopted, kept out or failed. For allocators and regulators.")
    async def forecast_trials(
        self, info: Info,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        *, stretch: Stretch,
    ) -> Connection[ForecastTrial] | None:  # fmt: skip
        page = await info.context.services.trials.page(
            info.context.caller, before=read_id(stretch, NEWEST),
            resource=None if resource is None else checks.code(resource, "resource"), first=how_many(info, stretch),
        )  # fmt: skip
        return connection(ForecastTrial, page, stretch, id_key)
