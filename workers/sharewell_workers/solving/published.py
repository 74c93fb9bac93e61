"""Published cases as horizons: New Jersey's hospitals and the ventilators of fifty states in spring 2020.

Both read the folders described in docs/allocation.md; nothing but published numbers goes in.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from sharewell.domain.errors import Invalid
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_rows import Item, Lot, Site, Standing, Ward, Way
from sharewell.domain.lanes import Spot, great_circle_metres
from sharewell.domain.resources import ResourceKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CAPACITY: Final = 475  #: per mille of a hospital's most beds ever reported that count as its capacity
STAY: Final = (1.38, 12.88)  #: shape, and scale in days, of the Weibull distribution behind the fitted census
DEGREE_METRES: Final = 111_195  #: of a degree along a great circle


def new_jersey(
    data: Path, *, lane_metres: int | None = None, enough: int = 0,
    aims: Sequence[Aim] = (Aim.SHORTAGE, Aim.MOVES), seed: str = "nj",
) -> Horizon:  # fmt: skip
    """75 hospitals over 50 days (`bench_nj_transfers`), every one open to all, or to those within `lane_metres`.

    Where they stand is read from `us_nj_hospitals`, and from `us_hhs_facility` for those it does not know. People are
    whole: of fractional admissions as many may be moved as have been admitted in full.
    """
    folder = data / "bench_nj_transfers"
    census = table(folder, "instance.parquet").sort("hosp_name", "date")
    beds = dict(table(folder, "hospitals.parquet").select("hosp_name", "max_reported_beds").rows())
    names = sorted(beds)
    days = census.height // len(names)
    spots = _spots(data, names) if lane_metres is not None else {}
    sites = {name: f"h{number:02}" for number, name in enumerate(names)}
    return Horizon(
        start=datetime.combine(census["date"].min(), datetime.min.time(), UTC),  # type: ignore[arg-type]
        days=days, seed=seed, aims=tuple(aims), enough=enough,
        items=(Item(item="bed", kind=ResourceKind.PLACE, stay=stay(days)),),
        sites=tuple(Site(site=site) for site in sites.values()),
        wards=tuple(
            _ward(sites[str(name)], rows, math.floor(beds[name] * CAPACITY / 1000 + 0.5))
            for (name,), rows in census.group_by("hosp_name", maintain_order=True)
        ),
        lanes=tuple(
            Way(item="bed", origin=sites[one], destination=sites[other], days=0, metres=metres)
            for one in names
            for other in names
            if one != other
            for metres in _within(spots, one, other, lane_metres)
        ),
    )  # fmt: skip


def stay(days: int) -> tuple[int, ...]:
    """Share of people, per mille, still there n days after admission, n = 0 .. `days` - 1."""
    shape, scale = STAY
    return tuple(round(1000 * math.exp(-((day / scale) ** shape))) for day in range(days))


def _ward(site: str, rows: pl.DataFrame, beds: int) -> Ward:
    admitted = [math.floor(people + 1e-6) for people in accumulate(rows["admissions_est"])]
    days = rows.height
    return Ward(
        site=site, item="bed", beds=(beds,) * days, kept=(0,) * days, pledge=1000,
        urgency=1, occupied=tuple(round(1000 * people) for people in rows["active_fitted"]),
        arrivals=tuple(b - a for a, b in zip([0, *admitted], admitted, strict=False)),
    )  # fmt: skip


def _spots(data: Path, names: Iterable[str]) -> dict[str, Spot]:
    located = table(data, "us_nj_hospitals/locations.parquet")
    facilities = table(data, "us_hhs_facility/hospital_meta.parquet").filter(pl.col("state") == "NJ")
    rows = facilities.select("hospital_name", "latitude", "longitude").rows() + located.rows()
    found = {_letters(name): Spot(id=name, latitude=lat, longitude=long) for name, lat, long in rows if lat is not None}
    missing = [name for name in names if _letters(name) not in found]
    if missing:
        raise Invalid(f"no table says where {missing[0]} stands.", field="DATA")
    return {name: found[_letters(name)] for name in names}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def _within(spots: dict[str, Spot], one: str, other: str, most: int | None) -> Iterable[int]:
    metres = great_circle_metres(spots[one], spots[other]) if spots else 0
    return (metres,) if most is None or metres <= most else ()


def ventilators(
    data: Path, *, forecast: str = "ode", pledge: int = 200, days_on_the_way: int = 3, hold: int = 10,
    a_day: int = 3000, aims: Sequence[Aim] = (Aim.SHORTAGE, Aim.DISTANCE), seed: str = "states",
) -> Horizon:  # fmt: skip
    """Fifty states over 47 days (`bench_ventilators`), no federal surge; half of each state's stock can be used.

    Lanes lead to states that would ever be short alone: a unit sent elsewhere only waits there.
    """
    folder = data / "bench_ventilators"
    stock = {state: -(-units // 2) for state, units in table(folder, "supply.parquet").rows()}
    demand = table(folder, "demand.parquet").filter(pl.col("forecast") == forecast).sort("state", "date")
    needs = {
        str(state): tuple(round(units) for units in rows["ventilator_demand"])
        for (state,), rows in demand.group_by("state", maintain_order=True)
    }
    days = len(next(iter(needs.values())))
    degrees = {row["state"]: row for row in table(folder, "distances_degrees.parquet").rows(named=True)}
    name = {state: state.replace(" ", "-") for state in stock}
    return Horizon(
        start=datetime.combine(demand["date"].min(), datetime.min.time(), UTC),  # type: ignore[arg-type]
        days=days, seed=seed, aims=tuple(aims),
        items=(Item(item="ventilator", kind=ResourceKind.DEVICE, hold_days=hold),),
        sites=tuple(Site(site=site) for site in name.values()),
        lots=tuple(
            Lot(site=name[state], item="ventilator", units=units, since=0, until=days) for state, units in stock.items()
        ),
        standings=tuple(
            Standing(site=name[state], item="ventilator", need=needs[state], kept=needs[state], urgency=1,
                     pledge=pledge, gives=a_day)
            for state in stock
        ),
        lanes=tuple(
            Way(item="ventilator", origin=name[one], destination=name[other], days=days_on_the_way,
                metres=round(degrees[one][other] * DEGREE_METRES))
            for one in stock
            for other in stock
            if one != other and max(needs[other]) > stock[other]
        ),
    )  # fmt: skip


def table(folder: Path, name: str) -> pl.DataFrame:
    """A published table. Raises `Invalid` where there is none."""
    path = folder / name
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        raise Invalid(f"there is no table {path}; docs/allocation.md says where it comes from.", field="DATA") from None
