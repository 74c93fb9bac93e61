"""Offers in PostgreSQL. How many units are promised is counted there, by the transfers themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict, Unpack
from uuid import UUID

from sharewell.domain.errors import NotFound
from sharewell.domain.offers import Offer, OfferStatus
from sharewell.domain.predicate import EVERYTHING, Predicate
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
    day,
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
    from datetime import date, datetime

    import asyncpg

_COLUMNS = """id, institution_id, resource, quantity, promised, minimum_kept, available_from, available_until, lot,
  expires_on, status, published_at, changed_by"""
ADD = f"""
insert into sharewell.offer ({_COLUMNS}, decision_id) values ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9, $10, $11, $12, $12)
"""
BY_ID = f"select {_COLUMNS} from sharewell.offer where id = $1"
BY_ID_LOCKED = f"{BY_ID} for update"
BY_IDS = f"select {_COLUMNS} from sharewell.offer where id = any ($1::uuid[])"
WITHDRAW = "update sharewell.offer set status = 'withdrawn', changed_by = $2 where id = $1"
#: Open offers of a region that have units left and whose window has not ended.
OPEN_IN_REGION = f"""
select {", ".join("o." + c.strip() for c in _COLUMNS.split(","))}
  from sharewell.offer o join sharewell.institution i on i.id = o.institution_id
 where i.region = $1 and i.status = 'active' and o.resource = any ($2::text[]) and o.status = 'open'
   and o.promised < o.quantity and o.available_until > $3
 order by o.id
"""
LOCK_THESE = f"select {_COLUMNS} from sharewell.offer where id = any ($1::uuid[]) order by id for update"
PAGE = f"""
select {_COLUMNS} from sharewell.offer
 where id < $1 and {SEEN} and ($2::uuid is null or institution_id = $2) and ($3::text is null or resource = $3)
   and (not $4 or (status = 'open' and promised < quantity and available_until > $5))
 order by id desc limit $6
