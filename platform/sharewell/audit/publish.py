"""After a head is signed: collect the witnesses' cosignatures, and bring the exported folder up to it.

Sealing never waits for any of this. Whoever publishes twice does no harm: lines are kept once, files are compared.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from sharewell.audit.export import checkpoint_in, export
from sharewell.audit.memory import check_memory
from sharewell.audit.proofs import published_note, read_checkpoint
from sharewell.audit.signers import mldsa44_verify
from sharewell.audit.witnesses import NotCosigned, WitnessAhead, cosignature
from sharewell.domain.errors import Invalid, SharewellError
from sharewell.domain.notes import Signature, parse_vkey
from sharewell.domain.trust import TrustedLog, TrustPolicy, Witness, open_checkpoint
from sharewell.store.log import LogRepository, SignedHead

if TYPE_CHECKING:
    import asyncpg
    import httpx2

PAUSE: Final = 10.0  #: seconds before a witness that did not cosign is asked again

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What one run left."""

    size: int  #: of the newest signed tree; 0 if nothing is signed
    cosigned: int  #: witnesses whose lines are under its checkpoint
    quorum: bool  #: whether they are enough for the trust policy
    files: int = 0  #: newly exported


class Publisher:
    """Publishes the newest checkpoint, as often as `publish` is called."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        http: httpx2.AsyncClient,
        *,
        policy: TrustPolicy | None = None,
        folder: Path | None = None,
    ) -> None:
        """`policy` names the witnesses to ask; `folder` is where to export to. Without them there is less to do."""
        self._pool = pool
        self._http = http
        self._policy = policy or TrustPolicy()
        self._folder = folder
        self._cosigned: dict[str, int] = {}  #: by witness: the size that it cosigned last, as far as we know
        self._not_before: dict[str, float] = {}  #: by witness that did not cosign: when to ask it again

    async def publish(self) -> Published:
        """Publish the newest checkpoint.

        Raises `LogBehind` or `LogForked` as `check_memory` does, and `LogDamaged` as `export` does.
        """
        async with self._pool.acquire() as conn:
            tree = LogRepository(conn)  # type: ignore[arg-type]  # the proxy has every method of a connection
            if not await tree.try_publish():
                return Published(size=0, cosigned=0, quorum=True)
            try:
                return await self._publish(tree, conn)  # type: ignore[arg-type]
            finally:
                if not conn.is_closed():
                    await tree.stop_publishing()

    async def _publish(self, tree: LogRepository, conn: asyncpg.Connection[Any]) -> Published:
        signed = await tree.latest_checkpoint()
        if signed is None:
            return Published(size=0, cosigned=0, quorum=True)
        await self._collect(tree, signed)
        note, policy = await published_note(tree, signed), await published_policy(tree, self._policy)
        files = 0
        if self._folder is not None and checkpoint_in(self._folder) != note:
            files = (await export(conn, self._folder, note, policy.text())).files
        cosigned, quorum = _judge(note, policy)
        return Published(size=signed.size, cosigned=cosigned, quorum=quorum, files=files)

    async def _collect(self, tree: LogRepository, signed: SignedHead) -> None:
        now = time.monotonic()
        missing = [
            witness for witness in self._policy.witnesses
            if witness.url and self._cosigned.get(witness.name) != signed.size
            and self._not_before.get(witness.name, now) <= now
        ]  # fmt: skip
        if not missing:
            return
        found = await asyncio.gather(*(self._ask(witness, signed) for witness in missing))
        for witness, line in zip(missing, found, strict=True):
            if line is not None:
                await tree.add_cosignature(signed.size, witness.name, line.line().encode())
                self._cosigned[witness.name] = signed.size

    async def _ask(self, witness: Witness, signed: SignedHead) -> Signature | None:
        old = self._cosigned.get(witness.name, signed.size)
        try:
            return await cosignature(self._http, self._pool, witness, signed.note, signed.size, old)
        except WitnessAhead as why:
            # Its word alone could stop us for nothing; the checkpoint that it should have then is signed by us.
            origin = read_checkpoint(signed.note).origin
            await check_memory(self._pool, self._http, origin=origin, policy=self._policy, folder=None)
            self._leave(witness, signed, why)
        except NotCosigned as why:
            self._leave(witness, signed, why)
        return None

    def _leave(self, witness: Witness, signed: SignedHead, why: SharewellError) -> None:
        self._not_before[witness.name] = time.monotonic() + PAUSE
        log.warning("a witness did not cosign", witness=witness.name, size=signed.size, why=why.message)


async def published_policy(tree: LogRepository, policy: TrustPolicy) -> TrustPolicy:
    """The trust policy to hand out with the log: all keys that ever signed it, beside the witnesses of `policy`."""
    keys = [parse_vkey(vkey) for vkey in await tree.keys()]
    given = {log.key.public for log in policy.logs}
    return replace(policy, logs=policy.logs + tuple(TrustedLog(key=key) for key in keys if key.public not in given))


def _judge(note: bytes, policy: TrustPolicy) -> tuple[int, bool]:
    without = TrustPolicy(logs=policy.logs, witnesses=policy.witnesses)
    try:
        cosigned = len(open_checkpoint(note, without, mldsa44_verify).cosigned_by)
    except Invalid:
        return 0, False
    try:
        open_checkpoint(note, policy, mldsa44_verify)
    except Invalid:
        return cosigned, False
    return cosigned, True
