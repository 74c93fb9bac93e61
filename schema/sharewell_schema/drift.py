"""The running check of forecasts in the API: whether what comes lies inside what was forecast."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.drift import ALARM, WatchState
from sharewell.store.drift import SORTS
from sharewell.store.paging import OLDEST
from sharewell_schema.context import Info
from sharewell_schema.describe import argument, described, field, query
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.ordering import Direction, Keyed, Ordering
from sharewell_schema.paging import Connection, code_of, connection, how_many, read_place
from sharewell_schema.resources import Resource
from sharewell_schema.stretch import Stretch

EDGES = {"institution": ("institutions", "institution"), "resourceLine": ("resources", "resource")}

described(
    WatchState, "Whether what comes lies inside what was forecast.",
    holding="It does, as far as anybody can tell.",
    drifting="It does not: surprises are more frequent than chance explains, and wider bands are wise.",
)  # fmt: skip


@strawberry.type(description="The running check of the forecasts for one institution and resource.")
class ForecastWatch:
    institution: UUID = field("Identifier of the institution.", name="institutionId")
    institution_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "institution"), name="institution", description="The institution."
    )
    resource: str = field("Code of the resource.")
    resource_edge: Resource | None = strawberry.field(
        resolver=edge("resources", "resource"), name="resourceLine", description="The catalogue's line for it."
    )
    state: WatchState = field("Whether its forecasts hold.")
    since: date | None = field("While they do not: the day whose outcome gave it away.")
    last_target: date = field("The newest day that was judged.")
    judged: int = field("Outcomes that were judged, each once.")
    missed: int = field("Of these, how many lay outside the 80 % band.")
    evidence: float = field(
        f"What 1 has grown to by betting against the forecasts. At {ALARM:.0f} they are said to drift; under forecasts "
        "that hold, that happens to fewer than one series in as many a year."
    )
    level: float = field(
        "Adaptive conformal level: the share of misses to ask for so that a fifth miss. Well below 0.2, bands are too "
        "narrow for this series; well above, too wide."
    )


def watch_key(item: Any) -> bytes:
    """The key of watches of many institutions."""
    return f"{item.resource} {item.institution}".encode()


def watch_of(key: bytes) -> tuple[str, UUID]:
    """The resource and institution that are the key of a watch. Raises `ValueError`."""
    code, _, institution = code_of(key).rpartition(" ")
    return code, UUID(institution)

BY_SERIES = Keyed(watch_key, watch_of)


class ForecastWatchSort(StrEnum):
    """What series can be ordered by."""

    RESOURCE = "resource"
    SINCE = "since"


described(
    ForecastWatchSort, "What series can be ordered by.",
    resource="Codes of resources.", since="The day whose outcome gave it away.",
)  # fmt: skip


@strawberry.input(description="What series are ordered by; those that are alike in it go by resource and institution.")
class ForecastWatchOrderInput:
    by: ForecastWatchSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type
class DriftQueries:
    @query("Series whose forecasts do not hold just now, by resource and institution.")
    async def drifting_forecasts(
        self, info: Info,
        institution: Annotated[
            UUID | None,
            argument("Of which institution; by default of all that you see."),
        ] = None,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        order_by: Annotated[
            ForecastWatchOrderInput | None, argument("In which order; by default by resource and institution.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[ForecastWatch] | None:  # fmt: skip
        caller = info.context.caller
        ordering = Ordering.read(order_by, stretch, SORTS, ("resource", Direction.ASC), BY_SERIES)
        page = await info.context.services.drift.drifting(
            caller, institution=institution,
            resource=None if resource is None else checks.code(resource, "resource"),
            after=read_place(ordering.usual(stretch), watch_of, ("", OLDEST)), first=how_many(info, stretch),
            place=ordering.place,
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(ForecastWatch, page, stretch, ordering.key)
