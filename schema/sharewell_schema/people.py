"""People who sign in, in the API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain.people import PersonDraft, PersonStatus
from sharewell.store.people import SORTS
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.grounds import Ground
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.ordering import NO_ORDER, Direction, Ordering
from sharewell_schema.paging import Connection, connection, how_many, read_id
from sharewell_schema.roles import Role
from sharewell_schema.stretch import Stretch

described(
    PersonStatus, "Whether a person can sign in.",
    invited="Not yet: password and second factor are still to be set, by the invitation.", active="Yes.",
    disabled="Not any more, for good.",
)  # fmt: skip
EDGES = {"institution": ("institutions", "institution")}
START = UUID(int=0)


def _roles(self: Any) -> list[Role]:
    return sorted(self.roles)

PERSONAL = frozenset({"login", "name"})  #: of whom is registered; kept in its row alone


@strawberry.type(description="A person who signs in to apps. The audit log knows a person by its id alone.")
class Person:
    id: UUID = field("Identifier, made at random.")
    login: str = field("What the person types to sign in; `[erased]` of who was erased.")
    name: str = field("The person's name; `[erased]` of who was erased.")
    roles: list[Role] = strawberry.field(resolver=_roles, description="What the person is to the platform.")
    institution: UUID | None = field("Identifier of the institution the person acts for.", name="institutionId")
    institution_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "institution"), name="institution",
        description="The institution the person acts for.",
    )  # fmt: skip
    status: PersonStatus = field("Whether the person can sign in.")
    created_at: datetime = field("When the person was invited.")
    jurisdiction: list[str] = field("Of a regulator: the regions the person reads of; empty for all.")
    passkeys: int = field("How many passkeys the person has.")


@strawberry.input(description="A person to invite.")
class RegisterPersonInput:
    idempotency_key: str = key_field()
    login: str = field("What the person will type to sign in, 3 to 200 of a-z, 0-9 and . _ + @ -.")
    name: str = field("The person's name, 1 to 200 characters.")
    roles: list[Role] = field("What the person is to the platform; at least one, and not DEVICE.")
    institution: UUID | None = field("The institution the person acts for; required for INSTITUTION.", default=None)
    jurisdiction: list[str] = strawberry.field(
        description="Of a regulator: the regions the person reads of; none for all.", default_factory=list
    )
    on_behalf_of: OnBehalfOf | None = person_field()


@strawberry.type(description="What became of registerPerson.")
class RegisterPersonPayload:
    person: Person = field("The person as it was registered.")
    invitation: str | None = field(
        "What the person types at /oauth/enrol, within three days, to set password and second factor. Hand it over by "
        "a way that others do not see. It is told once: null where the wish is repeated."
    )
    decision: Receipt = field("The decision on record.")


@strawberry.input(description="A person to invite again.")
class InvitePersonAgainInput:
    idempotency_key: str = key_field()
    person: UUID = field("Which person.")
    on_behalf_of: OnBehalfOf | None = person_field()


@strawberry.type(description="What became of invitePersonAgain.")
class InvitePersonAgainPayload:
    person: Person = field("The person as it is now.")
    invitation: str | None = field("As of registerPerson: told once, and good for three days.")
    decision: Receipt = field("The decision on record.")


@strawberry.input(description="A person to disable.")
class DisablePersonInput:
    idempotency_key: str = key_field()
    person: UUID = field("Which person.")
    on_behalf_of: OnBehalfOf | None = person_field()


@strawberry.type(description="What became of disablePerson.")
class DisablePersonPayload:
    person: Person = field("The person as it is now.")
    decision: Receipt = field("The decision on record.")


@strawberry.input(description="A person to erase.")
class ErasePersonInput:
    idempotency_key: str = key_field()
    person: UUID = field("Which person; it is disabled.")
    ground: Ground = field("By which ground of law.")
    on_behalf_of: OnBehalfOf | None = person_field()


@strawberry.type(description="What became of erasePerson.")
class ErasePersonPayload:
    person: Person = field("What is left of the person.")
    decision: Receipt = field("The decision on record.")


class PersonSort(StrEnum):
    """What people can be ordered by."""

    NAME = "name"
    INVITED = "invited"


described(
    PersonSort, "What people can be ordered by.",
    name="Their names, by code point.", invited="When they were invited.",
)  # fmt: skip


@strawberry.input(description="What people are ordered by; those that are alike in it go by their identifiers.")
class PersonOrderInput:
    by: PersonSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type
class PersonQueries:
    @query("The people who may or might sign in, in no order that means anything. For admins.")
    async def people(
        self, info: Info,
        order_by: Annotated[
            PersonOrderInput | None, argument("In which order; by default in none that means anything.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[Person] | None:  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, NO_ORDER)
        page = await info.context.services.people.page(
            info.context.caller, after=read_id(ordering.usual(stretch), START), first=how_many(info, stretch),
            place=ordering.place,
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(Person, page, stretch, ordering.key)


@strawberry.type
class PersonMutations:
    @mutation("Invite a person to sign in. For admins.")
    async def register_person(
        self, info: Info, input: Annotated[RegisterPersonInput, argument("The person.")]  # noqa: A002
    ) -> RegisterPersonPayload | None:
        draft = PersonDraft(
            login=input.login, name=input.name, roles=frozenset(input.roles), institution=input.institution,
            jurisdiction=input.jurisdiction,
        )  # fmt: skip
        done, invitation = await info.context.services.people.register(
            info.context.caller, draft, wish("registerPerson", input, personal=PERSONAL)
        )
        person = shown(Person, done.subject)
        return paid(RegisterPersonPayload, done, person=person, invitation=invitation)

    @mutation(
        "Invite a person again who lost the invitation or the second factor: password, second factor, passkeys and "
        "tokens are dead at once. For admins."
    )
    async def invite_person_again(
        self, info: Info, input: Annotated[InvitePersonAgainInput, argument("Which person.")]  # noqa: A002
    ) -> InvitePersonAgainPayload | None:
        done, invitation = await info.context.services.people.invite_again(
            info.context.caller, input.person, wish("invitePersonAgain", input)
        )
        return paid(InvitePersonAgainPayload, done, person=shown(Person, done.subject), invitation=invitation)

    @mutation("Take a person's access away, tokens that apps hold for it included. For admins.")
    async def disable_person(
        self, info: Info, input: Annotated[DisablePersonInput, argument("Which person.")]  # noqa: A002
    ) -> DisablePersonPayload | None:
        done = await info.context.services.people.disable(
            info.context.caller, input.person, wish("disablePerson", input)
        )
        return paid(DisablePersonPayload, done, person=shown(Person, done.subject))

    @mutation(
        "Erase login, name and passkeys of a person whose access was taken away, for good. Entries still name the id. "
        "For admins."
    )
    async def erase_person(
        self, info: Info, input: Annotated[ErasePersonInput, argument("Whom, and why.")]  # noqa: A002
    ) -> ErasePersonPayload | None:
        done = await info.context.services.people.erase(
            info.context.caller, input.person, input.ground, wish("erasePerson", input)
        )
        return paid(ErasePersonPayload, done, person=shown(Person, done.subject))
