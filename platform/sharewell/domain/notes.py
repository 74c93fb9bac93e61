"""Signed notes (c2sp.org/signed-note): a text, a blank line, and lines of signatures by named keys.

Checking is done here; making a signature is asked of a `Signer`, since no secret enters the domain.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from sharewell.domain import ed25519
from sharewell.domain.errors import Invalid

ED25519: Final = 0x01  #: a signature over the text
COSIGNATURE: Final = 0x04  #: a witness's Ed25519 signature over a time and the text (c2sp.org/tlog-cosignature)
MLDSA44: Final = 0x06  #: a post-quantum cosignature over name, time, origin, size and root; takes a library to check

MOST_SIGNATURES = 100

#: Whether, by FIPS 204, (public key, message, signature) is an ML-DSA-44 signature with an empty context.
Mldsa44: TypeAlias = Callable[[bytes, bytes, bytes], bool]

_KEY_SIZE = {ED25519: 32, COSIGNATURE: 32, MLDSA44: 1312}
_COSIGNATURE_SIZE = 8 + 64
_MLDSA44_SIZE = 8 + 2420
_LATEST = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DASH = "\u2014 "


class MalformedNote(Invalid):
    """The note or key is not written as c2sp.org/signed-note asks."""


class BadSignature(Invalid):
    """A signature by a key we know does not fit the text."""


class NoKnownSignature(Invalid):
    """No signature on the note is by a key we know."""


def b64encode(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def b64decode(text: str) -> bytes:
    """Read base64, refusing every text but the one that `b64encode` writes for those bytes."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise MalformedNote(f"{text[:40]!r} is not base64.") from None
    if b64encode(data) != text:
        raise MalformedNote(f"{text[:40]!r} is not base64 in its canonical form.")
    return data


def key_id(name: str, kind: int, public: bytes) -> int:
    """The four bytes that tell a name's keys apart, as a number."""
    return int.from_bytes(hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4], "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A named public key."""

    name: str
    kind: int  #: ED25519, COSIGNATURE or MLDSA44
    public: bytes

    @property
    def id(self) -> int:
        return key_id(self.name, self.kind, self.public)

    def __str__(self) -> str:
        """The vkey: `name+id+base64`, as published."""
        return f"{self.name}+{self.id:08x}+{b64encode(bytes([self.kind]) + self.public)}"

    def verify(self, text: bytes, signature: bytes, mldsa44: Mldsa44 | None = None) -> bool:
        """Whether `signature`, without its key id, was made over `text` with this key.

        One of the kind MLDSA44 is false without `mldsa44`; `open_note` passes such keys over.
        """
        if self.kind == ED25519:
            return ed25519.verify(self.public, text, signature)
        if len(signature) < 8 or (timestamp := timestamp_of(signature)) > _LATEST:
            return False
        if self.kind == COSIGNATURE and len(signature) == _COSIGNATURE_SIZE:
            return ed25519.verify(self.public, cosigned_text(text, timestamp), signature[8:])
        if self.kind == MLDSA44 and len(signature) == _MLDSA44_SIZE and mldsa44:
            message = cosigned_tree(self.name, timestamp, text)
            return message is not None and mldsa44(self.public, message, signature[8:])
        return False


def parse_vkey(text: str) -> VerifierKey:
    """Read a vkey. Raises `MalformedNote` where it is not one, or its id is not the id of its key."""
    name, _, rest = text.partition("+")  # the base64 may hold a '+', so only the first two part
    id_hex, _, encoded = rest.partition("+")
    if not is_name(name) or not re.fullmatch(r"[0-9a-f]{8}", id_hex):
        raise MalformedNote("A verifier key must look like name+1a2b3c4d+base64.", field="key")
    data = b64decode(encoded)
    if not data or _KEY_SIZE.get(data[0]) != len(data) - 1:
        raise MalformedNote("The verifier key is of no kind that we know.", field="key")
    key = VerifierKey(name=name, kind=data[0], public=data[1:])
    if int(id_hex, 16) != key.id:
        raise MalformedNote(f"The id of the verifier key should be {key.id:08x}; a character is wrong.", field="key")
    return key


def is_name(text: str) -> bool:
    """Whether `text` can name a key: not empty, no blanks, no plus."""
    return bool(text) and not re.search(r"[\s+]", text)


class Signer(Protocol):
    """A named secret key, kept elsewhere."""

    @property
    def key(self) -> VerifierKey:
        """Its public half."""

    def sign(self, text: bytes) -> bytes:
        """The signature over `text`, without the key id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One line under a note."""

    name: str
    id: int  #: of the key
    blob: bytes  #: what stands after the key id

    def line(self) -> str:
        """As written under the note, with its line end."""
        return f"{_DASH}{self.name} {b64encode(self.id.to_bytes(4, 'big') + self.blob)}\n"


def sign_note(text: str, signers: Sequence[Signer]) -> bytes:
    """The note: `text`, which must end with a line end, and one signature by each signer."""
    _check_text(text)
    if not text.endswith("\n"):
        raise MalformedNote("The text of a note must end with a line end.", field="text")
    lines = (Signature(name=s.key.name, id=s.key.id, blob=s.sign(text.encode())).line() for s in signers)
    return f"{text}\n{''.join(lines)}".encode()


