"""Turns an access token (RFC 6750, RFC 9068, RFC 9449) into a `Caller`, or refuses it in the open.

A token of ours says who calls and bounds what for; roles and institution come from the registrations of client and
person. External issuers stand beside our own; each is held to its own keys, algorithms and audience, and to what the
operator's list lets it speak for.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sharewell.domain.clients import Client, RateClass, narrow
from sharewell.domain.errors import NotAdmitted
from sharewell.domain.jurisdictions import bounded
from sharewell.domain.people import PREFIX, Person
from sharewell.domain.principals import Admission, Caller
from sharewell.domain.rates import Allowance
from sharewell.gateway.answers import Answer
from sharewell.gateway.directory import CalledBack, Directory
from sharewell.gateway.in_turn import InTurn, Pace
from sharewell.gateway.oauth.assertions import digest
from sharewell.gateway.oauth.issuers import External, NotVouchedFor, Vouched
from sharewell.gateway.oauth.keys import ALGORITHM
from sharewell.gateway.oauth.nonces import HEADER as NONCE_HEADER
from sharewell.gateway.oauth.nonces import Nonces
from sharewell.gateway.oauth.proofs import ALGORITHMS as PROOF_ALGORITHMS
from sharewell.gateway.oauth.proofs import Burn, ProofRefused, check_proof
from sharewell.gateway.rates import Buckets, Knock
from sharewell.services.access import Refusal

REALM = 'Bearer realm="sharewell"'
MAX_BYTES = 8192
MOST_SIGNATURES = 4096
LEEWAY = timedelta(seconds=10)  # for clocks that differ; our own tokens come from the same clock


class KeySource(Protocol):
    """The public keys of one issuer."""

    async def find(self, kid: str) -> Key | None:
        """The key of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Whose tokens are taken, and what they must look like."""

    name: str  #: the `iss` claim, to the letter
    audience: str  #: how this issuer names us in `aud`
    keys: KeySource
    algorithms: tuple[str, ...] = (ALGORITHM,)
    types: frozenset[str] = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068, 4
    external: External | None = None  #: None: it is us


class TokenRefused(Exception):
    """The token does not open anything; `reason` is a word for the log, the message is for the bearer."""

    def __init__(
        self, reason: str, message: str, *, client_id: str | None = None, error: str = "invalid_token"
    ) -> None:
        super().__init__(message)
        self.reason, self.client_id = reason, client_id  #: client_id only where the signature proved it
        self.error = error
        self.beyond: Allowance | None = None  #: set where refusals come too fast: then it is told, not the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a verified token says."""

    client_id: str
    scopes: tuple[str, ...]
    expires_at: datetime
    person: UUID | None = None
    key: str | None = None  #: thumbprint of the key it is bound to
    vouched: Vouched | None = None  #: by an external issuer
    proof_required: bool = False
    claims: Mapping[str, Any]


async def verify(
    token: str, issuers: Mapping[str, Issuer], *, at: datetime, known: Signatures | None = None
) -> Token:
    """Check everything that can be checked without a database. Raises `TokenRefused`."""
    signed = None if known is None else await known.holds(token)
    if signed is None:
        signed = await _signature(token, issuers)
        if known is not None:
            known.keep(token, signed)
    return _check_claims(signed.claims, signed.issuer, at=at)


@dataclass(frozen=True, slots=True)
class Signed:
    """What a token says, and the key by which it holds."""

    claims: Mapping[str, Any]
    issuer: Issuer
    kid: str
    key: Key


class Signatures:
    """Signatures that were found to hold; whoever asks often is not reckoned anew each time.

    A signature holds for as long as its issuer publishes the very key. All else is looked at for each request: time,
    audience, whether it was called back, the registration, the proof of possession.
    """

    def __init__(self, *, most: int = MOST_SIGNATURES) -> None:
        self._most = most
        self._held: dict[str, Signed] = {}  #: by the digest of the token, so that no token lies in memory

    async def holds(self, token: str) -> Signed | None:
        """What was found of the token, if it is still so."""
        signed = self._held.get(digest(token))
        if signed is None or await signed.issuer.keys.find(signed.kid) is not signed.key:
            return None
        return signed

    def keep(self, token: str, signed: Signed) -> None:
        """Remember it in place of the oldest."""
        if len(self._held) >= self._most:
            del self._held[next(iter(self._held))]
        self._held[digest(token)] = signed


