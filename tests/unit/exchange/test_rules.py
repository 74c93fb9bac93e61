from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from sharewell.domain.quality import Flag
from sharewell.exchange import nj
from sharewell.exchange.feed import NATURAL_KEY, Feed

Build = Callable[..., bytes]


def census(nj_file: Build, machines: list[int | None]) -> Feed:
    """A unit whose ventilators in use are `machines`, day by day; None: no row that day."""
    rows = [
        {"date": str(date(2020, 4, 1) + timedelta(n)), "ventilators_inuse": count}
        for n, count in enumerate(machines)
        if count is not None
    ]
    return nj.read(nj_file(rows), latest=date(2026, 1, 1))


@pytest.mark.parametrize(
    ("machines", "spikes"),
    [
        ([20, 21, 90, 22, 20], 1),
        ([90, 91, 20, 92, 90], 1),
        ([20, 21, 49, 22, 20], 0),  # small enough to be everyday life
        ([20, 90, 95, 90, 20], 0),  # the neighbours do not agree with each other
        ([200, 210, 300, 205, 200], 0),  # not three times
        ([20, 90], 0),  # nothing after it
    ],
)
def test_a_spike_is_far_from_both_neighbours_which_agree(nj_file: Build, machines: list[int], spikes: int) -> None:
    assert census(nj_file, list(machines)).quality.count(Flag.SPIKE) == spikes


def test_a_spike_is_kept(nj_file: Build) -> None:
    feed = census(nj_file, [20, 21, 90, 22])
    assert 90 in feed.reports["occupied"].to_list()


def test_completeness_counts_periods_from_the_first_report_to_the_end_of_the_file(nj_file: Build) -> None:
    (machines,) = [q for q in census(nj_file, [5, 6, None, 7, None, 8]).quality.resources if q.resource == "ventilator"]
    assert (machines.series, machines.complete, machines.median_permille) == (1, 0, 666)
    assert (machines.gaps[0].reported, machines.gaps[0].expected) == (4, 6)


def test_reports_stand_in_the_order_of_their_key(nj_file: Build) -> None:
    rows = [{"hosp_id": unit, "date": f"2020-04-{day:02}"} for day in (9, 3, 6) for unit in ("b", "a")]
    reports = nj.read(nj_file(rows), latest=date(2026, 1, 1)).reports
    assert reports.equals(reports.sort(NATURAL_KEY))


def test_drafts_carry_what_the_frame_says(nj_file: Build) -> None:
    feed = census(nj_file, [5])
    drafts = {draft.resource: draft for _, draft in feed.drafts()}
    assert drafts["ventilator"].occupied == 5
    assert drafts["ventilator"].as_of.isoformat() == "2020-04-01T00:00:00+00:00"
    assert drafts["ventilator"].marks == {"occupied": "reported"}
    assert {code for code, _ in feed.drafts()} == {"us-nj-9900001"}
