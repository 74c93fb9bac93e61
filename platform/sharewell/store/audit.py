"""Recorded decisions in PostgreSQL: staging one in the transaction of its own change, and finding them again.

The tree over them is in `log`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sharewell.domain.audit import KINDS, Decision, parse_entry
from sharewell.domain.errors import Invalid, NotFound
from sharewell.store.paging import Page

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

#: Stage the entry of a decision, together with the header that is taken out of it.
RECORD = "select audit.record($1)"

_COLUMNS = """d.id, d.kind, d.at, d.actor, d.institution, d.action, d.outcome, d.policy_set, d.subject_kind,
  d.subject_id, d.request_id, l.log_index"""
_MATCHES = """d.id < $1 and ($3::text is null or d.actor = $3) and ($4::text is null or d.kind = $4)
   and ($5::text is null or d.outcome = $5) and ($6::text is null or d.subject_kind = $6)
   and ($7::text is null or d.subject_id = $7) and ($8::timestamptz is null or d.at >= $8)
   and ($9::timestamptz is null or d.at < $9)
 order by d.id desc limit $10"""

#: Decisions of everybody, newest first.
PAGE = f"""
select {_COLUMNS} from audit.decision d left join audit.leaf l using (staged_id)
 where $2::uuid is null and {_MATCHES}
"""
#: Decisions of one institution, newest first.
PAGE_OF_INSTITUTION = f"""
select {_COLUMNS} from audit.decision d left join audit.leaf l using (staged_id)
 where d.institution = $2 and {_MATCHES}
"""
#: One decision with its exact bytes, and its place in the log if it has one yet.
BY_ID = """
select e.body, e.staged_at, l.log_index
  from audit.decision d join audit.entry e using (staged_id) left join audit.leaf l using (staged_id)
 where d.id = $1
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


class AuditRepository:
    """What was decided."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def record(self, decision: Decision) -> None:
        """Stage `decision` in the current transaction. Raises `Invalid` for a kind that nobody can look up."""
        if decision.kind not in KINDS:
            raise Invalid(f"{decision.kind!r} is no kind of decision; describe it in domain.audit.KINDS.", field="kind")
        await self._conn.execute(RECORD, decision.entry())

    async def page(self, *, before: UUID, matching: DecisionFilter, first: int) -> Page[DecisionHeader]:
        """Decisions with ids below `before`, newest first."""
        m = matching
        rows = await self._conn.fetch(
            PAGE if m.institution is None else PAGE_OF_INSTITUTION,
            before, m.institution, m.actor, m.kind, m.outcome, m.subject_kind, m.subject_id, m.since, m.until,
            first + 1,
        )  # fmt: skip
        return Page.of([DecisionHeader(**row) for row in rows], first)

    async def get(self, id: UUID) -> RecordedDecision:  # noqa: A002
        """One decision, read from its entry. Raises `NotFound`."""
        row = await self._conn.fetchrow(BY_ID, id)
        if row is None:
            raise NotFound(f"no decision has the id {id}.", field="decision")
        return _recorded(row)

    async def reconciled(self, *, before: UUID, first: int) -> Page[RecordedDecision]:
        """Results of reconciliations with ids below `before`, newest first."""
        rows = await self._conn.fetch(RECONCILED, before, first + 1)
        return Page.of([_recorded(row) for row in rows], first)


def _recorded(row: asyncpg.Record) -> RecordedDecision:
    return RecordedDecision(
        decision=parse_entry(row["body"]), entry=row["body"], staged_at=row["staged_at"], log_index=row["log_index"]
    )
