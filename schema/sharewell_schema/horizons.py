"""Schedules for the days ahead in the API: ask for one, and read what it means to whom, day by day."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.horizon import Aim
from sharewell.domain.horizon_records import MOST_DAYS, MOST_RESOURCES, Terms
from sharewell.domain.schedule import Cause
from sharewell.services.horizons import MOST_SECONDS
from sharewell.store.horizons import MOST_ROWS, HorizonUnmet
from sharewell.store.paging import NEWEST
from sharewell_schema.allocations import Allocation
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.stretch import Stretch

MILLI = 1000
Only = Annotated[str | None, argument("Only of the resource with this code.")]

described(
    Aim, "What a schedule makes as small as possible; each is decided among what the ones before leave.", "HorizonAim",
    fill="The largest share of a need that any institution is short.",
    shortage="Unit-days short, weighted by urgency; of places in thousandths.",
    moves="Units shipped, or people moved.",
    distance="Metres, each for as many units as go that far.",
    charges="What lanes cost for each day on which they carry anything.",
    stability="Units by which it differs from the schedule in force.",
    lottery="Tickets drawn from the published seed.",
)  # fmt: skip
described(
    Cause, "Why an institution stays short over the days ahead; a closed list.", "HorizonCause",
    no_lane="Nobody in reach offers any.",
    not_in_time="It is short only before the first help could arrive.",
    owners_at_floor="All in reach keep what they have, by their offers and their own need.",
    elsewhere="What is in reach does more elsewhere by the aims, or a window, a hold or what was asked keeps it.",
)  # fmt: skip


def _units(thousandths: int) -> float:
    return thousandths / MILLI


@strawberry.type(description="Who searched for a schedule, and how the search ended.")
class HorizonSearch:
    name: str = field("The solver.")
    version: str = field("Its version.")
    status: str = field("`optimal` where every aim is proven best, else `feasible`: valid, with a proven bound.")
    gap: int = field("Millionths of the shortage left that another schedule could avoid at most; proven.")
    solver_gap: int = field("The same by the solver's word alone, of its first aim.")
    seed: str = field("The published seed.")
    milliseconds: int = field("How long it searched.")
    peak_kilobytes: int = field("How much memory its process took, at most.")


@strawberry.type(description="What a schedule reaches in one aim; smaller is better.")
class HorizonStage:
    aim: Aim = field("The aim.")
    value: str = field("What it reaches, a whole number as text.")
    bound: str = field("No schedule that is as good in the aims before can be below this: proven by its multipliers.")


@strawberry.type(description="What sharing changes for one resource over all days together.")
class HorizonResource:
    resource: str = field("Code of the resource.")
    short_alone: float = field("Unit-days short without sharing.")
    short_shared: float = field("Unit-days short with the schedule.")
    moved: int = field("Units, or people, that it moves.")
    worse_off: int = field("Institutions that are worse off; always 0, or it would not have been adopted.")


@strawberry.type(description="One day with one resource, of all institutions together.")
class HorizonTotal:
    resource: str = field("Code of the resource.")
    day: int = field("The day; 0 begins when the horizon starts.")
    need: float = field("Units needed.")
    short_alone: float = field("Units short without sharing.")
    short_shared: float = field("Units short with the schedule.")
    given: int = field("Units that begin to leave, or places that begin to be given.")
    received: int = field("Units that arrive, or people who find a place elsewhere.")


@strawberry.type(description="One institution's day with one resource: its receipt of that day.")
class HorizonDay:
    institution: UUID = field("Identifier of the institution.", name="institutionId")
    resource: str = field("Code of the resource.")
    day: int = field("The day; 0 begins when the horizon starts.")
    need: float = field("Units it needs: by the forecast at the chosen quantile, its newest report, what it raised.")
    short_alone: float = field("Units it would lack without sharing.")
    short_shared: float = field("Units it lacks with the schedule; never more than alone.")
    given: int = field("Units, or places, that it begins to give.")
    received: int = field("Units that arrive, or people of its own who find a place elsewhere.")


@strawberry.type(description="Units, or people, that leave on one day.")
class HorizonMovement:
    resource: str = field("Code of the resource.")
    day: int = field("Day on which they leave.")
    arrives: int = field("Day on which they arrive.")
    giver: UUID = field("Identifier of the institution that gives; of places, the one that takes people in.",
                        name="giverId")  # fmt: skip
    receiver: UUID = field("Identifier of the institution that is helped.", name="receiverId")
    units: int = field("How many.")
    held: int = field(
        "Of these, held for requests when the schedule was adopted: they are transfers. The rest is an outlook, "
        "decided anew by the next schedule; nothing is sent to whoever has not asked."
    )
    metres: int = field("How far.")


@strawberry.type(description="What of one institution's need stays open over all days, and why.")
class HorizonShort:
    institution: UUID = field("Identifier of the institution.", name="institutionId")
    resource: str = field("Code of the resource.")
    unit_days: float = field("Units short, each for every day on which it is.")
    code: Cause = field("Why.")
    asked: int = field("Units that its open requests asked for.")
    sentence: str = field("Why, in words.")


def _search(self: Any) -> HorizonSearch:
    return HorizonSearch(**self.search)


def _stages(self: Any) -> list[HorizonStage] | None:
    if not self.measures:
        return None
    return [
        HorizonStage(aim=Aim(row["aim"]), value=str(row["value"]), bound=str(row["bound"])) for row in self.stages
    ]


def _by_resource(self: Any) -> list[HorizonResource] | None:
    return None if not self.measures else [
        HorizonResource(
            resource=name, short_alone=row["alone"], short_shared=row["shared"], moved=row["moved"],
            worse_off=row["worse_off"],
        )
        for name, row in self.measures["items"].items()
    ]  # fmt: skip


def _sentence(self: Any) -> str | None:
    """What sharing changes, and what it could change at all; what no sharing can fix is never left out."""
    measures = self.measures
    if not measures:
        return None
    if not measures["weighted_alone"]:
        return f"Nobody is short of anything within {self.days} days."
    fixed, could = measures["fixed_per_mille"] / 10, measures["redistributable_per_mille"]
    most = "" if could is None else f"; at most {could / 10:.1f} % could be, the rest no sharing can fix"
    return f"Sharing fixes {fixed:.1f} % of the shortage of {self.days} days, weighted by urgency{most}."


async def _runs(self: Any, info: Info) -> list[Allocation]:
    context = info.context
    found = await context.services.allocations.by_ids(
        context.caller, await context.services.horizons.runs(context.caller, self.id)
    )
    return [shown(Allocation, row) for row in sorted(found.values(), key=lambda row: row.resource)]


async def _totals(self: Any, info: Info) -> list[HorizonTotal] | None:
    rows = await info.context.services.horizons.totals(info.context.caller, self.id)
    return None if rows is None else [_in_units(HorizonTotal, row) for row in rows]


def _in_units(kind: Any, row: Any) -> Any:
    told = {name: getattr(row, name) for name in row.__slots__}
    return kind(**told | {name: _units(told[name]) for name in ("need", "short_alone", "short_shared")})


async def _days(self: Any, info: Info, resource: Only = None) -> list[HorizonDay]:
    rows = await info.context.services.horizons.days(info.context.caller, self.id, _code(resource))
    return [_in_units(HorizonDay, row) for row in rows]


async def _movements(self: Any, info: Info, resource: Only = None) -> list[HorizonMovement]:
    rows = await info.context.services.horizons.movements(info.context.caller, self.id, _code(resource))
    return [shown(HorizonMovement, row) for row in rows]


async def _unmet(self: Any, info: Info, resource: Only = None) -> list[HorizonShort]:
    rows = await info.context.services.horizons.unmet(info.context.caller, self.id, _code(resource))
    return [_short(row) for row in rows]


def _code(resource: str | None) -> str | None:
    return None if resource is None else checks.code(resource, "resource")


def _short(row: HorizonUnmet) -> HorizonShort:
    unasked = "" if row.asked else " It has not asked for any: open a request, for nothing is sent unasked."
    return HorizonShort(
        institution=row.institution, resource=row.resource, unit_days=_units(row.thousandths), code=row.code,
        asked=row.asked, sentence=f"{_units(row.thousandths):g} unit-days stay short. {row.reason}{unasked}",
    )


TOTALS = "Null for whoever may not read the schedule itself: totals would tell of single institutions."
OWN = f"Of your institution, or of everybody if you may see that; at most {MOST_ROWS}."


@strawberry.type(description="An adopted schedule for the days ahead. Day 0 binds as a run does, the rest does not.")
class Horizon:
    id: UUID = field("Its identifier.")
    region: str = field("The region.")
    resources: list[str] = field("Codes of the resources it decides on together.")
    days: int = field("How many days it looks ahead.")
    level: int = field("Per mille: the quantile of forecasts that counted as need, and that owners keep.")
    hold_days: int = field("Days for which consumables that were received are not shipped on.")
    starts_at: datetime = field("When day 0 began; each day has 24 hours.")
    sentence: str | None = strawberry.field(
        resolver=_sentence, description=f"What sharing changes, in words. {TOTALS}"
    )
    by_resource: list[HorizonResource] | None = strawberry.field(
        resolver=_by_resource, description=f"What sharing changes for each resource. {TOTALS}"
    )
    by_day: list[HorizonTotal] | None = strawberry.field(
        resolver=_totals, description=f"Each day of each resource, of all institutions together. {TOTALS}"
    )
    outlook: list[HorizonDay] = strawberry.field(resolver=_days, description=f"Day by day. {OWN}")
    movements: list[HorizonMovement] = strawberry.field(resolver=_movements, description=f"What leaves when. {OWN}")
    unmet: list[HorizonShort] = strawberry.field(resolver=_unmet, description=f"What stays short, and why. {OWN}")
    runs: list[Allocation] = strawberry.field(
        resolver=_runs, description="What of day 0 was held for requests: a run for each resource anybody asked for."
    )
    stages: list[HorizonStage] | None = strawberry.field(
        resolver=_stages, description=f"What each aim reached, in the order they were decided. {TOTALS}"
    )
    search: HorizonSearch = strawberry.field(resolver=_search, description="Who searched, and how the search ended.")
    sites: int = field("Institutions in it.")
    lanes: int = field("Lanes in it, counted for each resource.")
    instance_sha256: str = field("SHA-256 of the horizon that was solved.", name="instanceSha256")
    schedule_sha256: str = field("SHA-256 of the schedule.", name="scheduleSha256")
    adopted_at: datetime = field("When day 0 became binding.")


@strawberry.input(description="A schedule to make for the days ahead.")
class PlanHorizonInput:
    idempotency_key: str = key_field()
    region: str = field("The region, such as `us-nj`.")
    resources: list[str] = field(f"Codes of 1 to {MOST_RESOURCES} resources, decided on together.")
    days: int = field(f"How many days to look ahead, 1 to {MOST_DAYS}.", default=7)
    level: int = field(
        "Per mille, 25 to 975: the quantile of forecasts that counts as need, and that owners keep for themselves.",
        default=500,
    )
    hold_days: int = field("Days for which consumables that were received are not shipped on.", default=10)
    seconds: int = field(f"Time for the search, at most {MOST_SECONDS}; a schedule comes out in any case.", default=60)
    on_behalf_of: OnBehalfOf | None = person_field()


@strawberry.type(description="What became of planHorizon.")
class PlanHorizonPayload:
    key: str = field("What the schedule is for. Asked for twice while it waits, it is made once.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class HorizonQueries:
    @query("One schedule for the days ahead.")
    async def horizon(
        self, info: Info, id: Annotated[UUID, argument("Its identifier.")]  # noqa: A002
    ) -> Horizon | None:
        return shown(Horizon, await info.context.services.horizons.get(info.context.caller, id))

    @query("Schedules that were adopted, newest first.")
    async def horizons(
        self, info: Info, region: Annotated[str | None, argument("Only of this region.")] = None,
        *, stretch: Stretch,
    ) -> Connection[Horizon] | None:  # fmt: skip
        page = await info.context.services.horizons.page(
            info.context.caller, before=read_id(stretch, NEWEST),
            region=None if region is None else checks.code(region, "region"), first=how_many(info, stretch),
        )  # fmt: skip
        return connection(Horizon, page, stretch, id_key)

    @query("The horizon a schedule answers: canonical JSON whose SHA-256 is its instanceSha256.")
    async def horizon_instance(
        self, info: Info, id: Annotated[UUID, argument("Identifier of the schedule.")]  # noqa: A002
    ) -> str | None:
        return (await info.context.services.horizons.instance(info.context.caller, id)).decode()

    @query("A schedule itself: canonical JSON whose SHA-256 is its scheduleSha256.")
    async def horizon_schedule(
        self, info: Info, id: Annotated[UUID, argument("Identifier of the schedule.")]  # noqa: A002
    ) -> str | None:
        return (await info.context.services.horizons.schedule(info.context.caller, id)).decode()


@strawberry.type
class HorizonMutations:
    @mutation("Make a schedule for the days ahead. For allocators.")
    async def plan_horizon(
        self, info: Info, input: Annotated[PlanHorizonInput, argument("What to look at.")]  # noqa: A002
    ) -> PlanHorizonPayload | None:
        done = await info.context.services.horizons.start(
            info.context.caller, region=checks.code(input.region, "region"),
            resources=[checks.code(name, "resources") for name in input.resources],
            terms=Terms(days=input.days, level=input.level, hold_days=input.hold_days), seconds=input.seconds,
            wish=wish("planHorizon", input),
        )  # fmt: skip
        return paid(PlanHorizonPayload, done, key=done.subject)
