"""Judge what came against what was forecast, mark the series whose forecasts no longer hold, and ask for new plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from uuid import UUID

from sharewell.domain.drift import ALARM, Outcome, Watch, WatchState, judge, judgeable
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.act import Act
from sharewell.services.office import Office
from sharewell.store.drift import OpenOutcome
from sharewell.store.paging import Page, Place

KINDS = {WatchState.DRIFTING: "forecast.drifting", WatchState.HOLDING: "forecast.recovered"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one look at the newest outcomes found."""

    judged: int = 0  #: outcomes
    marked: list[Watch] = field(default_factory=list)  #: series that began to drift, or are back


class DriftService:
    """The running check of every series' forecasts."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def judge(
        self, caller: Caller, resource: str, step_days: int, came: Mapping[tuple[UUID, date], float], since: datetime
    ) -> Judgement:
        """Judge what came of days after `since`: `came` holds it, by institution and day, in thousandths of a unit.

        Each day of a series is judged once, however often this is asked and whatever is corrected later. A series that
        begins to drift, or is back, is put on record; where one begins to, its region's plan is asked for anew.
        """
        async with self._office.act(caller, Action.WATCH_FORECAST, Target(kind="forecast", id="watch")) as act:
            await act.tx.drift.alone(resource)
            found = await act.tx.drift.open_outcomes(resource, step_days, since)
            before = await act.tx.drift.of_resource(resource) if found else {}
            after, judged = _carried_on(before, found, resource, came)
            marks = {who: await _marked(act, watch) for who, watch in after.items() if _turned(before.get(who), watch)}
            await act.tx.drift.save((watch, marks.get(who)) for who, watch in after.items())
            await _ask_for_plans(act, resource, [row for row in found if row.institution in marks], after)
            return Judgement(judged=judged, marked=[after[who] for who in marks])

    async def since(self, resource: str, day: date) -> list[UUID]:
        """Whose series drift by what came of days after `day`."""
        async with self._office.looking() as tx:
            watches = await tx.drift.of_resource(resource)
        return [who for who, watch in watches.items() if watch.since is not None and watch.since > day]

    async def by_keys(self, caller: Caller, keys: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], Watch]:
        """How series stand, by institution and resource, for lists that name them."""
        owners = [Target.list("forecast", owner=institution) for institution in sorted({who for who, _ in keys})]
        await self._office.allow(caller, Action.VIEW_FORECAST, *owners)
        async with self._office.reading(caller) as tx:
            return await tx.drift.by_keys(keys)

    async def drifting(
        self, caller: Caller, *, institution: UUID | None, resource: str | None, after: tuple[str, UUID], first: int,
        place: Place | None = None,
    ) -> Page[Watch]:  # fmt: skip
        """Series whose forecasts do not hold just now, by resource and institution or in the order of `place`."""
        extent = await self._office.extent(caller, Action.VIEW_FORECAST, Target.list("forecast", owner=institution))
        async with self._office.reading(caller) as tx:
            page = await tx.drift.drifting(
                institution=institution, resource=resource, after=after, first=first, seen=extent.seen, place=place
            )
        targets = {each.institution: Target.list("forecast", owner=each.institution) for each in page.items}
        await self._office.shown(caller, Action.VIEW_FORECAST, extent, targets)
        return page


def _carried_on(
    before: Mapping[UUID, Watch], found: Sequence[OpenOutcome], resource: str, came: Mapping[tuple[UUID, date], float]
) -> tuple[dict[UUID, Watch], int]:
    """The watches that have new outcomes, as they are after them, and how many outcomes counted."""
    after: dict[UUID, Watch] = {}
    judged = 0
    for row in found:
        who, target = row.institution, row.outcome.target
        watch = after.get(who) or before.get(who)
        if (who, target) not in came or not judgeable(watch, row.outcome):
            continue
        outcome = replace(row.outcome, observed=came[who, target])
        after[who] = judge(watch or _new(who, resource, outcome), outcome)
        judged += 1
    return after, judged


def _new(who: UUID, resource: str, outcome: Outcome) -> Watch:
    return Watch(institution=who, resource=resource, last_target=outcome.target, known_at=outcome.known_at)


def _turned(before: Watch | None, after: Watch) -> bool:
    return after.state is not (before.state if before else WatchState.HOLDING)


async def _marked(act: Act, watch: Watch) -> UUID:
    """Put on record that a series began to drift, or is back."""
    return await act.record(
        KINDS[watch.state], "forecast", f"{watch.institution}/{watch.resource}",
        {"resource": watch.resource, "target": watch.last_target.isoformat(), "model": watch.model,
         "judged": watch.judged, "missed": watch.missed, "alarm_at": round(ALARM)},
        institution=watch.institution,
    )  # fmt: skip


async def _ask_for_plans(
    act: Act, resource: str, found: Sequence[OpenOutcome], after: Mapping[UUID, Watch]
) -> None:
    """A plan that rests on a forecast that does not hold should be looked at again, once for a region."""
    regions = {row.region for row in found if after[row.institution].state is WatchState.DRIFTING}
    for region in sorted(regions):
        asked = {"region": region, "resource": resource, "request_id": act.caller.request_id}
        await act.tx.queue.enqueue("allocate", asked, key=f"{region}/{resource}")
