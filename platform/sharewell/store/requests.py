"""Requests in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict, Unpack
from uuid import UUID

from sharewell.domain.errors import NotFound
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.domain.requests import RaiseReason, Request, RequestReason, RequestStatus
from sharewell.store import institutions, resources
from sharewell.store.paging import (
    IN_TURN,
    LIMIT,
    NEWEST,
    SEEN,
    Condition,
    From,
    Listed,
    Page,
    Place,
    Sort,
    any_of,
    in_region,
    of_owner,
)
from sharewell.store.written import (
    Columns,
    Edge,
    Noun,
    One,
    Wanted,
    WantedOne,
    Written,
    moment,
    named,
    number,
    optional,
    text,
    uuid,
    write_one,
    write_page,
)

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

_COLUMNS = """id, institution_id, resource, requested, approved, fulfilled, urgency, needed_by, needed_until, reason,
  status, remainder_of, note, opened_at, raised, raise_reason, decision_id"""
ADD = f"""
insert into sharewell.request ({_COLUMNS})
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""
UPDATE = """
update sharewell.request set approved = $2, fulfilled = $3, status = $4, note = $5, decision_id = $6 where id = $1
"""
BY_ID = f"select {_COLUMNS} from sharewell.request where id = $1"
BY_ID_LOCKED = f"{BY_ID} for update"
BY_IDS = f"select {_COLUMNS} from sharewell.request where id = any ($1::uuid[])"
OPEN_IN_REGION = f"""
select {", ".join("q." + c.strip() for c in _COLUMNS.split(","))}
  from sharewell.request q join sharewell.institution i on i.id = q.institution_id
 where i.region = $1 and i.status = 'active' and q.resource = any ($2::text[]) and q.status = 'open'
   and q.needed_until > $3
 order by q.id
"""
LOCK_THESE = f"select {_COLUMNS} from sharewell.request where id = any ($1::uuid[]) order by id for update"
ENDED = f"select {_COLUMNS} from sharewell.request where status = 'open' and needed_until <= $1 order by id for update"
PAGE = f"""
select {_COLUMNS} from sharewell.request
 where id < $1 and {SEEN} and ($2::uuid is null or institution_id = $2) and ($3::text is null or resource = $3)
   and ($4::text is null or status = $4)
 order by id desc limit $5
"""
_REASONS = {each.value: each for each in RequestReason}
_STATUSES = {each.value: each for each in RequestStatus}
_RAISE_REASONS = {each.value: each for each in RaiseReason}

OWNER = [of_owner("institution_id")]
_WRITTEN = Columns({
    "id": uuid("id"), "institution": uuid("institution_id"), "resource": text("resource"),
    "requested": number("requested"), "approved": number("approved"), "fulfilled": number("fulfilled"),
    "urgency": number("urgency"), "needed_by": moment("needed_by"), "needed_until": moment("needed_until"),
    "reason": named("reason", RequestReason), "status": named("status", RequestStatus),
    "remainder_of": optional(uuid("remainder_of")), "note": text("note"), "opened_at": moment("opened_at"),
    "raised": number("raised"), "raise_reason": optional(named("raise_reason", RaiseReason)),
    "changed_by": uuid("decision_id"),
}, parties=("institution_id",))  # fmt: skip
#: As rows that name a request write it: without what it names itself.
NAMED = Noun("request", "sharewell.request", "id", _WRITTEN, place=OWNER[0])
WRITTEN = replace(_WRITTEN, edges={
    "institution_edge": Edge("institution_id", institutions.NAMED),
    "resource_edge": Edge("resource", resources.NAMED),
    "remainder_of_edge": Edge("remainder_of", NAMED),
})  # fmt: skip


