"""Logs made in memory and in folders, by the code that makes real ones, for the verifiers to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import UUID

from sharewell.audit.keys import LogKey
from sharewell.audit.signers import Cosigner
from sharewell.domain import merkle
from sharewell.domain.audit import Decision
from sharewell.domain.bundle import Bundle
from sharewell.domain.checkpoint import Checkpoint, InclusionProof
from sharewell.domain.log_receipt import LogReceipt, key_name, sign_log_receipt
from sharewell.domain.notes import COSIGNATURE, MLDSA44, add_signatures, sign_note
from sharewell.domain.tiles import build_tiles
from sharewell.domain.trust import Group, TrustedLog, TrustPolicy, Witness

ORIGIN = "log.example/2026"
LOG = LogKey.from_seed(ORIGIN, bytes(range(32)))
QUANTUM = Cosigner.from_seed(ORIGIN, MLDSA44, bytes(range(1, 33)))
ONE, TWO = (Cosigner.from_seed(f"witness.example/{n}", COSIGNATURE, bytes([n] * 32)) for n in (1, 2))
RECEIPTS = LogKey.from_seed(key_name(ORIGIN), bytes(range(2, 34)))
POLICY = TrustPolicy(
    logs=(TrustedLog(key=LOG.key), TrustedLog(key=QUANTUM.key)),
    witnesses=(Witness(name="one", key=ONE.key), Witness(name="two", key=TWO.key)),
    groups=(Group(name="both", least=2, members=("one", "two")),),
    quorum="both",
    receipt_keys=(RECEIPTS.key,),
)
NOON = 1_772_366_400  #: Unix seconds at which everything is cosigned: 2026-03-01T12:00:00Z


@cache
def entry(number: int) -> bytes:
    """The bytes of a decision that no other number has."""
    return Decision(
        id=UUID(int=number),
        kind="offer.published",
        at=datetime(2026, 3, 1, tzinfo=UTC),
        actor="marsupilami-clinic",
        institution=UUID(int=7),
        action="publishOffer",
        outcome="allowed",
        policy_set="ab" * 32,
        policies=("institutions-publish-their-own",),
        subject_kind="offer",
        subject_id=str(UUID(int=number)),
        details={"quantity": number, "note": "Überlauf – 满"},
        request_id=f"r-{number}",
        nonce=f"{number:032x}",
    ).entry()


@dataclass(frozen=True)
class MadeLog:
    """A log as an export of it holds it."""

    entries: Sequence[bytes]
    files: Mapping[str, bytes]

    @property
    def checkpoint(self) -> bytes:
        return self.files["checkpoint"]

    def write(self, folder: Path, **other: bytes) -> Path:
        for path, data in (dict(self.files) | other).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder

    def path_of(self, index: int) -> tuple[merkle.Hash, ...]:
        leaves = [merkle.hash_leaf(body) for body in self.entries]

        def read(nodes: Sequence[merkle.Node]) -> list[merkle.Hash]:
            return [merkle.fold(leaves[at << level : (at + 1) << level]) for level, at in nodes]

        return tuple(merkle.prove_inclusion(index, len(leaves), read))

    def bundle(self, index: int) -> Bundle:
        return Bundle(
            origin=ORIGIN,
            entry=self.entries[index],
            proof=InclusionProof(index=index, path=self.path_of(index)),
            checkpoint=self.checkpoint,
        )


def sign(head: Checkpoint, *cosigners: Cosigner, by: LogKey = LOG, at: int = NOON) -> bytes:
    text = head.text()
    return add_signatures(sign_note(text, [by]), [cosigner.cosign(text.encode(), at) for cosigner in cosigners])


@cache
def a_log(size: int, *cosigners: Cosigner) -> MadeLog:
    """The log of the first `size` entries, with the witnesses' cosignatures and the log's post-quantum line."""
    entries = [entry(number) for number in range(size)]
    head = Checkpoint(origin=ORIGIN, size=size, root=merkle.root_hash(entries))
    signed = {"checkpoint": sign(head, *(cosigners or (QUANTUM, ONE, TWO))), "policy": POLICY.text().encode()}
    return MadeLog(entries, build_tiles(entries) | signed)


def a_receipt(body: bytes, merge_by: int = NOON) -> bytes:
    receipt = LogReceipt(origin=ORIGIN, leaf_hash=merkle.hash_leaf(body), staged_at=merge_by - 60, merge_by=merge_by)
    return sign_log_receipt(receipt, RECEIPTS)
