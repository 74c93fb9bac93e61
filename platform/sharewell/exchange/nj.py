"""New Jersey hospital census of spring 2020 (NJ DOH): one row a reporting unit and day.

Beds in use are those used by COVID-19 patients and beds available those set aside for them, in four categories;
intensive care is two of them, and adult beds are all four. Locations come from a second file, by the unit's name.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import date
from typing import Any, Final, NoReturn

import polars as pl

from sharewell.domain.capacity import Mark
from sharewell.domain.institutions import InstitutionDraft, InstitutionKind, InstitutionStatus
from sharewell.domain.quality import Flag
from sharewell.exchange import rules, table
from sharewell.exchange.codes import code_of, names_in, refuse_shared_codes
from sharewell.exchange.feed import Feed, FeedRefused
from sharewell.exchange.table import Table

FORMAT: Final = "nj"
KEYS: Final = ("hosp_id", "hosp_name", "date")
INTENSIVE: Final = ("criticalcare", "intensivecare")
ALL_BEDS: Final = (*INTENSIVE, "surgical", "other")
#: resource -> categories of beds that make it up; adult beds include the intensive ones, as in the HHS file.
RESOURCES: Final = {"bed.adult": ALL_BEDS, "icu.adult": INTENSIVE}
CENSUS: Final = ("active_confirmed", "active_suspected")
NEED: Final = (
    *KEYS, *CENSUS, "admitted", "ventilators_inuse",
    *(f"bed_{state}_{category}" for state in ("avail", "inuse") for category in ALL_BEDS),
)  # fmt: skip
MAX_LOCATIONS_BYTES: Final = 4 * 2**20

Point = tuple[float, float]


def read(data: bytes, *, latest: date, locations: bytes | None = None) -> Feed:
    """Read a census whose days are no later than `latest`, and the units' locations. Raises `FeedRefused`."""
    points = {} if locations is None else read_locations(locations)
    cells = table.read(data, need=NEED, want=lambda _: True)
    tally = rules.Tally()
    wide = _wide(cells, latest)
    figures = [name for name in cells.frame.columns if name not in ("row", *KEYS)]
    once = rules.one_row_each(wide, figures, tally, restates=True)
    kept = Table(cells.header, once)
    counts = _Counts(kept, tally)
    carried = rules.repeats_the_period_before(once, figures, period_days=1) & (counts.census > 0).fill_null(value=False)
    tally.add(Flag.CARRIED_FORWARD, once["row"].filter(carried))
    beds = [_beds(kept, counts, resource, carried, tally) for resource in RESOURCES]
    reports = rules.settle(pl.concat([*beds, _ventilators(kept, counts, carried)], how="diagonal"), tally)
    institutions = _institutions(once, points, tally)
    return Feed(
        format=FORMAT,
        dialect="njdoh",
        sha256=hashlib.sha256(data).hexdigest(),
        companion_sha256="" if locations is None else hashlib.sha256(locations).hexdigest(),
        institutions=institutions,
        reports=reports,
        quality=rules.quality(
            reports, tally, name=FORMAT, dialect="njdoh", rows_read=len(cells), institutions=len(institutions)
        ),
    )


def _wide(cells: Table, latest: date) -> pl.DataFrame:
    codes = code_of("us-nj", cells.required("hosp_id"))
    refuse_shared_codes(cells, "hosp_id", codes)
    cells.required("hosp_name")
    return cells.frame.with_columns(
        institution_code=codes, as_of=cells.dates("date", latest=latest), name=names_in(cells, "hosp_name")
    )


class _Counts:
    """The file's counts as whole numbers, and sums of several of them."""

    def __init__(self, kept: Table, tally: rules.Tally) -> None:
        rows = kept.frame["row"]
        self._of = {
            column: rules.sane(kept.numbers(column), rows, tally, resource=_resource_of(column)).cast(pl.Int64)
            for column in NEED if column not in KEYS
        }  # fmt: skip
        self.census, _ = self.total(CENSUS)

    def __getitem__(self, column: str) -> pl.Series:
        return self._of[column]

    def total(self, columns: tuple[str, ...]) -> tuple[pl.Series, pl.Series]:
        """The sum of `columns`, null where all are blank; and where some, but not all, are blank and count as zero."""
        parts = pl.DataFrame([self._of[column] for column in columns])
        blank = pl.sum_horizontal(pl.all().is_null())
        summed = parts.select(
            total=pl.when(blank < len(columns)).then(pl.sum_horizontal(pl.all())),
            partial=(blank > 0) & (blank < len(columns)),
        )
        return summed["total"], summed["partial"]


def _resource_of(column: str) -> str:
    if column == "ventilators_inuse":
        return "ventilator"
    return "icu.adult" if column.endswith(INTENSIVE) else "bed.adult"


