"""Forecasts in the API."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.domain.forecast import MILLI
from sharewell.store.forecasts import RUN_SORTS, SORTS, SUM_SORTS
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info
from sharewell_schema.describe import argument, described, field, query
from sharewell_schema.drift import ForecastWatch
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.ordering import Direction, Keyed, Ordering
from sharewell_schema.paging import (
    Connection,
    code_and_day_of,
    connection,
    day_key,
    how_many,
    read_code_and_day,
    read_id,
)
from sharewell_schema.resources import Resource
from sharewell_schema.stretch import Stretch
from sharewell_schema.trials import ForecastTrial

EDGES = {
    "institution": ("institutions", "institution"), "resourceLine": ("resources", "resource"),
    "trial": ("trials", "model"), "drift": ("watches", "series"),
}  # fmt: skip
RUN_EDGES = {"trial": ("trials", "model")}


@strawberry.type(description="A value that reality should stay below with a stated chance.")
class Quantile:
    level: int = field("The chance per mille: 500 is the median.")
    value: float = field("Units.")


def _quantiles(self: Any) -> list[Quantile]:
    return [Quantile(level=level, value=value / MILLI) for level, value in self.quantiles]


@strawberry.type(description="What one institution is expected to need of one resource on one day.")
class Forecast:
    institution: UUID = field("Identifier of the institution.", name="institutionId")
    institution_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "institution"), name="institution", description="The institution."
    )
    resource: str = field("Code of the resource.")
    resource_edge: Resource | None = strawberry.field(
        resolver=edge("resources", "resource"), name="resourceLine", description="The catalogue's line for it."
    )
    signal: str = field("What is counted of the resource, such as `need`: units in use plus those waited for.")
    origin: date = field("The last day whose value was known.")
    target: date = field("The day the values speak of.")
    horizon: int = field("Steps from origin to target.")
    quantiles: list[Quantile] = strawberry.field(
        resolver=_quantiles, description="From low to high. 100 and 900 bound the band that should hold 80 %."
    )
    model: str = field("SHA-256 of the trained model, or the name of the naive method that stood in.")
    fallback: str | None = field("Why a naive method stood in; null where the model spoke.")
    trial: ForecastTrial | None = strawberry.field(
        resolver=edge("trials", "model"),
        description="How its model did on past days before it came into force; null where a naive method stood in.",
    )
    drift: ForecastWatch | None = strawberry.field(
        resolver=edge("watches", "series"),
        description="Whether such forecasts have held so far; null before the first outcome.",
    )


@strawberry.type(
    description="What a region, or everybody, is expected to need of one resource on one day. Its quantiles are not "
    "those of the institutions added up: these do not all have their worst day at once."
)
class RegionForecast:
    region: str | None = field("The region; null for all of them together.")
    resource: str = field("Code of the resource.")
    origin: date = field("The last day whose value was known.")
    target: date = field("The day the values speak of.")
    horizon: int = field("Steps from origin to target.")
    quantiles: list[Quantile] = strawberry.field(
        resolver=_quantiles, description="From low to high. 100 and 900 bound the band that should hold 80 %."
    )


@strawberry.type(description="One run: a model over all series of a resource that come as often, from one day on.")
class ForecastRun:
    id: UUID = field("Its identifier.")
    resource: str = field("Code of the resource.")
    step_days: int = field("Days from one value of a series to the next: 1 or 7.")
    origin: date = field("The last day whose value was known.")
    model: str = field("SHA-256 of the trained model, or the name of the naive method.")
    trial: ForecastTrial | None = strawberry.field(
        resolver=edge("trials", "model"), description="How its model did on past days; null for a naive method."
    )
    known_at: datetime = field("When the history was read; it can be read again as of then.")
    data_sha256: str = field("SHA-256 of the series it was applied to.", name="dataSha256")
    code_sha256: str = field("SHA-256 of the code that made it.", name="codeSha256")
    series: int = field("Institutions it forecast.")
    fallbacks: int = field("Of these, how many a naive method answered.")
    adopted_at: datetime = field("When it became what plans are built on.")


def forecast_key(item: Any) -> bytes:
    """The key of forecasts of one institution."""
    return day_key(item.resource, item.target)


def region_key(item: Any) -> bytes:
    """The key of forecasts of regions."""
    return day_key(item.region or "", item.target)


def _region(region: str | None) -> str | None:
    return "" if region == "all" else None if region is None else checks.code(region, "region")


BY_CODE_AND_DAY = Keyed(forecast_key, code_and_day_of)
BY_REGION_AND_DAY = Keyed(region_key, code_and_day_of)


class ForecastSort(StrEnum):
    """What forecasts of one institution can be ordered by."""

    RESOURCE = "resource"
    TARGET = "target"


described(
    ForecastSort, "What forecasts of one institution can be ordered by.",
    resource="Codes of resources.", target="The days they are of.",
)  # fmt: skip


@strawberry.input(
    description="What forecasts of one institution are ordered by; those that are alike in it go by resource and day."
)
class ForecastOrderInput:
    by: ForecastSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


class RegionForecastSort(StrEnum):
    """What forecasts of regions can be ordered by."""

    REGION = "region"
    TARGET = "target"


described(
    RegionForecastSort, "What forecasts of regions can be ordered by.",
    region="Codes of regions; all of them together come first.", target="The days they are of.",
)  # fmt: skip


@strawberry.input(
    description="What forecasts of regions are ordered by; those that are alike in it go by region and day."
)
class RegionForecastOrderInput:
    by: RegionForecastSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


class ForecastRunSort(StrEnum):
    """What runs of the forecaster can be ordered by."""

    ADOPTED = "adopted"
    ORIGIN = "origin"


described(
    ForecastRunSort, "What runs of the forecaster can be ordered by.",
    adopted="When they became what plans are built on.", origin="The last day whose value was known.",
)  # fmt: skip


@strawberry.input(
    description="What runs of the forecaster are ordered by; those that are alike in it go by their identifiers."
)
class ForecastRunOrderInput:
    by: ForecastRunSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type
class ForecastQueries:
    @query("The newest forecast of each resource and day, by resource and day.")
    async def forecasts(
        self, info: Info,
        institution: Annotated[
            UUID | None, argument("Of which institution; by default of the one the client acts for.")
        ] = None,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        since: Annotated[date | None, argument("From which day on; by default from today.")] = None,
        order_by: Annotated[
            ForecastOrderInput | None, argument("In which order; by default by resource and day.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[Forecast] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("resource", Direction.ASC), BY_CODE_AND_DAY)
        page = await info.context.services.forecasts.page(
            info.context.caller, institution=info.context.acting_for(institution),
            resource=None if resource is None else checks.code(resource, "resource"), since=since,
            after=read_code_and_day(ordering.usual(stretch)), first=how_many(info, stretch), place=ordering.place,
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(Forecast, page, stretch, ordering.key)

    @query("The newest forecast of whole regions for each day, by region and day. For allocators and regulators.")
    async def region_forecasts(
        self, info: Info,
        resource: Annotated[str, argument("Of the resource with this code.")],
        region: Annotated[
            str | None, argument("Only of this region; `all` for all of them together. By default of each, and of all.")
        ] = None,
        since: Annotated[date | None, argument("From which day on; by default from today.")] = None,
        order_by: Annotated[
            RegionForecastOrderInput | None, argument("In which order; by default by region and day.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[RegionForecast] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SUM_SORTS, ("region", Direction.ASC), BY_REGION_AND_DAY)
        page = await info.context.services.forecasts.sums(
            info.context.caller, resource=checks.code(resource, "resource"), region=_region(region), since=since,
            after=read_code_and_day(ordering.usual(stretch)), first=how_many(info, stretch), place=ordering.place,
        )  # fmt: skip
        return connection(RegionForecast, page, stretch, ordering.key)

    @query("Runs of the forecaster, newest first. For allocators and regulators.")
    async def forecast_runs(
        self, info: Info,
        resource: Annotated[str | None, argument("Only of the resource with this code.")] = None,
        order_by: Annotated[
            ForecastRunOrderInput | None, argument("In which order; by default the newest first.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[ForecastRun] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, RUN_SORTS, ("adopted", Direction.DESC))
        page = await info.context.services.forecasts.runs(
            info.context.caller, before=read_id(ordering.usual(stretch), NEWEST),
            resource=None if resource is None else checks.code(resource, "resource"),
            first=how_many(info, stretch), place=ordering.place,
        )  # fmt: skip
        await fetch_edges(info, page.items, RUN_EDGES)
        return connection(ForecastRun, page, stretch, ordering.key)
