"""The endpoints for programs: token, pushed authorization, revocation, introspection. It refuses in the open.

A refused credential is recorded in the audit log before the client hears of it. Access tokens are not stored: they
live minutes, and what their bearer may do is looked up afresh at each use.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError, OAuth2Error
from joserfc.jwk import Key
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sharewell.domain.clients import Client
from sharewell.domain.grants import PUSHED_LIFE
from sharewell.domain.people import Person
from sharewell.domain.rates import Allowance
from sharewell.gateway.access_tokens import Issuer, Token, TokenRefused, verify
from sharewell.gateway.directory import CalledBack
from sharewell.gateway.oauth import bridge
from sharewell.gateway.oauth.assertions import Refused, digest
from sharewell.gateway.oauth.core import Core, ProofError, binding
from sharewell.gateway.oauth.forms import NO_STORE, Asked, TooMany, answer, read_form, too_many
from sharewell.gateway.oauth.keys import SigningKeys
from sharewell.gateway.oauth.metadata import INTROSPECTION_PATH, PUSH_PATH, REVOCATION_PATH, TOKEN_PATH
from sharewell.gateway.oauth.nonces import HEADER as NONCE_HEADER
from sharewell.gateway.oauth.nonces import Nonces
from sharewell.gateway.oauth.proofs import ProofRefused, check_proof
from sharewell.gateway.oauth.requests import REQUEST_URI, check_purpose, check_request
from sharewell.gateway.oauth.signers import NONE, SIGNED, Registered, Signers
from sharewell.gateway.rates import Buckets
from sharewell.services.access import Refusal
from sharewell.services.clients import ClientService
from sharewell.services.grants import GrantService

_NOW_ASKED: ContextVar[Asked] = ContextVar("asked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """What the authorization server is made of."""

    issuer: str
    audience: str
    keys: SigningKeys
    clients: ClientService
    grants: GrantService
    person: Callable[[UUID], Awaitable[Person | None]]
    keys_at: Callable[[str, str], Awaitable[Key | None]]  #: of a client that publishes its keys: address, kid
    called_back: CalledBack
    refused: Callable[[Refusal, str], Awaitable[Allowance | None]]  #: with the address it came from
    knocks: Buckets
    nonces: Nonces | None  #: which proofs of possession must hold; None: they need not
    now: Callable[[], datetime]
    life: timedelta = timedelta(minutes=5)


class TokenServer:
    """Issues access tokens (RFC 9068), tells of them and calls them back."""

    def __init__(self, authority: Authority) -> None:
        self._us = us = authority
        paths = (TOKEN_PATH, PUSH_PATH, REVOCATION_PATH, INTROSPECTION_PATH)
        audiences = [us.issuer + TOKEN_PATH, us.issuer, *(us.issuer + path for path in paths[1:])]
        self._core = Core(
            clients=us.clients, grant_service=us.grants, find_person=us.person, now=us.now, knocks=us.knocks,
            signers=Signers(us.clients, audiences, us.now, us.keys_at),
        )  # fmt: skip
        self._core.register_token_generator("default", self._make)

    async def token(self, request: Request) -> Response:
        """RFC 6749, 3.2."""
        return await self._answered(request, TOKEN_PATH, self._token)

    async def push(self, request: Request) -> Response:
        """RFC 9126: an app hands its authorization request over before it sends the person."""
        return await self._answered(request, PUSH_PATH, self._push)

    async def revoke(self, request: Request) -> Response:
        """RFC 7009: a client gives back a token of its own. What is none is answered all the same (2.2)."""
        return await self._answered(request, REVOCATION_PATH, self._revoke)

    async def introspect(self, request: Request) -> Response:
        """RFC 7662, for a client's own tokens, and those of clients that the policies let it see."""
        return await self._answered(request, INTROSPECTION_PATH, self._introspect)

    async def _answered(
        self, request: Request, path: str, respond: Callable[[Asked], Awaitable[Response]]
    ) -> Response:
        """Answer one request; a refusal of something presented is on record first."""
        try:
            asked = Asked(self._us.issuer + path, await read_form(request), request)
        except OAuth2Error as error:
            return answer(*error())
        _NOW_ASKED.set(asked)
        try:
            await self._prove(asked, path)
            response = await respond(asked)
        except OAuth2Error as error:
            asked.error, response = error, answer(*error())
        if asked.error is not None and not isinstance(asked.error, TooMany):
            beyond = await self._record(asked, path)
            response = response if beyond is None else too_many(beyond)
        if asked.proofs and self._us.nonces is not None:
            response.headers[NONCE_HEADER] = self._us.nonces.fresh()
        if asked.allowance is not None:
            response.headers.update(asked.allowance.headers)
        return response

    async def _prove(self, asked: Asked, path: str) -> None:
        """Note the key whose holder sends this, where a proof comes along (RFC 9449, 5)."""
        if not asked.proofs:
            return
        if len(asked.proofs) > 1:
            raise ProofError("bad_proof", "Send one DPoP proof.")
        try:
            asked.key = await check_proof(
                asked.proofs[0], method="POST", url=self._us.issuer + path, at=self._us.now(),
                burn=self._us.grants.burn_proof, nonces=self._us.nonces,
            )  # fmt: skip
        except ProofRefused as why:
            raise ProofError(why.reason, str(why), why.error) from None

    async def _token(self, asked: Asked) -> Response:
        response: JSONResponse = await bridge.run(self._core.create_token_response, asked)
        return response

    async def _push(self, asked: Asked) -> Response:
        client = await self._client(asked, SIGNED, NONE)
        if "request_uri" in asked.form:
            raise InvalidRequestError(description="request_uri cannot be pushed.")
        checked = check_request(client, asked.form, key=asked.key)
        handle = await self._us.grants.begin(checked)
        return answer(201, {"request_uri": REQUEST_URI + handle, "expires_in": int(PUSHED_LIFE.total_seconds())})

    async def _revoke(self, asked: Asked) -> Response:
        client = await self._client(asked, SIGNED, NONE)
        presented = _presented(asked)
        family = await self._us.grants.family_of(presented, client.client_id)
        if family is not None:
            await self._us.grants.revoke_family(family.id, client.client_id, request_id=asked.request_id)
        elif (token := await self._ours(presented)) is not None and token.client_id == client.client_id:
            await self._us.grants.revoke_token(
                token.claims["jti"], token.expires_at, client.client_id, request_id=asked.request_id
            )  # fmt: skip
        self._us.called_back.look_again()
        return Response(status_code=200, headers=NO_STORE)

    async def _introspect(self, asked: Asked) -> Response:
        client = await self._client(asked, SIGNED)
        told = await self._what_is(_presented(asked), client, asked)
        return answer(200, {"active": False} if told is None else {"active": True, **told})

    async def _what_is(self, presented: str, client: Client, asked: Asked) -> dict[str, Any] | None:
        family = await self._us.grants.family_of(presented, client.client_id)
        if family is not None:
            good = family.open(at=self._us.now()) and await self._us.grants.unused(presented)
            claims = {"client_id": family.client_id, "scope": " ".join(family.scopes), "token_type": "refresh_token"}
            return claims | {"exp": int(family.expires_at.timestamp())} if good else None
        token = await self._ours(presented)
        if token is None or not (token.client_id == client.client_id or await self._us.clients.sees(
            client, token.client_id, request_id=asked.request_id, proven=asked.key is not None
        )):  # fmt: skip
            return None
        return dict(token.claims) | {"token_type": "Bearer" if token.key is None else "DPoP"}

    async def _ours(self, presented: str) -> Token | None:
        """An access token of ours that is in force; its client and person are too."""
        us = Issuer(name=self._us.issuer, audience=self._us.audience, keys=self._us.keys)
        try:
            token = await verify(presented, {us.name: us}, at=self._us.now())
        except TokenRefused:
            return None
        client = await self._us.clients.find(token.client_id)
        person = None if token.person is None else await self._us.person(token.person)
        there = client is not None and client.usable(at=self._us.now())
        if not there or (token.person is not None and (person is None or not person.usable(at=self._us.now()))):
            return None
        gone = await self._us.called_back.holds(token.claims.get("jti"), token.claims.get("fam"))
        return None if gone else token

    async def _client(self, asked: Asked, *methods: str) -> Client:
        """Whoever asks, proven by one of `methods`. Raises `OAuth2Error`."""
        registered: Registered = await bridge.run(self._core.authenticate_client, asked, list(methods))
        asked.client = registered
        return registered.record

    async def _record(self, asked: Asked, path: str) -> Allowance | None:
        """Record a refusal of a credential, or of a pushed request. Nothing presented, nothing to record."""
        presented = asked.credential or (asked.proofs[0] if asked.proofs else None)
        if asked.error is None or (presented is None and path != PUSH_PATH):
            return None
        if getattr(asked.error, "reason", None) == "no_nonce":  # the usual first step; nothing was judged yet
            return None
        known = asked.client.get_client_id() if asked.client else None
        # Authlib sets the client before it checks the signature: a name that was only claimed is never the actor.
        claimed = isinstance(asked.error, Refused) or (asked.client is not None and asked.client.record.public)
        named = "assertion_sha256" if asked.form.get("client_assertion") else "credential_sha256"
        return await self._us.refused(
            Refusal(
                reason=getattr(asked.error, "reason", None) or asked.error.error,
                actor=None if claimed else known,
                client_id=known,
                details={"endpoint": path} | ({named: digest(presented)[:32]} if presented else {}),
                request_id=asked.request_id,
            ),
            asked.peer,
        )

    def _make(
        self,
        *,
        grant_type: str,  # noqa: ARG002 - Authlib hands it over
        client: Registered,
        user: Person | None = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        """The answer to a request that is granted. Runs inside Authlib's core."""
        asked, record = _NOW_ASKED.get(), client.record
        if record.sender_constrained and asked.key is None:
            raise ProofError("no_proof", "The tokens of this client are bound to a key; send a DPoP proof.")
        if user is None:
            scope = client.get_allowed_scope(scope)
            asked.purpose = check_purpose(record, asked.form)
        if not scope:
            raise InvalidScopeError(description=f"scope must name at least one of {' '.join(record.scopes)}.")
        institution = record.institution if user is None else user.institution
        token = {
            "token_type": "Bearer" if asked.key is None else "DPoP",
            "access_token": self._sign(client, user, scope, institution, asked),
            "expires_in": expires_in or int(self._us.life.total_seconds()),
            "scope": scope,
        }
        if include_refresh_token and user is not None:
            assert asked.family is not None
            token["refresh_token"] = asked.successor or bridge.wait(
                self._us.grants.first_refresh(asked.family, binding(asked))
            )
        return token

    def _sign(
        self, client: Registered, user: Person | None, scope: str, institution: UUID | None, asked: Asked
    ) -> str:
        """RFC 9068, 2.2; what it is bound to beside: RFC 9449, 6, and institution, purpose and family of ours."""
        at = self._us.now()
        claims = {
            "iss": self._us.issuer,
            "sub": client.get_client_id() if user is None else user.principal,
            "client_id": client.get_client_id(),
            "aud": self._us.audience,
            "iat": int(at.timestamp()),
            "exp": int((at + self._us.life).timestamp()),
            "jti": secrets.token_urlsafe(18),
            "scope": scope,
            "institution": None if institution is None else str(institution),
            "purpose_of_use": asked.purpose,
            "fam": None if asked.family is None else str(asked.family),
            "cnf": None if asked.key is None else {"jkt": asked.key},
        }
        return self._us.keys.sign({name: said for name, said in claims.items() if said is not None}, type="at+jwt")


def _presented(asked: Asked) -> str:
    token = asked.form.get("token")
    if not token:
        raise InvalidRequestError(description="token is missing.")
    return token
