"""Who can do what to the tables of the log and to the keys of persons: tried, not read from grants.

Add a table as a line of `MATRIX`; a table that is missing here fails the first test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from sharewell.settings import DatabaseRole

if TYPE_CHECKING:
    from tests.postgres.conftest import Connect, Connection

GATEWAY, WORKER, SEQUENCER, OWNER = (
    DatabaseRole.GATEWAY, DatabaseRole.WORKER, DatabaseRole.SEQUENCER, DatabaseRole.MIGRATOR,
)  # fmt: skip
ACTS = ("select", "insert", "update", "delete", "truncate", "disable", "drop")
#: What an owner can do to a table of the log; `guard.keep_the_log` refuses it to take the trigger or the table away.
OWNS = "select insert"
LOG = {GATEWAY: "select", WORKER: "select", SEQUENCER: "select", OWNER: OWNS}
TREE = LOG | {SEQUENCER: "select insert"}

#: By table and role: the acts that are done. What is not named is refused, by a missing right or by a trigger.
MATRIX: Final[dict[str, dict[DatabaseRole, str]]] = {
    "audit.entry": LOG,
    "audit.staged": LOG,
    "audit.header": LOG | {OWNER: "select insert disable"},  # made from the entries, and can be made anew
    "audit.leaf": TREE,
    "audit.tile": TREE,
    "audit.tree": TREE,
    "audit.checkpoint": TREE,
    "audit.verifier_key": TREE,
    "audit.cosignature": TREE,
    "audit.key_handover": TREE,
    "erasable.subject_key": {
        GATEWAY: "select insert update", WORKER: "select update", SEQUENCER: "",
        OWNER: "select insert update disable drop",
    },
    "erasable.lookup_key": {
        GATEWAY: "select insert update", WORKER: "", SEQUENCER: "", OWNER: "select insert update disable drop",
    },
}  # fmt: skip
ROWS: Final = {
    "audit.entry": "(leaf_hash, body) values ('x', 'x')",
    "audit.staged": "values (gen_random_uuid(), {n})",
    "audit.header": "(id, staged_id, kind, at, actor, action, outcome, policy_set, subject_kind, subject_id,"
    " request_id) values (gen_random_uuid(), {n}, '', now(), '', '', '', '', '', '', '')",
    "audit.leaf": "values ({n}, {n}, sha256('x'))",
    "audit.tile": "values (1, {n}, 1, sha256('x'))",
    "audit.tree": "values ({n}, sha256('x'), {n})",
    "audit.checkpoint": "values ({n}, 'x')",
    "audit.verifier_key": "values ('key {n}')",
    "audit.cosignature": "values (1, 'witness {n}', 'x')",
    "audit.key_handover": "values ('key 1', 'x') on conflict do nothing",
    "erasable.subject_key": "values (gen_random_uuid(), sha256('{n}'), null, 'k', 'w', now(), now())",
    "erasable.lookup_key": "values (true, 'k', 'w') on conflict do nothing",
}  # fmt: skip
TABLES = """
select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and n.nspname in ('audit', 'erasable')
"""


def statement(act: str, table: str) -> str:
    column = A_COLUMN[table]
    return {
        "select": f"select {column} from {table}",
        "insert": f"insert into {table} {ROWS[table].format(n=2)}",
        "update": f"update {table} set {column} = {column}",
        "delete": f"delete from {table}",
        "truncate": f"truncate {table} cascade",
        "disable": f"alter table {table} disable trigger user",
        "drop": f"drop table {table} cascade",
    }[act]


#: A column that whoever may read or update the table at all may read or update.
A_COLUMN = {
    "erasable.subject_key": "keep_until", "erasable.lookup_key": "wrapped", "audit.entry": "body",
    "audit.staged": "id", "audit.header": "kind", "audit.leaf": "log_index", "audit.tile": "n",
    "audit.tree": "size", "audit.checkpoint": "note", "audit.verifier_key": "vkey",
    "audit.cosignature": "line", "audit.key_handover": "note",
}  # fmt: skip


async def done(conn: Connection, act: str, table: str) -> bool:
    """Whether the act is done; it is undone at once."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(statement(act, table))
    except asyncpg.InsufficientPrivilegeError:
        return False
    except asyncpg.PostgresError as why:
        if why.sqlstate in {"SW002", "SW004"}:
            return False
        raise
    finally:
        await transaction.rollback()
    return True


@pytest.fixture
async def a_row_in_each(owner: Connection) -> None:
    order = ["audit.tree", *(table for table in ROWS if table != "audit.tree")]
    for table in order:
        await owner.execute(f"insert into {table} {ROWS[table].format(n=1)}")
    await owner.execute(f"insert into audit.tree {ROWS['audit.tree'].format(n=2)}")  # for the checkpoint that is tried


async def test_every_table_of_the_log_and_of_keys_is_in_the_matrix(owner: Connection) -> None:
    assert {row["name"] for row in await owner.fetch(TABLES)} == set(MATRIX)


@pytest.mark.parametrize("role", DatabaseRole)
async def test_a_role_can_do_what_the_matrix_says_and_nothing_else(
    a_row_in_each: None, connect: Connect, role: DatabaseRole
) -> None:
    conn = await connect(role)
    for table, may in MATRIX.items():
        if table == "audit.tree" and role in (SEQUENCER, OWNER):
            can = {act for act in ACTS if act == "insert" or await done(conn, act, table)}  # its key is taken already
        else:
            can = {act for act in ACTS if await done(conn, act, table)}
        assert can == set(may[role].split()), table
