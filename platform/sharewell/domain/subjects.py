"""Data subjects: persons for whom a program acted. The log holds their details sealed, and losing a key erases them.

Here is what a sealed field looks like and what it binds; the cipher is in `sharewell.audit.erasure`. A subject's
reference is random: made from nothing that could be guessed, it means nothing once the key is gone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID

from sharewell.domain import canonical, checks
from sharewell.domain.canonical import Json
from sharewell.domain.errors import Invalid

ERASED: Final = "[erased]"  #: what readers see in the place of each detail once the key is gone
FIELD: Final = "on_behalf_of"  #: the sealed field's place in the details of an entry
ALGORITHM: Final = "A256GCM"  #: AES-256 in Galois/Counter Mode, 96-bit IV, 128-bit tag (NIST SP 800-38D)
IV_BYTES: Final = 12
BLOCK: Final = 256  #: bytes; plaintexts are filled up to a multiple, so that a length tells no name
LONGEST_EMAIL: Final = 254  #: RFC 5321, 4.5.3.1.3, without the angle brackets


class Ground(StrEnum):
    """Why a data subject is erased: `code, article of Regulation (EU) 2016/679 (GDPR), sentence`; no other is taken."""

    article: str  #: of the GDPR
    sentence: str  #: what it means, for people

    def __new__(cls, code: str, article: str = "", sentence: str = "") -> Self:
        ground = str.__new__(cls, code)
        ground._value_ = code
        ground.article, ground.sentence = article, sentence
        return ground

    NO_LONGER_NEEDED = "no_longer_needed", "17(1)(a)", "What the details were taken for does not need them any more."
    CONSENT_WITHDRAWN = "consent_withdrawn", "17(1)(b)", "The person withdrew the consent, and nothing else permits it."
    OBJECTION = "objection", "17(1)(c)", "The person objected (Article 21), and nothing outweighs that."
    UNLAWFUL = "unlawful", "17(1)(d)", "The details should never have been processed."
    LEGAL_OBLIGATION = "legal_obligation", "17(1)(e)", "A law obliges the controller to erase."
    AUTHORITY_ORDER = "authority_order", "58(2)(g)", "A supervisory authority ordered it."
    STORAGE_LIMITATION = "storage_limitation", "5(1)(e)", "The time for which details are kept is over."


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """On whose behalf a program acted, as its integrator says."""

    identifier: str = field(repr=False)  #: what the integrator calls the person; the same for the same person
    name: str = field(default="", repr=False)
    email: str = field(default="", repr=False)

    @classmethod
    def named(cls, identifier: str, name: str | None = None, email: str | None = None) -> Person:
        """Raises `Invalid` for what is too long, no plain text, or no address."""
        email = checks.text(email or "", "onBehalfOf.email", most=LONGEST_EMAIL, optional=True)
        if email and not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
            raise Invalid("onBehalfOf.email must look like name@example.org.", field="onBehalfOf.email")
        return cls(
            identifier=checks.text(identifier, "onBehalfOf.identifier"),
            name=checks.text(name or "", "onBehalfOf.name", optional=True),
            email=email,
        )

    def plaintext(self) -> bytes:
        """What is sealed: RFC 8785 JSON, then blanks up to a multiple of `BLOCK` bytes."""
        data = canonical.encode({"email": self.email, "identifier": self.identifier, "name": self.name})
        return data.ljust(-(-len(data) // BLOCK) * BLOCK)

    @classmethod
    def read(cls, plaintext: bytes) -> Person:
        """The person of `plaintext`. Raises `Invalid` unless it is what `plaintext()` writes."""
        value: Any = canonical.parse(plaintext.rstrip(b" "))
        fits = isinstance(value, Mapping) and value.keys() == {"email", "identifier", "name"}
        person = cls(**value) if fits else None
        if person is None or person.plaintext() != plaintext:
            raise Invalid("the sealed bytes are no person's details.", field=FIELD)
        return person


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A sealed field of an entry."""

    subject: UUID  #: whose key opens it
    iv: bytes
    sealed: bytes  #: ciphertext and tag

    def to_json(self) -> Mapping[str, Json]:
        """As it stands in the details of an entry."""
        return {
            "alg": ALGORITHM, "iv": self.iv.hex(), "sealed": base64.b64encode(self.sealed).decode(),
            "subject_ref": str(self.subject),
        }  # fmt: skip

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Sealed | None:
        """The sealed field among the details of an entry; None where there is none. Raises `Invalid`."""
        value = details.get(FIELD)
        if value is None:
            return None
        try:
            found = cls(
                subject=UUID(value["subject_ref"]), iv=bytes.fromhex(value["iv"]),
                sealed=base64.b64decode(value["sealed"], validate=True),
            )  # fmt: skip
        except (TypeError, KeyError, ValueError, AttributeError, binascii.Error):
            found = None
        if found is None or dict(found.to_json()) != dict(value) or len(found.iv) != IV_BYTES:
            raise Invalid(f"{FIELD} of the entry is no sealed field.", field=FIELD)
        return found


def bound_to(entry: UUID, subject: UUID) -> bytes:
    """The associated data of a seal: moved to another entry, field or subject it does not open."""
    return f"sharewell-sealed/v1\n{entry}\n{FIELD}\n{subject}\n".encode()


def found_by(institution: UUID | None, principal: str, identifier: str) -> bytes:
    """What names a person among all: identifiers are the institution's own or, without one, the program's."""
    scope = f"institution {institution}" if institution else f"client {principal}"
    return f"{scope}\n{identifier}".encode()