"""


OWNER = [of_owner("institution_id")]
_WRITTEN = Columns({
    "id": uuid("id"), "institution": uuid("institution_id"), "resource": text("resource"),
    "quantity": number("quantity"), "promised": number("promised"),
    "remaining": number("case when status = 'open' then quantity - promised else 0 end"),
    "minimum_kept": number("minimum_kept"), "available_from": moment("available_from"),
    "available_until": moment("available_until"), "lot": text("lot"), "expires_on": optional(day("expires_on")),
    "status": named("status", OfferStatus), "published_at": moment("published_at"),
    "changed_by": uuid("changed_by"),
}, parties=("institution_id",))  # fmt: skip
#: As rows that name an offer write it: without what it names itself.
NAMED = Noun("offer", "sharewell.offer", "id", _WRITTEN, place=OWNER[0])
WRITTEN = replace(_WRITTEN, edges={
    "institution_edge": Edge("institution_id", institutions.NAMED),
    "resource_edge": Edge("resource", resources.NAMED),
})  # fmt: skip


#: What offers can be ordered by. Whoever sees an offer is told all its numbers exactly.
SORTS: Final[Mapping[str, Sort]] = {
    "published": IN_TURN,
    "available_until": Sort("available_until", "timestamptz", "available_until"),
    "quantity": Sort("quantity", "integer", "quantity"),
    "expires_on": Sort("case when expires_on is null then 'infinity' else expires_on end", "date", "expires_on"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferFilter:
    """Which offers are wanted; None: all."""

    resources: Sequence[str] | None = None
    institutions: Sequence[UUID] | None = None
    region: str | None = None
    status: OfferStatus | None = None
    available_at: datetime | None = None
    available_within: tuple[datetime, datetime] | None = None  #: at some moment from the one to the other
    expires_before: date | None = None
    remaining_at_least: int | None = None

    def conditions(self) -> Iterator[Condition]:
        yield from any_of("resource", "text", self.resources)
        yield from any_of("institution_id", "uuid", self.institutions)
        yield from in_region("institution_id", self.region)
        yield from any_of("status", "text", None if self.status is None else [self.status])
        if self.available_at is not None:
            yield _within(self.available_at, self.available_at)
        if self.available_within is not None:
            yield _within(*self.available_within)
        if self.expires_before is not None:
            yield Condition("expires_on < {0}::date", (self.expires_before,))
        if self.remaining_at_least is not None:
            yield Condition("status = 'open' and quantity - promised >= {0}::integer", (self.remaining_at_least,))


def _within(start: datetime, end: datetime) -> Condition:
    return Condition("available_from <= {1}::timestamptz and available_until >= {0}::timestamptz", (start, end))


class OfferList(TypedDict):
    """Which offers, from where on, and how many."""

    before: UUID
    institution: UUID | None
    resource: str | None
    only_open: bool
    first: int
    matching: NotRequired[OfferFilter]
    place: NotRequired[Place | None]  #: in another order than newest first; then `before` says nothing


class OfferRepository:
    """What everyone pledges."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, offer: Offer, decision: UUID) -> None:
        o = offer
        await self._conn.execute(
            ADD, o.id, o.institution, o.resource, o.quantity, o.minimum_kept, o.available_from, o.available_until,
            o.lot, o.expires_on, o.status, o.published_at, decision,
        )  # fmt: skip

    async def get(self, id: UUID, *, lock: bool = False) -> Offer:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID_LOCKED if lock else BY_ID, id)
        if row is None:
            raise _missing(id)
        return _offer(row)

    async def by_ids(self, ids: list[UUID]) -> dict[UUID, Offer]:
        return {row["id"]: _offer(row) for row in await self._conn.fetch(BY_IDS, ids)}

    async def withdraw(self, id: UUID, decision: UUID) -> None:  # noqa: A002
        await self._conn.execute(WITHDRAW, id, decision)

    async def open_in_region(self, region: str, resources: list[str], at: datetime) -> list[Offer]:
        return [_offer(row) for row in await self._conn.fetch(OPEN_IN_REGION, region, resources, at)]

    async def lock(self, ids: list[UUID]) -> dict[UUID, Offer]:
        """The offers, locked in id order so that two plans never wait for each other in a circle."""
        return {row["id"]: _offer(row) for row in await self._conn.fetch(LOCK_THESE, ids)}

    async def page(self, *, at: datetime, seen: Predicate = EVERYTHING, **asked: Unpack[OfferList]) -> Page[Offer]:
        """Newest first, or in the order of the place asked for."""
        return await _listed(asked, at).seen(seen, OWNER).page(self._conn, _offer, asked["first"], asked.get("place"))

    async def write_page(
        self, wanted: Wanted, *, at: datetime, seen: Predicate, linked: Mapping[str, Predicate], told: bool,
        **asked: Unpack[OfferList]
    ) -> Written:
        """The same, newest first, written; `linked` says, by kind, what is seen of things that rows name."""
        listed = _listed(asked, at).seen(seen, OWNER)
        return await write_page(self._conn, WRITTEN, wanted, listed, asked["first"], told=told, seen=linked)

    async def write_one(self, wanted: WantedOne, id: UUID, linked: Mapping[str, Predicate]) -> One:  # noqa: A002
        """The same as `get`, written; `linked` as above."""
        one = await write_one(self._conn, WRITTEN, wanted, BY_ID, id, linked)
        if one is None:
            raise _missing(id)
        return one


def _missing(id: UUID) -> NotFound:  # noqa: A002
    return NotFound(f"no offer has the id {id}.", field="offer")


def _listed(asked: OfferList, at: datetime) -> Listed:
    values = From(asked["before"], NEWEST), asked["institution"], asked["resource"], asked["only_open"], at, LIMIT
    return Listed(PAGE, values).where(asked.get("matching", OfferFilter()).conditions())


def _offer(row: asyncpg.Record) -> Offer:
    return Offer(
        id=row["id"], institution=row["institution_id"], resource=row["resource"], quantity=row["quantity"],
        promised=row["promised"], minimum_kept=row["minimum_kept"], available_from=row["available_from"],
        available_until=row["available_until"], lot=row["lot"], expires_on=row["expires_on"],
        status=OfferStatus(row["status"]), published_at=row["published_at"],
        changed_by=row["changed_by"],
    )  # fmt: skip
