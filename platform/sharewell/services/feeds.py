"""Take published files in, and read which ones were and how good they are.

A file is read and checked whole before anything is written; then all of it is, in one transaction, or nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import orjson
import polars as pl

from sharewell.domain.audit import Json
from sharewell.domain.capacity import MEASURES, Mark
from sharewell.domain.errors import Invalid, NotFound
from sharewell.domain.institutions import Institution
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.principals import Caller
from sharewell.exchange import formats
from sharewell.exchange.feed import REPORT_SCHEMA, Feed, FeedRefused, midnight
from sharewell.services.act import Act
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.feeds import FeedRecord
from sharewell.store.paging import Page

_MARKS: Final = tuple(f"{measure}_mark" for measure in MEASURES)
#: What makes a report of the same institution, resource and period another one.
_SAID: Final = ("coverage", *MEASURES, *_MARKS)
_KNOWN: Final = {
    "known_id": pl.String(), "institution_code": pl.String(), "resource": pl.String(), "as_of": pl.Date(),
    **{name: REPORT_SCHEMA[name] for name in _SAID},
}  # fmt: skip
_KEY: Final = ("institution_code", "resource", "as_of")


@dataclass(frozen=True, slots=True)
class Ingested:
    """A file that is taken in, now or before."""

    feed: FeedRecord
    repeated: bool  #: True where the very file was taken in before, and nothing changed


class FeedService:
    """Which published files were taken in."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def ingest(
        self,
        caller: Caller,
        format: str,  # noqa: A002
        data: bytes,
        *,
        name: str = "",
        locations: bytes | None = None,
    ) -> Ingested:
        """Take the file `data` in.

        Raises `Invalid` for an unknown format or a resource the catalogue lacks, and `FeedRefused` with row and column
        for a file that is not whole and well-formed; the refusal is on record, and nothing else has changed.
        """
        formats.find(format)
        sha256 = hashlib.sha256(data).hexdigest()
        companion = "" if locations is None else hashlib.sha256(locations).hexdigest()
        target = Target(kind="feed", id=sha256)
        await self._office.allow(caller, Action.INGEST_FEED, target)
        known = await self._known(format, sha256, companion)
        if known is not None:
            return Ingested(known, repeated=True)
        latest = self._office.now().date()
        try:
            # Reading takes the processor for a while; in a thread the process still answers others.
            feed = await asyncio.to_thread(formats.read, format, data, latest=latest, locations=locations)
        except FeedRefused as refusal:
            await self._record_refusal(caller, target, format, refusal)
            raise
        async with self._office.act(caller, Action.INGEST_FEED, target) as act:
            await act.tx.feeds.lock(format)
            # Whoever held the lock may have taken in this very file.
            known = await act.tx.feeds.by_hash(format, sha256, companion)
            if known is not None:
                return Ingested(known, repeated=True)
            return Ingested(await _store(act, feed, name=name, size=len(data)), repeated=False)

    async def enqueue(
        self,
        caller: Caller,
        format: str,  # noqa: A002
        sha256: str,
        *,
        name: str = "",
        locations_sha256: str = "",
    ) -> None:
        """Leave a file that waits in the inbox to the workers."""
        formats.find(format)
        payload = {"format": format, "sha256": sha256, "name": name, "locations_sha256": locations_sha256}
        async with self._office.act(caller, Action.INGEST_FEED, Target(kind="feed", id=sha256)) as act:
            await act.tx.queue.enqueue(
                "ingest", {**payload, "request_id": caller.request_id}, key=f"{format}/{sha256}/{locations_sha256}"
            )

    async def get(self, caller: Caller, id: UUID) -> FeedRecord:  # noqa: A002
        """One file, with its quality report. Raises `NotFound`."""
        await self._office.allow(caller, Action.VIEW_FEED, Target(kind="feed", id=str(id)))
        async with self._office.reading(caller) as tx:
            return await tx.feeds.get(id)

    async def page(self, caller: Caller, *, before: UUID, format: str | None, first: int) -> Page[FeedRecord]:  # noqa: A002
        """Newest first."""
        await self._office.allow(caller, Action.VIEW_FEED, Target(kind="feed", id=MANY))
        async with self._office.reading(caller) as tx:
            return await tx.feeds.page(before=before, format=format, first=first)

    async def _known(self, format: str, sha256: str, companion: str) -> FeedRecord | None:  # noqa: A002
        async with self._office.looking() as tx:
            return await tx.feeds.by_hash(format, sha256, companion)

    async def _record_refusal(self, caller: Caller, target: Target, format: str, refusal: FeedRefused) -> None:  # noqa: A002
        """Put on record where the file is wrong, but not what stands there: a cell may hold anything."""
        details: dict[str, Json] = {"format": format, "sha256": target.id, "row": refusal.row or 0}
        details["column"] = refusal.column or ""
        async with self._office.act(caller, Action.INGEST_FEED, target) as act:
            await act.record("feed.refused", "feed", target.id, details)


