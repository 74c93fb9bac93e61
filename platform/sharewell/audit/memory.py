"""What others remember of the log, held against the database: before anything is signed, and again after an outage.

A database that was restored from a backup, or lost its last commits, would sign a second history of what it lost. Its
own tables cannot tell; witnesses and the exported folder can.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from sharewell.audit.export import checkpoint_in
from sharewell.audit.proofs import root_at
from sharewell.audit.seal import RUNBOOK, LogBehind, LogDamaged
from sharewell.audit.witnesses import Remembered, remembered_by
from sharewell.domain.checkpoint import Checkpoint, parse_checkpoint
from sharewell.domain.errors import Invalid
from sharewell.domain.merkle import empty_root
from sharewell.domain.notes import VerifierKey, open_note, parse_vkey
from sharewell.domain.trust import TrustPolicy
from sharewell.store.log import LogRepository

if TYPE_CHECKING:
    import asyncpg
    import httpx2

log = structlog.get_logger(__name__)


class LogForked(LogDamaged):
    """Somebody has a checkpoint, signed with our key, of a tree that the database does not have."""

    code = "LOG_FORKED"


async def check_memory(
    pool: asyncpg.Pool[Any],
    http: httpx2.AsyncClient,
    *,
    origin: str,
    keys: Sequence[VerifierKey] = (),
    policy: TrustPolicy | None,
    folder: Path | None,
) -> int:
    """Raise `LogBehind` or `LogForked` if witnesses or the folder remember what the database does not have.

    `keys` may have signed the log beside those that the database knows. Returns how many of them were heard. A witness
    that shows what we never signed is not believed.
    """
    remembered = await remembered_by(http, policy.witnesses if policy else (), origin)
    exported = checkpoint_in(folder) if folder else None
    if exported is not None:
        remembered.append(Remembered(f"the folder {folder}", exported))
    async with pool.acquire() as conn:
        tree = LogRepository(conn)  # type: ignore[arg-type]  # the proxy has every method of a connection
        known = [*map(parse_vkey, await tree.keys()), *keys]
        heard = 0
        for each in remembered:
            checkpoint = _signed_by_us(each, known)
            if checkpoint is not None:
                await _compare(tree, each.where, checkpoint)
                heard += 1
    return heard


def _signed_by_us(remembered: Remembered, keys: Sequence[VerifierKey]) -> Checkpoint | None:
    try:
        text, _ = open_note(remembered.note, keys)
        return parse_checkpoint(text)
    except Invalid as why:
        if remembered.where.startswith("the folder"):
            raise LogForked(f"The checkpoint in {remembered.where} is not of this log: {why.message}") from why
        log.warning("what a witness remembers was not signed by us", where=remembered.where, why=why.message)
        return None


async def _compare(tree: LogRepository, where: str, checkpoint: Checkpoint) -> None:
    size = (await tree.head()).size
    if checkpoint.size > size:
        raise LogBehind(
            f"The database has {size} entries of the log {checkpoint.origin}, and {where} has a signed checkpoint of "
            f"{checkpoint.size}. Nothing is signed. {RUNBOOK}"
        )
    root = await root_at(tree, checkpoint.size, size) if checkpoint.size else empty_root()
    if root != checkpoint.root:
        raise LogForked(
            f"{where[0].upper()}{where[1:]} has a signed checkpoint of {checkpoint.size} entries of the log "
            f"{checkpoint.origin} that the database does not lead to. Nothing is signed. {RUNBOOK}"
        )
