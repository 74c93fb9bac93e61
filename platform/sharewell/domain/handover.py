"""How a log goes on under other keys and names: its key signs a note that names those that come after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from sharewell.domain.notes import ED25519, MalformedNote, NoKnownSignature, VerifierKey, open_note, parse_vkey

HANDOVER: Final = "/handover"  #: origin + HANDOVER is the first line of the note by which keys follow each other
HANDOVERS: Final = "handovers"  #: file of an exported log with all of them, an empty line between; only where any are


def read_handover(note: bytes, known: Sequence[VerifierKey]) -> tuple[str, ...]:
    """The keys that the note of a known key names. Raises `Invalid` where none of `known` signed it."""
    text, signed = open_note(note, [key for key in known if key.kind == ED25519])
    first, *vkeys = text.rstrip("\n").split("\n")
    if first not in {f"{key.name}{HANDOVER}" for key in signed} or not vkeys:
        raise MalformedNote("The note does not hand a log over.")
    return tuple(str(parse_vkey(vkey)) for vkey in vkeys)


def notes_of(handovers: bytes) -> Iterator[bytes]:
    """The notes that stand one after another, an empty line between, the earliest first."""
    parts = handovers.split(b"\n\n")
    for text, lines in zip(parts[::2], parts[1::2], strict=False):
        yield text + b"\n\n" + lines.rstrip(b"\n") + b"\n"


def went_on_as(handovers: bytes, origin: str, known: Sequence[VerifierKey]) -> frozenset[str]:
    """The names that the log `origin` went on under, its own among them, as `known` keys say in the file `handovers`.

    Notes by other keys count for nothing. Raises `Invalid` where a known key's note is none, or was changed.
    """
    names, before = {origin}, 0
    while before < len(names):  # those that were made at one time stand in any order
        before = len(names)
        for note in notes_of(handovers):
            with suppress(NoKnownSignature):
                named = read_handover(note, [key for key in known if key.name in names])
                names |= {parse_vkey(vkey).name for vkey in named}
    return frozenset(names)
