"""This node as a witness of other logs: it cosigns what extends all it saw of a log, and keeps what does not.

c2sp.org/tlog-witness, in its order of checks. Logs are taken from a list that the operator keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sharewell.audit.signers import Cosigner, mldsa44_verify
from sharewell.domain.checkpoint import Checkpoint, parse_checkpoint
from sharewell.domain.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from sharewell.domain.merkle import ProofFailed, empty_root, verify_consistency
from sharewell.domain.notes import (
    BadSignature,
    NoKnownSignature,
    Signature,
    VerifierKey,
    add_signatures,
    open_note,
    split_note,
)
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.witnessing import AddCheckpoint, parse_add_checkpoint
from sharewell.services.office import Office
from sharewell.store.database import Transaction
from sharewell.store.paging import Page
from sharewell.store.witness import Refusal, WitnessedHead, WitnessRepository

FORK, ROLLBACK = "fork", "rollback"


class UnknownLog(NotFound):
    """This node does not witness that log."""


class NotTheLog(Forbidden):
    """The checkpoint is not signed by the log it names."""


class OtherSize(Conflict):
    """The log was cosigned at another size than the request begins at."""

    def __init__(self, size: int) -> None:
        super().__init__(f"this log was cosigned at {size} entries.")
        self.size = size


class NotConsistent(Invalid):
    """The checkpoint does not extend what was cosigned of this log before."""


@dataclass(frozen=True, slots=True)
class _Asked:
    request: AddCheckpoint
    body: bytes
    checkpoint: Checkpoint
    note: bytes  #: the checkpoint with the lines of keys that we know, and no others


class WitnessService:
    """Cosigns, remembers, and shows what it refused."""

    def __init__(self, office: Office, logs: Sequence[VerifierKey], key: Callable[[], Cosigner]) -> None:
        """Witness `logs`, or nobody; `key` is fetched when it is first needed."""
        self._office = office
        self._logs = logs
        self._fetch_key = key

    @cached_property
    def _key(self) -> Cosigner:
        return self._fetch_key()

    @property
    def vkey(self) -> str | None:
        """The key that others put into their trust policies; None where this node is no witness."""
        return str(self._key.key) if self._logs else None

    async def add_checkpoint(self, body: bytes) -> Signature:
        """Our line under the checkpoint in `body`.

        Raises `Invalid` for what is malformed; `UnknownLog`; `NotTheLog`; `OtherSize`; `NotConsistent`, once the
        evidence is kept; `Unavailable`.
        """
        asked = self._read(body)
        async with self._office.database.transaction() as tx:
            outcome = await self._answer(tx, asked)
        if isinstance(outcome, Signature):
            return outcome
        raise outcome  # after the commit: a refusal is kept, not rolled back

    def _read(self, body: bytes) -> _Asked:
        request = parse_add_checkpoint(body)
        text, lines = split_note(request.checkpoint)
        checkpoint = parse_checkpoint(text)
        keys = [key for key in self._logs if key.name == checkpoint.origin]
        if not keys:
            raise UnknownLog(field="origin")
        try:
            _, signed = open_note(request.checkpoint, keys, mldsa44_verify)
        except (BadSignature, NoKnownSignature) as why:
            raise NotTheLog(why.message) from why
        if request.old > checkpoint.size:
            raise Invalid("old is larger than the size of the checkpoint.", field="old")
        marks = {(key.name, key.id) for key in signed}
        ours = "".join(line.line() for line in lines if (line.name, line.id) in marks)
        return _Asked(request, body, checkpoint, f"{text}\n{ours}".encode())

    async def _answer(self, tx: Transaction, asked: _Asked) -> Signature | Invalid | Conflict:
        book, checkpoint = WitnessRepository(tx.conn), asked.checkpoint
        known = await book.head_locked(checkpoint.origin)
        size = known.size if known else 0
        if asked.request.old != size:
            if known is not None and checkpoint.size <= size and checkpoint.root != known.root:
                await self._keep(book, asked, known, FORK if checkpoint.size == size else ROLLBACK)
            return OtherSize(size)
        try:
            _check(asked, known)
        except ProofFailed as why:
            if known is not None:
                await self._keep(book, asked, known, FORK)
            return NotConsistent(why.message)
        return await self._cosign(book, asked, known)

    async def _cosign(self, book: WitnessRepository, asked: _Asked, known: WitnessedHead | None) -> Signature:
        now = self._office.now()
        if known is not None and int(now.timestamp()) < int(known.cosigned_at.timestamp()):
            raise Unavailable("the clock of this witness is behind its last cosignature of this log.")
        checkpoint = asked.checkpoint
        line = self._key.cosign(checkpoint.text().encode(), int(now.timestamp()))
        await book.keep(
            WitnessedHead(
                origin=checkpoint.origin,
                size=checkpoint.size,
                root=checkpoint.root,
                note=add_signatures(asked.note, [line]),
                cosigned_at=now,
            )
        )
        return line

    async def _keep(self, book: WitnessRepository, asked: _Asked, known: WitnessedHead, reason: str) -> None:
        refusal = Refusal(
            id=0, at=self._office.now(), origin=asked.checkpoint.origin, reason=reason, request=asked.body,
            known_size=known.size, known_note=known.note,
        )  # fmt: skip
        await book.refuse(refusal, asked.checkpoint.text().encode())

    async def latest(self, origin_sha256: str) -> bytes:
        """The newest checkpoint that we cosigned of the log whose origin has this SHA-256. Raises `UnknownLog`."""
        async with self._office.looking() as tx:
            for head in await WitnessRepository(tx.conn).heads():
                if hashlib.sha256(head.origin.encode()).hexdigest() == origin_sha256:
                    return head.note
        raise UnknownLog(field="origin")

    async def refusals(self, caller: Caller, *, before: int, origin: str | None, first: int) -> Page[Refusal]:
        """What we refused to cosign, newest first; reading it is on record."""
        async with self._office.act(caller, Action.READ_ACCESS_AUDIT, Target.list("decision")) as act:
            await act.record("audit.read", "decision", "witness", {} if origin is None else {"origin": origin})
            return await WitnessRepository(act.tx.conn).refusals(before=before, origin=origin, first=first)


def _check(asked: _Asked, known: WitnessedHead | None) -> None:
    """Raise `ProofFailed` unless the checkpoint extends what we know."""
    checkpoint, proof = asked.checkpoint, asked.request.proof
    if known is None or not known.size:
        if proof:
            raise ProofFailed("A proof from an empty tree has no hashes.", field="proof")
        if not checkpoint.size and checkpoint.root != empty_root():
            raise ProofFailed("A tree without entries has one head only.", field="root")
        return
    verify_consistency(known.size, checkpoint.size, known.root, checkpoint.root, proof)
