"""Looks for what is *not* in the log: decisions without an entry, entries without a decision, rows without either.

Integrity, that nothing in the log was changed, is proven by the tree; this is completeness. Nothing is mended here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import asyncpg

from sharewell.audit.seal import LogDamaged

MOST_HOURS: Final = 4  #: for one statement
MOST_NAMES: Final = 20  #: of what is missing, for each problem

#: Tables outside of the log whose rows name the decision that made them, quoted ready for use.
NOUN_TABLES = """
select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name, quote_ident(a.attname) as column
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and n.nspname in ('sharewell', 'oauth', 'queue') and not a.attisdropped
   and a.atttypid = 'uuid'::regtype
   and a.attname in ('decision_id', 'changed_by', 'disabled_by', 'ended_by', 'erased_by', 'marked_by', 'revoked_by')
   and has_schema_privilege(n.oid, 'usage') and has_column_privilege(c.oid, a.attnum, 'select')
 order by 1, 2
"""
#: Kinds of decision that make a row, and where the row names them.
MAKES: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("sharewell.allocation", "decision_id"): ["plan.adopted", "urgent_plan.adopted"],
    ("sharewell.break_glass", "decision_id"): ["policy.glass_broken"],
    ("sharewell.break_glass", "ended_by"): ["policy.glass_ended", "policy.glass_expired"],
    ("sharewell.capacity_report", "decision_id"): ["capacity.reported"],
    ("sharewell.choice", "decision_id"): ["fairness.chosen"],
    ("sharewell.deviation", "decision_id"): ["deviation.detected"],
    ("sharewell.feed", "decision_id"): ["feed.ingested"],
    ("sharewell.forecast_run", "decision_id"): ["forecast.adopted"],
    ("sharewell.forecast_trial", "decision_id"): ["model.adopted", "model.refused", "model.failed"],
    ("sharewell.horizon", "decision_id"): ["schedule.adopted"],
    ("sharewell.offer", "decision_id"): ["offer.published"],
    ("sharewell.override", "decision_id"): ["plan.overridden"],
    ("sharewell.policy_step", "decision_id"): ["policy.approved", "policy.passed_over", "policy.withdrawn"],
    ("sharewell.policy_version", "decision_id"): ["policy.drafted", "policy.rolled_back"],
    ("sharewell.resource", "decision_id"): ["resource.defined"],
    ("sharewell.surge_mode", "decision_id"): ["surge.declared"],
    ("sharewell.surge_mode", "ended_by"): ["surge.ended", "surge.expired"],
    ("sharewell.transfer_step", "decision_id"): [
        "transfer.confirmed", "transfer.declined", "transfer.dispatched", "transfer.received", "transfer.return_due",
        "transfer.returned", "transfer.expired",
    ],
    ("oauth.client", "decision_id"): ["client.registered"],
    ("oauth.client", "disabled_by"): ["client.disabled"],
    ("oauth.family", "decision_id"): ["token.granted"],
    ("oauth.person", "decision_id"): ["person.registered"],
    ("oauth.trusted_documents", "decision_id"): ["documents.trusted"],
    ("oauth.person", "disabled_by"): ["person.disabled"],
    ("oauth.person", "erased_by"): ["person.erased"],
}  # fmt: skip
#: Kinds whose row names a later decision once there is one: the row with the id of their subject must be there.
CHANGES: Final[Mapping[str, Sequence[str]]] = {
    "sharewell.agreement": ["agreement.proposed", "agreement.accepted", "agreement.ended"],
    "sharewell.consent": ["consent.given", "consent.withdrawn"],
    "sharewell.institution": ["institution.registered", "institution.updated"],
    "sharewell.offer": ["offer.withdrawn"],
    "oauth.person": ["person.invited_again"],
    "sharewell.request": ["request.opened", "request.cancelled", "request.expired"],
}
# offset 0 keeps the entry from being parsed once for each of its keys
_ALIKE = """
lateral (select convert_from(e.body, 'UTF8')::jsonb as said offset 0) b,
lateral (select s.id::text is not distinct from said ->> 'id' and (d.staged_id is null or
    d.at = (said ->> 'at')::timestamptz
    and (d.id::text, d.kind, d.actor, coalesce(d.institution::text, ''), d.action, d.outcome, d.policy_set,
         d.subject_kind, d.subject_id, d.request_id)
      is not distinct from (said ->> 'id', said ->> 'kind', said ->> 'actor',
         coalesce(said ->> 'institution', ''), said ->> 'action', said ->> 'outcome', said ->> 'policy_set',
         said ->> 'subject_kind', said ->> 'subject_id', said ->> 'request_id')
    and d.resources is not distinct from audit.resources_of(said)) as alike) c
