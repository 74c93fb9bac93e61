"""The audit log in the API. Each reading of it is a decision on record itself."""

from __future__ import annotations

import base64
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain.audit import ALLOWED, REFUSED, check_kind, parse_entry
from sharewell.domain.capacity import camel
from sharewell.domain.errors import Invalid
from sharewell.domain.views import Shown, View, view
from sharewell.store.audit import SORTS, DecisionFilter, RecordedDecision
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info
from sharewell_schema.describe import argument, described, field, query
from sharewell_schema.ordering import Direction, Ordering
from sharewell_schema.paging import Connection, connection, how_many, read_id
from sharewell_schema.scalars import Json
from sharewell_schema.stretch import Stretch


class Outcome(StrEnum):
    """What was decided."""

    ALLOWED = ALLOWED
    REFUSED = REFUSED


described(Outcome, "What was decided.", allowed="It was done.", refused="It was not permitted, and nothing was done.")

# What decisions are searched and counted by.
OfInstitution = Annotated[
    UUID | None, argument("Only about this institution; by default about all that you read of.")
]
ByActor = Annotated[str | None, argument("Only what this client or worker asked for.")]
OfKind = Annotated[str | None, argument("Only of this kind, such as `offer.published`.")]
Ended = Annotated[Outcome | None, argument("Only those that ended so.")]
Since = Annotated[datetime | None, argument("Only from this moment on.")]
Until = Annotated[datetime | None, argument("Only before this moment.")]
AskedFor = Annotated[str | None, argument("Only where this was asked for, such as `publishOffer`.")]
OfResource = Annotated[str | None, argument("Only those that speak of this resource.")]
UnderPolicies = Annotated[str | None, argument("Only under the policies with this SHA-256.")]

KIND = "Noun and what happened to it, such as `offer.published`, `plan.adopted` or `access.refused`."


@strawberry.type(description="What lists show of a decision.")
class DecisionHeader:
    id: UUID = field("Its identifier.")
    kind: str = field(KIND)
    at: datetime = field("When it was decided.")
    actor: str = field("Client or worker that asked.")
    institution: UUID | None = field("Identifier of the institution it concerns.", name="institutionId")
    action: str = field("What was asked for, in the words of the policies.")
    outcome: Outcome = field("What was decided.")
    policy_set: str = field("SHA-256 of the policies in force; empty where refused before any were asked.")
    subject_kind: str = field("What it was done to: the kind of thing.")
    subject_id: str = field("What it was done to: its identifier.")
    request_id: str = field("Identifier of the request, as in the logs and in X-Request-Id.")
    log_index: int | None = field("Its place in the log; null until it is sealed, some seconds later.")


described(
    View, "In whose words an entry is shown. The log itself holds the entry alone.", "AuditView",
    fhir="AuditEvent of HL7 FHIR R4.", cloudevents="CloudEvents 1.0, as JSON.", ocsf="Event of OCSF 1.3.",
)  # fmt: skip


@strawberry.type(description="One thing a decision was made from.")
class DecisionSource:
    kind: str = field("What it is, such as `policy set`, `instance`, `forecast`, `model` or `code`.")
    name: str = field("Its SHA-256, or what else it is named by.")
    decision: UUID | None = field("The decision that made it, where one did.", name="decisionId")
    held: bool = field("Whether its bytes can be had, in the dossier or as documents.")


async def _sources(self: Any, info: strawberry.Info[Any, None]) -> list[DecisionSource]:
    found = await info.context.services.dossiers.sources(info.context.caller, self.id)
    return [DecisionSource(kind=s.kind, name=s.name, decision=s.decision, held=s.held) for s in found]


async def _dossier(self: Any, info: strawberry.Info[Any, None]) -> str:
    dossier: bytes = await info.context.services.dossiers.dossier(info.context.caller, self.id)
    return dossier.decode()


def _view(
    self: Any, info: strawberry.Info[Any, None],
    words: Annotated[View, argument("In whose words.")],
) -> Json:  # fmt: skip
    """Of what was read already; nothing more is told than in `entry`."""
    entry = base64.b64decode(self.entry)
    origin = info.context.services.settings.log_origin
    return Json(view(Shown(parse_entry(entry), entry, self.log_index, origin), words))


async def _bundle(
    self: Any,
    info: strawberry.Info[Any, None],
    cosigned: Annotated[
        bool, argument("With every signature under the log's head, its witnesses' too: verify it with a trust policy.")
    ] = False,
) -> str:
    bundle: bytes = await info.context.services.audit.bundle(info.context.caller, self.id, cosigned=cosigned)
    return bundle.decode()


async def _acted_for(self: Any, info: strawberry.Info[Any, None]) -> ActedFor | None:
    found: ActedFor | None = await info.context.services.subjects.acted_for(info.context.caller, self.id)
    return found


@strawberry.type(description="The person on whose behalf something was asked for. `[erased]` where the key is gone.")
class ActedFor:
    subject: UUID = field("The random reference of the person; the same in all entries until it is erased.")
    identifier: str = field("What the institution calls the person.")
    name: str = field("Name; empty where none was given.")
    email: str = field("E-mail address; empty where none was given.")
    erased: bool = field("Whether the key was deleted, so that nobody reads the details again.")