#: What requests can be ordered by. Whoever sees a request is told all its numbers exactly.
SORTS: Final[Mapping[str, Sort]] = {
    "opened": IN_TURN,
    "needed_by": Sort("needed_by", "timestamptz", "needed_by"),
    "urgency": Sort("urgency", "smallint", "urgency"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """Which requests are wanted; None: all."""

    resources: Sequence[str] | None = None
    institutions: Sequence[UUID] | None = None
    region: str | None = None
    statuses: Sequence[RequestStatus] | None = None
    reasons: Sequence[RequestReason] | None = None
    urgency_at_least: int | None = None
    needed_before: datetime | None = None

    def conditions(self) -> Iterator[Condition]:
        yield from any_of("resource", "text", self.resources)
        yield from any_of("institution_id", "uuid", self.institutions)
        yield from in_region("institution_id", self.region)
        yield from any_of("status", "text", self.statuses)
        yield from any_of("reason", "text", self.reasons)
        if self.urgency_at_least is not None:
            yield Condition("urgency >= {0}::smallint", (self.urgency_at_least,))
        if self.needed_before is not None:
            yield Condition("needed_by < {0}::timestamptz", (self.needed_before,))


class RequestList(TypedDict):
    """Which requests, from where on, and how many."""

    before: UUID
    institution: UUID | None
    resource: str | None
    status: str | None
    first: int
    matching: NotRequired[RequestFilter]
    place: NotRequired[Place | None]  #: in another order than newest first; then `before` says nothing


class RequestRepository:
    """What everyone lacks."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, request: Request, decision: UUID) -> None:
        q = request
        await self._conn.execute(
            ADD, q.id, q.institution, q.resource, q.requested, q.approved, q.fulfilled, q.urgency, q.needed_by,
            q.needed_until, q.reason, q.status, q.remainder_of, q.note, q.opened_at, q.raised,
            q.raise_reason, decision,
        )  # fmt: skip

    async def update(self, request: Request, decision: UUID) -> None:
        q = request
        await self._conn.execute(UPDATE, q.id, q.approved, q.fulfilled, q.status, q.note, decision)

    async def get(self, id: UUID, *, lock: bool = False) -> Request:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID_LOCKED if lock else BY_ID, id)
        if row is None:
            raise _missing(id)
        return _request(row)

    async def by_ids(self, ids: list[UUID]) -> dict[UUID, Request]:
        return {row["id"]: _request(row) for row in await self._conn.fetch(BY_IDS, ids)}

    async def open_in_region(self, region: str, resources: list[str], at: datetime) -> list[Request]:
        return [_request(row) for row in await self._conn.fetch(OPEN_IN_REGION, region, resources, at)]

    async def lock(self, ids: list[UUID]) -> dict[UUID, Request]:
        """The requests, locked in id order so that two plans never wait for each other in a circle."""
        return {row["id"]: _request(row) for row in await self._conn.fetch(LOCK_THESE, ids)}

    async def ended(self, at: datetime) -> list[Request]:
        """Open requests whose window is over, locked."""
        return [_request(row) for row in await self._conn.fetch(ENDED, at)]

    async def page(self, *, seen: Predicate = EVERYTHING, **asked: Unpack[RequestList]) -> Page[Request]:
        """Newest first, or in the order of the place asked for."""
        return await _listed(asked).seen(seen, OWNER).page(self._conn, _request, asked["first"], asked.get("place"))

    async def write_page(
        self, wanted: Wanted, *, seen: Predicate, linked: Mapping[str, Predicate], told: bool,
        **asked: Unpack[RequestList]
    ) -> Written:
        """The same, newest first, written; `linked` says, by kind, what is seen of things that rows name."""
        listed = _listed(asked).seen(seen, OWNER)
        return await write_page(self._conn, WRITTEN, wanted, listed, asked["first"], told=told, seen=linked)

    async def write_one(self, wanted: WantedOne, id: UUID, linked: Mapping[str, Predicate]) -> One:  # noqa: A002
        """The same as `get`, written; `linked` as above."""
        one = await write_one(self._conn, WRITTEN, wanted, BY_ID, id, linked)
        if one is None:
            raise _missing(id)
        return one


def _missing(id: UUID) -> NotFound:  # noqa: A002
    return NotFound(f"no request has the id {id}.", field="request")


def _listed(asked: RequestList) -> Listed:
    values = From(asked["before"], NEWEST), asked["institution"], asked["resource"], asked["status"], LIMIT
    return Listed(PAGE, values).where(asked.get("matching", RequestFilter()).conditions())


def _request(row: asyncpg.Record) -> Request:
    """Of a row with all of `_COLUMNS`, in that order: looked up by name they cost twice as much."""
    (id, institution, resource, requested, approved, fulfilled, urgency, needed_by, needed_until, reason, status,  # noqa: A001
     remainder_of, note, opened_at, raised, raise_reason, decision) = row  # fmt: skip
    return Request(
        id=id, institution=institution, resource=resource, requested=requested, approved=approved, fulfilled=fulfilled,
        urgency=urgency, needed_by=needed_by, needed_until=needed_until, reason=_REASONS[reason],
        status=_STATUSES[status], remainder_of=remainder_of, note=note, opened_at=opened_at, raised=raised,
        raise_reason=None if raise_reason is None else _RAISE_REASONS[raise_reason], changed_by=decision,
    )  # fmt: skip