"""
_PASSED_OVER = "e.staged_id <= (select coalesce(max(settled), 0) from audit.tree) and l.staged_id is null"
_LEAF_UNLIKE = "(l.leaf_hash <> e.leaf_hash or l.leaf_hash <> sha256('\\x00'::bytea || e.body))"
# A decision is a row beside its entry and, once that is sealed, a header.
_EACH = """
audit.entry e full join audit.staged s using (staged_id) full join audit.header d using (staged_id)
  full join audit.leaf l using (staged_id)
"""
_WITHOUT_ENTRY = "e.staged_id is null and (s.staged_id is not null or d.staged_id is not null)"
_NO_HEADER = "l.staged_id is not null and d.staged_id is null"
_WITHOUT_DECISION = f"e.staged_id is not null and (s.staged_id is null or {_NO_HEADER})"
_UNLIKE = "e.staged_id is not null and s.staged_id is not null and not alike"
#: Every number that must be zero, and how many decisions were looked at, in one pass over the log.
LOG = f"""
select count(s.staged_id) as decisions,
       count(*) filter (where {_WITHOUT_ENTRY}) as decisions_without_entry,
       count(*) filter (where {_WITHOUT_DECISION}) as entries_without_decision,
       count(*) filter (where {_UNLIKE}) as decisions_unlike_entry,
       count(*) filter (where l.staged_id is not null and e.staged_id is null) as leaves_without_entry,
       count(*) filter (where {_LEAF_UNLIKE}) as leaves_unlike_entry,
       coalesce(max(l.log_index) + 1, 0) - count(l.log_index) as missing_indexes,
       count(*) filter (where {_PASSED_OVER}) as entries_passed_over
  from {_EACH}, {_ALIKE}
