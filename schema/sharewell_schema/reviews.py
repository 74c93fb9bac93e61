"""Who can do what, why somebody was refused, and reviews of access, in the API. Each question is put on record."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.authz import Policy as FoundPolicy
from sharewell.domain.errors import Invalid
from sharewell.domain.policy import BETWEEN, Action, Target
from sharewell.domain.review import AccessState, Holder, Permitted, Reach, Reviewed
from sharewell.services.reviews import Place
from sharewell_schema.context import Info
from sharewell_schema.costs import COUNTS
from sharewell_schema.describe import argument, described, field, query
from sharewell_schema.paging import Connection, code_of, connection, how_many, read_place
from sharewell_schema.policies import Policy, shown_policy
from sharewell_schema.roles import Role
from sharewell_schema.stretch import Stretch

MOST_LINES = 100  #: of a page of an access review: each is some hundred questions to the policies

described(
    Holder, "What has access.", "AccessHolder",
    client="A program, by its client id.", person="A person who signs in, by the person's identifier.",
    process="One of the platform's own processes, by its name; nobody from outside is one.",
)  # fmt: skip
described(
    AccessState, "What a registration was good for.",
    active="It could act.", invited="A person that had not set password and second factor.",
    expired="Its time was over.", disabled="Its access was taken away.",
)  # fmt: skip
described(
    Reach, "On whose things an act is permitted.", "AccessReach",
    all="Everybody's.", regions="Those of the regions that it is registered for as a regulator.",
    own="Those of its own institution.", shared="Those that other institutions show it by sharing agreements.",
    giver="Transfers that its institution gives, agreements by which it shows its numbers.",
    receiver="Transfers that its institution receives, agreements by which it is shown others' numbers.",
)  # fmt: skip


@strawberry.type(description="Facts that, changed together, would have a refusal lifted.")
class RefusalChange:
    facts: list[str] = field("What would have to be, each in words.")


@strawberry.type(description="Why something was refused.")
class RefusalExplanation:
    decision: UUID = field("The decision that refused it.", name="decisionId")
    action: str = field("What was asked for.")
    policies: list[Policy] = field("The policies that forbade it; none where nothing permitted it.")
    permitting: list[Policy] = field("The policies in force that permit the act to somebody.")
    scope: str | None = field("The permission that the token must grant; null where no policy was asked.")
    allowed_now: bool | None = field("Whether the policies in force permit it; null where they cannot be asked again.")
    would_change: list[RefusalChange] = field(
        "What lifts the refusal under the policies in force, found by asking them with one fact changed, or with two "
        "at once where none alone helps."
    )


@strawberry.type(description="An act that somebody can do.")
class PermittedAct:
    action: str = field("The act.")
    reach: Reach = field("On whose things.")
    policies: list[str] = field("Identifiers of the policies that permit it.")


@strawberry.type(description="Somebody who can do an act.")
class AbleHolder:
    holder: Holder = field("What has access.")
    id: str = field("Client id, the person's identifier, or the name of the process.")
    name: str = field("What people call it.")
    institution: UUID | None = field("Identifier of the institution it acts for.", name="institutionId")
    through: str | None = field("The app by which a person can, by its client id.")
    policies: list[str] = field("Identifiers of the policies that permit it.")


@strawberry.type(description="One registration in a review of access.")
class AccessReviewLine:
    holder: Holder = field("What has access.")
    id: str = field("Client id, or the person's identifier.")
    name: str = field("What people call it.")
    roles: list[Role] = field("What it is to the platform.")
    scopes: list[str] = field("What its tokens may be used for; a person has those of the app it uses.")
    jurisdiction: list[str] = field("Of a regulator: the regions it reads of; empty for all.")
    institution: UUID | None = field("Identifier of the institution it acts for.", name="institutionId")
    created_at: datetime = field("When it was registered.")
    created_by: str = field("The client or person that registered it.")
    expires_at: datetime | None = field("From when on it is refused; null for never.")
    disabled_at: datetime | None = field("When its access was taken away.")
    last_entry: datetime | None = field(
        "When it last did something that is on record. An institution's readings of what is its own are not."
    )
    state: AccessState = field("What it was good for then.")
    dormant: bool = field("Whether it could act, and left nothing on record for the time asked about.")
    permitted: list[PermittedAct] = field("What it can do, under the policies in force now; none unless active.")


@strawberry.type
class ReviewQueries:
    @query(
        "Why a decision was refused, and what would change that. For the refused itself (its own refusals), "
        "institutions (what concerns them), admins, auditors and regulators."
    )
    async def why_refused(
        self, info: Info, decision: Annotated[UUID, argument("Identifier of the decision.")]
    ) -> RefusalExplanation | None:
        found = await info.context.services.reviews.why_refused(info.context.caller, decision)
        return RefusalExplanation(
            decision=found.decision.id, action=found.decision.action, policies=_policies(found.policies),
            permitting=_policies(found.permitting), scope=found.scope, allowed_now=found.allowed_now,
            would_change=[RefusalChange(facts=list(facts)) for facts in found.would_change],
        )  # fmt: skip

    @query(
        "Who can do an act now: the platform's processes, clients, and people. For admins, auditors and regulators.",
        weight=COUNTS,
    )
    async def who_can(
        self, info: Info,
        action: Annotated[str, argument("The act, such as `publishOffer`; see docs/policies.md.")],
        owner: Annotated[UUID | None, argument("On a thing of this institution.")] = None,
        giver: Annotated[UUID | None, argument("On a transfer or agreement with this giver.")] = None,
        receiver: Annotated[UUID | None, argument("On a transfer or agreement with this receiver.")] = None,
        id: Annotated[str | None, argument("On this very thing; left out, on any.")] = None,  # noqa: A002
        *, stretch: Stretch,
    ) -> Connection[AbleHolder] | None:  # fmt: skip
        known = _action(action)
        page = await info.context.services.reviews.who_can(
            info.context.caller, known, _target(known, id or "any", owner, giver, receiver),
            place=read_place(stretch, _place_of, None), first=how_many(info, stretch),
        )  # fmt: skip
        return connection(AbleHolder, page, stretch, _place)

    @query(
        "What a client can do, as it is registered. For admins, auditors, regulators, and its own institution.",
        weight=COUNTS,
    )
    async def what_can(
        self, info: Info, client_id: Annotated[str, argument("Its OAuth client id.")]
    ) -> list[PermittedAct] | None:
        return _permitted(await info.context.services.reviews.what_can(info.context.caller, client_id))

    @query(
        "Everybody with access as of a day, and what each can do; at most 100 a page, each on record. For admins, "
        "auditors and regulators.", weight=COUNTS,
    )  # fmt: skip
    async def access_review(
        self, info: Info,
        at: Annotated[datetime | None, argument("As of when; by default now.")] = None,
        dormant_days: Annotated[int, argument("Days without anything on record after which one is dormant.")] = 90,
        *, stretch: Stretch,
    ) -> Connection[AccessReviewLine] | None:  # fmt: skip
        if not 1 <= dormant_days <= 3650:
            raise Invalid("dormantDays must be 1 to 3650.", field="dormantDays")
        page = await info.context.services.reviews.page(
            info.context.caller, at=at, dormant_after=timedelta(days=dormant_days),
            place=read_place(stretch, _place_of, None), first=how_many(info, stretch, MOST_LINES),
        )  # fmt: skip
        lines = page.told(map(_line, page.items))
        return connection(AccessReviewLine, lines, stretch, _place)


def _action(name: str) -> Action:
    try:
        return Action(name)
    except ValueError:
        raise Invalid(f"{name[:80]!r} is no act; docs/policies.md lists them.", field="action") from None


def _target(
    action: Action, id: str, owner: UUID | None, giver: UUID | None, receiver: UUID | None  # noqa: A002
) -> Target:
    between = action.kind in BETWEEN
    if (between and owner) or (not between and (giver or receiver)):
        wanted = "giver and receiver" if between else "owner"
        raise Invalid(f"{action} is done to a {action.kind}; say {wanted}.", field="owner" if between else "giver")
    return Target(kind=action.kind, id=id, owner=owner, giver=giver, receiver=receiver)


def _policies(found: tuple[FoundPolicy, ...]) -> list[Policy]:
    return [shown_policy(each) for each in found]


def _permitted(found: tuple[Permitted, ...]) -> list[PermittedAct]:
    return [PermittedAct(action=str(p.action), reach=p.reach, policies=list(p.policies)) for p in found]


def _line(found: Reviewed) -> AccessReviewLine:
    r = found.registration
    return AccessReviewLine(
        holder=r.holder, id=r.id, name=r.name, roles=sorted(r.roles), scopes=list(r.scopes),
        jurisdiction=list(r.jurisdiction), institution=r.institution,
        created_at=r.created_at, created_by=r.created_by, expires_at=r.expires_at, disabled_at=r.disabled_at,
        last_entry=r.last_entry, state=found.state, dormant=found.dormant, permitted=_permitted(found.permitted),
    )  # fmt: skip


def _place(item: Any) -> bytes:
    return f"{item.holder} {item.id}".encode()


def _place_of(key: bytes) -> Place:
    holder, _, id = code_of(key).partition(" ")  # noqa: A001
    return Holder(holder), str(UUID(id)) if holder == Holder.PERSON else id
