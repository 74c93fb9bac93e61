"""What people grant apps: from the request over the consent to tokens, and their end.

Everything that must hold against a second request at the same moment is decided under a row's lock, in a transaction
that commits also where the answer is no: a code that was used once stays used.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sharewell.domain.audit import Json
from sharewell.domain.errors import NotFound
from sharewell.domain.grants import (
    CODE_LIFE,
    FAMILY_LIFE,
    PUSHED_LIFE,
    SIGN_IN_LIFE,
    AuthorizationRequest,
    Family,
    Verdict,
    judge_refresh,
)
from sharewell.domain.people import PREFIX, Person
from sharewell.services.access import about_a_credential
from sharewell.services.ids import hashed, new_id
from sharewell.services.office import Office
from sharewell.store.database import Transaction
from sharewell.store.grants import Underway

#: A revoked family's access tokens are refused for as long as any could live.
LONGEST_TOKEN = timedelta(hours=1, minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """A code that was good, once."""

    request: AuthorizationRequest
    family: Family


class GrantService:
    """Authorizations, families of tokens, and what was called back."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def begin(self, asked: AuthorizationRequest) -> str:
        """Keep a request that was checked; the handle by which it goes on."""
        handle, at = secrets.token_urlsafe(32), self._office.now()
        async with self._office.database.transaction() as tx:
            await tx.grants.add_request(hashed(handle), asked, at=at, until=at + PUSHED_LIFE)
        return handle

    async def open(self, handle: str, browser: str, client_id: str | None = None) -> AuthorizationRequest | None:
        """The request, for the first browser that asks for it and no other; if `client_id` is given, of that client."""
        at = self._office.now()
        async with self._office.database.transaction() as tx:
            found = await tx.grants.underway(hashed(handle), at=at)
            if found is None or found.family is not None or client_id not in (None, found.request.client_id):
                return None
            if found.browser_hash is None:
                await tx.grants.bind(hashed(handle), hashed(browser), at + SIGN_IN_LIFE)
            elif not hmac.compare_digest(found.browser_hash, hashed(browser)):
                return None
            return found.request

    async def signed_in(self, handle: str, browser: str, person: Person) -> None:
        """Note who is at that browser.

        Raises `NotFound` where the request is over or another browser's, or what `person` signed in with is gone.
        """
        async with self._office.database.transaction() as tx:
            if not await tx.people.as_it_was(person):
                raise NotFound("what you signed in with was changed meanwhile; go back to the app and begin anew.")
            await self._mine(tx, handle, browser)
            await tx.grants.know(hashed(handle), person.id)

    async def consent(self, handle: str, browser: str, *, request_id: str) -> tuple[AuthorizationRequest, str]:
        """Let the app act for whoever signed in; the request and the code for the app. Raises `NotFound`."""
        at, code = self._office.now(), secrets.token_urlsafe(32)
        async with self._office.database.transaction() as tx:
            found = await self._mine(tx, handle, browser)
            if found.person is None:
                raise NotFound("nobody has signed in here.")
            asked = found.request
            family = Family(
                id=new_id(), client_id=asked.client_id, person=found.person, scopes=asked.scopes, purpose=asked.purpose,
                key=asked.key, created_at=at, expires_at=at + FAMILY_LIFE, revoked=False,
            )  # fmt: skip
            details: dict[str, Json] = {
                "client": asked.client_id, "scopes": list(asked.scopes), "purpose": asked.purpose,
            }  # fmt: skip
            decision = about_a_credential(
                "token.granted", "grantAccess", at=at, actor=f"{PREFIX}{found.person}",
                subject=("family", str(family.id)), details=details, request_id=request_id,
            )  # fmt: skip
            await tx.audit.record(decision)
            await tx.grants.add_family(family, decision.id)
            await tx.grants.consent(hashed(handle), hashed(code), family.id, at + CODE_LIFE)
            return asked, code

    async def decline(self, handle: str, browser: str) -> AuthorizationRequest:
        """Forget the request; where to say so. Raises `NotFound`."""
        async with self._office.database.transaction() as tx:
            found = await self._mine(tx, handle, browser)
            await tx.grants.drop(hashed(handle))
            return found.request

    async def redeem(self, code: str, client_id: str, *, request_id: str) -> tuple[Verdict, Redeemed | None]:
        """Use a code up. One that comes a second time ends the family it began (RFC 6749, 4.1.2)."""
        at = self._office.now()
        async with self._office.database.transaction() as tx:
            found = await tx.grants.by_code(hashed(code))
            if found is None or found.family is None or found.request.client_id != client_id:
                return Verdict.UNKNOWN, None
            if found.code_used_at is not None:
                await _end(tx, found.family, "code_reused", at=at, actor=client_id, request_id=request_id)
                return Verdict.REUSED, None
            await tx.grants.use_code(hashed(code), at)
            family = await tx.grants.family(found.family)
            if family is None or found.expires_at <= at or not family.open(at=at):
                return Verdict.OVER, None
            return Verdict.GOOD, Redeemed(request=found.request, family=family)

    async def first_refresh(self, family: UUID, key: str | None) -> str:
        """The refresh token that goes with the first access token of a family, bound to `key` if there is one."""
        token = secrets.token_urlsafe(32)
        async with self._office.database.transaction() as tx:
            await tx.grants.add_refresh(hashed(token), family, self._office.now(), key)
        return token

    async def family_of(self, refresh: str, client_id: str) -> Family | None:
        """Whose refresh token it is, used or not, with the key it is bound to; None where it is not that client's."""
        async with self._office.database.transaction() as tx:
            held = await tx.grants.family_of(hashed(refresh))
            family = None if held is None else await tx.grants.family(held[0])
            if held is None or family is None or family.client_id != client_id:
                return None
            return replace(family, key=family.key or held[1])

    async def unused(self, refresh: str) -> bool:
        """Whether that refresh token would still be taken, as far as it goes."""
        async with self._office.database.transaction() as tx:
            held = await tx.grants.refresh(hashed(refresh))
            return held is not None and held[1] is None

    async def rotate(self, refresh: str, key: str | None, *, request_id: str) -> tuple[Verdict, str | None]:
        """Use a refresh token up for its successor; of many at once, one gets it. Reuse ends the family.

        The successor is bound to what the token was bound to, or else to `key`.
        """
        at, successor = self._office.now(), secrets.token_urlsafe(32)
        async with self._office.database.transaction() as tx:
            held = await tx.grants.refresh(hashed(refresh))
            family = None if held is None else await tx.grants.family(held[0])
            if held is None or family is None:
                return Verdict.UNKNOWN, None
            verdict = judge_refresh(family, held[1], at=at)
            if verdict is Verdict.REUSED:
                await _end(
                    tx, family.id, "refresh_reused", at=at, actor=family.client_id, request_id=request_id
                )  # fmt: skip
            if verdict is not Verdict.GOOD:
                return verdict, None
            await tx.grants.use_refresh(hashed(refresh), at)
            await tx.grants.add_refresh(hashed(successor), family.id, at, held[2] or key)
            return verdict, successor

    async def revoke_family(self, family: UUID, client_id: str, *, request_id: str) -> None:
        """The client gives its tokens back (RFC 7009)."""
        async with self._office.database.transaction() as tx:
            await tx.grants.family(family)
            await _end(tx, family, "by_client", at=self._office.now(), actor=client_id, request_id=request_id)

    async def revoke_token(self, jti: str, until: datetime, client_id: str, *, request_id: str) -> None:
        """Call one access token back (RFC 7009)."""
        at = self._office.now()
        async with self._office.database.transaction() as tx:
            if jti in await tx.grants.called_back(at=at):
                return
            decision = about_a_credential(
                "token.revoked", "revokeToken", at=at, actor=client_id, subject=("token", jti),
                details={"reason": "by_client"}, request_id=request_id,
            )  # fmt: skip
            await tx.audit.record(decision)
            await tx.grants.call_back(jti, until, decision.id)

    async def called_back(self) -> frozenset[str]:
        """Ids of access tokens, and of families, that count no more."""
        async with self._office.looking() as tx:
            return await tx.grants.called_back(at=self._office.now())

    async def burn_proof(self, key: str, jti: str, until: datetime) -> bool:
        """Use a proof of possession up: True the first time only."""
        async with self._office.database.transaction() as tx:
            return await tx.grants.burn_proof(key, jti, until)

    async def _mine(self, tx: Transaction, handle: str, browser: str) -> Underway:
        found = await tx.grants.underway(hashed(handle), at=self._office.now())
        bound = found is not None and found.browser_hash is not None and found.family is None
        if found is None or not bound or not hmac.compare_digest(found.browser_hash or b"", hashed(browser)):
            raise NotFound("this sign-in is over, or was begun in another browser; go back to the app and begin anew.")
        return found


async def end_all_of(
    tx: Transaction, person: UUID, reason: str, *, at: datetime, actor: str, request_id: str
) -> None:
    """End all that apps hold of a person, and every sign-in under way, for `reason`: a credential of it is gone."""
    await tx.people.renew(person)
    await tx.grants.drop_of(person)
    for family in await tx.grants.open_families(person):
        await _end(tx, family, reason, at=at, actor=actor, request_id=request_id)


async def _end(tx: Transaction, family: UUID, reason: str, *, at: datetime, actor: str, request_id: str) -> None:
    """End a family, once."""
    held = await tx.grants.family(family)
    if held is None or held.revoked:
        return
    details: Mapping[str, Json] = {"reason": reason, "client": held.client_id, "person": str(held.person)}
    decision = about_a_credential(
        "token.revoked", "revokeToken", at=at, actor=actor, subject=("family", str(family)), details=details,
        request_id=request_id,
    )  # fmt: skip
    await tx.audit.record(decision)
    await tx.grants.end_family(family, decision.id)
    await tx.grants.call_back(str(family), at + LONGEST_TOKEN, decision.id)
