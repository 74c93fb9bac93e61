"""Give programs access and take it away; find them for the gateway, which checks what they present."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from joserfc.errors import JoseError
from joserfc.jwk import import_key

from sharewell.domain.addresses import origin_of
from sharewell.domain.audit import Json
from sharewell.domain.clients import Client, ClientDraft, Edition, is_client_id, thumbprint
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller, Role
from sharewell.domain.scopes import INTERNAL_SCOPES
from sharewell.services.act import Act, Done
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.paging import Page, Place


class ClientService:
    """Which programs have access."""

    def __init__(self, office: Office, *, key_origins: Collection[str] = ()) -> None:
        self._office = office
        self._key_origins = frozenset(key_origins)  #: where keys may be fetched from

    async def register(self, caller: Caller, draft: ClientDraft, wish: Wish | None = None) -> Done[Client]:
        """Raises `Invalid` naming the field that is wrong, `NotFound` for an institution that does not take part,
        `Conflict` where the id is taken."""
        client_id = draft.client_id or str(new_id())
        target = Target(kind="client", id=client_id, owner=draft.institution)
        async with self._office.act(caller, Action.REGISTER_CLIENT, target, wish) as act:
            if act.repeated:
                return act.again(Client)
            self._check_keys_can_be_had(draft)
            return await _register(act, draft, client_id)

    async def bootstrap_admin(self, draft: ClientDraft, *, request_id: str) -> Done[Client]:
        """Register the first admins, for the operator at the machine itself.

        Allowed while no admin client can act by itself, so it is also the way back in when all are disabled or expired,
        and while no two admins can act of whom one could approve what the other wrote, for nobody but the operator
        begins a line.
        Like every registration it is permitted by the policies and recorded. Raises `Conflict` otherwise.
        """
        if Role.ADMIN not in draft.roles:
            raise Invalid("roles must hold admin; other clients are registered by an admin.", field="roles")
        operator = Caller(
            principal="operator",
            roles=frozenset({Role.ADMIN}),
            scopes=INTERNAL_SCOPES,
            request_id=request_id,
        )
        client_id = draft.client_id or str(new_id())
        target = Target(kind="client", id=client_id, owner=draft.institution)
        async with self._office.act(operator, Action.REGISTER_CLIENT, target) as act:
            if await act.tx.clients.has_admin(at=act.at) and await act.tx.clients.has_two_lines(at=act.at):
                raise Conflict("admins of two lines exist; let them register further clients.")
            return await _register(act, draft, client_id)

    async def disable(self, caller: Caller, client_id: str, wish: Wish | None = None) -> Done[Client]:
        """Refuse the client from now on; tokens it holds stop working within seconds."""
        target = await self._target(client_id)
        async with self._office.act(caller, Action.DISABLE_CLIENT, target, wish) as act:
            if act.repeated:
                return act.again(Client)
            client = (await act.tx.clients.get(client_id)).disable()
            decision = await act.record("client.disabled", "client", client_id, {}, institution=client.institution)
            await act.tx.clients.disable(client_id, decision)
            return await act.done(client, decision)

    async def get(self, caller: Caller, client_id: str) -> Client:
        await self._office.allow(caller, Action.VIEW_CLIENT, await self._target(client_id))
        async with self._office.reading(caller) as tx:
            return await tx.clients.get(client_id)

    async def page(self, caller: Caller, *, after: str, first: int, place: Place | None = None) -> Page[Client]:
        extent = await self._office.extent(caller, Action.VIEW_CLIENT, Target.list("client"))
        async with self._office.reading(caller) as tx:
            page = await tx.clients.page(after=after, first=first, seen=extent.seen, place=place)
        told = {each.institution for each in page.items if each.institution is not None}
        targets = {who: Target.list("client", owner=who) for who in told}
        await self._office.shown(caller, Action.VIEW_CLIENT, extent, targets)
        return page

    async def find(self, client_id: str) -> Client | None:
        """The registration as it is now, for the gateway, before anybody is a caller."""
        if not is_client_id(client_id):
            return None  # PostgreSQL would refuse some of what strangers send
        async with self._office.looking() as tx:
            return await tx.clients.find(client_id)

    async def sees(self, client: Client, other: str, *, request_id: str, proven: bool) -> bool:
        """Whether the policies let `client`, as it is registered, see what `other` is; on record where they do.

        `proven`: by a proof of possession beside the request.
        """
        caller = Caller(
            principal=client.client_id, roles=client.roles, institution=client.institution,
            jurisdiction=frozenset(client.jurisdiction), scopes=frozenset(client.scopes),
            proof_required=client.sender_constrained, sender_constrained=proven, client_id=client.client_id,
            request_id=request_id,
        )  # fmt: skip
        return bool(await self._office.seen(caller, Action.VIEW_CLIENT, {other: await self._target(other)}))

    async def edition(self, client_id: str) -> Edition | None:
        """The same, with what tells whether it changed since."""
        if not is_client_id(client_id):
            return None
        async with self._office.database.at_once() as tx:
            return await tx.clients.edition(client_id)

    async def burn(self, client_id: str, jti: str, until: datetime, edition: int | None = None) -> bool:
        """Use an assertion up, in a transaction of its own that nothing undoes: True the first time only.

        With `edition`, only if the client is registered as it was then; whether it is, is read by the same statement.
        """
        async with self._office.database.at_once() as tx:
            return await tx.clients.burn(client_id, jti, until, edition)

    def _check_keys_can_be_had(self, draft: ClientDraft) -> None:
        if draft.jwks_uri is not None and origin_of(draft.jwks_uri) not in self._key_origins:
            raise Invalid(
                "jwksUri is not at an origin that keys are fetched from; the operator lists these in SHAREWELL_EGRESS.",
                field="jwksUri",
            )

    async def _target(self, client_id: str) -> Target:
        client = await self.find(client_id)
        return Target(kind="client", id=client_id, owner=client.institution if client else None)


async def _register(act: Act, draft: ClientDraft, client_id: str) -> Done[Client]:
    client = Client.register(draft, client_id=client_id, at=act.at)
    if client.institution is not None:
        await act.tx.institutions.get(client.institution)  # NotFound leaves here
    for place, key in enumerate(client.keys):
        try:
            import_key(dict(key))
        except (JoseError, ValueError):
            raise Invalid("the key's numbers do not make a public key.", field=f"jwks.keys.{place}") from None
    details: dict[str, Json] = {
        "name": client.name,
        "roles": sorted(client.roles),
        "scopes": list(client.scopes),
        "keys": [thumbprint(key) for key in client.keys],
        "expires_at": client.expires_at.isoformat() if client.expires_at else None,
        "jwks_uri": client.jwks_uri,
        "redirect_uris": list(client.redirect_uris),
        "rate_class": client.rate_class,
        "sender_constrained": client.sender_constrained,
        "purposes": list(client.purposes),
    }
    if client.jurisdiction:
        details["jurisdiction"] = list(client.jurisdiction)
    decision = await act.record("client.registered", "client", client_id, details, institution=client.institution)
    await act.tx.clients.add(client, decision)
    return await act.done(client, decision)