"""
_LEAVES = "audit.leaf l left join audit.entry e using (staged_id)"
#: What to look at, by problem of the log: ids of decisions, staged ids of entries, indexes of leaves.
NAMES: Final[Mapping[str, str]] = {
    "decisions_without_entry": f"""
        select 'decision ' || coalesce(s.id, d.id) from {_EACH} where {_WITHOUT_ENTRY} order by coalesce(s.id, d.id)""",
    "entries_without_decision": f"""
        select 'entry ' || staged_id from {_EACH} where {_WITHOUT_DECISION} order by staged_id""",
    "decisions_unlike_entry": f"""
        select 'decision ' || s.id from {_EACH}, {_ALIKE} where {_UNLIKE} order by s.id""",
    "leaves_without_entry": f"select 'index ' || log_index from {_LEAVES} where e.staged_id is null order by log_index",
    "leaves_unlike_entry": f"select 'index ' || log_index from {_LEAVES} where {_LEAF_UNLIKE} order by log_index",
    "missing_indexes": """
        select 'index ' || n from generate_series(0, (select max(log_index) from audit.leaf)) n
         where not exists (select from audit.leaf l where l.log_index = n) order by n""",
    "entries_passed_over": f"""
        select 'entry ' || staged_id from audit.entry e left join audit.leaf l using (staged_id)
         where {_PASSED_OVER} order by staged_id""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What a comparison of the log with everything else found."""

    decisions: int  #: looked at
    rows: int  #: of tables that name their decision, looked at
    tables: tuple[str, ...]  #: those tables, as far as the role may read them
    # From here on all must be zero.
    decisions_without_entry: int
    entries_without_decision: int
    decisions_unlike_entry: int  #: the header people search by says something else than the entry
    leaves_without_entry: int
    leaves_unlike_entry: int  #: the entry was changed after it was sealed
    missing_indexes: int  #: holes in the numbers of the log
    entries_passed_over: int  #: never sealed though later ones were, and no longer awaited
    rows_without_decision: dict[str, int]  #: by table, those that have any
    decisions_without_row: dict[str, int]  #: by table that should have the row, those that have any
    missing: dict[str, list[str]]  #: by problem, the first `MOST_NAMES` of what to look at

    @property
    def complete(self) -> bool:
        return not self.problems

    @property
    def problems(self) -> dict[str, int]:
        """Every number that should be zero and is not, by name."""
        found: dict[str, int] = {}
        for f in fields(self)[3:-1]:
            value = getattr(self, f.name)
            by_table = value if isinstance(value, dict) else None
            found |= {f.name: value} if by_table is None else {f"{f.name}.{table}": n for table, n in by_table.items()}
        return {name: n for name, n in found.items() if n}

    def as_details(self) -> dict[str, Any]:
        """For the entry that records this comparison."""
        return asdict(self)


async def reconcile(conn: asyncpg.Connection[Any]) -> Reconciliation:
    """Compare the log with itself and with every table whose rows name a decision, at one moment.

    Only tables that the role of `conn` may read are looked at; `tables` says which those were. Raises `LogDamaged`
    where an entry cannot even be read.
    """
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        await conn.execute(f"set local statement_timeout = '{MOST_HOURS}h'")  # it reads the whole log, at night
        tables = [(row["name"], row["column"]) for row in await conn.fetch(NOUN_TABLES)]
        missing: dict[str, list[str]] = {}
        rows, orphans = await _rows_without_decision(conn, tables, missing)
        made = await _decisions_without_row(conn, tables, missing)
        try:
            log = await conn.fetchrow(LOG)
            assert log is not None
            for problem, names in NAMES.items():
                if log[problem]:
                    missing[problem] = await _names(conn, names)
        except asyncpg.DataError as why:
            raise LogDamaged("A stored entry is no longer JSON; compare every entry with its leaf hash.") from why
        return Reconciliation(
            rows=rows, tables=tuple(".".join(table) for table in tables), rows_without_decision=orphans,
            decisions_without_row=made, missing=missing, **log,
        )  # fmt: skip


async def _rows_without_decision(
    conn: asyncpg.Connection[Any], tables: Sequence[tuple[str, str]], missing: dict[str, list[str]]
) -> tuple[int, dict[str, int]]:
    rows, orphans = 0, {}
    for table, column in tables:
        # Both names come quoted from the catalogue.
        seen, bad = await conn.fetchrow(f"""
            select count(t.{column}), count(t.{column}) filter (where d.id is null)
              from {table} t left join audit.staged d on d.id = t.{column}""") or (0, 0)
        rows += seen
        if bad:
            orphans[f"{table}.{column}"] = bad
            missing[f"rows_without_decision.{table}.{column}"] = await _names(conn, f"""
                select 'decision ' || t.{column} from {table} t left join audit.staged d on d.id = t.{column}
                 where t.{column} is not null and d.id is null order by t.{column}""")  # fmt: skip
    return rows, orphans


async def _decisions_without_row(
    conn: asyncpg.Connection[Any], tables: Sequence[tuple[str, str]], missing: dict[str, list[str]]
) -> dict[str, int]:
    """Decisions whose row is gone, or never was: the reverse."""
    names_of = {
        f"{table}.{column}": (f"{table} t where t.{column} = d.id", kinds)
        for (table, column), kinds in MAKES.items() if (table, column) in tables
    }  # fmt: skip
    names_of |= {
        f"{table}.id": (f"{table} t where t.id::text = d.subject_id", kinds)
        for table, kinds in CHANGES.items() if (table, "decision_id") in tables
    }  # fmt: skip
    found = {}
    for name, (rows, kinds) in names_of.items():
        allowed = "d.kind = any($1) and d.outcome = 'allowed'"
        without = f"from audit.decision d where {allowed} and not exists (select from {rows})"
        if bad := await conn.fetchval(f"select count(*) {without}", kinds):
            found[name] = bad
            missing[f"decisions_without_row.{name}"] = await _names(
                conn, f"select 'decision ' || d.id {without} order by d.id", kinds
            )
    return found


async def _names(conn: asyncpg.Connection[Any], statement: str, *arguments: object) -> list[str]:
    return [row[0] for row in await conn.fetch(f"{statement} limit {MOST_NAMES}", *arguments)]