async def _signature(token: str, issuers: Mapping[str, Issuer]) -> Signed:
    header, unverified = _parts(token)
    # (1) It claims to come from an issuer we take tokens from; whose it truly is, its key will show.
    issuer = issuers.get(str(unverified.get("iss")))
    if issuer is None:
        raise TokenRefused("unknown_issuer", "The token comes from an issuer that is not accepted here.")
    # (2) It is an access token, not some other JWT of the same issuer (RFC 8725, 3.11).
    if str(header.get("typ")).lower() not in issuer.types:
        raise TokenRefused("wrong_type", "The token is not an access token (typ at+jwt).")
    # (3) It is signed by a key of that issuer, in a way we agreed on before.
    kid = str(header.get("kid"))
    key = await issuer.keys.find(kid)
    if key is None:
        raise TokenRefused("unknown_key", "The token is signed by a key that is not known.")
    try:
        claims = jwt.decode(token, key, algorithms=issuer.algorithms).claims
    except (JoseError, ValueError):
        raise TokenRefused("bad_signature", "The signature of the token does not hold.") from None
    return Signed(claims, issuer, kid, key)


def _check_claims(claims: Mapping[str, Any], issuer: Issuer, *, at: datetime) -> Token:
    client_id = claims.get("client_id") if issuer.external is None else issuer.external.client_id(claims)
    person = _person(claims.get("sub")) if issuer.external is None else None
    if not isinstance(client_id, str) or (
        issuer.external is None and person is None and claims.get("sub") != client_id
    ):
        raise TokenRefused("malformed", "The token does not say whose it is.")
    proven = client_id if issuer.external is None else f"{issuer.external.name}/{client_id[:80]}"
    # (4) It is for us.
    named = claims.get("aud")
    if issuer.audience not in (named if isinstance(named, list) else [named]):
        raise TokenRefused("wrong_audience", "The token is meant for someone else.", client_id=proven)
    # (5) It is in force.
    begin, end, not_before = (_moment(claims.get(name)) for name in ("iat", "exp", "nbf"))
    if end is None or end + LEEWAY <= at:
        raise TokenRefused("expired", "The token has expired; get a new one.", client_id=proven)
    if begin is None or begin > at + LEEWAY or ("nbf" in claims and (not_before is None or not_before > at + LEEWAY)):
        raise TokenRefused("not_yet_valid", "The token is from the future.", client_id=proven)
    # (6) Where somebody else issued it: what it says means something here.
    vouched = _vouched(claims, issuer.external, proven)
    scope = claims.get("scope", "")
    return Token(
        client_id=proven, scopes=tuple(scope.split()) if isinstance(scope, str) else (), expires_at=end, person=person,
        key=_bound_key(claims, proven), vouched=vouched, claims=claims,
        proof_required=issuer.external is not None and issuer.external.sender_constrained,
    )  # fmt: skip


def _vouched(claims: Mapping[str, Any], external: External | None, proven: str) -> Vouched | None:
    if external is None:
        return None
    try:
        return external.vouch(claims)
    except NotVouchedFor as why:
        raise TokenRefused(why.reason, str(why), client_id=proven) from None


