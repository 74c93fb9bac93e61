"""What it costs to have a decision on record: transactions with their entry against the same ones without, in turns.

They are thin, a statement or five on a table of one index. Beside them stands what no record could be cheaper than: the
entry made and not recorded; its bytes put into a table without index, trigger or check by the very statement that does
the work; and the least that a log needs, one row that has its place, its id and its hash, checked by nobody. What the
product itself writes is in `audited_report`.

Ratios are paired within a round, so that what else the machine does falls on both alike. Commits wait for the disk, as
in production. Beside the rates stands the computing of a transaction, which other work disturbs less.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from sharewell.domain.audit import Decision
from sharewell.settings import DatabaseRole
from sharewell.store.audit import RECORD
from sharewell.store.entries import entry_of

Connection: TypeAlias = "asyncpg.Connection[Any]"
Act: TypeAlias = Callable[[Any], Awaitable[None]]
Prepare: TypeAlias = Callable[[str], Awaitable[None]]

WRITERS = 16
ROUNDS = 11
SLICE_SECONDS = 0.6

CLINIC = UUID("01890a5d-ac96-774b-bcce-b302099a8057")

SCRATCH = """
create schema if not exists benchmark;
create table if not exists benchmark.noun (id uuid primary key, owner text not null, units integer not null);
create table if not exists benchmark.bare (body bytea);
create table if not exists benchmark.least (
  place bigint generated always as identity primary key, id uuid not null unique, hash bytea not null,
  body bytea not null, staged_in xid8 not null);
create or replace function benchmark.keep(id uuid, body bytea) returns bigint
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  own xid8 := pg_current_xact_id();
  its bigint;
begin
  insert into benchmark.least (id, hash, body, staged_in) values ($1, sha256('\\x00'::bytea || $2), $2, own)
    returning place into its;
  return its;
end $$;
create table if not exists benchmark.chain (head bytea not null);
create table if not exists benchmark.link (n bigint generated always as identity primary key, head bytea, body bytea);
insert into benchmark.chain select sha256('') where not exists (select from benchmark.chain);
grant usage on schema benchmark to sharewell_gateway;
grant select, insert, update on all tables in schema benchmark to sharewell_gateway;
grant execute on all functions in schema benchmark to sharewell_gateway;
"""
INSERT = "insert into benchmark.noun (id, owner, units) values ($1, $2, $3)"
INSERT_AND_RECORD = f"with noun as ({INSERT}) select audit.record($4)"
INSERT_AND_KEEP = f"with noun as ({INSERT}) insert into benchmark.bare (body) values ($4)"
INSERT_AND_KEEP_LEAST = f"with noun as ({INSERT}) select benchmark.keep($4, $5)"
CHAIN = """
with head as (update benchmark.chain set head = sha256(head || $1) returning head)
insert into benchmark.link (head, body) select head, $1 from head
"""
READ = "select units from benchmark.noun where id = $1"
CHANGE = "update benchmark.noun set units = units + 1 where id = $1"


@dataclass
class Turns:
    """What one kind of transaction did in each round."""

    rates: list[float] = field(default_factory=list)  #: transactions a second
    ours: list[float] = field(default_factory=list)  #: microseconds of computing for each, in this process
    servers: list[float] = field(default_factory=list)  #: the same in the database's processes


async def audited(
    urls: Mapping[str, str], rounds: int = ROUNDS, seconds: float = SLICE_SECONDS
) -> list[dict[str, Any]]:
    """For each kind of transaction a line as it is recorded, and two of what a record could reach."""
    async with connected(urls, DatabaseRole.MIGRATOR, 1) as (owner,):
        await owner.execute(SCRATCH)
        try:
            async with connected(urls, DatabaseRole.GATEWAY, WRITERS) as writers:
                server = server_of(writers[0])
                acts = {f"{shape} {name}": act for shape, acts in SHAPES.items() for name, act in acts.items()}
                found, settings = await in_turns(writers, acts, rounds, seconds, server), await durability(owner)
        finally:
            await owner.execute("drop schema benchmark cascade")
    return [line | settings for shape in SHAPES for line in _told_of(shape, found)]


def _told_of(shape: str, found: Mapping[str, Turns]) -> list[dict[str, Any]]:
    plain, audited, made, bare, least, chained = (
        found[f"{shape} {name}"] for name in ("plain", "audited", "made", "bare", "least", "chained")
    )
    return [
        told("audit.audited_transaction", shape, audited, plain) | {
            "ratio_with_the_entry_made_and_not_recorded": _ratio(made.rates, plain.rates),
            "ratio_of_a_hash_chain": _ratio(chained.rates, plain.rates),
        },
        told("audit.least", shape, least, plain),
        told("audit.ceiling", shape, bare, plain) | {
            "ratio_with_the_entry_made_and_not_recorded": _ratio(made.rates, plain.rates),
            "computing_ratio_with_the_entry_made_and_not_recorded": _computing_ratio(made, plain),
        },
    ]  # fmt: skip


async def in_turns(
    workers: Sequence[Any], acts: Mapping[str, Act], rounds: int, seconds: float, server: int,
    prepare: Prepare | None = None,
) -> dict[str, Turns]:  # fmt: skip
    """What each of `acts` did, all workers at it at once; `server` is the database's first process."""
    found = {name: Turns() for name in acts}
    order, chance = list(acts), random.Random(0)
    for number in range(rounds + 1):
        chance.shuffle(order)
        for name in order:
            if prepare is not None:
                await prepare(name)
            did = await _slice(workers, acts[name], seconds, server)
            if number:  # the first round warms up
                turns = found[name]
                for values, value in zip((turns.rates, turns.ours, turns.servers), did, strict=True):
                    values.append(value)
    return found


