"""Signing and checking with `cryptography` what bare Python cannot sign or check: cosignatures, and ML-DSA-44.

A cosigner signs that a checkpoint extends all it saw of that log before (c2sp.org/tlog-cosignature): a witness with
type 0x04, or 0x06 against quantum computers; the log itself adds a line of type 0x06 in the same way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from sharewell.domain.notes import (
    COSIGNATURE,
    ED25519,
    MLDSA44,
    MalformedNote,
    Signature,
    VerifierKey,
    b64decode,
    b64encode,
    cosigned_text,
    cosigned_tree,
    is_name,
)

SecretKey: TypeAlias = "Ed25519PrivateKey | MLDSA44PrivateKey"

PREFIX: Final = "PRIVATE+KEY+"
SEED_SIZE: Final = 32


def mldsa44_verify(public: bytes, message: bytes, signature: bytes, context: bytes = b"") -> bool:
    """Whether `signature` over `message` was made with the key `public`. FIPS 204, algorithm 3."""
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message, context or None)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A named secret key of type 0x04 or 0x06."""

    key: VerifierKey
    secret: SecretKey = field(repr=False)

    @classmethod
    def from_seed(cls, name: str, kind: int, seed: bytes) -> Cosigner:
        """The key of `kind` (COSIGNATURE or MLDSA44) that 32 bytes stand for. Raises `MalformedNote`."""
        if not is_name(name) or len(seed) != SEED_SIZE:
            raise MalformedNote(f"A cosigner has a name without blanks or plus, and a seed of {SEED_SIZE} bytes.")
        secret: SecretKey
        if kind == COSIGNATURE:
            secret = Ed25519PrivateKey.from_private_bytes(seed)
        elif kind == MLDSA44:
            secret = MLDSA44PrivateKey.from_seed_bytes(seed)
        else:
            raise MalformedNote(f"A cosigner's key is of type {COSIGNATURE:#04x} or {MLDSA44:#04x}, not {kind:#04x}.")
        return cls(VerifierKey(name=name, kind=kind, public=secret.public_key().public_bytes_raw()), secret)

    @classmethod
    def generate(cls, name: str, kind: int) -> Cosigner:
        """A new key."""
        return cls.from_seed(name, kind, os.urandom(SEED_SIZE))

    @classmethod
    def parse(cls, text: str) -> Cosigner:
        """Read what `secret_text` writes. Raises `MalformedNote`."""
        kind, name, id_hex, seed = parse_secret(text)
        cosigner = cls.from_seed(name, kind, seed)
        if id_hex != f"{cosigner.key.id:08x}":
            raise MalformedNote("The id of the signing key does not fit it; a character is wrong.")
        return cosigner

    def secret_text(self) -> str:
        """`PRIVATE+KEY+name+id+base64(type || seed)`. Never log or show it."""
        data = bytes([self.key.kind]) + self.secret.private_bytes_raw()
        return f"{PREFIX}{self.key.name}+{self.key.id:08x}+{b64encode(data)}"

    def cosign(self, text: bytes, timestamp: int) -> Signature:
        """The signature line over the text of a checkpoint, at `timestamp` (Unix seconds).

        Raises `MalformedNote` where the key is of type 0x06 and `text` is not exactly origin, size and root.
        """
        message = cosigned_text(text, timestamp)
        if self.key.kind == MLDSA44:
            tree = cosigned_tree(self.key.name, timestamp, text)
            if tree is None:
                raise MalformedNote("With ML-DSA-44 only a checkpoint of origin, size and root can be signed.")
            message = tree
        blob = timestamp.to_bytes(8, "big") + self.secret.sign(message)
        return Signature(name=self.key.name, id=self.key.id, blob=blob)


def parse_secret(text: str) -> tuple[int, str, str, bytes]:
    """(type, name, id in hex, seed) of a signing key as text. Raises `MalformedNote`."""
    name, _, rest = text.removeprefix(PREFIX).partition("+")
    id_hex, _, encoded = rest.partition("+")
    data = b64decode(encoded)
    known = data[:1] in {bytes([kind]) for kind in (ED25519, COSIGNATURE, MLDSA44)}
    if not text.startswith(PREFIX) or not is_name(name) or len(data) != 1 + SEED_SIZE or not known:
        raise MalformedNote("A signing key must look like PRIVATE+KEY+name+1a2b3c4d+base64.")
    return data[0], name, id_hex, data[1:]
