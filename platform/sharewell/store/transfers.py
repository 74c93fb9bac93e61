"""Transfers in PostgreSQL; their steps and the offer's count of promised units follow by trigger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict, Unpack
from uuid import UUID

from sharewell.domain.answers import PlanAnswers
from sharewell.domain.errors import NotFound
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.domain.transfers import DeclineReason, Transfer, TransferState
from sharewell.store import institutions, offers, requests, resources
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
    of_parties,
)
from sharewell.store.written import (
    Columns,
    Edge,
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
    import asyncpg

_COLUMNS = """id, offer_id, request_id, giver_id, receiver_id, resource, quantity, state, reason, allocation_id,
  hold_until, decline_reason, return_due_at, changed_at, dispatched, dispatched_at, received, received_at,
  decision_id"""
ADD = """
insert into sharewell.transfer (id, offer_id, request_id, giver_id, receiver_id, resource, quantity, state, reason,
                                allocation_id, hold_until, decline_reason, return_due_at, changed_at, decision_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""
UPDATE = """
update sharewell.transfer
   set state = $2, decline_reason = $3, return_due_at = $4, changed_at = $5, decision_id = $6, dispatched = $7,
       dispatched_at = $8, received = $9, received_at = $10
 where id = $1
"""
REASSIGN = "select sharewell.reassign_transfer($1, $2, $3, $4, $5, $6, $7)"
BY_ID = f"select {_COLUMNS} from sharewell.transfer where id = $1"
BY_ID_LOCKED = f"{BY_ID} for update"
EXPIRED_HOLDS = f"""
select {_COLUMNS} from sharewell.transfer
 where state = 'held' and hold_until <= $1 order by id limit 500 for update
"""
DUE_BACK = f"""
select {_COLUMNS} from sharewell.transfer where state = 'received' and return_due_at <= $1 order by id limit 500
   for update
"""
HOLD = """
update sharewell.transfer set state = 'held', decision_id = $2 where allocation_id = $1 and state = 'proposed'
"""
#: Of one plan, what an owner has still to answer.
OPEN_HOLDS = f"""
select {_COLUMNS} from sharewell.transfer
 where allocation_id = $1 and giver_id = $2 and state = 'held' and hold_until > $3 order by id for update
"""
#: How many transfers of some plans stand where, and their units.
ANSWERS = """
select allocation_id, state, count(*)::integer as transfers, sum(quantity)::integer as units
  from sharewell.transfer where allocation_id = any ($1::uuid[]) group by allocation_id, state
"""
#: Confirmed, due, and nothing has left; those on record as such already are left out.
NOT_DISPATCHED = f"""
select {", ".join("t." + c.strip() for c in _COLUMNS.split(","))}
  from sharewell.transfer t join sharewell.request q on q.id = t.request_id
 where t.state = 'confirmed' and t.hold_until < $1 and q.needed_by < $1
   and not exists (select from sharewell.deviation v where v.transfer_id = t.id and v.kind = 'not_dispatched')
 order by t.id limit 500 for update of t
"""
#: Units of each giver that are promised and not back, in offers whose window has not ended.
PROMISED_IN_REGION = """
select t.giver_id, sum(least(t.quantity, t.dispatched))::integer as units
  from sharewell.transfer t join sharewell.offer o on o.id = t.offer_id
       join sharewell.institution i on i.id = t.giver_id
 where i.region = $1 and t.resource = $2 and t.state not in ('declined', 'expired', 'cancelled', 'returned')
   and o.available_until > $3
 group by t.giver_id
"""
#: Units on their way to each receiver, or arrived since its newest report: no report shows them yet.
INCOMING_IN_REGION = """
select t.receiver_id, sum(least(t.quantity, t.dispatched, t.received))::integer as units
  from sharewell.transfer t join sharewell.institution i on i.id = t.receiver_id
 where i.region = $1 and t.resource = $2
   and t.state in ('held', 'confirmed', 'dispatched', 'received', 'return_due')
   and (t.state not in ('received', 'return_due') or not exists (
        select from sharewell.capacity_report c
         where c.institution_id = t.receiver_id and c.resource = t.resource and c.as_of >= t.changed_at))
 group by t.receiver_id
"""
LAPSED = """
select offer_id, request_id, quantity from sharewell.transfer
 where request_id = any ($1::uuid[]) and state = 'expired' order by id
"""
#: A plan proposes and holds in the same instant, and in surge mode may confirm in it too.
STEPS = """
select s.state, s.at, s.decision_id, r.body as remark
  from sharewell.transfer_step s left join sharewell.remark r using (decision_id)
 where s.transfer_id = $1 order by s.at, s.state <> 'proposed', s.state <> 'held', s.decision_id
"""
STEPS_OF = """
select s.transfer_id, s.state, s.at, s.decision_id, r.body as remark
  from sharewell.transfer_step s left join sharewell.remark r using (decision_id)
 where s.transfer_id = any ($1::uuid[]) order by s.at, s.state <> 'proposed', s.state <> 'held', s.decision_id
"""
BY_IDS = f"select {_COLUMNS} from sharewell.transfer where id = any ($1::uuid[])"
PAGE = f"""
select {_COLUMNS} from sharewell.transfer
 where id < $1 and {SEEN} and ($2::uuid is null or giver_id = $2 or receiver_id = $2)
   and ($3::text is null or state = $3)
   and ($4::uuid is null or allocation_id = $4)
 order by id desc limit $5
"""
PARTIES = [of_parties("giver_id", "receiver_id")]
#: But for the reason, of which receivers are not told everything.
WRITTEN = Columns({
    **{name: uuid(f"{name}_id") for name in ("offer", "request", "giver", "receiver", "allocation")},
    "id": uuid("id"), "resource": text("resource"), "quantity": number("quantity"),
    "state": named("state", TransferState), "hold_until": moment("hold_until"),
    "decline_reason": optional(named("decline_reason", DeclineReason)),
    "return_due_at": optional(moment("return_due_at")), "changed_at": moment("changed_at"),
    "dispatched": optional(number("dispatched")), "dispatched_at": optional(moment("dispatched_at")),
    "received": optional(number("received")), "received_at": optional(moment("received_at")),
    "changed_by": uuid("decision_id"),
}, parties=("giver_id", "receiver_id"), edges={
    "offer_edge": Edge("offer_id", offers.NAMED), "request_edge": Edge("request_id", requests.NAMED),
    "giver_edge": Edge("giver_id", institutions.NAMED), "receiver_edge": Edge("receiver_id", institutions.NAMED),
    "resource_edge": Edge("resource", resources.NAMED),
})  # fmt: skip


#: What transfers can be ordered by. Both parties are told the units exactly; a reason, of which they are not told
#: everything, is nothing to order or to search by.
SORTS: Final[Mapping[str, Sort]] = {
    "proposed": IN_TURN,
    "changed": Sort("changed_at", "timestamptz", "changed_at"),
    "quantity": Sort("quantity", "integer", "quantity"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferFilter:
    """Which transfers are wanted; None: all."""

    resources: Sequence[str] | None = None
    states: Sequence[TransferState] | None = None
    giver: UUID | None = None
    receiver: UUID | None = None
    changed_since: datetime | None = None

    def conditions(self) -> Iterator[Condition]:
        yield from any_of("resource", "text", self.resources)
        yield from any_of("state", "text", self.states)
        if self.giver is not None:
            yield Condition("giver_id = {0}::uuid", (self.giver,))
        if self.receiver is not None:
            yield Condition("receiver_id = {0}::uuid", (self.receiver,))
        if self.changed_since is not None:
            yield Condition("changed_at >= {0}::timestamptz", (self.changed_since,))


class TransferList(TypedDict):
    """Which transfers, from where on, and how many."""

    before: UUID
    party: UUID | None
    state: str | None
    allocation: UUID | None
    first: int
    matching: NotRequired[TransferFilter]
    place: NotRequired[Place | None]  #: in another order than newest first; then `before` says nothing


@dataclass(frozen=True, slots=True)
class TransferStep:
    """One step a transfer took, and the decision on record for it."""

    state: TransferState
    at: datetime
    decision: UUID
    remark: str | None  #: what somebody wrote beside a coded reason


class TransferRepository:
    """What is on its way."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, transfers: list[Transfer], decision: UUID) -> None:
        """Raises `OfferExhausted` where an offer has fewer units left than these transfers take."""
        await self._conn.executemany(
            ADD,
            [
                (t.id, t.offer, t.request, t.giver, t.receiver, t.resource, t.quantity, t.state, t.reason,
                 t.allocation, t.hold_until, t.decline_reason, t.return_due_at, t.changed_at, decision)
                for t in transfers
            ],
        )  # fmt: skip

    async def hold(self, allocation: UUID, decision: UUID) -> None:
        """Reserve the units of every transfer that this run proposes."""
        await self._conn.execute(HOLD, allocation, decision)

    async def promised_in_region(self, region: str, resource: str, at: datetime) -> dict[UUID, int]:
        """Units that each giver has promised to others at `at`."""
        rows = await self._conn.fetch(PROMISED_IN_REGION, region, resource, at)
        return {row["giver_id"]: row["units"] for row in rows}

    async def incoming_in_region(self, region: str, resource: str) -> dict[UUID, int]:
        """Units that each receiver is getting and has not reported yet."""
        rows = await self._conn.fetch(INCOMING_IN_REGION, region, resource)
        return {row["receiver_id"]: row["units"] for row in rows}

    async def lapsed(self, requests: list[UUID]) -> list[tuple[UUID, UUID, int]]:
        """Offer, request and units of every transfer to `requests` whose hold ran out unanswered."""
        return [tuple(row) for row in await self._conn.fetch(LAPSED, requests)]

    async def update(self, transfer: Transfer, decision: UUID) -> None:
        t = transfer
        await self._conn.execute(
            UPDATE, t.id, t.state, t.decline_reason, t.return_due_at, t.changed_at, decision, t.dispatched,
            t.dispatched_at, t.received, t.received_at,
        )  # fmt: skip

    async def reassign(self, transfer: Transfer, replacement: Transfer, decision: UUID) -> None:
        """Hold the units of `transfer`, which `decision` has just cancelled, for another request."""
        r = replacement
        await self._conn.execute(
            REASSIGN, transfer.id, r.id, r.request, r.reason, r.hold_until, r.changed_at, decision
        )  # fmt: skip

    async def open_holds(self, allocation: UUID, giver: UUID, at: datetime) -> list[Transfer]:
        """What `giver` has still to answer of one plan, locked."""
        return [_transfer(row) for row in await self._conn.fetch(OPEN_HOLDS, allocation, giver, at)]

    async def answers(self, allocations: list[UUID]) -> dict[UUID, PlanAnswers]:
        """How the owners have answered each of these plans."""
        counted: dict[UUID, dict[TransferState, tuple[int, int]]] = {id: {} for id in allocations}  # noqa: A001
        for row in await self._conn.fetch(ANSWERS, allocations):
            counted[row["allocation_id"]][TransferState(row["state"])] = (row["transfers"], row["units"])
        return {id: PlanAnswers.count(states) for id, states in counted.items()}  # noqa: A001

    async def not_dispatched(self, at: datetime) -> list[Transfer]:
        """What was confirmed, is due at `at` and has not left, as far as that is not on record; locked."""
        return [_transfer(row) for row in await self._conn.fetch(NOT_DISPATCHED, at)]

    async def get(self, id: UUID, *, lock: bool = False) -> Transfer:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID_LOCKED if lock else BY_ID, id)
        if row is None:
            raise _missing(id)
        return _transfer(row)

    async def expired_holds(self, at: datetime) -> list[Transfer]:
        """Held transfers whose hold has run out, locked."""
        return [_transfer(row) for row in await self._conn.fetch(EXPIRED_HOLDS, at)]

    async def due_back(self, at: datetime) -> list[Transfer]:
        """Received loans whose time is over, locked."""
        return [_transfer(row) for row in await self._conn.fetch(DUE_BACK, at)]

    async def steps(self, id: UUID) -> list[TransferStep]:  # noqa: A002
        """Oldest first."""
        rows = await self._conn.fetch(STEPS, id)
        return [TransferStep(TransferState(state), *rest) for state, *rest in rows]

    async def steps_of(self, ids: list[UUID]) -> dict[UUID, list[TransferStep]]:
        """By transfer, oldest first."""
        steps: dict[UUID, list[TransferStep]] = {id: [] for id in ids}  # noqa: A001
        for transfer, state, *rest in await self._conn.fetch(STEPS_OF, ids):
            steps[transfer].append(TransferStep(TransferState(state), *rest))
        return steps

    async def by_ids(self, ids: list[UUID]) -> dict[UUID, Transfer]:
        return {row["id"]: _transfer(row) for row in await self._conn.fetch(BY_IDS, ids)}

    async def page(self, *, seen: Predicate = EVERYTHING, **asked: Unpack[TransferList]) -> Page[Transfer]:
        """Newest first, or in the order of the place asked for."""
        return await _listed(asked).seen(seen, PARTIES).page(self._conn, _transfer, asked["first"], asked.get("place"))

    async def write_page(
        self, wanted: Wanted, *, seen: Predicate, linked: Mapping[str, Predicate], told: bool,
        **asked: Unpack[TransferList]
    ) -> Written:
        """The same, newest first, written, but for the reason; `linked` says, by kind, what is seen of things named."""
        listed = _listed(asked).seen(seen, PARTIES)
        return await write_page(self._conn, WRITTEN, wanted, listed, asked["first"], told=told, seen=linked)

    async def write_one(self, wanted: WantedOne, id: UUID, linked: Mapping[str, Predicate]) -> One:  # noqa: A002
        """The same as `get`, written; `linked` as above."""
        one = await write_one(self._conn, WRITTEN, wanted, BY_ID, id, linked)
        if one is None:
            raise _missing(id)
        return one


def _missing(id: UUID) -> NotFound:  # noqa: A002
    return NotFound(f"no transfer has the id {id}.", field="transfer")


def _listed(asked: TransferList) -> Listed:
    values = From(asked["before"], NEWEST), asked["party"], asked["state"], asked["allocation"], LIMIT
    return Listed(PAGE, values).where(asked.get("matching", TransferFilter()).conditions())


def _transfer(row: asyncpg.Record) -> Transfer:
    return Transfer(
        id=row["id"], offer=row["offer_id"], request=row["request_id"], giver=row["giver_id"],
        receiver=row["receiver_id"], resource=row["resource"], quantity=row["quantity"],
        state=TransferState(row["state"]), reason=row["reason"], allocation=row["allocation_id"],
        hold_until=row["hold_until"],
        decline_reason=None if row["decline_reason"] is None else DeclineReason(row["decline_reason"]),
        return_due_at=row["return_due_at"], changed_at=row["changed_at"], dispatched=row["dispatched"],
        dispatched_at=row["dispatched_at"], received=row["received"], received_at=row["received_at"],
        changed_by=row["decision_id"],
    )  # fmt: skip