async def _store(act: Act, feed: Feed, *, name: str, size: int) -> FeedRecord:
    await _check_resources(act, feed)
    ids = await act.tx.feeds.institutions([draft.code for draft in feed.institutions])
    new = [Institution.register(draft, id=new_id(), at=act.at) for draft in feed.institutions if draft.code not in ids]
    changed, unchanged = await _changes(act, feed.reports, ids)
    corrected = changed.filter(pl.col("known_id").is_not_null())
    first, last = feed.reports["as_of"].min(), feed.reports["as_of"].max()
    counts: dict[str, int] = {
        "rows": feed.quality.rows_read,
        "reports_new": changed.height - corrected.height,
        "reports_corrected": corrected.height,
        "reports_unchanged": unchanged,
        "institutions_new": len(new),
    }
    record_id = new_id()
    decision = await act.record(
        "feed.ingested", "feed", record_id,
        {
            "format": feed.format, "dialect": feed.dialect, "sha256": feed.sha256,
            "companion_sha256": feed.companion_sha256, "first_period": str(first or ""), "last_period": str(last or ""),
            **counts,
        },
    )  # fmt: skip
    record = FeedRecord(
        id=record_id, format=feed.format, dialect=feed.dialect, sha256=feed.sha256,
        companion_sha256=feed.companion_sha256, name=name[:200], bytes=size, **counts,
        first_period=first, last_period=last,  # type: ignore[arg-type]  # dates, as the schema says
        quality=feed.quality.to_json(), ingested_at=act.at, decision=decision,
    )  # fmt: skip
    await act.tx.feeds.add(record)
    await act.tx.feeds.add_institutions(new, decision)
    await _locate(act, feed, ids)
    ids.update({institution.code: institution.id for institution in new})
    heads = await act.tx.feeds.heads([UUID(known) for known in corrected["known_id"]])
    await act.tx.feeds.add_reports(_rows(changed, ids, heads, act, decision))
    return record


async def _check_resources(act: Act, feed: Feed) -> None:
    for resource in feed.reports["resource"].unique().sort():
        try:
            await act.tx.resources.get(resource)
        except NotFound as missing:
            raise Invalid(f"the catalogue has no {resource}; an admin must define it first.", field="file") from missing


async def _locate(act: Act, feed: Feed, ids: dict[str, UUID]) -> None:
    points = {
        draft.code: (draft.latitude, draft.longitude)
        for draft in feed.institutions
        if draft.code in ids and draft.latitude is not None and draft.longitude is not None
    }
    if points:
        await act.tx.feeds.locate(points)


async def _changes(act: Act, reports: pl.DataFrame, ids: dict[str, UUID]) -> tuple[pl.DataFrame, int]:
    """The reports that say something new, `known_id` naming the one each restates; and how many say nothing new."""
    known = await _reported(act, reports, ids)
    joined = reports.join(known, on=_KEY, how="left", suffix="_known")
    same = pl.all_horizontal(_meant(name).eq_missing(_meant(name, "_known")) for name in _SAID)
    changed = joined.filter(pl.col("known_id").is_null() | ~same)
    # Ids are given out in the order of time, so that lists by id follow it.
    return changed.sort("as_of", "institution_code", "resource"), reports.height - changed.height


def _meant(name: str, suffix: str = "") -> pl.Expr:
    """A number is the same whether or not its neighbour in the file shows that it was carried forward."""
    column = pl.col(f"{name}{suffix}")
    return column.replace(Mark.CARRIED_FORWARD.value, Mark.REPORTED.value) if name in _MARKS else column


async def _reported(act: Act, reports: pl.DataFrame, ids: dict[str, UUID]) -> pl.DataFrame:
    """What the same sources said of the same institutions before, in the columns of `_KNOWN`."""
    if not ids or reports.is_empty():
        return pl.DataFrame(schema=_KNOWN)
    days = reports["as_of"].sort()
    rows = await act.tx.feeds.reported(
        list(ids.values()), reports["resource"].unique().to_list(), reports["source"].unique().to_list(),
        since=midnight(days[0]), until=midnight(days[-1]),
    )  # fmt: skip
    codes = {id: code for code, id in ids.items()}  # noqa: A001
    return pl.DataFrame(
        [(str(id), codes[institution], *said) for id, institution, *said in rows],  # noqa: A001
        schema=_KNOWN, orient="row",
    )  # fmt: skip


def _rows(
    changed: pl.DataFrame, ids: dict[str, UUID], heads: dict[UUID, UUID], act: Act, decision: UUID
) -> Iterator[tuple[Any, ...]]:
    columns = ("institution_code", "resource", "as_of", "period_days", *MEASURES, "source", "coverage", "known_id")
    marks = changed.select(_MARKS).iter_rows()
    for (code, resource, day, *numbers, known), marked in zip(changed.select(columns).iter_rows(), marks, strict=True):
        yield (
            new_id(), ids[code], resource, midnight(day), *numbers, _marks_json(marked),
            None if known is None else heads[UUID(known)], act.at, decision,
        )  # fmt: skip


@lru_cache(maxsize=4096)
def _marks_json(marks: tuple[str | None, ...]) -> str:
    return orjson.dumps({measure: mark for measure, mark in zip(MEASURES, marks, strict=True) if mark}).decode()