async def _slice(workers: Sequence[Any], act: Act, seconds: float, server: int) -> tuple[float, float, float]:
    """Transactions a second, and microseconds of computing for each: in this process, and in the database's."""
    begun, ours, theirs = time.perf_counter(), time.process_time(), computed_by(server)

    async def write(worker: Any) -> int:
        done = 0
        while time.perf_counter() < begun + seconds:
            await act(worker)
            done += 1
        return done

    done = sum(await asyncio.gather(*map(write, workers)))
    took = time.perf_counter() - begun
    return done / took, (time.process_time() - ours) / done * 1e6, (computed_by(server) - theirs) / done * 1e6


def computed(pid: int) -> float:
    """Seconds of computing that a process of this machine has had so far."""
    return sum(_times(pid)[:2])


def computed_by(server: int) -> float:
    """The same of a database server by its first process: of all it has started, those that are gone among them."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return sum(_times(server)) + sum(computed(int(child)) for child in children)


def _times(pid: int) -> list[float]:
    """Seconds of a process in user mode and in the kernel, and those of its children that are gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:  # gone meanwhile, and counted where it came from
        return [0.0] * 4
    return [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in fields[11:15]]


def server_of(conn: Connection) -> int:
    """The first process of the server that `conn` is connected to, on this machine."""
    return int(Path(f"/proc/{conn.get_server_pid()}/stat").read_text().rsplit(")", 1)[1].split()[1])


async def durability(conn: Connection) -> dict[str, str]:
    """What a commit waits for."""
    return {name: await conn.fetchval("select current_setting($1)", name) for name in ("fsync", "synchronous_commit")}


def told(benchmark: str, transaction: str, with_it: Turns, without: Turns) -> dict[str, Any]:
    """One line of results; `computing_ratio` is what the ratio would be if nothing else were waited for."""
    return {
        "benchmark": benchmark,
        "transaction": transaction,
        "writers": WRITERS,
        "rounds": len(without.rates),
        "ratio": _ratio(with_it.rates, without.rates),
        "computing_ratio": _computing_ratio(with_it, without),
        "transactions_per_second": round(statistics.median(with_it.rates)),
        "server_microseconds": round(statistics.median(with_it.servers), 1),
        "server_microseconds_without": round(statistics.median(without.servers), 1),
        "own_microseconds": round(statistics.median(with_it.ours), 1),
        "own_microseconds_without": round(statistics.median(without.ours), 1),
    }


