"""Whatever the bytes, a reader answers with a feed that the domain takes, or refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharewell.domain.capacity import CapacityReport
from sharewell.domain.institutions import Institution
from sharewell.domain.quality import Flag
from sharewell.exchange import formats
from sharewell.exchange.feed import Feed, FeedRefused

Build = Callable[..., bytes]
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
SOMEBODY = UUID(int=1)
#: Cells that have broken readers before, and cells that are nearly right.
CELLS = st.one_of(
    st.sampled_from(
        ["", "NA", "nan", "inf", "-999999", "-999999.0", "1e9", "1e308", "-1", "0", "2", "3", "700", "TRUE", "true",
         "2022-03-04", "2022/03/04", "0000-00-00", "9999-12-31", '"', '""', "POINT (0 0)", "\ue000", "\u0958" * 199,
         "é" * 300, "RI", "00", "05", "--", "9007199254740993", "2147483648"]
    ),
    st.integers(-10, 10_000_000).map(str),
    st.text(st.characters(exclude_characters=',"\n\r', exclude_categories=["Cs"]), max_size=12),
)  # fmt: skip


def read_or_refuse(name: str, data: bytes) -> Feed | None:
    try:
        return formats.read(name, data, latest=AT.date())
    except FeedRefused:
        return None


def check(feed: Feed) -> None:
    """No number, name or code of a feed is one that the domain would refuse."""
    codes = {Institution.register(draft, id=SOMEBODY, at=AT).code for draft in feed.institutions}
    keys = set()
    for code, draft in feed.drafts():
        report = CapacityReport.report(draft, id=SOMEBODY, by=SOMEBODY, at=AT)
        assert code in codes
        assert set(report.marks) == {
            m for m in ("staffed", "occupied", "waiting", "admissions") if getattr(report, m) is not None
        }
        keys.add((code, draft.resource, draft.as_of))
    assert len(keys) == feed.reports.height
    assert feed.quality.sentences()


@pytest.mark.parametrize("name", formats.FORMATS)
@given(data=st.one_of(st.binary(max_size=400), st.text(max_size=400).map(str.encode)))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_refused(name: str, data: bytes) -> None:
    assert read_or_refuse(name, data) is None


@pytest.fixture(params=["hhs-original", "hhs-r", "hhs-pandas", "divi", "nj"])
def whole_file(request: pytest.FixtureRequest, hhs_file: Build, divi_file: Build, nj_file: Build) -> tuple[str, bytes]:
    """A well-formed file of three rows."""
    name, _, dialect = str(request.param).partition("-")
    if name == "hhs":
        return name, hhs_file([{}, {"collection_week": "2022-03-11"}, {"hospital_pk": "990002"}], dialect=dialect)
    if name == "divi":
        return name, divi_file([{}, {"datum": "2021-03-02"}, {"bundesland_id": "06", "bundesland_name": "Hessen"}])
    return name, nj_file([{}, {"date": "2020-04-11"}, {"hosp_id": "9900002", "hosp_name": "Palumbia Hospital"}])


AGAIN = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(data=st.data())
@AGAIN
def test_a_file_with_cells_replaced_is_taken_or_refused(whole_file: tuple[str, bytes], data: st.DataObject) -> None:
    name, whole = whole_file
    rows = [line.split(",") for line in whole.decode().splitlines()]
    for _ in range(data.draw(st.integers(1, 4))):
        row = data.draw(st.integers(1, len(rows) - 1))
        rows[row][data.draw(st.integers(0, len(rows[0]) - 1))] = data.draw(CELLS)
    feed = read_or_refuse(name, ("\n".join(",".join(row) for row in rows) + "\n").encode())
    if feed is not None:
        check(feed)


@given(data=st.data())
@AGAIN
def test_a_file_cut_anywhere_is_refused_unless_cut_after_a_row(
    whole_file: tuple[str, bytes], data: st.DataObject
) -> None:
    name, whole = whole_file
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    feed = read_or_refuse(name, cut)
    rows = cut.count(b"\n") - 1
    assert (feed is not None) == (cut.endswith(b"\n") and rows >= 1)
    if feed is not None:
        assert feed.quality.rows_read == rows
        check(feed)


@given(data=st.data())
@AGAIN
def test_a_file_with_bytes_changed_is_taken_or_refused(whole_file: tuple[str, bytes], data: st.DataObject) -> None:
    name, whole = whole_file
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    feed = read_or_refuse(name, bytes(damaged))
    if feed is not None:
        check(feed)


def test_the_order_of_rows_does_not_matter(whole_file: tuple[str, bytes]) -> None:
    name, whole = whole_file
    header, *rows = whole.splitlines(keepends=True)
    there, back = (read_or_refuse(name, header + b"".join(order)) for order in (rows, rows[::-1]))
    assert there is not None
    assert back is not None
    assert there.reports.drop("row").equals(back.reports.drop("row"))
    assert there.institutions == back.institutions


def test_columns_nobody_knows_change_nothing(whole_file: tuple[str, bytes]) -> None:
    name, whole = whole_file
    header, *rows = whole.splitlines()
    more = [header + b",region,as_of,name,said", *(row + b",x,y,z,w" for row in rows), b""]
    plain, wider = read_or_refuse(name, whole), read_or_refuse(name, b"\n".join(more))
    assert plain is not None
    assert wider is not None
    assert plain.reports.equals(wider.reports)
    assert plain.quality.count(Flag.CARRIED_FORWARD) == wider.quality.count(Flag.CARRIED_FORWARD)


def test_an_unknown_format_is_named_with_those_there_are() -> None:
    with pytest.raises(Exception, match="the formats are hhs, divi, nj") as caught:
        formats.read("xls", b"", latest=date(2026, 1, 1))
    assert getattr(caught.value, "field", None) == "format"


def test_only_new_jersey_takes_locations(divi_file: Build) -> None:
    with pytest.raises(FeedRefused, match="takes no file of locations"):
        formats.read("divi", divi_file(), latest=date(2026, 1, 1), locations=b"{}")
