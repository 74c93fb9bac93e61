"""A panel: what each institution staffed and needed of each resource, period by period, as it really came.

Read from published files here; whoever plays it hands each institution only what it could know on the day.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import chain
from pathlib import Path

import polars as pl

from sharewell.domain.errors import Invalid
from sharewell.exchange import formats
from sharewell.exchange.feed import Feed, FeedRefused, midnight

#: Share of the largest number of beds a New Jersey hospital ever reported that it is taken to staff. The file has no
#: capacity; at this share the shortage without transfers comes to the published 33,406 bed-days (Parker et al. 2020).
NJ_SHARE_OF_BEDS = 0.475

_PANEL_COLUMNS = {
    "bed.adult": ("adult_inpatient_beds", "adult_inpatient_occupied"),
    "icu.adult": ("adult_icu_beds", "adult_icu_occupied"),
}
_FOUND_IN_PARQUET = {"hospital_id", "state", "collection_week", *chain.from_iterable(_PANEL_COLUMNS.values())}


@dataclass(frozen=True, slots=True)
class Site:
    """One institution of the panel."""

    code: str
    name: str
    region: str
    latitude: float | None
    longitude: float | None


@dataclass(frozen=True, slots=True)
class Load:
    """What one site staffed and needed of one resource in one period."""

    staffed: int
    need: int

    @property
    def shortage(self) -> int:
        """Units lacking without sharing."""
        return max(0, self.need - self.staffed)

    @property
    def spare(self) -> int:
        """Units nobody at the site needs."""
        return max(0, self.staffed - self.need)


Key = tuple[str, str, date]  #: site, resource, first day of the period


@dataclass(frozen=True, kw_only=True)
class Panel:
    """History, ready to be played."""

    title: str
    step: timedelta  #: length of a period
    sites: Mapping[str, Site]
    periods: tuple[date, ...]  #: first days, in order
    loads: Mapping[Key, Load]
    minimum_share: float = 0.05  #: share of its staffed units that every site keeps free for itself
    format: str = ""  #: of the published files below
    files: Mapping[date, Sequence[bytes]] = field(default_factory=dict, repr=False)  #: published of each period
    locations: bytes | None = field(default=None, repr=False)  #: the second file some formats take

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(sorted({resource for _, resource, _ in self.loads}))

    @property
    def markets(self) -> tuple[tuple[str, str], ...]:
        """Each (region, resource) that is allocated by itself."""
        return tuple(sorted({(self.sites[code].region, resource) for code, resource, _ in self.loads}))

    def start(self, period: date) -> datetime:
        """The first instant of a period."""
        return midnight(period)

    def cut(self, *, since: date = date.min, until: date = date.max, regions: Sequence[str] = ()) -> Panel:
        """The part from `since` to `until` and in `regions` (all, where empty). Raises `Invalid` if none is left."""
        sites = {code: site for code, site in self.sites.items() if not regions or site.region in regions}
        loads = {
            key: load for key, load in self.loads.items()
            if key[0] in sites and since <= key[2] <= until
        }  # fmt: skip
        if not loads:
            raise Invalid("nothing of the file is left to play; widen --until or --states.", field="until")
        used = {code for code, _, _ in loads}
        return replace(
            self, sites={code: site for code, site in sites.items() if code in used}, loads=loads,
            periods=tuple(sorted({period for _, _, period in loads})),
        )  # fmt: skip


def read_nj(file: Path) -> Panel:
    """The New Jersey census; locations come from the JSON file beside it. Raises `Invalid` or `FeedRefused`."""
    places = sorted(file.parent.glob("*loc*.json"))
    data, locations = _bytes(file), _bytes(places[0]) if places else None
    feed = formats.read("nj", data, latest=date.max, locations=locations)
    beds = feed.reports.filter(pl.col("resource") == "bed.adult").with_columns(
        staffed=(pl.col("staffed").max().over("institution_code") * NJ_SHARE_OF_BEDS).round()
    )
    panel = _panel(f"New Jersey, {file.name}", feed, beds, timedelta(days=1))
    return replace(panel, format="nj", files=_by_period([data], "date"), locations=locations)


def read_hhs(path: Path) -> Panel:
    """HHS weeks by facility: one CSV, a folder of them, or the weekly panel in Parquet (alone or in the folder)."""
    if path.is_dir():
        tables = sorted(path.glob("*weekly_panel*.parquet"))
        if tables:
            return read_hhs_panel(tables[0])
        files = sorted(path.glob("*.csv"))
        if not files:
            raise Invalid(f"{path} has neither CSV files nor a weekly panel in Parquet.", field="path")
    else:
        files = [path]
    if path.suffix == ".parquet":
        return read_hhs_panel(path)
    published = [_bytes(file) for file in files]
    feeds = [_read_hhs_file(file.name, data) for file, data in zip(files, published, strict=True)]
    reports = pl.concat([feed.reports for feed in feeds]).unique(
        ["institution_code", "resource", "as_of"], keep="last", maintain_order=True
    )
    merged = replace(feeds[0], institutions=tuple({i.code: i for feed in feeds for i in feed.institutions}.values()))
    panel = _panel(f"HHS facilities, {path.name}", merged, reports, timedelta(days=7))
    return replace(panel, format="hhs", files=_by_period(published, "collection_week"))


def _read_hhs_file(name: str, data: bytes) -> Feed:
    try:
        return formats.read("hhs", data, latest=date.max)
    except FeedRefused as refused:
        raise Invalid(f"{name}: {refused.message}", field="path") from refused


def read_hhs_panel(file: Path) -> Panel:
    """The weekly panel of several measures by hospital, with `hospital_meta.parquet` beside it for places."""
    frame = _read_parquet(file)
    missing = _FOUND_IN_PARQUET - set(frame.columns)
    if missing:
        raise Invalid(f"{file.name} has no column {min(missing)}; it is no weekly panel.", field="path")
    frame = frame.filter(pl.col("state").is_not_null())
    meta = file.with_name("hospital_meta.parquet")
    places = _read_parquet(meta) if meta.exists() else pl.DataFrame(schema={"hospital_id": pl.String})
    known = {row["hospital_id"]: row for row in places.iter_rows(named=True)}
    sites = {
        code: Site(
            f"us-hhs-{code.lower()}", str(known.get(code, {}).get("hospital_name") or code), f"us-{state.lower()}",
            known.get(code, {}).get("latitude"), known.get(code, {}).get("longitude"),
        )
        for code, state in frame.select("hospital_id", "state").unique("hospital_id", keep="last").iter_rows()
    }  # fmt: skip
    loads = {
        (sites[code].code, resource, week): Load(round(beds), round(occupied))
        for resource, (total, used) in _PANEL_COLUMNS.items()
        for code, week, beds, occupied in frame.select("hospital_id", "collection_week", total, used).iter_rows()
        if beds is not None and occupied is not None and beds > 0 and occupied >= 0
    }
    return _of(f"HHS facilities, {file.name}", {site.code: site for site in sites.values()}, loads, timedelta(days=7))


def _panel(title: str, feed: Feed, reports: pl.DataFrame, step: timedelta) -> Panel:
    sites = {
        i.code: Site(i.code, i.name, i.region, i.latitude, i.longitude) for i in feed.institutions
    }  # fmt: skip
    rows = reports.select("institution_code", "resource", "as_of", "staffed", "occupied", "waiting")
    loads = {
        (code, resource, day): Load(int(staffed), int(occupied) + int(waiting or 0))
        for code, resource, day, staffed, occupied, waiting in rows.iter_rows()
        if staffed is not None and occupied is not None
    }
    return _of(title, sites, loads, step)


def _of(title: str, sites: Mapping[str, Site], loads: Mapping[Key, Load], step: timedelta) -> Panel:
    panel = Panel(title=title, step=step, sites=sites, loads=loads, periods=tuple(sorted({day for _, _, day in loads})))
    return panel.cut()


def _by_period(files: Sequence[bytes], column: str) -> dict[date, list[bytes]]:
    """The files as they would have been published period by period: header, and the lines of each period as they are.

    They were read before, so they have the column and are well-formed.
    """
    published: dict[date, list[bytes]] = {}
    for data in files:
        header, *lines = io.StringIO(data.decode("utf-8-sig"), newline="").readlines()
        place = next(csv.reader([header])).index(column)
        parts: dict[date, list[str]] = {}
        for line in filter(str.strip, lines):
            day = date.fromisoformat(next(csv.reader([line]))[place][:10].replace("/", "-"))
            parts.setdefault(day, [header]).append(line)
        for day, part in parts.items():
            published.setdefault(day, []).append("".join(part).encode())
    return published


def _read_parquet(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Invalid(f"{file} cannot be read as a Parquet file: {error}.", field="path") from error


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}.", field="path") from error
