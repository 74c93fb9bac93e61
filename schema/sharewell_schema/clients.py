"""OAuth clients in the API, and who the caller itself is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain.clients import ClientDraft, ClientStatus, Purpose, RateClass, thumbprint
from sharewell.domain.errors import Invalid
from sharewell.store.clients import SORTS
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.ordering import Direction, Keyed, Ordering
from sharewell_schema.paging import Connection, code_of, connection, how_many, read_code
from sharewell_schema.roles import Role
from sharewell_schema.scalars import Json
from sharewell_schema.stretch import Stretch

described(
    ClientStatus, "Whether a client may get and use tokens.",
    active="It may, until it expires.", disabled="It may not, for good.",
)  # fmt: skip
described(
    RateClass, "How many requests a client may make.",
    low="10 a second in the long run, 100 at once.", standard="200 a second in the long run, 2,000 at once.",
    high="2,000 a second in the long run, 20,000 at once.",
)  # fmt: skip
described(
    Purpose, "What a token is used for (HL7 PurposeOfUse).",
    treatment="Treating patients (TREAT).", emergency="Treating patients in an emergency (ETREAT).",
    operations="Running an institution (HOPERAT).", public_health="Public health (PUBHLTH).",
    research="Research (HRESCH): reads, and changes nothing.", administration="Keeping the system (HSYSADMIN).",
)  # fmt: skip
EDGES = {"institution": ("institutions", "institution")}


@strawberry.type(description="A public key of a client.")
class ClientKey:
    kid: str = field("Its name, as in the header of the client's assertions.")
    alg: str = field("The algorithm it signs with: ES384 or RS384.")
    thumbprint: str = field("RFC 7638 thumbprint, SHA-256 in base64url.")


def _roles(self: Any) -> list[Role]:
    return sorted(self.roles)


def _scopes(self: Any) -> list[str]:
    return sorted(self.scopes)


def _jurisdiction(self: Any) -> list[str]:
    return sorted(self.jurisdiction)


def _keys(self: Any) -> list[ClientKey]:
    return [ClientKey(kid=key["kid"], alg=key["alg"], thumbprint=thumbprint(key)) for key in self.keys]


@strawberry.type(description="A program that has access.")
class Client:
    client_id: str = field("Its OAuth client id.")
    name: str = field("What people call it.")
    roles: list[Role] = strawberry.field(resolver=_roles, description="What it is to the platform.")
    scopes: list[str] = strawberry.field(
        resolver=_scopes, description="What its tokens may be used for at most, as `system/Offer.cruds`."
    )
    keys: list[ClientKey] = strawberry.field(resolver=_keys, description="Its public keys.")
    institution: UUID | None = field("Identifier of the institution it acts for.", name="institutionId")
    institution_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "institution"), name="institution", description="The institution it acts for."
    )
    status: ClientStatus = field("Whether it may get and use tokens.")
    expires_at: datetime | None = field("From when on it is refused; null for never.")
    created_at: datetime = field("When it was registered.")
    jwks_uri: str | None = field("Where it publishes its keys, if it does.")
    redirect_uris: list[str] = field("Of an app that people use: where they are sent back to.")
    rate_class: RateClass = field("How many requests it may make.")
    sender_constrained: bool = field("Whether its tokens only work with a proof of a key it holds (RFC 9449).")
    purposes: list[Purpose] = field("What its tokens may be used for; empty where that is not said.")
    jurisdiction: list[str] = field("Of a regulator: the regions it reads of; empty for all.")


@strawberry.type(description="Who you are to the platform.")
class Me:
    principal: str = field(
        "Your OAuth client id; through an app `person/` and your id, through an external issuer its name and subject.",
        name="clientId",
    )
    roles: list[Role] = strawberry.field(resolver=_roles, description="What you are to the platform.")
    scopes: list[str] = strawberry.field(resolver=_scopes, description="What this token may be used for.")
    institution: UUID | None = field("Identifier of the institution you act for.", name="institutionId")
    institution_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "institution"), name="institution", description="The institution you act for."
    )
    jurisdiction: list[str] = strawberry.field(
        resolver=_jurisdiction, description="As a regulator: the regions you read of; empty for all."
    )


@strawberry.input(description="A program to give access.")
class RegisterClientInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    client_id: str | None = field("Its client id, 3 to 100 letters, digits or . _ : -; made if left out.", default=None)
    name: str = field("What people call it, 1 to 200 characters.")
    roles: list[Role] = field("What it is to the platform; at least one.")
    scopes: list[str] = field("What its tokens may be used for at most, such as `system/Offer.cruds`.")
    jwks: Json | None = field(
        "Its public keys as a JWK set (RFC 7517): an object with `keys`, 1 to 8 of them, each P-384 or RSA of 2048 "
        "to 4096 bits with a `kid`. Never send a private key. Only an app on people's own devices has none.",
        default=None,
    )
    institution: UUID | None = field("The institution it acts for; required for INSTITUTION and DEVICE.", default=None)
    expires_at: datetime | None = field("From when on it is refused; null for never.", default=None)
    jwks_uri: str | None = field(
        "Where it publishes its keys, in place of `jwks`: an https address at an origin the operator listed.",
        default=None,
    )
    redirect_uris: list[str] = strawberry.field(
        description="Of an app that people use: where they are sent back to, compared to the letter. It has `user/` "
        "scopes then.",
        default_factory=list,
    )
    rate_class: RateClass = field("How many requests it may make.", default=RateClass.STANDARD)
    sender_constrained: bool = field(
        "Whether its tokens are to work only with a proof of a key it holds (RFC 9449).", default=False
    )
    purposes: list[Purpose] = strawberry.field(
        description="What its tokens may be used for; with one, it is that, with more, each request for a token names "
        "one.",
        default_factory=list,
    )
    jurisdiction: list[str] = strawberry.field(
        description="Of a regulator: the regions whose institutions it reads of; none for all.", default_factory=list
    )


@strawberry.type(description="What became of registerClient.")
class RegisterClientPayload:
    client: Client = field("The client as it was registered.")
    decision: Receipt = field("The decision on record.")


@strawberry.input(description="A client to disable.")
class DisableClientInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    client_id: str = field("Which client.")


@strawberry.type(description="What became of disableClient.")
class DisableClientPayload:
    client: Client = field("The client as it is now.")
    decision: Receipt = field("The decision on record.")


def _client_key(item: Any) -> bytes:
    client_id: str = item.client_id
    return client_id.encode()

BY_CLIENT_ID = Keyed(_client_key, lambda key: (code_of(key),))


class ClientSort(StrEnum):
    """What clients can be ordered by."""

    CLIENT_ID = "client_id"
    NAME = "name"
    REGISTERED = "registered"
    EXPIRES = "expires"


described(
    ClientSort, "What clients can be ordered by.",
    client_id="Their client ids.", name="Their names, by code point.", registered="When they were registered.",
    expires="From when on they are refused; what never is counts as later than all that is.",
)  # fmt: skip


@strawberry.input(description="What clients are ordered by; those that are alike in it go by their client ids.")
class ClientOrderInput:
    by: ClientSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type
class ClientQueries:
    @query("Who you are to the platform, and what your token is good for.")
    async def me(self, info: Info) -> Me | None:
        return shown(Me, info.context.caller)

    @query("One client. For admins, and for the institution it acts for.")
    async def client(
        self, info: Info, client_id: Annotated[str, argument("Its OAuth client id.")]
    ) -> Client | None:
        return shown(Client, await info.context.services.clients.get(info.context.caller, client_id))

    @query("The programs that have or had access, by client id. For admins.")
    async def clients(
        self, info: Info,
        order_by: Annotated[
            ClientOrderInput | None, argument("In which order; by default by client id.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[Client] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("client_id", Direction.ASC), BY_CLIENT_ID)
        page = await info.context.services.clients.page(
            info.context.caller, after=read_code(ordering.usual(stretch)), first=how_many(info, stretch),
            place=ordering.place,
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(Client, page, stretch, ordering.key)


@strawberry.type
class ClientMutations:
    @mutation("Give a program access. For admins.")
    async def register_client(
        self, info: Info, input: Annotated[RegisterClientInput, argument("The program.")]  # noqa: A002
    ) -> RegisterClientPayload | None:
        if input.jwks is not None and not isinstance(input.jwks, Mapping):
            raise Invalid('jwks must be an object such as {"keys": [...]} (RFC 7517).', field="jwks")
        draft = ClientDraft(
            name=input.name, roles=frozenset(input.roles), scopes=input.scopes, jwks=input.jwks,
            institution=input.institution, client_id=input.client_id, expires_at=input.expires_at,
            jwks_uri=input.jwks_uri, redirect_uris=input.redirect_uris, rate_class=input.rate_class,
            sender_constrained=input.sender_constrained, purposes=input.purposes,
            jurisdiction=input.jurisdiction,
        )  # fmt: skip
        done = await info.context.services.clients.register(
            info.context.caller, draft, wish("registerClient", input)
        )
        return paid(RegisterClientPayload, done, client=done.subject)

    @mutation("Take a program's access away, tokens it holds included. For admins.")
    async def disable_client(
        self, info: Info, input: Annotated[DisableClientInput, argument("Which client.")]  # noqa: A002
    ) -> DisableClientPayload | None:
        done = await info.context.services.clients.disable(
            info.context.caller, input.client_id, wish("disableClient", input)
        )
        return paid(DisableClientPayload, done, client=done.subject)
