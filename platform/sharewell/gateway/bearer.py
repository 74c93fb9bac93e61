"""Turns an access token (RFC 6750, RFC 9449) into a `Caller`, or refuses it in the open.

A token of ours says who calls and bounds what for; roles and institution come from the registrations of client and
person. What a token says, and whether that holds, is in `access_tokens.py`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sharewell.domain.clients import Client, RateClass, narrow
from sharewell.domain.errors import NotAdmitted
from sharewell.domain.jurisdictions import bounded
from sharewell.domain.people import Person
from sharewell.domain.principals import Admission, Caller
from sharewell.domain.rates import Allowance
from sharewell.gateway.access_tokens import Issuer, Signatures, Token, TokenRefused, verify
from sharewell.gateway.answers import Answer
from sharewell.gateway.directory import CalledBack, Directory
from sharewell.gateway.in_turn import InTurn, Pace
from sharewell.gateway.oauth.assertions import digest
from sharewell.gateway.oauth.issuers import Vouched
from sharewell.gateway.oauth.nonces import HEADER as NONCE_HEADER
from sharewell.gateway.oauth.nonces import Nonces
from sharewell.gateway.oauth.proofs import ALGORITHMS as PROOF_ALGORITHMS
from sharewell.gateway.oauth.proofs import Burn, ProofRefused, check_proof
from sharewell.gateway.rates import Buckets, Knock
from sharewell.services.access import Refusal

REALM = 'Bearer realm="sharewell"'


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
        counted_as = caller.principal if proven.vouched is None else proven.client_id
        return Admission(
            caller=caller, left=lambda: proven.expires_at - self._now(), again=again,
            counted_as=counted_as, take=lambda: self._taken(caller.principal, rate, counted_as),
        )  # fmt: skip

    def _taken(self, principal: str, rate: RateClass, counted_as: str) -> Allowance:
        """One request of its own rate; of whom an external issuer vouches for, also one of those of its program.

        How many subjects there are is the issuer's to say, so a rate of each alone would bound nothing.
        """
        own = self._buckets.take(principal, rate)
        if own.pause or counted_as == principal:
            return own
        together = self._buckets.take(counted_as, RateClass.HIGH)
        return together if together.pause else own

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
            scopes=frozenset(narrow(proven.scopes, client.scopes)), purpose=proven.purpose,
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
            scopes=frozenset(narrow(proven.scopes, client.scopes, "user")), purpose=proven.purpose,
            proof_required=client.sender_constrained, client_id=client.client_id,
        )  # fmt: skip


def _from_outside(proven: Token, vouched: Vouched) -> Caller:
    return Caller(
        principal=vouched.principal, roles=vouched.roles, institution=vouched.institution,
        scopes=frozenset(vouched.scopes), purpose=proven.purpose, proof_required=proven.proof_required,
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
        state["principal"], state["counted_as"] = admission.caller.principal, admission.counted_as
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
