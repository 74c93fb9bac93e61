"""Passkeys (WebAuthn level 3) of people: a key on a device, unlocked by its owner there, bound to our name.

A passkey stands for password and code together, so it must have verified its owner (a PIN, a finger). It is
discoverable: the page asks for any, and learns no login. A challenge is good for the page it was shown on, once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from fido2.server import Fido2Server
from fido2.utils import websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    RegistrationResponse,
    UserVerificationRequirement,
)

from sharewell.domain.errors import Invalid
from sharewell.domain.people import Person
from sharewell.services.access import Refusal
from sharewell.services.office import Office
from sharewell.services.passwords import count_try
from sharewell.store.database import Transaction
from sharewell.store.passkeys import OwnPasskey, Passkey

CHALLENGE_LIFE = timedelta(minutes=15)
MOST_CHARACTERS: Final = 8000
FIRST: Final = "First passkey"  #: how the one added when enrolling is called
ALGORITHMS: Final = (-7, -8, -257)  # COSE: ES256, EdDSA, RS256
REQUIRED: Final = UserVerificationRequirement.REQUIRED
#: What reading and checking a response that was made up can end in.
_BAD = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, UnsupportedAlgorithm,
    struct.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """Where passkeys are for: the origin of the pages; its host is what they are bound to."""

    origin: str

    @property
    def host(self) -> str:
        return urlsplit(self.origin).hostname or ""

    @property
    def takes_passkeys(self) -> bool:
        """Browsers bind them to names, never to addresses (WebAuthn, 5.1.2)."""
        try:
            ip_address(self.host)
        except ValueError:
            return True
        return False


class PasskeyService:
    """Asks for passkeys, keeps new ones, and says whose one is."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def options_to_sign_in(self, site: Site, shown_for: str) -> dict[str, Any]:
        """What `navigator.credentials.get` is called with, in JSON; its challenge is good for `shown_for` alone."""
        return {"challenge": await self._challenge(shown_for), "rpId": site.host, "userVerification": REQUIRED}

    async def options_to_add(
        self, site: Site, person: Person, shown_for: str, held: Sequence[OwnPasskey] = ()
    ) -> dict[str, Any]:
        """What `navigator.credentials.create` is called with, in JSON; devices of those `held` make no other."""
        return {
            "challenge": await self._challenge(shown_for),
            "rp": {"id": site.host, "name": "Sharewell"},
            "user": {"id": websafe_encode(person.id.bytes), "name": person.login, "displayName": person.name},
            "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in ALGORITHMS],
            "authenticatorSelection": {"residentKey": "required", "userVerification": REQUIRED},
            "attestation": "none",
            "excludeCredentials": [{"type": "public-key", "id": websafe_encode(one.id)} for one in held],
        }

    async def add(
        self, tx: Transaction, person: Person, sent: str, decision: UUID, *, site: Site, shown_for: str,
        name: str = FIRST,
    ) -> None:  # fmt: skip
        """Keep a new passkey of `person`. Raises `Invalid` for one that does not hold, `Conflict` for one known."""
        at, read = self._office.now(), _registered(sent, site)
        if read is None or not await tx.passkeys.answered(_hash(read[2], shown_for), at=at):
            raise Invalid("The passkey could not be checked; add it anew.", field="passkey")
        made, sign_count, _ = read
        passkey = Passkey(person=person.id, credential=bytes(made), sign_count=sign_count)
        await tx.passkeys.add(made.credential_id, passkey, at, decision, name)

    async def sign_in(self, sent: str, *, site: Site, shown_for: str, request_id: str) -> Person | Refusal:
        """Whose passkey answered, if everything holds; otherwise what to put on record before anybody is told."""
        try:
            response = AuthenticationResponse.from_dict(_read(sent))
            credential, challenge = response.raw_id, response.response.client_data.challenge
        except _BAD:
            return _refusal("bad_passkey", None, request_id)
        at, tried = self._office.now(), hashlib.sha256(b"passkey" + credential).digest()
        async with self._office.database.transaction() as tx:
            fresh = await tx.passkeys.answered(_hash(challenge, shown_for), at=at)
            free = await count_try(tx, tried, at=at) is not None
            held = await tx.passkeys.find(credential)
        reason = "locked" if not free else _fault(response, held, site, challenge, fresh=fresh)
        if reason is None and held is not None:
            async with self._office.database.transaction() as tx:
                # Only now, after the signature: a stranger must not be able to turn the counter.
                if not await tx.passkeys.count(credential, response.response.authenticator_data.counter, at):
                    gone = await tx.passkeys.find(credential) is None  # taken away in this moment
                    return _refusal("unknown_passkey" if gone else "passkey_cloned", held, request_id)
                await tx.people.forget(tried)
                person = await tx.people.get(held.person)
                if person.usable(at=at):
                    return person
        return _refusal(reason or "unknown_person", held, request_id)

    async def _challenge(self, shown_for: str) -> str:
        challenge, at = secrets.token_bytes(32), self._office.now()
        async with self._office.database.transaction() as tx:
            await tx.passkeys.ask(_hash(challenge, shown_for), at=at, until=at + CHALLENGE_LIFE)
        return websafe_encode(challenge)


def _registered(sent: str, site: Site) -> tuple[AttestedCredentialData, int, bytes] | None:
    """A new credential that holds (WebAuthn, 7.1), its counter, and the challenge it answers, yet to be looked up."""
    try:
        response = RegistrationResponse.from_dict(_read(sent))
        challenge = response.response.client_data.challenge
        data = _server(site).register_complete(_state(challenge), response)
        made = data.credential_data
        if made is None or made.public_key.get(3) not in ALGORITHMS or not 16 <= len(made.credential_id) <= 1023:
            return None
    except _BAD:
        return None
    return made, data.counter, challenge


def _fault(
    response: AuthenticationResponse, held: Passkey | None, site: Site, challenge: bytes, *, fresh: bool
) -> str | None:
    """Why it is refused, as a word for the log (WebAuthn, 7.2)."""
    if not fresh:
        return "wrong_challenge"
    if held is None:
        return "unknown_passkey"
    if response.response.user_handle != held.person.bytes:
        return "other_person"
    try:
        _server(site).authenticate_complete(_state(challenge), [AttestedCredentialData(held.credential)], response)
    except _BAD:
        return "bad_passkey"
    return None


def _server(site: Site) -> Fido2Server:
    """The checks of origin, name, presence, verification and signature; attestation is neither wanted nor looked at."""
    entity = PublicKeyCredentialRpEntity(id=site.host, name="Sharewell")
    return Fido2Server(entity, verify_origin=lambda origin: origin == site.origin)


def _state(challenge: bytes) -> dict[str, Any]:
    """That it is one of ours is looked up; the library only compares."""
    return {"challenge": websafe_encode(challenge), "user_verification": REQUIRED}


def _read(sent: str) -> Mapping[str, Any]:
    if len(sent) > MOST_CHARACTERS:
        raise ValueError("too long")
    response = orjson.loads(sent)
    if not isinstance(response, dict):
        raise TypeError("not an object")
    return response


def _hash(challenge: bytes, shown_for: str) -> bytes:
    return hashlib.sha256(json.dumps([websafe_encode(challenge), shown_for]).encode()).digest()


def _refusal(reason: str, held: Passkey | None, request_id: str) -> Refusal:
    return Refusal(
        reason=reason, actor=None, kind="person", client_id=None if held is None else str(held.person),
        details={"endpoint": "sign-in"}, request_id=request_id,
    )  # fmt: skip
