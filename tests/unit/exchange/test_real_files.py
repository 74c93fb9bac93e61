"""The readers on the files as they were published, against figures that others took from the same files."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from sharewell.domain.quality import Flag
from sharewell.exchange import divi, hhs, nj
from sharewell.exchange.feed import Feed, FeedRefused

LATEST = date(2026, 1, 1)


def the_file(shared: Path, name: str) -> Path:
    path = shared / "data" / name
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    return path


def facility(shared: Path, name: str) -> Feed:
    return hhs.read(the_file(shared, f"raw/{name}").read_bytes(), latest=LATEST)


def wide(feed: Feed, resource: str) -> pl.DataFrame:
    """Reports of a resource, with what was reported in use put together again from occupied and waiting."""
    return feed.reports.filter(pl.col("resource") == resource).with_columns(
        need=pl.col("occupied") + pl.col("waiting").fill_null(0)
    )


@pytest.mark.parametrize(
    ("resource", "staffed", "occupied"),
    [
        ("bed.adult", "adult_inpatient_beds", "adult_inpatient_occupied"),
        ("icu.adult", "adult_icu_beds", "adult_icu_occupied"),
    ],
)
def test_an_hhs_week_agrees_with_the_averages_published_in_it(
    shared: Path, resource: str, staffed: str, occupied: str
) -> None:
    feed = facility(shared, "us_hhs_facility/2022-09-23-hhs-data.csv")
    theirs = pl.read_parquet(the_file(shared, "us_hhs_facility/facility_detail_2022-09-23.parquet")).with_columns(
        institution_code="us-hhs-" + pl.col("hospital_id").str.to_lowercase().str.head(40)
    )
    both = wide(feed, resource).join(theirs, on="institution_code", how="inner")
    assert both.height == 4157
    for ours, their in (("staffed", staffed), ("need", occupied)):
        compared = both.filter(pl.col(ours).is_not_null() & pl.col(their).is_not_null())
        # Theirs have one decimal, ours are whole: half a unit apart, and the decimal's own rounding.
        apart = (compared[ours] - compared[their]).abs()
        assert compared.height > 3500
        assert apart.max() is not None
        assert float(apart.max()) <= 0.56  # type: ignore[arg-type]
        hidden = both.filter(pl.col(f"{their}_suppressed") & pl.col(ours).is_not_null())
        assert hidden.height > 20
        assert hidden[ours].is_between(1, 4).mean() == pytest.approx(1.0)


def test_an_hhs_week_hides_nothing_and_loses_nothing(shared: Path) -> None:
    feed = facility(shared, "us_hhs_facility/2022-09-23-hhs-data.csv")
    assert (feed.dialect, feed.quality.rows_read, len(feed.institutions)) == ("r", 4158, 4158)
    assert feed.quality.rows_left_out == 0
    assert feed.quality.count(Flag.EMPTY_REPORT) == 2
    assert 40 < feed.quality.count(Flag.OVER_STAFFED) < 80
    assert feed.quality.count(Flag.CONTRADICTION) == 2


def test_the_pandas_re_export_counts_by_totals_not_by_filled_averages(shared: Path) -> None:
    path = the_file(shared, "raw/us_hhs_ri/RI-hhs-hospital-level.csv")
    feed = hhs.read(path.read_bytes(), latest=LATEST)
    raw = pl.read_csv(path).select(
        institution_code="us-hhs-" + pl.col("hospital_pk").cast(pl.String),
        as_of=pl.col("collection_week").str.to_date(),
        mean=pl.col("staffed_adult_icu_bed_occupancy_7_day_sum")
        / pl.col("staffed_adult_icu_bed_occupancy_7_day_coverage"),
    )
    both = wide(feed, "icu.adult").join(raw, on=["institution_code", "as_of"])
    assert feed.dialect == "pandas"
    assert both.height == 851
    assert float((both["need"] - both["mean"]).abs().max()) <= 0.5  # type: ignore[arg-type]
    assert feed.quality.count(Flag.FILLED_AVERAGE) == 32


@pytest.mark.parametrize(("name", "rows"), [("facility_dataset.csv", 22), ("facility_dataset_update_facility.csv", 1)])
def test_the_original_dialect_is_read(shared: Path, name: str, rows: int) -> None:
    feed = facility(shared, f"us_hhs_delphi_testdata/{name}")
    assert (feed.dialect, feed.quality.rows_read) == ("original", rows)
    assert feed.reports.height > 0


def test_new_jersey_agrees_with_its_cleaned_table(shared: Path) -> None:
    path = the_file(shared, "raw/us_nj_hospitals/nj_hosp_2020_06_19.csv")
    feed = nj.read(path.read_bytes(), latest=LATEST, locations=path.with_name("nj_hosp_locs.json").read_bytes())
    theirs = pl.read_parquet(the_file(shared, "us_nj_hospitals/hospital_daily.parquet")).with_columns(
        institution_code="us-nj-" + pl.col("hosp_id").str.to_lowercase(), as_of=pl.col("date")
    )
    assert feed.quality.rows_read == theirs.height
    machines = wide(feed, "ventilator").join(theirs, on=["institution_code", "as_of"])
    assert machines.height == theirs["ventilators_inuse"].is_not_null().sum()
    assert (machines["occupied"] == machines["ventilators_inuse"]).all()
    icu = wide(feed, "icu.adult").join(theirs, on=["institution_code", "as_of"]).filter(pl.col("need").is_not_null())
    parts = icu.select(pl.sum_horizontal("bed_inuse_criticalcare", "bed_inuse_intensivecare")).to_series()
    assert icu.height > 3000
    assert (icu["need"] == parts).all()


def test_new_jersey_locates_75_of_its_units(shared: Path) -> None:
    path = the_file(shared, "raw/us_nj_hospitals/nj_hosp_2020_06_19.csv")
    feed = nj.read(path.read_bytes(), latest=LATEST, locations=path.with_name("nj_hosp_locs.json").read_bytes())
    places = pl.read_parquet(the_file(shared, "us_nj_hospitals/locations.parquet"))
    assert sum(draft.latitude is not None for draft in feed.institutions) == places.height == 75


def test_divi_agrees_with_its_cleaned_table(shared: Path) -> None:
    feed = divi.read(
        the_file(shared, "raw/de_divi/Intensivregister_Bundeslaender_Kapazitaeten.csv").read_bytes(), latest=LATEST
    )
    theirs = pl.read_parquet(the_file(shared, "de_divi/state_daily.parquet")).select(
        institution_code="de-divi-" + pl.col("state_id"), as_of="date", used="icu_beds_occupied", free="icu_beds_free"
    )
    both = wide(feed, "icu.adult").join(theirs, on=["institution_code", "as_of"])
    assert feed.quality.rows_read == theirs.height == both.height
    assert (both["need"] == both["used"]).all()
    assert (both["staffed"] - both["occupied"] == both["free"]).all()
    assert set(feed.reports["source"]) == {"divi", "divi-2021-12", "divi-2023-05"}


def test_a_real_file_cut_in_the_middle_is_refused(shared: Path) -> None:
    data = the_file(shared, "raw/us_hhs_facility/2022-09-23-hhs-data.csv").read_bytes()
    with pytest.raises(FeedRefused) as caught:
        hhs.read(data[:1_000_000], latest=LATEST)
    assert caught.value.row is not None
    assert caught.value.row > 1000
