"""Drafts of the policies in the API: tried on past decisions, and compared with what is in force."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain import simulation
from sharewell.domain.comparison import Comparison, Relation
from sharewell.domain.policy_versions import MOST_BYTES, MOST_FILE_BYTES, MOST_FILES
from sharewell.domain.simulation import Unplayed
from sharewell_schema.context import Info
from sharewell_schema.costs import SOLVES
from sharewell_schema.describe import argument, described, field, query
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.paging import Connection, connection, how_many, moment_of, read_place
from sharewell_schema.stretch import Stretch

described(
    Unplayed, "Why a decision cannot be asked again.", "NotReplayable",
    not_asked="No policy was asked: a credential that did not hold, or a protocol's own rule.",
    not_told="The entry, an old one, does not hold what was asked.",
    half_told="The entry, an old one, does not tell what the token was for and bound to, and here that matters.",
    unreadable="It asks for an act, or holds a role, that this release does not know.",
    draft_fails="The draft fails while it decides; in force, it would let nobody through.",
)  # fmt: skip
described(
    Relation, "How a draft stands to the policies in force.", "PolicyRelation",
    equivalent="Both decide every request alike.",
    more_permissive="The draft allows whatever is allowed, and more.",
    less_permissive="The draft allows nothing more, and less.",
    neither="The draft allows some requests that are refused, and refuses some that are allowed.",
)  # fmt: skip
EDGES = {"institution": ("institutions", "institution")}


@strawberry.input(description="One file of a draft.")
class PolicyFileInput:
    name: str = field("Its name, such as `offers.cedar`; the schema is `sharewell.cedarschema`.")
    text: str = field("What it says.")


Draft = Annotated[
    list[PolicyFileInput],
    argument(
        f"The whole draft: every policy file and the schema, as they would be in force; at most {MOST_FILES} files of "
        f"{MOST_FILE_BYTES} bytes each, and {MOST_BYTES} bytes in all."
    ),
]
Since = Annotated[datetime, argument("Decisions from this moment on.")]
Until = Annotated[datetime, argument("Decisions before this moment.")]


@strawberry.type(description="What policies said to one decision.")
class PolicyVerdict:
    allowed: bool = field("Whether it was permitted.")
    policies: list[str] = field("Identifiers of the policies that decided; none where nothing permits it.")


@strawberry.type(description="How some decisions come out under a draft.")
class SimulatedCounts:
    decisions: int = field("How many there are.")
    unchanged: int = field("How many come out as they did.")
    newly_allowed: int = field("How many were refused and would be allowed.")
    newly_denied: int = field("How many were allowed and would be refused.")
    not_replayable: int = field("How many cannot be asked again.")


@strawberry.type(description="How the decisions of one institution on one act come out.")
class SimulatedGroup:
    institution: UUID | None = field("Identifier of the institution they concern, if any.", name="institutionId")
    institution_edge: Institution | None = strawberry.field(
        resolver=edge("institutions", "institution"), name="institution",
        description="The institution they concern, if any.",
    )  # fmt: skip
    action: str = field("What was asked for.")
    counts: SimulatedCounts = field("How they come out.")


@strawberry.type(description="Decisions that cannot be asked again for one reason.")
class NotReplayed:
    reason: Unplayed = field("Why.")
    decisions: int = field("How many.")


@strawberry.type(description="A decision that comes out otherwise under a draft; `decision(id)` opens it.")
class ChangedDecision:
    id: UUID = field("Its identifier.")
    at: datetime = field("When it was decided.")
    actor: str = field("Client or worker that asked.")
    institution: UUID | None = field("Identifier of the institution it concerns.", name="institutionId")
    action: str = field("What was asked for.")
    then: PolicyVerdict = field("What was said to it.")
    now: PolicyVerdict = field("What the draft says.")


@strawberry.type(description="What a draft of the policies would have decided.")
class PolicySimulation:
    decision: UUID = field("The decision on record for this simulation.", name="decisionId")
    draft: str = field("SHA-256 of the draft.")
    total: SimulatedCounts = field("All decisions of the window.")
    not_replayed: list[NotReplayed] = field("Why some cannot be asked again.")
    groups: list[SimulatedGroup] = field("By institution and act; those that change most come first.")
    changed: list[ChangedDecision] = field(
        "The first hundred that come out otherwise and that you may read, in order of time."
    )
    more_changed: bool = field("Whether there are more that you may read; see `simulatedChanges`.")
    withheld: int = field("How many come out otherwise that you may not read; they are in the counts alone.")
    questions: int = field("How many distinct questions were put to the draft.")


@strawberry.type(description="A kind of request that two sets of policies decide differently.")
class PolicyDifference:
    sentence: str = field("Who asks, for what, on what, and what decides it in either set.")
    before: PolicyVerdict = field("What the policies in force say.")
    now: PolicyVerdict = field("What the draft says.")


@strawberry.type(description="How one act is decided differently.")
class ActionDifferences:
    action: str = field("The act.")
    newly_allowed: int = field("Kinds of request that are refused and would be allowed.")
    newly_denied: int = field("Kinds of request that are allowed and would be refused.")
    examples: list[PolicyDifference] = field("The plainest of them.")


@strawberry.type(description="A draft compared with the policies in force, over every kind of request.")
class PolicyComparison:
    before: str = field("SHA-256 of the policies in force.")
    draft: str = field("SHA-256 of the draft.")
    relation: Relation = field("How the draft stands to what is in force.")
    exhaustive: bool = field("Whether every kind of request that either set can tell apart was tried.")
    unclear: list[str] = field("Why it was not, if so: the relation then speaks of what was tried only.")
    cases: int = field("Kinds of request that were tried; an act of which both say the same needs none.")
    actions: list[ActionDifferences] = field("The acts that are decided differently.")


@strawberry.type
class SimulationQueries:
    @query(
        "Put a draft of the policies to the decisions of a window. On record. For admins, auditors and regulators.",
        weight=SOLVES,
    )
    async def policy_simulation(
        self, info: Info, files: Draft, since: Since, until: Until
    ) -> PolicySimulation | None:
        found = await info.context.services.simulations.simulate(
            info.context.caller, read_files(files), since=since, until=until
        )
        tally = found.tally
        groups = [
            SimulatedGroup(institution=institution, action=action, counts=_counts(counts))
            for (institution, action), counts in sorted(tally.by.items(), key=_most_changed)
        ]
        await fetch_edges(info, groups, EDGES)
        return PolicySimulation(
            decision=found.decision, draft=found.draft, total=_counts(tally.total), groups=groups,
            not_replayed=[NotReplayed(reason=why, decisions=tally.unplayed[why]) for why in sorted(tally.unplayed)],
            changed=[changed_decision(each) for each in found.changed], more_changed=found.more_changed,
            questions=found.questions, withheld=found.withheld,
        )  # fmt: skip

    @query(
        "The decisions of a window that a draft decides otherwise and that you may read, in order of time. On record.",
        weight=SOLVES,
    )
    async def simulated_changes(
        self, info: Info, files: Draft, since: Since, until: Until, stretch: Stretch
    ) -> Connection[ChangedDecision] | None:
        page = await info.context.services.simulations.changes(
            info.context.caller, read_files(files), since=since, until=until,
            place=read_place(stretch, _place_of, None), first=how_many(info, stretch),
        )  # fmt: skip
        return connection(ChangedDecision, page, stretch, _place)

    @query(
        "Compare a draft with the policies in force. On record. For admins, auditors and regulators.", weight=SOLVES
    )
    async def policy_comparison(self, info: Info, files: Draft) -> PolicyComparison | None:
        found = await info.context.services.comparisons.compare(info.context.caller, read_files(files))
        return _comparison(found)


def read_files(files: Sequence[PolicyFileInput]) -> list[tuple[str, bytes]]:
    """Name and bytes of each; whether they are a draft is said to whoever may try one."""
    return [(file.name, file.text.encode()) for file in files]


def verdict(found: simulation.Verdict) -> PolicyVerdict:
    return PolicyVerdict(allowed=found.allowed, policies=list(found.policies))


def changed_decision(found: simulation.Changed) -> ChangedDecision:
    return ChangedDecision(
        id=found.id, at=found.at, actor=found.actor, institution=found.institution, action=found.action,
        then=verdict(found.then), now=verdict(found.now),
    )  # fmt: skip


def _counts(found: simulation.Counts) -> SimulatedCounts:
    return SimulatedCounts(
        decisions=found.decisions, unchanged=found.unchanged, newly_allowed=found.newly_allowed,
        newly_denied=found.newly_denied, not_replayable=found.not_replayable,
    )  # fmt: skip


def _most_changed(group: tuple[tuple[UUID | None, str], simulation.Counts]) -> tuple[int, int, str, str]:
    (institution, action), counts = group
    return -(counts.newly_allowed + counts.newly_denied), -counts.decisions, action, str(institution)


def _comparison(found: Comparison) -> PolicyComparison:
    return PolicyComparison(
        before=found.before, draft=found.draft, relation=found.relation, exhaustive=found.exhaustive,
        unclear=list(found.unclear), cases=found.cases,
        actions=[
            ActionDifferences(
                action=str(each.action), newly_allowed=each.newly_allowed, newly_denied=each.newly_denied,
                examples=[
                    PolicyDifference(sentence=one.sentence, before=verdict(one.before), now=verdict(one.now))
                    for one in each.examples
                ],
            )
            for each in found.actions
        ],
    )  # fmt: skip


def _place(changed: Any) -> bytes:
    """Time and id, as the list is in their order; a time of PostgreSQL is one of microseconds."""
    return f"{changed.at.isoformat()} {changed.id}".encode()


def _place_of(key: bytes) -> tuple[datetime, UUID]:
    at, _, id = key.decode().partition(" ")  # noqa: A001
    return moment_of(at), UUID(id)