def _bound_key(claims: Mapping[str, Any], proven: str) -> str | None:
    """RFC 7800: a confirmation that is not understood must not be passed over."""
    if "cnf" not in claims:
        return None
    key = claims["cnf"].get("jkt") if isinstance(claims["cnf"], Mapping) else None
    if not isinstance(key, str) or len(claims["cnf"]) != 1:
        raise TokenRefused("malformed", "The token is bound in a way that is not known here.", client_id=proven)
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A token as it came: how, where, and with which proof."""

    token: str
    scheme: str  #: bearer or dpop
    proofs: Sequence[str]
    method: str
    path: str
    endpoint: str  #: the route: a path may hold what a stranger likes to write into the log
    request_id: str
    peer: str  #: the address that it came from


class Bearer:
    """Authenticates requests."""

    def __init__(
        self,
        *,
        issuers: Sequence[Issuer],
        clients: Directory[str, Client],
        people: Directory[UUID, Person],
        called_back: CalledBack,
        burn_proof: Burn,
        base_url: str,
        nonces: Nonces | None,
        buckets: Buckets,
        pace: Pace,
        refused: Callable[[Refusal, str], Awaitable[Allowance | None]],
        now: Callable[[], datetime],
    ) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._clients, self._people, self._called_back = clients, people, called_back
        self._burn_proof, self._base_url, self._buckets = burn_proof, base_url, buckets
        self._refused, self._now, self.nonces = refused, now, nonces
        self._signatures, self.pace = Signatures(), pace

    async def admit(self, presented: Presented) -> Admission:
        """Whose token it is.

        A refusal is on record, or counted, before `TokenRefused` leaves here. Raises `Unavailable` if the registration
        cannot be read, or a refusal cannot be recorded.
        """
        try:
            return await self._admit(presented)
        except TokenRefused as refused:
            if refused.reason == "no_nonce":  # the usual first step, as is asking without a token
                raise
            refusal = Refusal(
                reason=refused.reason,
                actor=refused.client_id,
                client_id=refused.client_id,
                details={"endpoint": presented.endpoint, "token_sha256": digest(presented.token)[:32]},
                request_id=presented.request_id,
            )
            refused.beyond = await self._refused(refusal, presented.peer)
            raise

    async def _admit(self, presented: Presented) -> Admission:
        proven = await verify(presented.token, self._issuers, at=self._now(), known=self._signatures)
        constrained = await self._possession(presented, proven)

        async def look() -> tuple[Caller, RateClass]:
            if proven.vouched is not None:
                caller, rate = _from_outside(proven, proven.vouched), RateClass.STANDARD
            else:
                caller, rate = await self._ours(proven)
            return replace(caller, sender_constrained=constrained, request_id=presented.request_id), rate

        async def again() -> Caller:
            if proven.expires_at <= self._now():
                raise NotAdmitted
            try:
                return (await look())[0]
            except TokenRefused as refused:
                raise NotAdmitted(f"{refused} Nothing more is told.") from None

        caller, rate = await look()
        return Admission(
            caller=caller, left=lambda: proven.expires_at - self._now(), again=again,
            take=lambda: self._buckets.take(caller.principal, rate),
        )  # fmt: skip

    async def _possession(self, presented: Presented, proven: Token) -> bool:
        """Whether the token is bound to a key whose holder sent it (RFC 9449, 7)."""
        if proven.key is None:
            if presented.scheme == "dpop":
                raise TokenRefused(
                    "not_bound", "The token is bound to no key; send it as Bearer.", client_id=proven.client_id
                )
            return False
        if presented.scheme != "dpop" or len(presented.proofs) != 1:
            raise TokenRefused(
                "no_proof", "The token is bound to a key; send it as DPoP with one proof.", client_id=proven.client_id
            )
        try:
            key = await check_proof(
                presented.proofs[0], method=presented.method, url=self._base_url + presented.path, at=self._now(),
                burn=self._burn_proof, token=presented.token, nonces=self.nonces,
            )  # fmt: skip
        except ProofRefused as why:
            raise TokenRefused(why.reason, str(why), client_id=proven.client_id, error=why.error) from None
        if not hmac.compare_digest(key.encode(), proven.key.encode()):
            raise TokenRefused("other_key", "The token is bound to another key.", client_id=proven.client_id)
        return True

    async def _ours(self, proven: Token) -> tuple[Caller, RateClass]:
        """The caller as its registrations are now."""
        client = await self._clients.usable(proven.client_id)
        if client is None:
            raise TokenRefused("unknown_client", "The client is not active any more.", client_id=proven.client_id)
        if await self._called_back.holds(proven.claims.get("jti"), proven.claims.get("fam")):
            raise TokenRefused("revoked", "The token was called back.", client_id=proven.client_id)
        caller = self._program(proven, client) if proven.person is None else await self._person(proven, client)
        institution = None if caller.institution is None else str(caller.institution)
        if proven.claims.get("institution", institution) != institution:
            raise TokenRefused("wrong_institution", "The token is for another institution.", client_id=proven.client_id)
        return caller, client.rate_class

    def _program(self, proven: Token, client: Client) -> Caller:
        return Caller(
            principal=client.client_id, roles=client.roles, institution=client.institution,
            jurisdiction=frozenset(client.jurisdiction),
            scopes=frozenset(narrow(proven.scopes, client.scopes)), purpose=_purpose(proven),
            proof_required=client.sender_constrained, client_id=client.client_id,
        )  # fmt: skip

    async def _person(self, proven: Token, client: Client) -> Caller:
        """A person is never more through an app than the app was registered for, nor than the person is."""
        assert proven.person is not None
        person = await self._people.usable(proven.person)
        if person is None:
            raise TokenRefused("unknown_person", "The person is not active any more.", client_id=proven.client_id)
        roles, jurisdiction = bounded(person.roles & client.roles, person.jurisdiction, client.jurisdiction)
        return Caller(
            principal=person.principal, roles=roles, institution=person.institution, jurisdiction=jurisdiction,
            scopes=frozenset(narrow(proven.scopes, client.scopes, "user")), purpose=_purpose(proven),
            proof_required=client.sender_constrained, client_id=client.client_id,
        )  # fmt: skip


def _from_outside(proven: Token, vouched: Vouched) -> Caller:
    return Caller(
        principal=vouched.principal, roles=vouched.roles, institution=vouched.institution,
        scopes=frozenset(vouched.scopes), purpose=_purpose(proven), proof_required=proven.proof_required,
        jurisdiction=vouched.jurisdiction,
    )  # fmt: skip


class RequireBearer:
    """Lets requests with a good token through to `app`: `caller` and `admission` are in `scope["state"]`."""

    def __init__(self, app: ASGIApp, bearer: Bearer) -> None:
        self._app, self._bearer = InTurn(app, bearer.pace), bearer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state, headers = scope.setdefault("state", {}), Headers(scope=scope)
        sent = headers.getlist("authorization")
        kind, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        if kind.lower() not in {"bearer", "dpop"} or not token:
            # RFC 6750, 3.1: who sent no token is told the way in, and nothing else. Nothing was presented, so there
            # is nothing to record.
            challenge = Answer(401, "UNAUTHENTICATED", "Send an access token.", headers={"WWW-Authenticate": REALM})
            return await challenge(scope, receive, send)
        presented = Presented(
            token=token, scheme=kind.lower(), proofs=headers.getlist("dpop"), method=scope.get("method", "GET"),
            path=scope["path"], endpoint=getattr(scope.get("route"), "path", "unknown"),
            request_id=state["request_id"], peer=state["peer"],
        )  # fmt: skip
        if presented.scheme == "dpop" and self._bearer.nonces is not None:  # RFC 9449, 8.2: with every answer
            send = _saying({NONCE_HEADER: self._bearer.nonces.fresh()}, send)
        try:
            admission = await self._bearer.admit(presented)
        except TokenRefused as refused:
            answer = _challenge(refused, presented.scheme) if refused.beyond is None else too_many(refused.beyond)
            return await answer(scope, receive, send)
        state["principal"] = admission.caller.principal
        allowance = admission.take()
        if allowance.pause:
            return await too_many(allowance)(scope, receive, send)
        state["admission"], state["caller"] = admission, admission.caller
        return await self._app(scope, receive, _saying(allowance.headers, send))


def _challenge(refused: TokenRefused, scheme: str) -> Answer:
    header = f'error="{refused.error}", error_description="{refused}"'
    if scheme == "dpop" or refused.reason == "no_proof":  # RFC 9449, 7.1
        header = f'DPoP realm="sharewell", {header}, algs="{" ".join(PROOF_ALGORITHMS)}"'
    else:
        header = f"{REALM}, {header}"
    return Answer(401, "UNAUTHENTICATED", str(refused), headers={"WWW-Authenticate": header})


def too_many(allowance: Allowance) -> Answer:
    """RFC 6585, 4."""
    why = "That is more than your rate class allows"
    if allowance.kind in frozenset(Knock):
        why = "Too many requests from your address, or too many that were refused"
    return Answer(429, "TOO_MANY_REQUESTS", f"{why}; go on in {allowance.pause} s.", headers=allowance.headers)


def _saying(headers: Mapping[str, str], send: Send) -> Send:
    """`send`, with `headers` put before the answer, unless the answer itself says otherwise."""

    async def say(message: Message) -> None:
        if message["type"] == "http.response.start":
            said = MutableHeaders(scope=message)
            for name, value in headers.items():
                said.setdefault(name, value)
        await send(message)

    return say


def _parts(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims, unverified."""
    if len(token) > MAX_BYTES:
        raise TokenRefused("malformed", f"The token is longer than {MAX_BYTES} bytes.")
    try:
        parts = jws.extract_compact(token.encode("ascii"))
        claims = orjson.loads(parts.payload or b"")
    except (JoseError, ValueError):
        raise TokenRefused("malformed", "The token is not a signed JWT.") from None
    if not isinstance(claims, dict):
        raise TokenRefused("malformed", "The claims of the token are not an object.")
    return parts.headers(), claims


def _moment(value: object) -> datetime | None:
    sane = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**11
    return datetime.fromtimestamp(value, UTC) if sane else None  # type: ignore[arg-type]  # sane says it is an int


def _person(subject: object) -> UUID | None:
    if not isinstance(subject, str) or not subject.startswith(PREFIX):
        return None
    try:
        return UUID(subject.removeprefix(PREFIX))
    except ValueError:
        return None


def _purpose(proven: Token) -> str | None:
    said = proven.claims.get("purpose_of_use")
    return said if isinstance(said, str) else None
