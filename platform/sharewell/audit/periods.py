"""Puts together the entries of a period with the proof that none is left out.

What the file looks like and how it is checked is in `sharewell.domain.period`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sharewell.audit.proofs import NotSealedYet, carried_note, read_checkpoint, read_nodes
from sharewell.audit.seal import LogDamaged
from sharewell.domain.errors import Invalid, NotFound
from sharewell.domain.merkle import ProofFailed, hash_leaf
from sharewell.domain.period import MOST_ENTRIES, Period
from sharewell.domain.policy import read_policy_set_list
from sharewell.domain.ranges import nodes_of_range, verify_range
from sharewell.store.artifacts import read_artifact
from sharewell.store.log import LogRepository

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg


async def period_of(
    conn: asyncpg.Connection[Any], since: datetime, until: datetime, *, cosigned: bool = False
) -> Period:
    """All sealed entries decided from `since` on and before `until`, and those between them, under the newest head;
    `cosigned`, with every line under it.

    Raises `NotSealedYet` where nothing is signed, `NotFound` where nothing was decided then, `Invalid` for more entries
    than a file may have, `LogDamaged` where what is stored would not convince anyone.
    """
    log = LogRepository(conn)
    signed = await log.latest_checkpoint()
    if signed is None:
        raise NotSealedYet(field="since")
    found = await log.of_period(since, until, signed.size)
    if found is None:
        raise NotFound("nothing that is sealed was decided in that period.", field="since")
    first, end = found
    if end - first > MOST_ENTRIES:
        raise Invalid(f"the period has {end - first} entries; ask for one of at most {MOST_ENTRIES}.", field="until")
    checkpoint, entries = read_checkpoint(signed.note), await log.bodies(first, end)
    nodes = nodes_of_range(first, end, checkpoint.size)
    hashes = await read_nodes(log, nodes, checkpoint.size)
    proof = tuple(hashes[node] for node in nodes)
    try:
        # In a thread: of the most entries a file may have it takes a second, in which others want to be answered.
        leaves = await asyncio.to_thread(lambda: [hash_leaf(entry) for entry in entries])
        await asyncio.to_thread(verify_range, leaves, first, checkpoint.size, proof, checkpoint.root)
    except ProofFailed as why:
        raise LogDamaged(f"Entries {first} to {end - 1} of the log do not lead to the signed head.") from why
    return Period(
        origin=checkpoint.origin, since=since, until=until, first=first, entries=tuple(entries), proof=proof,
        checkpoint=await carried_note(log, signed, cosigned=cosigned), keys=tuple(await log.keys()),
        policies=await policy_files(conn, await log.policy_sets(first, end)),
    )  # fmt: skip


async def policy_files(conn: asyncpg.Connection[Any], sets: Iterable[str]) -> dict[str, bytes]:
    """The files of those policy sets that are kept, and the list of each, by SHA-256."""
    found: dict[str, bytes] = {}
    for name in sorted({*sets} - {""}):
        with suppress(NotFound):  # of a release that kept none
            found[name] = await read_artifact(conn, name)
            for sha256 in read_policy_set_list(found[name]).values():
                found[sha256] = await read_artifact(conn, sha256)
    return found