def _computing_ratio(with_it: Turns, without: Turns) -> float:
    more, less = ([sum(both) for both in zip(turns.ours, turns.servers, strict=True)] for turns in (with_it, without))
    return _ratio(less, more)


def _ratio(with_it: Sequence[float], without: Sequence[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(with_it, without, strict=True)), 3)


def entry(noun: UUID | None = None) -> bytes:
    """A decision as a mutation makes it, in the bytes that are recorded."""
    return entry_of(Decision(
        id=uuid7(), kind="offer.published", at=datetime.now(UTC), actor="marsupilami-clinic", institution=CLINIC,
        action="publishOffer", outcome="allowed", policy_set="ab" * 32, policies=("institutions-publish-their-own",),
        subject_kind="offer", subject_id=str(noun or uuid7()), details={"resource": "ventilator", "quantity": 3},
        request_id="01890a5dac96774bbcceb302099a8057", nonce=secrets.token_hex(16),
    ))  # fmt: skip


@asynccontextmanager
async def connected(urls: Mapping[str, str], role: DatabaseRole, count: int) -> AsyncIterator[list[Connection]]:
    """`count` connections under `role`."""
    found = [await asyncpg.connect(urls[role]) for _ in range(count)]
    try:
        yield found
    finally:
        for conn in found:
            await conn.close()


# --- the thin ones ------------------------------------------------------------------------------------------------


async def single(conn: Connection) -> None:
    await conn.execute(INSERT, uuid7(), "marsupilami-clinic", 3)


async def single_audited(conn: Connection) -> None:
    noun = uuid7()
    await conn.execute(INSERT_AND_RECORD, noun, "marsupilami-clinic", 3, entry(noun))


async def single_made(conn: Connection) -> None:
    noun = uuid7()
    entry(noun)
    await conn.execute(INSERT, noun, "marsupilami-clinic", 3)


async def single_bare(conn: Connection) -> None:
    noun = uuid7()
    await conn.execute(INSERT_AND_KEEP, noun, "marsupilami-clinic", 3, entry(noun))


async def single_least(conn: Connection) -> None:
    noun = uuid7()
    await conn.execute(INSERT_AND_KEEP_LEAST, noun, "marsupilami-clinic", 3, uuid7(), entry(noun))


async def single_chained(conn: Connection) -> None:
    noun = uuid7()
    async with conn.transaction():
        await conn.execute(INSERT, noun, "marsupilami-clinic", 3)
        await conn.execute(CHAIN, entry(noun))


async def five(conn: Connection, insert: str = INSERT, *more: UUID | bytes, noun: UUID | None = None) -> UUID:
    noun = noun or uuid7()
    for _ in range(2):
        await conn.fetchval(READ, noun)
    await conn.execute(insert, noun, "marsupilami-clinic", 3, *more)
    for _ in range(2):
        await conn.execute(CHANGE, noun)
    return noun


async def five_plain(conn: Connection) -> None:
    async with conn.transaction():
        await five(conn)


async def five_audited(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute(RECORD, entry(await five(conn)))


async def five_made(conn: Connection) -> None:
    async with conn.transaction():
        entry(await five(conn))


async def five_bare(conn: Connection) -> None:
    async with conn.transaction():
        noun = uuid7()
        await five(conn, INSERT_AND_KEEP, entry(noun), noun=noun)


async def five_least(conn: Connection) -> None:
    async with conn.transaction():
        noun = uuid7()
        await five(conn, INSERT_AND_KEEP_LEAST, uuid7(), entry(noun), noun=noun)


async def five_chained(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute(CHAIN, entry(await five(conn)))


SHAPES: dict[str, dict[str, Act]] = {
    "one statement": {
        "plain": single, "audited": single_audited, "made": single_made, "bare": single_bare,
        "least": single_least, "chained": single_chained,
    },
    "five statements": {
        "plain": five_plain, "audited": five_audited, "made": five_made, "bare": five_bare,
        "least": five_least, "chained": five_chained,
    },
}  # fmt: skip
