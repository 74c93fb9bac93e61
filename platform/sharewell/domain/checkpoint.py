"""Checkpoints (c2sp.org/tlog-checkpoint) and proofs that rest on them (c2sp.org/tlog-proof), as text.

Whether a checkpoint is signed is asked of `notes`; whether a proof holds, of `merkle`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sharewell.domain.errors import Invalid
from sharewell.domain.merkle import HASH_SIZE, Hash
from sharewell.domain.notes import b64decode, b64encode, is_name

LARGEST = 2**63 - 1

PROOF_HEADER = "c2sp.org/tlog-proof@v1"


class MalformedCheckpoint(Invalid):
    """The text is not a checkpoint as c2sp.org/tlog-checkpoint asks."""


class MalformedProof(Invalid):
    """The text is not a proof as c2sp.org/tlog-proof asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log says of itself: so many entries, under this head."""

    origin: str  #: name of the log, fixed for ever
    size: int  #: entries in the tree
    root: Hash
    extensions: tuple[str, ...] = ()  #: further signed lines; our log writes none

    def text(self) -> str:
        """The lines that are signed."""
        return "\n".join((self.origin, str(self.size), b64encode(self.root), *self.extensions)) + "\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the signed text of a checkpoint. Raises `MalformedCheckpoint` (or `MalformedNote` for its base64)."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise MalformedCheckpoint("A checkpoint is a line each for origin, size and root, then extensions if any.")
    origin, size, root = lines[0], decimal(lines[1], "size"), b64decode(lines[2])
    if not is_name(origin):
        raise MalformedCheckpoint("The origin has blanks or a plus.", field="origin")
    if len(root) != HASH_SIZE:
        raise MalformedCheckpoint(f"The root does not have {HASH_SIZE} bytes.", field="root")
    return Checkpoint(origin=origin, size=size, root=root, extensions=tuple(lines[3:-1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """Where an entry stands, and the siblings from its leaf up to the head."""

    index: int
    path: tuple[Hash, ...]
    extra: bytes | None = None  #: free bytes of the format, which nothing protects; ours has none

    def text(self) -> str:
        """The lines before the blank line and the checkpoint."""
        extra = [] if self.extra is None else [f"extra {b64encode(self.extra)}"]
        return "\n".join([PROOF_HEADER, *extra, f"index {self.index}", *map(b64encode, self.path)]) + "\n"


def parse_inclusion_proof(text: str) -> InclusionProof:
    """Read the lines before the blank line. Raises `MalformedProof` (or `MalformedNote` for its base64)."""
    lines = text.split("\n")
    if lines[0] != PROOF_HEADER or lines[-1]:
        raise MalformedProof(f"A proof begins with the line {PROOF_HEADER} and ends with a line end.")
    extra = b64decode(lines.pop(1).removeprefix("extra ")) if lines[1].startswith("extra ") else None
    if not lines[1].startswith("index "):
        raise MalformedProof("The proof does not say which entry it is for.", field="index")
    path = tuple(map(b64decode, lines[2:-1]))
    if any(len(value) != HASH_SIZE for value in path):
        raise MalformedProof(f"A hash of the proof does not have {HASH_SIZE} bytes.")
    return InclusionProof(index=decimal(lines[1].removeprefix("index "), "index"), path=path, extra=extra)


def format_tlog_proof(proof: InclusionProof, checkpoint: bytes) -> bytes:
    """The file that other tools read: proof, blank line, checkpoint as signed."""
    return f"{proof.text()}\n".encode() + checkpoint


def parse_tlog_proof(data: bytes) -> tuple[InclusionProof, bytes]:
    """Proof and checkpoint of such a file; the checkpoint is handed on as it is."""
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        text = head.decode("ascii") + "\n"
    except UnicodeDecodeError:
        raise MalformedProof("The proof is not ASCII.") from None
    if not blank or not checkpoint:
        raise MalformedProof("A proof file is a proof, a blank line and a checkpoint.")
    return parse_inclusion_proof(text), checkpoint


def decimal(text: str, field: str) -> int:
    """A whole number in its one decimal form."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text) or int(text) > LARGEST:
        raise MalformedCheckpoint(f"{field} is {text[:24]!r}; it must be a whole number in decimal.", field=field)
    return int(text)


def describe(path: Sequence[Hash]) -> str:
    """For people: how many hashes a proof has."""
    return f"{len(path)} hash" + ("" if len(path) == 1 else "es")
