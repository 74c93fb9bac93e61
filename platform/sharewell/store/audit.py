"""Recorded decisions in PostgreSQL: staging one in the transaction of its own change, and finding them again.

The tree over them is in `log`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sharewell.domain.audit import KINDS, Decision, parse_entry
from sharewell.domain.errors import Invalid, NotFound
from sharewell.domain.predicate import EVERYTHING, Predicate
from sharewell.store.entries import entry_of
from sharewell.store.paging import LIMIT, NEWEST, SEEN, From, Listed, Page, Place, Sort, of_owner

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

#: Otherwise, after some runs, one plan would be used for whichever filters are given, and walk the whole log.
PLAN_FOR_THE_FILTERS = "set local plan_cache_mode = force_custom_plan"
#: Stage the entry of a decision, together with the header that is taken out of it.
RECORD = "select audit.record($1)"

_COLUMNS = """d.id, d.kind, d.at, d.actor, d.institution, d.action, d.outcome, d.policy_set, d.subject_kind,
  d.subject_id, d.request_id, l.log_index"""
#: What a `DecisionFilter` asks for. Planned for the filters that are given: see `AuditRepository.page`.
MATCHES = f"""($1::uuid is null or d.institution = $1) and ($2::text is null or d.actor = $2)
   and ($3::text is null or d.kind = $3) and ($4::text is null or d.outcome = $4)
   and ($5::text is null or d.subject_kind = $5) and ($6::text is null or d.subject_id = $6)
   and ($7::timestamptz is null or d.at >= $7) and ($8::timestamptz is null or d.at < $8)
   and ($9::text is null or d.action = $9) and ($10::text is null or d.policy_set = $10)
   and ($11::text is null or d.resources @> array[$11])
   and {SEEN}"""
#: A decision belongs to the institution it is about.
OWNER = [of_owner("d.institution")]

#: What decisions can be ordered by.
SORTS: Final = {"decided": Sort("d.at", "timestamptz", "at")}
#: Newest first, from the one decided before the decision $12 on.
PAGE = f"""
select {_COLUMNS} from audit.decision d left join audit.leaf l using (staged_id)
 where {MATCHES}
   -- A policy set may have been in force long ago: then nothing newer need be looked at, and nothing older.
   and ($10::text is null or d.at <= (select max(c.at) from audit.decision c where c.policy_set = $10))
   and ($10::text is null or d.at >= (select min(c.at) from audit.decision c where c.policy_set = $10))
   and (d.at, d.id) < (coalesce((select c.at from audit.decision c where c.id = $12), 'infinity'), $12::uuid)
 order by d.at desc, d.id desc limit $13
"""
#: One decision with its exact bytes, and its place in the log if it has one yet.
BY_ID = """
select e.body, e.staged_at, l.log_index
  from audit.staged s join audit.entry e using (staged_id) left join audit.leaf l using (staged_id)
 where s.id = $1
"""
#: Comparisons of the log with the tables of decisions, newest first.
RECONCILED = """
select e.body, e.staged_at, l.log_index
  from audit.decision d join audit.entry e using (staged_id) left join audit.leaf l using (staged_id)
 where d.kind = 'audit.reconciled' and d.id < $1 order by d.id desc limit $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionHeader:
    """What lists show of a decision."""

    id: UUID
    kind: str
    at: datetime
    actor: str
    institution: UUID | None
    action: str
    outcome: str
    policy_set: str
    subject_kind: str
    subject_id: str
    request_id: str
    log_index: int | None  #: its place in the log; None until it is sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """A decision as it stands in the log."""

    decision: Decision
    entry: bytes
    staged_at: datetime
    log_index: int | None  #: its place in the log; None until it is sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFilter:
    """Which decisions are wanted; what is None does not matter."""

    institution: UUID | None = None
    actor: str | None = None
    kind: str | None = None
    outcome: str | None = None
    subject_kind: str | None = None
    subject_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None  #: exclusive
    action: str | None = None
    policy_set: str | None = None
    resource: str | None = None  #: one of those the entry speaks of

    def values(self) -> tuple[object, ...]:
        """What `MATCHES` takes, in its order."""
        return (
            self.institution, self.actor, self.kind, self.outcome, self.subject_kind, self.subject_id, self.since,
            self.until, self.action, self.policy_set, self.resource,
        )  # fmt: skip


class AuditRepository:
    """What was decided."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def record(self, decision: Decision) -> None:
        """Stage `decision` in the current transaction. Raises `Invalid` for a kind that nobody can look up."""
        if decision.kind not in KINDS:
            raise Invalid(f"{decision.kind!r} is no kind of decision; describe it in domain.audit.KINDS.", field="kind")
        await self._conn.execute(RECORD, entry_of(decision))

    async def page(
        self, *, before: UUID, matching: DecisionFilter, first: int, seen: Predicate = EVERYTHING,
        place: Place | None = None,
    ) -> Page[DecisionHeader]:  # fmt: skip
        """Newest first, from the one decided before the decision `before` on, or in the order of `place`."""
        await self._conn.execute(PLAN_FOR_THE_FILTERS)
        asked = Listed(PAGE, (*matching.values(), From(before, NEWEST), LIMIT)).seen(seen, OWNER)
        return await asked.page(self._conn, lambda row: DecisionHeader(**row), first, place)

    async def get(self, id: UUID) -> RecordedDecision:  # noqa: A002
        """One decision, read from its entry. Raises `NotFound`."""
        row = await self._conn.fetchrow(BY_ID, id)
        if row is None:
            raise NotFound(f"no decision has the id {id}.", field="decision")
        return _recorded(row)

    async def reconciled(self, *, before: UUID, first: int) -> Page[RecordedDecision]:
        """Results of reconciliations with ids below `before`, newest first."""
        asked = Listed(RECONCILED, (From(before, NEWEST), LIMIT))
        return await asked.page(self._conn, _recorded, first)


def _recorded(row: asyncpg.Record) -> RecordedDecision:
    return RecordedDecision(
        decision=parse_entry(row["body"]), entry=row["body"], staged_at=row["staged_at"], log_index=row["log_index"]
    )
