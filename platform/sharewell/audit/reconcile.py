"""Looks for what is *not* in the log: decisions without an entry, entries without a decision, rows without either.

Integrity, that nothing in the log was changed, is proven by the tree; this is completeness. Nothing is mended here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import asyncpg

from sharewell.audit.seal import LogDamaged

#: Tables outside of the log whose rows name the decision that made them, quoted ready for use.
NOUN_TABLES = """
select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name, quote_ident(a.attname) as column
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and n.nspname in ('sharewell', 'oauth', 'queue') and not a.attisdropped
   and a.atttypid = 'uuid'::regtype and a.attname in ('decision_id', 'disabled_by')
   and has_table_privilege(c.oid, 'select')
 order by 1, 2
"""
#: Every number that must be zero, and how many decisions were looked at, in one pass over the log.
LOG = """
select count(d.staged_id) as decisions,
       count(*) filter (where d.staged_id is not null and e.staged_id is null) as decisions_without_entry,
       count(*) filter (where e.staged_id is not null and d.staged_id is null) as entries_without_decision,
       count(*) filter (where e.staged_id is not null and d.staged_id is not null and not alike)
         as decisions_unlike_entry,
       count(*) filter (where l.staged_id is not null and e.staged_id is null) as leaves_without_entry,
       count(*) filter (where l.leaf_hash <> e.leaf_hash or l.leaf_hash <> sha256('\\x00'::bytea || e.body))
         as leaves_unlike_entry,
       coalesce(max(l.log_index) + 1, 0) - count(l.log_index) as missing_indexes,
       count(*) filter (where e.staged_id <= (select coalesce(max(settled), 0) from audit.tree) and l.staged_id is null)
         as entries_passed_over
  from audit.entry e full join audit.decision d using (staged_id) full join audit.leaf l using (staged_id),
       -- offset 0 keeps the entry from being parsed once for each of its keys
       lateral (select convert_from(e.body, 'UTF8')::jsonb as said offset 0) b,
       lateral (select d.at = (said ->> 'at')::timestamptz
           and (d.id::text, d.kind, d.actor, coalesce(d.institution::text, ''), d.action, d.outcome, d.policy_set,
                d.subject_kind, d.subject_id, d.request_id)
             is not distinct from (said ->> 'id', said ->> 'kind', said ->> 'actor',
                coalesce(said ->> 'institution', ''), said ->> 'action', said ->> 'outcome', said ->> 'policy_set',
                said ->> 'subject_kind', said ->> 'subject_id', said ->> 'request_id')
           and d.resources is not distinct from audit.resources_of(said) as alike) c
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What a comparison of the log with everything else found. From the third number on all must be zero."""

    decisions: int  #: looked at
    rows: int  #: of tables that name their decision, looked at
    tables: tuple[str, ...]  #: those tables, as far as the role may read them
    decisions_without_entry: int
    entries_without_decision: int
    decisions_unlike_entry: int  #: the header people search by says something else than the entry
    leaves_without_entry: int
    leaves_unlike_entry: int  #: the entry was changed after it was sealed
    missing_indexes: int  #: holes in the numbers of the log
    entries_passed_over: int  #: never sealed though later ones were, and no longer awaited
    rows_without_decision: dict[str, int]  #: by table, those that have any

    @property
    def complete(self) -> bool:
        return not self.problems

    @property
    def problems(self) -> dict[str, int]:
        """Every number that should be zero and is not, by name."""
        numbers = {f.name: getattr(self, f.name) for f in fields(self)[3:-1]}
        numbers |= {f"rows_without_decision.{table}": n for table, n in self.rows_without_decision.items()}
        return {name: n for name, n in numbers.items() if n}

    def as_details(self) -> dict[str, Any]:
        """For the entry that records this comparison."""
        return asdict(self)


async def reconcile(conn: asyncpg.Connection[Any]) -> Reconciliation:
    """Compare the log with itself and with every table whose rows name a decision, at one moment.

    Only tables that the role of `conn` may read are looked at; `tables` says which those were. Raises `LogDamaged`
    where an entry cannot even be read.
    """
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        rows, orphans = 0, {}
        tables = await conn.fetch(NOUN_TABLES)
        for table in tables:
            name, column = table["name"], table["column"]
            seen, bad = await conn.fetchrow(_rows_without_decision(name, column)) or (0, 0)
            rows += seen
            if bad:
                orphans[f"{name}.{column}"] = bad
        try:
            log = await conn.fetchrow(LOG)
        except asyncpg.DataError as why:
            raise LogDamaged("A stored entry is no longer JSON; compare every entry with its leaf hash.") from why
        assert log is not None
        names = tuple(f"{table['name']}.{table['column']}" for table in tables)
        return Reconciliation(rows=rows, tables=names, rows_without_decision=orphans, **log)


def _rows_without_decision(table: str, column: str) -> str:
    # Both names come quoted from the catalogue.
    return f"""
select count(t.{column}), count(t.{column}) filter (where d.id is null)
  from {table} t left join audit.decision d on d.id = t.{column}
"""
