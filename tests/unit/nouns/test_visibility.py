"""What a reader is told of counts that are another's: nobody concludes more of them than their ranges say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from graphql import GraphQLObjectType, build_schema
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.adversary import Adversary

from sharewell.domain import visibility
from sharewell.domain.capacity import MEASURES, CapacityDraft, CapacityReport, Mark, camel
from sharewell.domain.visibility import (
    ENTITLED,
    SMALL,
    Between,
    RegionCapacity,
    VeiledReport,
    cells,
    for_the_receiver,
    region_totals,
    told,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SDL = files("sharewell_schema").joinpath("api.graphql")
NAMES = (*MEASURES, "free", "need")
#: Small ones above all, and what lies on either side of the line.
counts = st.integers(0, 14) | st.sampled_from([20, 21, 35, 400, 1_000_000 - 1])
maybe = st.none() | counts


def report_of(house: int, **numbers: int | None) -> CapacityReport:
    draft = CapacityDraft(resource="bed.adult", as_of=NOON, **numbers)  # type: ignore[arg-type]
    return CapacityReport.report(draft, id=UUID(int=house), by=UUID(int=house), at=NOON)


APART = ("occupied", "blocked", "surge_24h", "waiting", "admissions")


@st.composite
def reports(draw: st.DrawFn, /, house: int = 1, **given_numbers: int) -> CapacityReport:
    """Any report that is taken in, with the numbers that are given."""
    apart = {name: given_numbers.get(name, draw(maybe)) for name in APART}
    rest, later = draw(maybe), draw(maybe)
    numbers = apart | {
        "staffed": None if rest is None else rest + (apart["occupied"] or 0) + (apart["blocked"] or 0),
        "surge_72h": None if later is None else later + (apart["surge_24h"] or 0),
    }
    assume(any(count is not None for count in numbers.values()))
    assume(all(count is None or count <= 1_000_000 for count in numbers.values()))
    return report_of(house, **numbers)


def read(adversary: Adversary, house: int, seen: CapacityReport | VeiledReport) -> None:
    withheld = {one.count: (one.at_least, one.at_most) for one in seen.withheld}
    adversary.reads(house, {name: getattr(seen, name) for name in NAMES}, withheld)


def read_total(adversary: Adversary, total: RegionCapacity, houses: Sequence[int]) -> None:
    for name in ENTITLED["RegionCapacity"].fields:
        between: Between = getattr(total, name)
        adversary.reads_total(name, (between.at_least, between.at_most), houses)


@settings(max_examples=60)
@given(st.integers(1, 4), st.data())
def test_all_answers_together_narrow_no_withheld_number_below_its_range(several: int, data: st.DataObject) -> None:
    """A reader that has everything: its own numbers exactly, those of partners, every list and every region's total,
    also the totals that others would see (a partner who tells), over any subset that ever was a region."""
    mine = {house: data.draw(reports(house)) for house in range(1, several + 2)}
    exact = {1} | data.draw(st.sets(st.sampled_from(sorted(mine)), max_size=1))
    views = {house: report if house in exact else VeiledReport.of(report) for house, report in mine.items()}
    adversary = Adversary()
    for house, seen in views.items():
        read(adversary, house, seen)
    some = st.lists(st.sampled_from(sorted(mine)), unique=True, min_size=1)
    parts = [sorted(mine), *data.draw(st.lists(some, max_size=3))]
    for houses in parts:
        for readers in (exact, {1}, set[int]()):
            seen_by = [mine[h] if h in readers else VeiledReport.of(mine[h]) for h in houses]
            (total,) = region_totals("r", seen_by)
            read_total(adversary, total, houses)
    for house, seen in views.items():
        for one in seen.withheld:
            assert adversary.concludes(house, one.count) == (one.at_least, one.at_most), (house, one)


def test_the_adversary_would_find_a_count_that_is_withheld_alone() -> None:
    """The attack has teeth: withholding small numbers without what they add up to is found out."""
    whole = report_of(2, staffed=20, occupied=16, blocked=0, waiting=0)
    leaky = VeiledReport.of(whole)
    assert leaky.staffed is None
    adversary = Adversary()
    read(adversary, 2, leaky)
    assert adversary.concludes(2, "free") == (1, 10)
    adversary.within({adversary.column(2, "staffed"): 1}, 20, 20)
    assert adversary.concludes(2, "free") == (4, 4)


def test_the_adversary_would_find_a_count_in_an_exact_total_of_a_region() -> None:
    own, other = report_of(1, occupied=30), report_of(2, occupied=7)
    adversary = Adversary()
    read(adversary, 1, own)
    read(adversary, 2, VeiledReport.of(other))
    (total,) = region_totals("r", [own, VeiledReport.of(other)])
    read_total(adversary, total, [1, 2])
    assert adversary.concludes(2, "occupied") == (1, 10)
    adversary.within({adversary.columns[1, "occupied"]: 1, adversary.columns[2, "occupied"]: 1}, 37, 37)
    assert adversary.concludes(2, "occupied") == (7, 7)


@given(reports())
def test_no_small_count_is_ever_told_and_every_range_holds_the_truth(report: CapacityReport) -> None:
    veiled = VeiledReport.of(report)
    ranges = {one.count: one for one in veiled.withheld}
    for name in NAMES:
        true, shown = getattr(report, name), getattr(veiled, name)
        if true is None:
            assert (shown, name in ranges) == (None, False)
        elif name in ranges:
            assert shown is None
            assert ranges[name].at_least <= true <= ranges[name].at_most
            assert ranges[name].at_most - ranges[name].at_least >= len(SMALL) - 1
        else:
            assert shown == true
            assert true not in SMALL


@given(st.sampled_from(APART), counts, st.data())
def test_a_count_is_told_by_its_own_value_alone(name: str, count: int, data: st.DataObject) -> None:
    """So whoever watches over time, or compares institutions, learns nothing from what is told beside it."""
    one, other = (told(data.draw(reports(**{name: count})))[name] for _ in range(2))
    assert one == other == ((1, 10) if count in SMALL else (count, count))


def test_every_number_of_a_report_is_a_sum_of_cells_that_are_told_by_themselves() -> None:
    assert set(visibility.SUMS) == set(NAMES) == set(ENTITLED["CapacityReport"].fields)
    assert {"CapacityReport", "RegionCapacity"} < set(ENTITLED)


def test_the_page_names_each_field_that_not_everybody_is_told() -> None:
    page = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
    rows = page.split("## What institutions see of each other")[1].split("## ")[0].splitlines()
    rows = [row for row in rows if row.startswith("| `")]
    for kind, entitled in ENTITLED.items():
        said = " ".join(row for row in rows if kind in row.split("|")[1] or kind in ("PlanAnswers", "SolverReport"))
        assert said, kind
        assert f"`{entitled.act}`" in said
        if kind not in ("RegionCapacity", "PlanAnswers"):
            assert {name for name in map(camel, entitled.fields) if name not in said} == set(), kind


def test_what_is_not_told_to_everybody_may_be_null_or_a_range_in_the_api() -> None:
    schema = build_schema(SDL.read_text())
    for kind, entitled in ENTITLED.items():
        fields = cast("GraphQLObjectType", schema.type_map[kind]).fields
        for name in map(camel, entitled.fields):
            if kind != "Transfer":
                shown = str(fields[name].type)
                assert not shown.endswith("!") or shown == "CountRange!", (kind, name)


@given(reports())
def test_the_cells_of_a_report_add_up_to_it(report: CapacityReport) -> None:
    found = cells(report)
    for name in NAMES:
        if (count := getattr(report, name)) is not None:
            assert count == sum(found.get(part, 0) for part in visibility.SUMS[name])


small = st.integers(0, 40)


@given(small, small, small, small, small)
def test_cells_are_free_of_each_other(occupied: int, blocked: int, rest: int, soon: int, later: int) -> None:
    """Whatever one cell of a report is, the others may be anything: no report is refused for it."""
    report = report_of(
        1, staffed=occupied + blocked + rest, occupied=occupied, blocked=blocked, surge_24h=soon, surge_72h=soon + later
    )
    assert cells(report) == {
        "occupied": occupied, "blocked": blocked, "rest": rest, "surge_24h": soon, "later": later,
    }  # fmt: skip


def test_a_mark_goes_with_the_number_it_is_on() -> None:
    """That a source hid one of 1 to 3 would say more than that it lies from 1 to 10."""
    draft = CapacityDraft(
        resource="bed.adult", as_of=NOON, staffed=30, occupied=2,
        marks={"occupied": Mark.SUPPRESSED, "staffed": Mark.IMPUTED},
    )  # fmt: skip
    report = CapacityReport.report(draft, id=UUID(int=1), by=UUID(int=1), at=NOON)
    assert VeiledReport.of(report).marks == {}
    large = CapacityDraft(resource="bed.adult", as_of=NOON, staffed=30, occupied=0, marks={"occupied": Mark.IMPUTED})
    told_of = CapacityReport.report(large, id=UUID(int=1), by=UUID(int=1), at=NOON)
    assert VeiledReport.of(told_of).marks == {"occupied": Mark.IMPUTED}


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("2 units lift it to 83 % of its need; the owner keeps the 5 it must and could spare 6.",
         "2 units lift it to 83 % of its need."),
        ("To 83 % of its need; the owner keeps the 5 it must and could spare 6. Of the need, 2 units count.",
         "To 83 % of its need. Of the need, 2 units count."),
        ("Alone it lacks 2.5 unit-days, with it 0.5; the owner keeps the 3 it must.",
         "Alone it lacks 2.5 unit-days, with it 0.5."),
        ("By the projected rule.", "By the projected rule."),
    ],
)  # fmt: skip
def test_a_reason_loses_what_it_says_of_the_giver(reason: str, left: str) -> None:
    assert for_the_receiver(reason) == left
