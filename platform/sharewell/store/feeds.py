"""Published files in PostgreSQL, and the reports they bring: written in bulk, compared with what was there before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from sharewell.domain.capacity import MEASURES
from sharewell.domain.errors import NotFound
from sharewell.store.bulk import add_rows
from sharewell.store.paging import LIMIT, NEWEST, From, Listed, Page

if TYPE_CHECKING:
    import asyncpg

    from sharewell.domain.institutions import Institution

_COLUMNS = """id, format, dialect, sha256, companion_sha256, name, bytes, rows, reports_new, reports_corrected,
  reports_unchanged, institutions_new, first_period, last_period, quality, ingested_at"""
#: One file of a format at a time, so that each is compared with all that came before it.
LOCK = "select pg_advisory_xact_lock(hashtextextended('sharewell.feed ' || $1, 0))"
ADD = f"""
insert into sharewell.feed ({_COLUMNS}, decision_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::text::jsonb, $16, $17)
"""
BY_HASH = f"""
select {_COLUMNS}, decision_id from sharewell.feed where format = $1 and sha256 = $2 and companion_sha256 = $3
"""
BY_ID = f"select {_COLUMNS}, decision_id from sharewell.feed where id = $1"
PAGE = f"""
select {_COLUMNS}, decision_id from sharewell.feed
 where id < $1 and ($2::text is null or format = $2) order by id desc limit $3
"""
INSTITUTIONS = "select code, id from sharewell.institution where code = any ($1::text[])"
LOCATE = """
update sharewell.institution i set latitude = l.latitude, longitude = l.longitude
  from unnest($1::text[], $2::float8[], $3::float8[]) l (code, latitude, longitude)
 where i.code = l.code and i.status = 'observed' and i.latitude is null
"""
#: The newest report of each institution, resource and period that came from these sources.
REPORTED = f"""
select distinct on (institution_id, resource, as_of) id, institution_id, resource, as_of::date as as_of, coverage,
       {", ".join(MEASURES)}, {", ".join(f"marks ->> '{m}' as {m}_mark" for m in MEASURES)}
  from sharewell.capacity_report
 where institution_id = any ($1::uuid[]) and resource = any ($2::text[]) and source = any ($3::text[])
   and as_of between $4 and $5
 order by institution_id, resource, as_of, id desc
"""
#: For each report, the one that stands at the end of its corrections: itself, if nothing corrects it.
HEADS = """
with recursive correction (first, id) as (
  select r, r from unnest($1::uuid[]) r
  union all
  select c.first, n.id from correction c join sharewell.capacity_report n on n.corrects = c.id
)
select first, id from correction c
 where not exists (select from sharewell.capacity_report n where n.corrects = c.id)
"""
INSTITUTION_COLUMNS = (
    "id", "code", "name", "kind", "region", "latitude", "longitude", "equity_group", "status", "registered_at",
    "decision_id",
)  # fmt: skip
REPORT_COLUMNS = (
    "id", "institution_id", "resource", "as_of", "period_days", *MEASURES, "source", "coverage", "marks", "corrects",
    "recorded_at", "decision_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRecord:
    """One published file that was taken in."""

    id: UUID
    format: str
    dialect: str
    sha256: str
    companion_sha256: str  #: of the second file a format takes, such as locations; else empty
    name: str  #: what the file was called
    bytes: int
    rows: int
    reports_new: int
    reports_corrected: int  #: reports that restate one that was there
    reports_unchanged: int  #: said before in the same words, and not written again
    institutions_new: int
    first_period: date | None
    last_period: date | None
    quality: Mapping[str, Any] = field(repr=False)  #: `QualityReport.to_json()`
    ingested_at: datetime
    decision: UUID


class FeedRepository:
    """Which files were taken in."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def lock(self, format: str) -> None:  # noqa: A002
        """Wait until no other transaction takes in a file of `format`."""
        await self._conn.execute(LOCK, format)

    async def by_hash(self, format: str, sha256: str, companion_sha256: str) -> FeedRecord | None:  # noqa: A002
        row = await self._conn.fetchrow(BY_HASH, format, sha256, companion_sha256)
        return None if row is None else _feed(row)

    async def get(self, id: UUID) -> FeedRecord:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID, id)
        if row is None:
            raise NotFound(f"no feed has the id {id}.", field="feed")
        return _feed(row)

    async def page(self, *, before: UUID, format: str | None, first: int) -> Page[FeedRecord]:  # noqa: A002
        """Newest first."""
        asked = Listed(PAGE, (From(before, NEWEST), format, LIMIT))
        return await asked.page(self._conn, _feed, first)

    async def add(self, feed: FeedRecord) -> None:
        f = feed
        await self._conn.execute(
            ADD, f.id, f.format, f.dialect, f.sha256, f.companion_sha256, f.name, f.bytes, f.rows, f.reports_new,
            f.reports_corrected, f.reports_unchanged, f.institutions_new, f.first_period, f.last_period,
            orjson.dumps(f.quality).decode(), f.ingested_at, f.decision,
        )  # fmt: skip

    async def institutions(self, codes: Sequence[str]) -> dict[str, UUID]:
        """Ids by code of those that are registered."""
        return {code: id for code, id in await self._conn.fetch(INSTITUTIONS, codes)}  # noqa: A001, C416

    async def add_institutions(self, institutions: Sequence[Institution], decision: UUID) -> None:
        await self._conn.copy_records_to_table(
            "institution",
            schema_name="sharewell",
            columns=INSTITUTION_COLUMNS,
            records=[
                (i.id, i.code, i.name, i.kind, i.region, i.latitude, i.longitude, i.equity_group, i.status,
                 i.registered_at, decision)
                for i in institutions
            ],
        )  # fmt: skip

    async def locate(self, points: Mapping[str, tuple[float, float]]) -> None:
        """Give institutions that are known from feeds alone, and not located yet, the place a file knows."""
        await self._conn.execute(LOCATE, list(points), [p[0] for p in points.values()], [p[1] for p in points.values()])

    async def reported(
        self, institutions: Sequence[UUID], resources: Sequence[str], sources: Sequence[str], *,
        since: datetime, until: datetime,
    ) -> list[asyncpg.Record]:  # fmt: skip
        """What these sources said before: rows of `REPORTED`."""
        return await self._conn.fetch(REPORTED, institutions, resources, sources, since, until)

    async def heads(self, reports: Sequence[UUID]) -> dict[UUID, UUID]:
        """For each report, the one at the end of its corrections."""
        return {row["first"]: row["id"] for row in await self._conn.fetch(HEADS, reports)}

    async def add_reports(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write reports in bulk; each row has the values of `REPORT_COLUMNS`, marks as JSON text."""
        marks = REPORT_COLUMNS.index("marks")
        told = ((*row[:marks], orjson.Fragment(row[marks]), *row[marks + 1 :]) for row in rows)
        await add_rows(self._conn, "sharewell.capacity_report", REPORT_COLUMNS, told)


def _feed(row: asyncpg.Record) -> FeedRecord:
    values = dict(row)
    values["quality"] = orjson.loads(values["quality"])
    return FeedRecord(decision=values.pop("decision_id"), **values)