def _beds(kept: Table, counts: _Counts, resource: str, carried: pl.Series, tally: rules.Tally) -> pl.DataFrame:
    rows = kept.frame["row"]
    occupied, some_in_use = counts.total(tuple(f"bed_inuse_{category}" for category in RESOURCES[resource]))
    free, some_free = counts.total(tuple(f"bed_avail_{category}" for category in RESOURCES[resource]))
    stand_in = pl.Series([False]).new_from_index(0, len(kept))
    if resource == "bed.adult":
        differs = (occupied - counts.census).abs() > (counts.census / 10).clip(5)
        tally.add(Flag.CENSUS_DIFFERS, rows.filter(differs.fill_null(value=False)), resource=resource)
        stand_in = occupied.is_null() & counts.census.is_not_null()
        tally.add(Flag.CENSUS_USED, rows.filter(stand_in), resource=resource)
        occupied = occupied.zip_with(~stand_in, counts.census)
    staffed = occupied + free
    in_use_imputed = some_in_use | stand_in
    tally.add(Flag.PARTS_MISSING, rows.filter(some_in_use | (some_free & staffed.is_not_null())), resource=resource)
    columns = [
        *_marked("occupied", occupied, in_use_imputed, carried),
        *_marked("staffed", staffed, in_use_imputed | some_free, carried),
    ]
    if resource == "bed.adult":
        admitted = counts["admitted"]
        columns += [admitted.alias("admissions"), rules.mark(admitted, "admissions_mark", carried)]
    return _rows_of(kept, resource, occupied).with_columns(columns)


def _ventilators(kept: Table, counts: _Counts, carried: pl.Series) -> pl.DataFrame:
    in_use = counts["ventilators_inuse"]
    marks = rules.mark(in_use, "occupied_mark", carried)
    return _rows_of(kept, "ventilator", in_use).with_columns(in_use.alias("occupied"), marks)


def _marked(measure: str, numbers: pl.Series, imputed: pl.Series, carried: pl.Series) -> list[pl.Series]:
    marks = rules.mark(numbers, f"{measure}_mark", carried)
    return [numbers.alias(measure), marks.set(imputed & numbers.is_not_null(), Mark.IMPUTED.value)]


def _rows_of(kept: Table, resource: str, numbers: pl.Series) -> pl.DataFrame:
    return kept.frame.select(
        "row", "institution_code", "as_of",
        resource=pl.lit(resource), period_days=pl.lit(1), source=pl.lit(FORMAT),
        coverage=pl.Series(numbers.is_not_null().cast(pl.Int16)),
    )  # fmt: skip


def _institutions(once: pl.DataFrame, points: Mapping[str, Point], tally: rules.Tally) -> tuple[InstitutionDraft, ...]:
    names = once.group_by("institution_code").agg(pl.col("name").n_unique())
    tally.add_count(Flag.OTHER_NAME, int((names["name"] > 1).sum()))
    newest = once.sort("as_of").unique("institution_code", keep="last").sort("institution_code")
    drafts = tuple(
        _institution(code, name, points.get(name))
        for code, name in newest.select("institution_code", "name").iter_rows()
    )
    tally.add_count(Flag.NOT_LOCATED, sum(draft.latitude is None for draft in drafts))
    return drafts


def _institution(code: str, name: str, point: Point | None) -> InstitutionDraft:
    stores = name.endswith("Central Supply")
    return InstitutionDraft(
        code=code,
        name=name,
        kind=InstitutionKind.STOCKPILE if stores else InstitutionKind.HOSPITAL,
        region="us-nj",
        latitude=point[0] if point else None,
        longitude=point[1] if point else None,
        status=InstitutionStatus.OBSERVED,
    )


def read_locations(data: bytes) -> dict[str, Point]:
    """Read `{"name": {"lat": 40.8, "long": -74.8}, ...}`. Raises `FeedRefused` naming the entry at fault."""
    if len(data) > MAX_LOCATIONS_BYTES:
        raise FeedRefused(f"the locations have {len(data)} bytes; at most {MAX_LOCATIONS_BYTES} are read.")
    try:
        entries = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FeedRefused(f"the locations are not JSON: {error}.") from error
    if not isinstance(entries, dict):
        raise FeedRefused('the locations must be an object such as {"Name": {"lat": 40.8, "long": -74.8}}.')
    return {name: _point(name, entry) for name, entry in entries.items()}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _point(name: str, entry: Any) -> Point:
    if not isinstance(entry, dict):
        raise FeedRefused("the location is not an object with lat and long.", column=name)
    return _degrees(name, entry, "lat", 90), _degrees(name, entry, "long", 180)


def _degrees(name: str, entry: Mapping[str, Any], key: str, most: int) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.fabs(value) <= most:
        raise FeedRefused(f"{key} of the location must be degrees from -{most} to {most}.", column=name)
    return float(value)
