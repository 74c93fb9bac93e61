"""What a decision was made from: every input by its hash, and all of them in one file to make it once more."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sharewell.audit.periods import policy_files
from sharewell.audit.proofs import bundle_of
from sharewell.domain.audit import Decision, parse_time
from sharewell.domain.dossier import Dossier
from sharewell.domain.errors import Invalid, NotFound
from sharewell.domain.forecast import line_of
from sharewell.domain.horizon import Horizon
from sharewell.domain.inquiry import ASKED
from sharewell.domain.instance import Instance
from sharewell.domain.policy import Action
from sharewell.domain.principals import Caller
from sharewell.domain.urgent import UrgentQuestion
from sharewell.services.audit import reading, target_of
from sharewell.services.forecasts import ForecastService
from sharewell.services.office import Office
from sharewell.store.artifacts import read_artifact
from sharewell.store.audit import RecordedDecision
from sharewell.store.capacity import SeriesPoint
from sharewell.store.database import Transaction

EVIDENCE = "sharewell-forecast-evidence/1"  #: what `sharewell forecast rerun` reads
PLANS = ("plan.adopted", "urgent_plan.adopted", "schedule.adopted")
FORECAST = "forecast.adopted"
_HASHES = {
    "instance_sha256": "instance", "plan_sha256": "plan", "schedule_sha256": "schedule", "model_sha256": "model",
    "data_sha256": "data", "code_sha256": "forecast code", "forecasts_sha256": "forecasts", "sums_sha256": "sums",
    "sha256": "file",
}  # fmt: skip
AS_ROWS = ("data", "forecasts", "sums")  #: of a forecast: no documents, but rows that stay


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One thing a decision was made from."""

    kind: str
    name: str  #: its SHA-256 in hex, or what else it is named by
    decision: UUID | None = None  #: that made it, where one did
    held: bool  #: whether the platform still has its bytes


class DossierService:
    """What decisions were made from."""

    def __init__(self, office: Office, forecasts: ForecastService) -> None:
        self._office = office
        self._forecasts = forecasts

    async def sources(self, caller: Caller, id: UUID) -> list[Source]:  # noqa: A002
        """Everything one decision was made from, by name."""
        recorded = await self._find(id)
        action = reading(recorded.decision.kind)
        async with self._office.act(caller, action, target_of(recorded)) as act:
            await act.record("audit.read", "decision", id, {"sources": True})
            found = list(await _named(act.tx, recorded.decision))
            for run in await _behind(act.tx, recorded.decision):
                told = (await act.tx.audit.get(run)).decision.details
                found.append(Source(kind="forecast", name=str(told["forecasts_sha256"]), decision=run, held=True))
            return found

    async def dossier(self, caller: Caller, id: UUID) -> bytes:  # noqa: A002
        """All of it in one file, for `sharewell replay-decision`. Raises `NotFound` or `NotSealedYet`."""
        recorded = await self._find(id)
        async with self._office.act(caller, Action.READ_DECISION_BUNDLE, target_of(recorded)) as act:
            bundle = await bundle_of(act.tx.conn, id)
            policies = await policy_files(act.tx.conn, [recorded.decision.policy_set])
            await act.record("audit.bundle_read", "decision", id, {"dossier": True})
            runs = [await act.tx.audit.get(run) for run in await _behind(act.tx, recorded.decision)]
            if recorded.decision.kind == FORECAST:
                runs.append(recorded)
        # Once it is on record, and no transaction is held meanwhile: a history takes its time.
        return Dossier(
            bundle=bundle, policies={name: data.decode() for name, data in policies.items()},
            forecasts=tuple([await self._evidence(run) for run in runs]),
        ).encode()  # fmt: skip

    async def _evidence(self, recorded: RecordedDecision) -> dict[str, Any]:
        """What one forecast was made of, in the form that it is re-run from."""
        told: Mapping[str, Any] = recorded.decision.details
        history = await self._forecasts.history(str(told["resource"]), parse_time(str(told["known_at"])))
        weekly, models = int(told["step_days"]) == 7, {}
        async with self._office.looking() as tx:
            run = await tx.forecasts.run(recorded.decision.id)
            made = [] if run is None else await tx.forecasts.of_run(run.id)
            with suppress(NotFound):  # a naive method has none
                models[str(told["model"])] = (await read_artifact(tx.conn, str(told["model"]))).decode()
        return {
            "format": EVIDENCE, "entry": recorded.entry.decode(), "known": {}, "models": models,
            "rows": _csv(point for point in history.points if (point.period_days == 7) == weekly),
            "forecasts": sorted(line_of(each) for each in made),
        }  # fmt: skip

    async def _find(self, id: UUID) -> RecordedDecision:  # noqa: A002
        async with self._office.looking() as tx:
            return await tx.audit.get(id)


async def _named(tx: Transaction, decision: Decision) -> Iterable[Source]:
    """What the entry itself names by hash."""
    told: Mapping[str, Any] = decision.details
    named = [("policy set", decision.policy_set)] if decision.policy_set else []
    named += [(kind, str(told[key])) for key, kind in _HASHES.items() if told.get(key)]
    if decision.kind == FORECAST:
        named.append(("model", str(told["model"])))
    rows = AS_ROWS if decision.kind == FORECAST else ()
    found = [Source(kind=kind, name=name, held=kind in rows or await _is_held(tx, name)) for kind, name in named]
    asked = told.get(ASKED)
    if isinstance(asked, Mapping) and asked.get("code"):
        found.append(Source(kind="code", name=str(asked["code"]), held=False))
    return found


async def _is_held(tx: Transaction, sha256: str) -> bool:
    try:
        await read_artifact(tx.conn, sha256)
    except NotFound:
        return False
    return True


async def _behind(tx: Transaction, decision: Decision) -> list[UUID]:
    """The decisions on the forecasts that a plan rested on; none for what is no plan."""
    if decision.kind not in PLANS:
        return []
    region, found = str(decision.details["region"]), dict[UUID, None]()
    with suppress(NotFound, Invalid, ValueError):  # of a form that this release does not read
        body = await read_artifact(tx.conn, str(decision.details["instance_sha256"]))
        for resource, day, at in _asked_about(decision, body):
            found |= dict.fromkeys(await tx.forecasts.behind_a_plan(region, resource, day, at))
    return list(found)


def _asked_about(decision: Decision, body: bytes) -> list[tuple[str, date, datetime]]:
    """Of which resources and days a plan looked at the need, and when. A run has its day at the end of its seed."""
    if decision.kind == "schedule.adopted":
        horizon = Horizon.read(body)
        days = [(horizon.start + timedelta(days=day)).date() for day in range(horizon.days)]
        return [(row.item, day, horizon.start) for row in horizon.items for day in days]
    resource = str(decision.details["resource"])
    if decision.kind == "urgent_plan.adopted":
        question = UrgentQuestion.read(body)
        return [(resource, question.next_run.date(), question.instance.at)]
    instance = Instance.read(body)
    return [(resource, date.fromisoformat(instance.seed.rpartition("/")[2]), instance.at)]


def _csv(points: Iterable[SeriesPoint]) -> str:
    """Reported points as the rows that a forecast is made from."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["series", "group", "day", "value", "mark", "transferred"])
    for point in points:
        value = "" if point.need is None else float(point.need)
        rows.writerow([point.institution, point.region, point.day, value, point.mark, float(point.transferred)])
    return text.getvalue()
