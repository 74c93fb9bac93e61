"""OAuth clients: who may ask for tokens, with which public keys, roles and scopes, for whom, and until when.

Only public keys are ever held. Checking a signature with them is the gateway's work; this page checks that
they are keys of the two algorithms SMART Backend Services demands (ES384, RS384) and large enough. An app that
people use acts for whoever signed in to it (`user/` scopes), and may then do without a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

from sharewell.domain import addresses, checks, jurisdictions
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.principals import ANONYMOUS, OPERATOR, WORKERS, Role, check_apart
from sharewell.domain.scopes import LETTERS, NOUNS, grantable, grants

MAX_KEYS = 8
MAX_SCOPES = 64
MAX_REDIRECTS = 10
_CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{2,99}")
_KID = re.compile(r"[A-Za-z0-9._~:/-]{1,64}")
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  #: of a JWK (RFC 7518, 6.2.2, 6.3.2, 6.4.1)
_SHAPES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "EC": ("ES384", ("crv", "x", "y")),
    "RSA": ("RS384", ("n", "e")),
}
_OF_AN_INSTITUTION = frozenset({Role.INSTITUTION, Role.DEVICE})

#: What a client of each role is usually registered for; the policies bound it further.
USUAL_SCOPES: Mapping[Role, tuple[str, ...]] = {
    Role.INSTITUTION: ("system/*.cruds",),
    Role.DEVICE: ("system/Capacity.c",),
    Role.ALLOCATOR: ("system/*.cruds",),
    Role.REGULATOR: ("system/*.rs",),
    Role.ADMIN: ("system/*.cruds",),
    Role.AUDITOR: ("system/*.rs",),
}


class ClientStatus(StrEnum):
    """Whether it may ask for tokens and use them."""

    ACTIVE = "active"
    DISABLED = "disabled"


class RateClass(StrEnum):
    """How much it may ask for; the gateway says what that is in requests."""

    LOW = "low"
    STANDARD = "standard"
    HIGH = "high"


class Purpose(StrEnum):
    """What a token is used for, in the codes of HL7 PurposeOfUse (v3-ActReason)."""

    TREATMENT = "TREAT"
    EMERGENCY = "ETREAT"
    OPERATIONS = "HOPERAT"
    PUBLIC_HEALTH = "PUBHLTH"
    RESEARCH = "HRESCH"
    ADMINISTRATION = "HSYSADMIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDraft:
    """What an admin says of a client before it is registered."""

    name: str
    roles: frozenset[Role]
    scopes: Sequence[str]
    jwks: Mapping[str, object] | None = None  #: RFC 7517 key set, public members only
    institution: UUID | None = None
    client_id: str | None = None  #: chosen by the admin, or made by the service
    expires_at: datetime | None = None
    jwks_uri: str | None = None  #: where its keys are published instead
    redirect_uris: Sequence[str] = ()  #: of an app: where people are sent back to, to the letter
    rate_class: RateClass = RateClass.STANDARD
    sender_constrained: bool = False  #: its tokens work only with a proof of its key (RFC 9449)
    purposes: Sequence[Purpose] = ()  #: what its tokens may be used for; none: not said
    jurisdiction: Collection[str] = ()  #: of a regulator: the regions it reads of; none: all


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One registered client."""

    client_id: str
    name: str
    roles: frozenset[Role]
    scopes: tuple[str, ...]
    keys: tuple[Mapping[str, str], ...]  #: public JWKs, each with its `kid`
    institution: UUID | None
    status: ClientStatus
    expires_at: datetime | None  #: from then on it is refused
    created_at: datetime
    jwks_uri: str | None = None
    redirect_uris: tuple[str, ...] = ()
    rate_class: RateClass = RateClass.STANDARD
    sender_constrained: bool = False
    purposes: tuple[Purpose, ...] = ()
    jurisdiction: tuple[str, ...] = ()  #: of a regulator: the regions it reads of; none: all

    @classmethod
    def register(cls, draft: ClientDraft, *, client_id: str, at: datetime) -> Client:
        """Take `draft` in, or raise `Invalid` naming the field that is wrong."""
        if not is_client_id(client_id):
            raise Invalid(
                f"clientId is {client_id[:120]!r}; it must be 3 to 100 letters, digits or . _ : -, "
                "beginning with a letter or digit.",
                field="clientId",
            )
        if client_id in (*WORKERS, OPERATOR, ANONYMOUS):
            raise Invalid(
                f"clientId is {client_id}, a name that the platform itself puts on record; give another.",
                field="clientId",
            )
        _check_roles(draft)
        if draft.expires_at is not None and checks.moment(draft.expires_at, "expiresAt") <= at:
            raise Invalid("expiresAt has passed; it must lie in the future.", field="expiresAt")
        return cls(
            client_id=client_id,
            name=checks.text(draft.name, "name"),
            roles=frozenset(map(Role, draft.roles)),
            scopes=_scopes(draft.scopes),
            keys=_held_keys(draft),
            institution=draft.institution,
            status=ClientStatus.ACTIVE,
            expires_at=draft.expires_at,
            created_at=at,
            jwks_uri=None if draft.jwks_uri is None else _jwks_uri(draft.jwks_uri),
            redirect_uris=_redirect_uris(draft.redirect_uris),
            rate_class=RateClass(draft.rate_class),
            sender_constrained=draft.sender_constrained,
            purposes=tuple(sorted(set(map(Purpose, draft.purposes)))),
            jurisdiction=jurisdictions.checked(draft.jurisdiction, draft.roles),
        )

    def usable(self, *, at: datetime) -> bool:
        """Whether it may act at this moment."""
        return self.status is ClientStatus.ACTIVE and (self.expires_at is None or at < self.expires_at)

    @property
    def public(self) -> bool:
        """Whether it has no key to sign with (RFC 6749, 2.1): an app on people's own devices."""
        return not self.keys and self.jwks_uri is None

    @property
    def acts_for_itself(self) -> bool:
        """Whether it may ask for tokens without a person."""
        return any(scope.startswith("system/") for scope in self.scopes)

    def key(self, kid: str) -> Mapping[str, str] | None:
        """The public key of that name."""
        return next((key for key in self.keys if key["kid"] == kid), None)

    def disable(self) -> Client:
        """The same client, refused from now on."""
        if self.status is ClientStatus.DISABLED:
            raise Conflict(f"client {self.client_id} is disabled already.", field="clientId")
        return replace(self, status=ClientStatus.DISABLED)