@strawberry.type(description="One decision as it stands in the log.")
class Decision:
    id: UUID = field("Its identifier.")
    kind: str = field(KIND)
    at: datetime = field("When it was decided.")
    actor: str = field("Client or worker that asked.")
    institution: UUID | None = field("Identifier of the institution it concerns.", name="institutionId")
    action: str = field("What was asked for, in the words of the policies.")
    outcome: Outcome = field("What was decided.")
    policy_set: str = field("SHA-256 of the policies in force; empty where refused before any were asked.")
    policies: list[str] = field("Identifiers of the policies that decided.")
    subject_kind: str = field("What it was done to: the kind of thing.")
    subject_id: str = field("What it was done to: its identifier.")
    details: Json = field("What was decided in numbers and codes; the members depend on the kind.")
    request_id: str = field("Identifier of the request, as in the logs and in X-Request-Id.")
    entry: str = field("The exact bytes that are hashed into the log, in base64 (RFC 4648, section 4).")
    staged_at: datetime = field("When the entry was written.")
    log_index: int | None = field("Its place in the log; null until it is sealed, some seconds later.")
    on_behalf_of: ActedFor | None = strawberry.field(
        resolver=_acted_for,
        description="On whose behalf it was asked for; null where nobody's was given. Only regulators open it, and "
        "each opening is on record.",
    )
    bundle: str = strawberry.field(
        resolver=_bundle,
        description="A file that proves the decision to a stranger: save it and run `sharewell verify` on it. "
        "CONFLICT until the decision is sealed.",
    )
    made_from: list[DecisionSource] = strawberry.field(
        resolver=_sources, description="Every input it was made from, by name."
    )
    dossier: str = strawberry.field(
        resolver=_dossier,
        description="A file with the bundle and every input that is held: save it, and `sharewell replay-decision` "
        "makes the decision once more and compares. CONFLICT until the decision is sealed.",
    )
    shown_as: Json = strawberry.field(resolver=_view, description="The entry in the words of another system.")


class DecisionSort(StrEnum):
    """What decisions can be ordered by."""

    DECIDED = "decided"


described(
    DecisionSort, "What decisions can be ordered by.",
    decided="When they were decided.",
)  # fmt: skip


@strawberry.input(description="What decisions are ordered by; those that are alike in it go by their identifiers.")
class DecisionOrderInput:
    by: DecisionSort = field("What they are ordered by.")
    direction: Direction = field("Which end comes first.", default=Direction.ASC)


@strawberry.type
class AuditQueries:
    @query("One decision. Regulators read all; others those about their institution.")
    async def decision(self, info: Info, id: Annotated[UUID, argument("Its identifier.")]) -> Decision | None:  # noqa: A002
        return _decision(await info.context.services.audit.get(info.context.caller, id))

    @query("Decisions on record, newest first. The reading is put on record too.")
    async def decisions(
        self, info: Info,
        institution: OfInstitution = None,
        actor: ByActor = None,
        kind: OfKind = None,
        outcome: Ended = None,
        subject_kind: Annotated[str | None, argument("Only those done to this kind of thing.")] = None,
        subject_id: Annotated[str | None, argument("Only those done to the thing with this identifier.")] = None,
        since: Since = None,
        until: Until = None,
        action: AskedFor = None,
        resource: OfResource = None,
        policy_set: UnderPolicies = None,
        order_by: Annotated[
            DecisionOrderInput | None, argument("In which order; by default the newest first.")
        ] = None,
        *, stretch: Stretch,
    ) -> Connection[DecisionHeader] | None:  # fmt: skip
        matching = filtering(
            institution=institution, actor=actor, kind=kind, outcome=outcome, subject_kind=subject_kind,
            subject_id=subject_id, since=since, until=until, action=action, resource=resource, policy_set=policy_set,
        )  # fmt: skip
        ordering = Ordering.read(order_by, stretch, SORTS, ("decided", Direction.DESC))
        page = await info.context.services.audit.page(
            info.context.caller, before=read_id(ordering.usual(stretch), NEWEST), matching=matching,
            first=how_many(info, stretch), place=ordering.place,
        )  # fmt: skip
        return connection(DecisionHeader, page, stretch, ordering.key)


def filtering(
    *, institution: UUID | None, outcome: Outcome | None, since: datetime | None, until: datetime | None,
    **words: str | None,
) -> DecisionFilter:  # fmt: skip
    """What decisions are searched by. Raises `Invalid` for no kind, and for what nothing can be named."""
    named = {name: word(text, camel(name)) for name, text in words.items()}
    if (kind := named.get("kind")) is not None:
        check_kind(kind)
    return DecisionFilter(institution=institution, outcome=outcome, since=since, until=until, **named)


def word(text: str | None, field: str) -> str | None:
    """A text to search by. Raises `Invalid` for what nothing can be named."""
    if text is not None and not (0 < len(text) <= 200 and text.isprintable()):
        raise Invalid(f"{field} must have 1 to 200 printable characters.", field=field)
    return text


def _decision(recorded: RecordedDecision) -> Decision:
    d = recorded.decision
    return Decision(
        id=d.id, kind=d.kind, at=d.at, actor=d.actor, institution=d.institution, action=d.action,
        outcome=Outcome(d.outcome), policy_set=d.policy_set, policies=list(d.policies), subject_kind=d.subject_kind,
        subject_id=d.subject_id, details=Json(dict(d.details)), request_id=d.request_id,
        entry=base64.b64encode(recorded.entry).decode(), staged_at=recorded.staged_at, log_index=recorded.log_index,
    )  # fmt: skip
