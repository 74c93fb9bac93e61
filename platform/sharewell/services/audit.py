"""Read the audit log. Each reading is a decision on record itself, and nothing is shown that could not be recorded."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from uuid import UUID

from sharewell.audit.export import checked_body
from sharewell.audit.proofs import bundle_of, published_note, tlog_proof_of
from sharewell.audit.publish import published_policy
from sharewell.audit.receipts import MERGE_WITHIN, ReceiptSigner
from sharewell.domain.audit import Json
from sharewell.domain.errors import NotFound
from sharewell.domain.merkle import hash_leaf
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.tiles import FULL, HEIGHT, Tile, entry_bundle
from sharewell.domain.trust import TrustPolicy
from sharewell.services.office import Office
from sharewell.store.audit import DecisionFilter, DecisionHeader, RecordedDecision
from sharewell.store.log import LogRepository
from sharewell.store.paging import Page, Place

#: Kinds of decision that speak of who may do what.
ABOUT_ACCESS = ("access.", "client.", "documents.", "key.", "person.", "policy.", "token.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptAndProof:
    """What the log promised of one decision, and how it kept that."""

    receipt: bytes  #: signed note
    merge_by: datetime  #: by when the entry must be in the tree
    log_index: int | None
    proof: bytes | None  #: as c2sp.org/tlog-proof has it; None until the entry is in a signed tree


class AuditService:
    """What was decided, by whom, and the proof of it."""

    def __init__(self, office: Office, receipts: ReceiptSigner, policy: TrustPolicy | None = None) -> None:
        """`policy` names the witnesses of the log."""
        self._office = office
        self._receipts = receipts
        self._policy = policy or TrustPolicy()

    async def page(
        self, caller: Caller, *, before: UUID, matching: DecisionFilter, first: int, place: Place | None = None
    ) -> Page[DecisionHeader]:
        """Newest first, or in the order of `place`. Recorded with what was asked for."""
        action = reading(matching.kind)
        seen, parts = self._office.part(caller, action, Target.list("decision", owner=matching.institution))
        async with self._office.act(caller, action, parts[0]) as act:
            await act.record("audit.read", "decision", MANY, {**asked_for(matching), **narrowed_to(parts)})
            return await act.tx.audit.page(before=before, matching=matching, first=first, seen=seen, place=place)

    async def get(self, caller: Caller, id: UUID) -> RecordedDecision:  # noqa: A002
        recorded = await self._find(id)
        async with self._office.act(caller, reading(recorded.decision.kind), target_of(recorded)) as act:
            await act.record("audit.read", "decision", id, {})
            return recorded

    async def bundle(self, caller: Caller, id: UUID, *, cosigned: bool = False) -> bytes:  # noqa: A002
        """The file that proves one decision to a stranger; `cosigned`, with the witnesses' lines too.

        Raises `NotFound` or `NotSealedYet`.
        """
        target = target_of(await self._find(id))
        async with self._office.act(caller, Action.READ_DECISION_BUNDLE, target) as act:
            bundle = await bundle_of(act.tx.conn, id, cosigned=cosigned)
            await act.record("audit.bundle_read", "decision", id, {})
            return bundle

    async def receipt_of(self, id: UUID) -> bytes:  # noqa: A002
        """The log receipt of a decision, for whoever just made it."""
        recorded = await self._find(id)
        return self._receipts.sign(hash_leaf(recorded.entry), recorded.staged_at)

    async def receipt(self, caller: Caller, id: UUID) -> ReceiptAndProof:  # noqa: A002
        """The log receipt of a decision, and the proof that it was kept once it was. On record."""
        recorded = await self._find(id)
        async with self._office.act(caller, reading(recorded.decision.kind), target_of(recorded)) as act:
            await act.record("audit.read", "decision", id, {})
            proof = await tlog_proof_of(LogRepository(act.tx.conn), recorded.log_index)
        receipt = self._receipts.sign(hash_leaf(recorded.entry), recorded.staged_at)
        return ReceiptAndProof(
            receipt=receipt, merge_by=recorded.staged_at + MERGE_WITHIN, log_index=recorded.log_index, proof=proof
        )

    async def checkpoint(self) -> bytes | None:
        """The newest signed tree head, with what witnesses put under it; public, as every log's is."""
        async with self._office.looking() as tx:
            log = LogRepository(tx.conn)
            signed = await log.latest_checkpoint()
            return None if signed is None else await published_note(log, signed)

    async def policy(self) -> str:
        """The log's keys, all that ever signed it, and its witnesses, as c2sp.org/tlog-policy has them; public."""
        async with self._office.looking() as tx:
            policy = await published_policy(LogRepository(tx.conn), self._policy)
        ours = self._receipts.key.key
        if ours not in policy.receipt_keys:
            policy = replace(policy, receipt_keys=(*policy.receipt_keys, ours))
        return policy.text()

    async def tile(self, level: int, n: int, width: int) -> bytes | None:
        """The hashes of a tile, if the newest signed tree has it in that width; public."""
        async with self._office.looking() as tx:
            log = LogRepository(tx.conn)
            if not await _has(log, level, n, width):
                return None
            tile = Tile(level, n, width)
            return b"".join((await log.tiles([tile]))[tile])

    async def entries(self, caller: Caller, n: int, width: int) -> bytes:
        """Bundle `n` of entries, of whatever kind and of everybody; for those who may read all of it. On record.

        Raises `NotFound` where the newest signed tree does not have it in that width.
        """
        everything = Target.list("decision")
        await self._office.permit(caller, Action.READ_ACCESS_AUDIT, everything)  # it may hold entries of either kind
        async with self._office.act(caller, Action.READ_AUDIT, everything) as act:
            log = LogRepository(act.tx.conn)
            if not await _has(log, 0, n, width):
                raise NotFound("the log has no such entries.", field="path")
            await act.record("audit.entries_read", "decision", MANY, {"n": n, "width": width})
            return entry_bundle(checked_body(row) for row in await log.sealed(n * FULL, n * FULL + width))

    async def _find(self, id: UUID) -> RecordedDecision:  # noqa: A002
        async with self._office.looking() as tx:
            return await tx.audit.get(id)


async def _has(log: LogRepository, level: int, n: int, width: int) -> bool:
    signed = await log.latest_checkpoint()
    return signed is not None and n * FULL + width <= signed.size >> (HEIGHT * level)


def target_of(recorded: RecordedDecision) -> Target:
    """A decision belongs to the institution it is about."""
    return Target(kind="decision", id=str(recorded.decision.id), owner=recorded.decision.institution)


def reading(kind: str | None) -> Action:
    """Decisions about access are read by those who manage it, under a permission of its own."""
    return Action.READ_ACCESS_AUDIT if kind is not None and kind.startswith(ABOUT_ACCESS) else Action.READ_AUDIT


def narrowed_to(parts: list[Target]) -> dict[str, Json]:
    """To whose decisions a reading was narrowed, as its entry has it; nothing where it was not."""
    regions = [part.region for part in parts if part.region is not None]
    if regions:
        return {"regions": ",".join(regions)}
    return {"institution": str(parts[0].owner)} if parts[0].owner is not None else {}


def asked_for(matching: DecisionFilter) -> dict[str, Json]:
    """What was asked for, as the entry of the reading has it."""
    names = [each.name for each in fields(matching)]
    return {name: str(value) for name in names if (value := getattr(matching, name)) is not None}
