"""German DIVI-Intensivregister, states (RKI, `Intensivregister_Bundeslaender_Kapazitaeten.csv`, CC BY 4.0).

One row a Land and day, adult intensive care. Operable beds are occupied plus free ones, as the register defines free.
The reserve that can be opened within 7 days is no surge of 72 hours, and free ventilation capacity comes without the
capacity in use; neither is taken in. Days under a later definition carry it in their source.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Final

import polars as pl

from sharewell.domain.institutions import InstitutionDraft, InstitutionKind, InstitutionStatus
from sharewell.domain.quality import Flag
from sharewell.exchange import rules, table
from sharewell.exchange.codes import code_of, names_in
from sharewell.exchange.feed import Feed
from sharewell.exchange.table import Table

FORMAT: Final = "divi"
RESOURCE: Final = "icu.adult"
MISSING: Final = frozenset({"NA"})
OCCUPIED, FREE, ADMITTED = "intensivbetten_belegt", "intensivbetten_frei", "faelle_covid_erstaufnahmen"
AREAS: Final = "anzahl_meldebereiche"
GROUPS: Final = {"behandlungsgruppe": "Erwachsene", "behandlungsgruppe_level_2": "ERWACHSENE"}
KEYS: Final = ("datum", "bundesland_id", "bundesland_name")
USUAL_DAYS: Final = 57  #: four weeks before and after, whose median of reporting wards is the usual
TOTAL: Final = "00"  #: Deutschland, the sum of the Länder

#: First day of each definition, newest first, and the source its reports name.
DEFINITIONS: Final = (
    (date(2023, 5, 4), "divi-2023-05"),
    (date(2021, 12, 22), "divi-2021-12"),
    (date.min, "divi"),
)
#: Land -> where its capital lies (degrees north, east): a Land reports as one institution, and distances need a point.
CAPITALS: Final = {
    "01": (54.32, 10.14), "02": (53.55, 9.99), "03": (52.37, 9.73), "04": (53.08, 8.80), "05": (51.23, 6.78),
    "06": (50.08, 8.24), "07": (50.00, 8.27), "08": (48.78, 9.18), "09": (48.14, 11.58), "10": (49.24, 7.00),
    "11": (52.52, 13.40), "12": (52.40, 13.06), "13": (53.63, 11.41), "14": (51.05, 13.74), "15": (52.13, 11.63),
    "16": (50.98, 11.03),
}  # fmt: skip


def read(data: bytes, *, latest: date) -> Feed:
    """Read a file of the Länder whose days are no later than `latest`. Raises `FeedRefused`."""
    cells = table.read(data, need=(*KEYS, OCCUPIED, FREE), want=lambda _: True)
    tally = rules.Tally()
    wide = _wide(cells, latest)
    total = wide["bundesland_id"] == TOTAL
    tally.add(Flag.TOTAL_ROW, wide["row"].filter(total), whole_rows=True)
    figures = [name for name in cells.frame.columns if name not in ("row", *KEYS, *GROUPS)]
    once = rules.one_row_each(wide.filter(~total), figures, tally, restates=False)
    carried = rules.repeats_the_period_before(once, figures, period_days=1)
    tally.add(Flag.CARRIED_FORWARD, once["row"].filter(carried))
    reports = rules.settle(_reports(Table(cells.header, once), carried, tally), tally)
    institutions = _institutions(once, tally)
    return Feed(
        format=FORMAT,
        dialect="rki",
        sha256=hashlib.sha256(data).hexdigest(),
        institutions=institutions,
        reports=reports,
        quality=rules.quality(
            reports, tally, name=FORMAT, dialect="rki", rows_read=len(cells), institutions=len(institutions)
        ),
    )


def _wide(cells: Table, latest: date) -> pl.DataFrame:
    """The file's rows with their key: row, institution_code, as_of."""
    land = cells.required("bundesland_id")
    cells.refuse_where(
        ~land.is_in([TOTAL, *CAPITALS]),
        "bundesland_id",
        lambda cell: f"{cell!r} is not a Land: 01 to 16, or 00 for all.",
    )
    for column, adults in GROUPS.items():
        if column in cells:
            cells.refuse_where(
                cells.required(column) != adults, column,
                lambda cell: f"{cell!r} is not about adults; only adult intensive care is read.",
            )  # fmt: skip
    return cells.frame.with_columns(
        institution_code=code_of("de-divi", land),
        as_of=cells.dates("datum", latest=latest),
        name=names_in(cells, "bundesland_name"),
    )


def _reports(kept: Table, carried: pl.Series, tally: rules.Tally) -> pl.DataFrame:
    occupied, free = (_counts(kept, column, tally) for column in (OCCUPIED, FREE))
    staffed = occupied + free
    columns = {"occupied": occupied, "staffed": staffed}
    if ADMITTED in kept:
        columns["admissions"] = _counts(kept, ADMITTED, tally)
    if AREAS in kept:
        _tally_few_areas(kept, tally)
    source = pl.lit(FORMAT)
    for first_day, name in reversed(DEFINITIONS):
        source = pl.when(pl.col("as_of") >= first_day).then(pl.lit(name)).otherwise(source)
    long = kept.frame.select(
        "row", "institution_code", "as_of",
        source=source, resource=pl.lit(RESOURCE), period_days=pl.lit(1),
        coverage=pl.Series(occupied.is_not_null().cast(pl.Int16)),
    ).with_columns(
        column
        for measure, numbers in columns.items()
        for column in (numbers.alias(measure), rules.mark(numbers, f"{measure}_mark", carried))
    )  # fmt: skip
    tally.add(Flag.NEW_DEFINITION, long["row"].filter(long["source"] != FORMAT), resource=RESOURCE)
    return long


def _counts(kept: Table, column: str, tally: rules.Tally) -> pl.Series:
    numbers = kept.numbers(column, missing=MISSING, blank=False)
    return rules.sane(numbers, kept.frame["row"], tally, resource=RESOURCE).cast(pl.Int64)


def _tally_few_areas(kept: Table, tally: rules.Tally) -> None:
    """A ward that does not report is not counted in the beds either: such days understate a Land."""
    areas = _counts(kept, AREAS, tally).cast(pl.Float64)
    rows = kept.frame.select("row", *rules.ROW_KEY).with_columns(areas=areas).sort(rules.ROW_KEY)
    usual = pl.col("areas").rolling_median(USUAL_DAYS, min_samples=1, center=True).over("institution_code")
    few = rows.filter(5 * pl.col("areas") < 4 * usual)
    tally.add(Flag.FEW_AREAS, few["row"].sort(), resource=RESOURCE)


def _institutions(once: pl.DataFrame, tally: rules.Tally) -> tuple[InstitutionDraft, ...]:
    names = once.group_by("institution_code").agg(pl.col("name").n_unique())
    tally.add_count(Flag.OTHER_NAME, int((names["name"] > 1).sum()))
    newest = once.sort("as_of").unique("bundesland_id", keep="last").sort("bundesland_id")
    return tuple(
        InstitutionDraft(
            code=code, name=name or code, kind=InstitutionKind.REGION, region="de",
            latitude=CAPITALS[land][0], longitude=CAPITALS[land][1], status=InstitutionStatus.OBSERVED,
        )
        for code, land, name in newest.select("institution_code", "bundesland_id", "name").iter_rows()
    )  # fmt: skip