def add_signatures(note: bytes, signatures: Sequence[Signature]) -> bytes:
    """`note` with further lines; a key that signed it already adds none, since readers refuse two lines of one key."""
    seen = {(line.name, line.id) for line in split_note(note)[1]}
    lines = []
    for line in signatures:
        if (line.name, line.id) not in seen:
            lines.append(line.line())
            seen.add((line.name, line.id))
    return note + "".join(lines).encode()


def split_note(note: bytes) -> tuple[str, list[Signature]]:
    """The text and every signature line, none of them checked. Raises `MalformedNote`."""
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedNote("The note is not UTF-8.") from None
    _check_text(whole)
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise MalformedNote("It is no signed note, or was cut off: a text, a blank line, then whole signature lines.")
    rows = lines[:-1].split("\n")
    if len(rows) > MOST_SIGNATURES:
        raise MalformedNote(f"The note has more than {MOST_SIGNATURES} signatures.")
    return text + "\n", [_signature(row) for row in rows]


def open_note(
    note: bytes, keys: Sequence[VerifierKey], mldsa44: Mldsa44 | None = None
) -> tuple[str, list[VerifierKey]]:
    """The text, and those of `keys` that signed it. Signatures by others are ignored.

    So are those by keys of the kind MLDSA44 where no `mldsa44` is given to check them with. Raises `MalformedNote`;
    `BadSignature` if a known key's signature does not fit; `NoKnownSignature`.
    """
    text, signatures = split_note(note)
    known = {(key.name, key.id): key for key in keys if mldsa44 or key.kind != MLDSA44}
    signed: dict[tuple[str, int], VerifierKey] = {}
    for signature in signatures:
        mark = signature.name, signature.id
        key = known.get(mark)
        if key is None or mark in signed:
            continue
        if not key.verify(text.encode(), signature.blob, mldsa44):
            raise BadSignature(f"The signature of {key.name} does not fit the text.")
        signed[mark] = key
    if not signed:
        names = ", ".join(dict.fromkeys(f"{signature.name}+{signature.id:08x}" for signature in signatures))
        raise NoKnownSignature(f"No signature on the note is by a key we know; it is signed by {names}.")
    return text, list(signed.values())


def cosigned_text(text: bytes, timestamp: int) -> bytes:
    """What a witness signs: that at `timestamp` (Unix seconds) `text` was consistent with all it saw before."""
    return b"cosignature/v1\ntime %d\n%b" % (timestamp, text)


def cosigned_tree(name: str, timestamp: int, text: bytes) -> bytes | None:
    """What a cosigner `name` signs with ML-DSA-44: cosigned_message of c2sp.org/tlog-cosignature, whole tree.

    None where `text` is not exactly origin, size and root: it commits to no other line, so none may ride along.
    """
    origin, _, rest = text.partition(b"\n")
    size, _, root = rest.partition(b"\n")
    if not re.fullmatch(rb"0|[1-9][0-9]{0,18}", size) or not 0 < len(origin) < 256 or not 0 < len(name.encode()) < 256:
        return None
    try:
        head = b64decode(root[:-1].decode("ascii"))
    except (MalformedNote, UnicodeDecodeError):
        return None
    if not root.endswith(b"\n") or len(head) != 32 or int(size) > _LATEST:
        return None
    whole = (0).to_bytes(8, "big") + int(size).to_bytes(8, "big")
    who, log = name.encode(), origin
    return b"".join(
        (b"subtree/v1\n\0", bytes([len(who)]), who, timestamp.to_bytes(8, "big"), bytes([len(log)]), log, whole, head)
    )


def timestamp_of(cosignature: bytes) -> int:
    """Unix seconds at which a cosignature (of either kind) was made: its first eight bytes."""
    return int.from_bytes(cosignature[:8], "big")


def parse_signatures(lines: bytes) -> list[Signature]:
    """Signature lines alone, as witnesses answer with. Raises `MalformedNote`."""
    try:
        text = lines.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedNote("The signature lines are not UTF-8.") from None
    _check_text(text)
    if not text.endswith("\n") or text.count("\n") > MOST_SIGNATURES:
        raise MalformedNote(f"Signature lines are 1 to {MOST_SIGNATURES}, and each ends with a line end.")
    return [_signature(row) for row in text[:-1].split("\n")]


def _check_text(text: str) -> None:
    if _CONTROL.search(text):
        raise MalformedNote("A note holds no control characters but the line end.")


def _signature(row: str) -> Signature:
    name, blank, encoded = row.removeprefix(_DASH).partition(" ")
    if not row.startswith(_DASH) or not blank or not is_name(name):
        raise MalformedNote(f"{row[:60]!r} is not a signature line.")
    data = b64decode(encoded)
    if len(data) < 5:
        raise MalformedNote(f"The signature of {name} is too short.")
    return Signature(name=name, id=int.from_bytes(data[:4], "big"), blob=data[4:])
