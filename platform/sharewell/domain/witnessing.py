"""What a log and its witness say to each other (c2sp.org/tlog-witness), as bytes.

Who asks, and what a witness remembers, is left to others; so is whether signatures and proofs hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sharewell.domain.checkpoint import decimal
from sharewell.domain.errors import Invalid
from sharewell.domain.merkle import HASH_SIZE, Hash
from sharewell.domain.notes import Signature, b64decode, b64encode

MOST_HASHES: Final = 63  #: in one consistency proof
SIZE_TYPE: Final = "text/x.tlog.size"  #: Content-Type of the answer 409


class MalformedRequest(Invalid):
    """The body is not an add-checkpoint request as c2sp.org/tlog-witness asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """The body of `POST <witness>/add-checkpoint`: please cosign this, it extends what you cosigned last."""

    old: int  #: size of the tree that the witness cosigned last; 0 if it has cosigned none
    proof: tuple[Hash, ...]  #: of consistency, from `old` to the checkpoint; empty if `old` is 0
    checkpoint: bytes  #: signed note, as the log wrote it; nothing of it is checked here

    def encode(self) -> bytes:
        """The bytes of the body."""
        return (
            "".join((f"old {self.old}\n", *(f"{b64encode(h)}\n" for h in self.proof), "\n")).encode() + self.checkpoint
        )


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """Read such a body. Raises `MalformedRequest`, `MalformedCheckpoint` (its number) or `MalformedNote` (base64)."""
    head, blank, checkpoint = body.partition(b"\n\n")
    try:
        first, *hashes = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise MalformedRequest("The lines before the checkpoint are not ASCII.") from None
    if not blank or not checkpoint or not first.startswith("old "):
        raise MalformedRequest(
            "The body is a line 'old <size>', the hashes of a proof, an empty line and a checkpoint."
        )
    if len(hashes) > MOST_HASHES:
        raise MalformedRequest(f"The proof has {len(hashes)} hashes; {MOST_HASHES} are the most.", field="proof")
    proof = tuple(map(b64decode, hashes))
    if any(len(value) != HASH_SIZE for value in proof):
        raise MalformedRequest(f"A hash of the proof does not have {HASH_SIZE} bytes.", field="proof")
    return AddCheckpoint(old=decimal(first.removeprefix("old "), "old"), proof=proof, checkpoint=checkpoint)


def format_cosignatures(lines: Sequence[Signature]) -> bytes:
    """The body of the answer 200; `notes.parse_signatures` reads it."""
    return "".join(line.line() for line in lines).encode()


def format_size(size: int) -> bytes:
    """The body of the answer 409: the size that the witness cosigned last, to be sent as `old`."""
    return b"%d\n" % size


def parse_size(body: bytes) -> int:
    """Read that body. Raises `MalformedCheckpoint`."""
    return decimal(body.removesuffix(b"\n").decode("ascii", "replace"), "size")