@dataclass(frozen=True, slots=True)
class Edition:
    """A registration as it was read, and a number that is another after every change."""

    client: Client
    number: int


def is_client_id(text: str) -> bool:
    """Whether `text` could name a client at all."""
    return _CLIENT_ID.fullmatch(text) is not None


def thumbprint(key: Mapping[str, str]) -> str:
    """RFC 7638 thumbprint (SHA-256, base64url) of a public EC or RSA key."""
    members = sorted(("kty", *_SHAPES[key["kty"]][1]))
    text = json.dumps({member: key[member] for member in members}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _check_roles(draft: ClientDraft) -> None:
    if not draft.roles:
        raise Invalid(f"roles is empty; give at least one of {', '.join(Role)}.", field="roles")
    check_apart(draft.roles)
    for_itself = any(scope.startswith("system/") for scope in draft.scopes)
    if draft.roles & _OF_AN_INSTITUTION and draft.institution is None and for_itself:
        raise Invalid("institution is missing; the roles institution and device act for one.", field="institution")


def narrow(requested: Iterable[str], registered: Iterable[str], context: str = "system") -> tuple[str, ...]:
    """The scopes that grant what both sides grant; a requested scope that is not ours grants nothing.

    `context` is `system` where a program acts for itself, `user` where it acts for a person.
    """
    wished, allowed = _permissions(requested, context), _permissions(registered, context)
    return _written(wished & allowed, context)


def _permissions(scopes: Iterable[str], context: str) -> frozenset[str]:
    return frozenset[str]().union(*(grants(scope) for scope in scopes if scope.startswith(f"{context}/")))


@lru_cache(maxsize=256)  # asked for each request, and of few combinations
def _written(permissions: frozenset[str], context: str) -> tuple[str, ...]:
    """Scopes for `permissions` such as `Offer.c`: one for every noun, then the nouns that have more."""
    letters = {noun: frozenset(one for one in LETTERS if f"{noun}.{one}" in permissions) for noun in NOUNS}
    common = frozenset(LETTERS).intersection(*letters.values())
    wide = {"*": common} if common else {}
    return tuple(
        f"{context}/{noun}." + "".join(one for one in LETTERS if one in held)
        for noun, held in {**wide, **{noun: held for noun, held in letters.items() if held > common}}.items()
    )


def _scopes(texts: Sequence[str]) -> tuple[str, ...]:
    if not 1 <= len(texts) <= MAX_SCOPES:
        raise Invalid(f"scopes has {len(texts)} entries; give 1 to {MAX_SCOPES}.", field="scopes")
    for text in texts:
        if not grantable(text):
            raise Invalid(
                f"scope {text[:80]!r} is not known; write system/<noun>.<some of {LETTERS}, in that order>, "
                f"the noun being * or one of {', '.join(NOUNS)}; user/ for system/ where it acts for people.",
                field="scopes",
            )
    return narrow(texts, texts) + narrow(texts, texts, "user")


def _held_keys(draft: ClientDraft) -> tuple[Mapping[str, str], ...]:
    """Keys, or the address of keys, or neither for an app that only ever acts for people."""
    of_people = any(scope.startswith("user/") for scope in draft.scopes)
    if of_people != bool(draft.redirect_uris):
        raise Invalid("redirectUris and user/ scopes belong together; give both or neither.", field="redirectUris")
    if draft.jwks is not None and draft.jwks_uri is not None:
        raise Invalid("give jwks or jwksUri, not both.", field="jwksUri")
    if draft.jwks is not None:
        return _keys(draft.jwks)
    if draft.jwks_uri is None and any(scope.startswith("system/") for scope in draft.scopes):
        raise Invalid("jwks is missing; a program that acts for itself (system/) signs with a key.", field="jwks")
    return ()


def _jwks_uri(text: str) -> str:
    if not addresses.is_plain(text):
        raise Invalid("jwksUri must be an https address without user, fragment or spaces.", field="jwksUri")
    return text


def _redirect_uris(texts: Sequence[str]) -> tuple[str, ...]:
    """RFC 9700, 2.1 and 4.1: compared to the letter later, so they are held to a plain form now."""
    if len(texts) > MAX_REDIRECTS:
        raise Invalid(f"redirectUris has {len(texts)} entries; give at most {MAX_REDIRECTS}.", field="redirectUris")
    for place, text in enumerate(texts):
        if not addresses.is_plain(text):
            raise Invalid(
                "a redirect address must be https (or http on 127.0.0.1 or localhost), whole, without "
                "wildcard, user or fragment.",
                field=f"redirectUris.{place}",
            )
    return tuple(dict.fromkeys(texts))


def _keys(jwks: Mapping[str, object]) -> tuple[Mapping[str, str], ...]:
    raw = jwks.get("keys")
    if not isinstance(raw, list) or not 1 <= len(raw) <= MAX_KEYS:
        raise Invalid(f'jwks must be {{"keys": [...]}} with 1 to {MAX_KEYS} public keys (RFC 7517).', field="jwks")
    keys = tuple(_key(key, f"jwks.keys.{place}") for place, key in enumerate(raw))
    if len({key["kid"] for key in keys}) < len(keys):
        raise Invalid("jwks has two keys of the same kid; give each its own.", field="jwks")
    return keys


def _key(raw: object, field: str) -> Mapping[str, str]:
    """Return the public members of one key, or raise `Invalid`; unknown members are dropped."""
    if not isinstance(raw, Mapping) or raw.get("kty") not in _SHAPES:
        raise Invalid(f"{field} must be an EC key on P-384 or an RSA key.", field=field)
    if PRIVATE_MEMBERS & raw.keys():
        raise Invalid(f"{field} holds a private key; replace it, and send its public half.", field=field)
    algorithm, members = _SHAPES[raw["kty"]]
    if raw.get("alg", algorithm) != algorithm or raw.get("use", "sig") != "sig":
        raise Invalid(f"{field} must be for signatures (use: sig) with {algorithm}.", field=field)
    if not isinstance(raw.get("kid"), str) or not _KID.fullmatch(raw["kid"]):
        raise Invalid(f"{field} needs a kid of 1 to 64 letters, digits or . _ ~ : / -.", field=field)
    if not all(isinstance(raw.get(member), str) for member in members):
        raise Invalid(f"{field} needs the members {', '.join(members)}.", field=field)
    _check_size(raw, field)
    return {
        "kty": raw["kty"],
        "kid": raw["kid"],
        "use": "sig",
        "alg": algorithm,
        **{m: raw[m] for m in members},
    }


def _check_size(key: Mapping[str, str], field: str) -> None:
    if key["kty"] == "EC":
        if key["crv"] != "P-384" or any(len(_bytes(key[member], field)) != 48 for member in "xy"):
            raise Invalid(f"{field} must be on the curve P-384, for ES384.", field=field)
    elif not 2048 <= int.from_bytes(_bytes(key["n"], field)).bit_length() <= 4096:
        raise Invalid(f"{field} must be an RSA key of 2048 to 4096 bits.", field=field)


def _bytes(text: str, field: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(f"{field} has a member that is not base64url.", field=field) from None
