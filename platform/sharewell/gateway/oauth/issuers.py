"""External issuers: whose tokens are taken beside our own, and what their claims mean here.

The operator lists them in a JSON file. Nothing a token says counts but through that list: a role or institution it
names is looked up there, and its scopes are bounded there. What an issuer's tokens look like is its `shape`:

- `rfc9068`: the standard's (`typ: at+jwt`, `client_id`, `scope`);
- `keycloak`: header `typ: JWT`, claim `typ: Bearer`, `azp`, `scope`, roles in `realm_access.roles`;
- `entra`: header `typ: JWT`, `azp` or `appid`, `scp` or `roles`; ID tokens look much alike and are told apart.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson

from sharewell.domain.addresses import is_plain, origin_of
from sharewell.domain.clients import narrow
from sharewell.domain.errors import Invalid
from sharewell.domain.jurisdictions import checked
from sharewell.domain.principals import Role
from sharewell.domain.scopes import grantable
from sharewell.gateway.oauth.egress import PRIVATE, Egress, FetchFailed
from sharewell.gateway.oauth.remote_keys import RemoteKeys

#: Only signatures by a private key: with HS256 the public half would do (RFC 8725, 2.1).
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
)  # fmt: skip
TYPES: Final = {
    "rfc9068": frozenset({"at+jwt", "application/at+jwt"}),
    "keycloak": frozenset({"jwt", "at+jwt"}),
    "entra": frozenset({"jwt", "at+jwt"}),
}
_ROLES: Final = {"rfc9068": "roles", "keycloak": "realm_access.roles", "entra": "roles"}
EVERYWHERE: Final = "*"  #: in `jurisdictions`: all regions, which is never taken from silence
_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}")
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{2,99}")  # no @: an address would put a person into the log
_KNOWN: Final = frozenset(
    {"name", "issuer", "shape", "audience", "jwks_uri", "private", "algorithms", "roles_claim", "roles",
     "institution_claim", "institutions", "jurisdiction_claim", "jurisdictions", "scopes", "scopes_from",
     "sender_constrained"}
)  # fmt: skip


class IssuersError(Exception):
    """The list of issuers cannot be used; the message names the entry and what would be right."""


class NotVouchedFor(Exception):
    """The claims of a good token do not make a caller; `reason` is a word for the log."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What an external issuer says of a caller, in our words."""

    principal: str
    roles: frozenset[Role]
    institution: UUID | None
    scopes: tuple[str, ...]
    jurisdiction: frozenset[str] = frozenset()  #: as a regulator: the regions it reads of; empty: all


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """One entry of the list."""

    name: str  #: short, part of the principal: `name/subject`
    issuer: str
    shape: str
    audience: str
    scopes: tuple[str, ...]  #: what its tokens may be used for at most
    roles_claim: Sequence[str]
    roles: Mapping[str, Role]  #: what it calls a role -> ours
    institution_claim: Sequence[str] = ("institution",)
    institutions: Mapping[str, UUID] | None = None
    jurisdiction_claim: Sequence[str] = ("jurisdiction",)
    jurisdictions: Mapping[str, frozenset[str]] | None = None  #: what it calls one -> regions, or `EVERYWHERE`
    scopes_from_token: bool = True  #: else the list's scopes hold, for issuers whose tokens cannot name ours
    algorithms: tuple[str, ...] = ("RS256",)
    jwks_uri: str | None = None  #: None: as its metadata says
    private: bool = False  #: its address may be one inside the network
    sender_constrained: bool = False

    def vouch(self, claims: Mapping[str, Any]) -> Vouched:
        """Read `claims`, whose signature, issuer, audience and times hold. Raises `NotVouchedFor`."""
        self._check_kind(claims)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise NotVouchedFor("malformed", "The token's sub is not an identifier.")
        roles = self._roles(claims)
        institution = self._institution(claims)
        if roles & {Role.INSTITUTION, Role.DEVICE} and institution is None:
            raise NotVouchedFor("no_institution", "The token names no institution that its issuer may speak for.")
        return Vouched(
            principal=f"{self.name}/{subject}", roles=roles, institution=institution, scopes=self._scopes(claims),
            jurisdiction=self._jurisdiction(claims) if Role.REGULATOR in roles else frozenset(),
        )  # fmt: skip

    def client_id(self, claims: Mapping[str, Any]) -> str:
        """The program the token was given to, empty where it does not say."""
        named = (claims.get(claim) for claim in ("client_id", "azp", "appid"))
        return next((name for name in named if isinstance(name, str)), "")

    def _check_kind(self, claims: Mapping[str, Any]) -> None:
        """An ID token for the same audience must not pass as an access token (RFC 8725, 2.8)."""
        id_token = claims.keys() & {"nonce", "at_hash", "c_hash"}
        if self.shape == "keycloak" and claims.get("typ") not in ("Bearer", "DPoP"):
            raise NotVouchedFor("wrong_type", "The token is not an access token (claim typ: Bearer).")
        if self.shape == "entra" and (id_token or not claims.keys() & {"scp", "roles"}):
            raise NotVouchedFor("wrong_type", "The token is not an access token (claim scp or roles).")
        if not self.client_id(claims):
            raise NotVouchedFor("malformed", "The token does not say which program it was given to.")

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[Role]:
        said = _at(claims, self.roles_claim)
        names = said if isinstance(said, list) else [said]
        roles = frozenset(self.roles[name] for name in names if isinstance(name, str) and name in self.roles)
        if not roles:
            raise NotVouchedFor("no_role", "The token names no role that is known here.")
        return roles

    def _institution(self, claims: Mapping[str, Any]) -> UUID | None:
        said = _at(claims, self.institution_claim)
        if isinstance(said, list) and len(said) == 1:
            said = said[0]
        return (self.institutions or {}).get(said) if isinstance(said, str) else None

    def _jurisdiction(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """The regions of all jurisdictions it names; empty for everywhere, and only where one of them is that."""
        said = _at(claims, self.jurisdiction_claim)
        names = [name for name in (said if isinstance(said, list) else [said]) if isinstance(name, str)]
        regions = frozenset[str]().union(*((self.jurisdictions or {}).get(name, frozenset()) for name in names))
        if not regions:
            raise NotVouchedFor("no_jurisdiction", "The token names no jurisdiction that its issuer may speak for.")
        return frozenset() if EVERYWHERE in regions else regions

    def _scopes(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        if not self.scopes_from_token:
            return narrow(self.scopes, self.scopes)
        said = claims.get("scp" if self.shape == "entra" else "scope", "")
        if isinstance(said, str):
            return narrow(said.split(), self.scopes)
        return narrow((one for one in said if isinstance(one, str)) if isinstance(said, list) else (), self.scopes)


def keys_of(entry: External, now: Callable[[], datetime], egress: Egress | None = None) -> RemoteKeys:
    """Where the keys of an issuer are found: its own address is listed by being in the list."""
    addresses = [entry.issuer] + ([entry.jwks_uri] if entry.jwks_uri else [])
    mark = PRIVATE if entry.private else ""
    reach = egress or Egress([mark + origin_of(address) for address in addresses])

    async def document() -> Mapping[str, Any]:
        return await reach.document(entry.jwks_uri or await _announced(entry, reach.document))

    return RemoteKeys(document, now)


async def _announced(entry: External, get: Callable[[str], Awaitable[Mapping[str, Any]]]) -> str:
    """The `jwks_uri` of the issuer's metadata, which must be its own (RFC 8414, 3.3: no mix-up)."""
    metadata = await get(f"{entry.issuer.rstrip('/')}/.well-known/openid-configuration")
    if metadata.get("issuer") != entry.issuer:
        raise FetchFailed(f"the metadata of issuer {entry.name} name another issuer")
    found = metadata.get("jwks_uri")
    if not isinstance(found, str):
        raise FetchFailed(f"the metadata of issuer {entry.name} name no jwks_uri")
    return found


def load(path: Path) -> tuple[External, ...]:
    """The list in `path`. Raises `IssuersError`."""
    try:
        entries = orjson.loads(path.read_bytes())["issuers"]
        found = tuple(_entry(raw, place) for place, raw in enumerate(entries))
    except (OSError, ValueError, KeyError, TypeError) as why:
        raise IssuersError(f'{path} must hold {{"issuers": [...]}}: {why}') from why
    for what in ("name", "issuer"):
        if len({getattr(entry, what) for entry in found}) < len(found):
            raise IssuersError(f"{path} has two issuers of the same {what}.")
    return found


def _entry(raw: Mapping[str, Any], place: int) -> External:
    def need(good: object, what: str) -> None:
        if not good:
            raise IssuersError(f"issuers.{place}: {what}")

    shape = raw.get("shape", "rfc9068")
    algorithms = tuple(raw.get("algorithms", ["RS256"]))
    unknown = sorted(raw.keys() - _KNOWN)
    need(not unknown, f"{', '.join(unknown)} means nothing here; known are {', '.join(sorted(_KNOWN))}.")
    named = _NAME.fullmatch(str(raw.get("name"))) and raw["name"] != "person"
    need(named, "name must be lower-case, such as north-id.")
    need(shape in TYPES, f"shape must be one of {', '.join(TYPES)}.")
    for field in ("issuer", "jwks_uri"):
        left_out = field == "jwks_uri" and raw.get(field) is None
        need(left_out or is_plain(str(raw.get(field))), f"{field} must be an https address.")
    need(isinstance(raw.get("audience"), str) and raw["audience"], "audience must be how the issuer names us in aud.")
    need(algorithms and set(algorithms) <= set(ALGORITHMS), f"algorithms must be some of {', '.join(ALGORITHMS)}.")
    scopes = tuple(raw.get("scopes", ()))
    ours = all(grantable(one) and one.startswith("system/") for one in scopes)
    need(scopes and ours, "scopes must be system/ scopes.")
    need(raw.get("scopes_from", "token") in {"token", "list"}, "scopes_from must be token or list.")
    need(raw.get("roles"), "roles must say what each role of the issuer is here.")
    named = raw.get("jurisdictions", {})
    need(isinstance(named, dict), 'jurisdictions must be an object, such as {"coast": ["us-nj"]}.')
    jurisdictions = {name: _regions(said) for name, said in named.items()}
    need(all(jurisdictions.values()), 'jurisdictions must name regions of each, such as ["us-nj"], or "*" for all.')
    return External(
        name=raw["name"], issuer=raw["issuer"], shape=shape, audience=raw["audience"], scopes=scopes,
        roles_claim=_path(raw.get("roles_claim", _ROLES[shape])),
        roles={name: Role(role) for name, role in raw["roles"].items()},
        institution_claim=_path(raw.get("institution_claim", "institution")),
        institutions={name: UUID(text) for name, text in raw.get("institutions", {}).items()},
        jurisdiction_claim=_path(raw.get("jurisdiction_claim", "jurisdiction")), jurisdictions=jurisdictions,
        scopes_from_token=raw.get("scopes_from", "token") == "token", algorithms=algorithms,
        jwks_uri=raw.get("jwks_uri"), private=raw.get("private") is True,
        sender_constrained=raw.get("sender_constrained") is True,
    )  # fmt: skip


def _regions(said: object) -> frozenset[str]:
    """The regions of one jurisdiction, `EVERYWHERE` alone for all; empty where it is neither."""
    if said == EVERYWHERE:
        return frozenset({EVERYWHERE})
    if not isinstance(said, list) or not all(isinstance(region, str) for region in said):
        return frozenset()
    try:
        return frozenset(checked(said, {Role.REGULATOR}))
    except Invalid as why:
        raise ValueError(why.message) from why


def _path(said: str | Sequence[str]) -> tuple[str, ...]:
    """`a.b` leads into objects; a list does too, where a name has dots of its own."""
    return tuple(said.split(".")) if isinstance(said, str) else tuple(said)


def _at(claims: Mapping[str, Any], path: Sequence[str]) -> Any:
    found: Any = claims
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found
