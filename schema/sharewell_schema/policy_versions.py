"""Versions of the policies in the API: from a draft to being in force, and back."""

from __future__ import annotations

from datetime import datetime
from inspect import isawaitable
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain.errors import Invalid, SharewellError
from sharewell.domain.policy_versions import FARTHEST, MOST_BYTES, MOST_FILES, VersionOrigin, VersionState, Weight
from sharewell.domain.simulation import named_in
from sharewell.vetting.changes import ChangeKind
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.loaders import edge, fetch_edges
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, seen_field, wish
from sharewell_schema.paging import Connection, connection, how_many, read_place
from sharewell_schema.scalars import Json
from sharewell_schema.stretch import Stretch

NEWEST_NUMBER = 2**31 - 1
WHY = "Why, in a sentence of up to 500 characters, for whoever is to approve it. It stays out of the log; name nobody."
SHA256 = "The hash of the files that you read, `sha256` of the version: it is refused if they were edited since."

described(
    VersionState, "How far a version of the policies has come.",
    draft="It has faults and cannot come into force.", validated="It has no faults.",
    simulated="Real decisions were asked again under it.", approved="A second person approved it; its time is to come.",
    effective="It is in force.", superseded="It was in force; another one took its place.",
    withdrawn="It was taken back before it came into force.",
    passed_over="It was approved and never in force: another one is in the place that it was to take.",
)  # fmt: skip
described(
    VersionOrigin, "Where a version of the policies comes from.",
    shipped="It came with a release.", drafted="An admin wrote it.",
    rolled_back="It has the policies of an earlier one.",
)  # fmt: skip
described(
    Weight, "What a finding means.", "FindingWeight",
    fault="The version cannot come into force.", warning="Whoever approves it should have seen this.",
)  # fmt: skip
described(
    ChangeKind, "What became of a policy.", "PolicyChangeKind",
    added="It is new.", changed="It says something else, or its sentence does.", removed="It is gone.",
)  # fmt: skip


@strawberry.type(description="Something that the check of a version found.")
class PolicyFinding:
    code: str = field("A name that stays, such as `unconditional_permit`; docs/policies.md lists them.")
    weight: Weight = field("What it means.")
    message: str = field("What was found, in a sentence.")
    policy: str | None = field("The id of the policy it is about.")


@strawberry.type(description="A file of policies.")
class PolicyFile:
    name: str = field("Its name, such as `offers.cedar`.")
    text: str = field("The policies in it, in Cedar.")


@strawberry.type(description="A policy that one version has otherwise than another.")
class PolicyChange:
    policy: str = field("Its id.")
    kind: ChangeKind = field("What became of it.")
    sentence: str | None = field("What it says in this version, in a sentence.")
    sentence_before: str | None = field("What it said in the other one.")


@strawberry.type(description="A file that one version has otherwise than another.")
class PolicyFileChange:
    file: str = field("Its name.")
    diff: str = field("The difference, as a unified diff.")


@strawberry.type(description="What a version changes in another.")
class PolicyVersionChanges:
    base: int = field("Number of the other version.")
    policies: list[PolicyChange] | None = field("Policies, by id; null where one of the two is no policies at all.")
    files: list[PolicyFileChange] = field("Files.")


@strawberry.type(description="A state that a version came to.")
class PolicyStep:
    state: VersionState = field("The state.")
    at: datetime = field("When.")
    client: str = field("Who brought it there.")
    decision: UUID = field("Identifier of the decision on record.", name="decisionId")


async def _files(self: Any, info: Info) -> list[PolicyFile]:
    found = await info.context.services.policy_versions.files(info.context.caller, self.number)
    return [PolicyFile(name=name, text=text) for name, text in sorted(found.items())]


async def _simulation(self: Any, info: Info) -> Json | None:
    kept = self.simulation
    if kept is None:
        return None
    ids = [UUID(each["id"]) for each in kept["changed"]]
    loader = info.context.loaders.readable
    # All are asked for before one is waited for, so that those of a whole page are found in one go.
    asked = [loader.get(id) for id in ids]  # noqa: A001
    found = [await each if isawaitable(each) else each for each in asked]
    for each in found:
        if isinstance(each, SharewellError):
            raise each
    return Json(named_in(kept, {id for id, readable in zip(ids, found, strict=True) if readable}))  # noqa: A001


async def _changes(
    self: Any, info: Info,
    base: Annotated[int | None, argument("Number of the version to compare with; by default the one in force.")] = None,
) -> PolicyVersionChanges:  # fmt: skip
    found = await info.context.services.policy_versions.compare(info.context.caller, self.number, base)
    return shown(PolicyVersionChanges, found)


@strawberry.type(description="A version of the whole set of policies. No number is given twice.")
class PolicyVersion:
    number: int = field("Its number.")
    origin: VersionOrigin = field("Where it comes from.")
    state: VersionState = field("How far it has come.")
    author: str = field("Who wrote it; `operator` for what came with a release.")
    author_person: UUID | None = field("Reference of the person on whose behalf it was written.")
    base: int | None = field("Number of the version that it changes.")
    returns_to: int | None = field("Of a roll back: number of the version whose policies it has.")
    why: str | None = field("Why, as its author said, while that is kept.")
    policy_set: str = field("The hash that names its files.", name="sha256")
    findings: list[PolicyFinding] = field("What its check found, faults first.")
    drafted_at: datetime = field("When it was drafted.")
    edited_at: datetime = field("When its files were changed last.")
    simulated_at: datetime | None = field("When it was simulated last, as it is now.")
    simulation: Json | None = strawberry.field(
        resolver=_simulation,
        description="What that found: `since` and `until` of the window, the `decision` that is on record for it, how "
        "many decisions stay `unchanged`, would be `newly_allowed` or `newly_denied` or are `not_replayable`, in "
        "`total` and `by` institution and action, why some were `unplayed`, and of the first 100 that were `changed`, "
        "by `id`, those that you may read; `withheld` says how many of these you may not, and `more_changed` that "
        "there are more.",
    )
    approved_by: str | None = field("Who approved it.")
    approved_person: UUID | None = field("Reference of the person on whose behalf it was approved.")
    approved_at: datetime | None = field("When it was approved.")
    effective_from: datetime | None = field("From when it is to be in force.")
    replaces: int | None = field("Of one that was approved: number of the version that it takes the place of.")
    effective_at: datetime | None = field("When its coming into force was put on record.")
    ended_at: datetime | None = field("When another one took its place, or it was withdrawn or passed over.")
    steps: list[PolicyStep] = strawberry.field(
        resolver=edge("policy_steps", "number"), description="The states it came to, oldest first."
    )
    files: list[PolicyFile] = strawberry.field(resolver=_files, description="Its files, by name.")
    changes: PolicyVersionChanges = strawberry.field(
        resolver=_changes, description="What it changes in another version."
    )
    decision: UUID = field("Identifier of the decision that drafted it.", name="decisionId")
    changed_by: UUID = field("Identifier of the latest decision about it.", name="changedById")


EDGES = {"steps": ("policy_steps", "number")}


@strawberry.input(description="A file of a draft.")
class PolicyFileChangeInput:
    name: str = field("Its name, such as `offers.cedar`; the schema belongs to the release and cannot be given.")
    text: str | None = field("All that stands in it; null takes the file away.")


@strawberry.input(description="A change of the policies.")
class DraftPoliciesInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    files: list[PolicyFileChangeInput] = field(
        f"The files that change; all others stay as in the base. At most {MOST_FILES} files and {MOST_BYTES} bytes "
        "together then."
    )
    base: int | None = field("Number of the version that is changed; by default the one in force.", default=None)
    why: str = field(WHY)


@strawberry.input(description="Other files for a version of one's own that is not approved yet.")
class EditPoliciesInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    version: int = field("Number of the version.")
    files: list[PolicyFileChangeInput] = field("The files that change; all others stay as they are.")


@strawberry.input(description="A window of the past to try a version on.")
class SimulatePoliciesInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    version: int = field("Number of the version.")
    since: datetime = field("Decisions from then on.")
    until: datetime | None = field("Decisions before then; by default until now.", default=None)


@strawberry.input(description="The word of a second person.")
class ApprovePoliciesInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    version: int = field("Number of the version.")
    sha256: str = field(SHA256, name="sha256")
    effective_from: datetime | None = field(
        f"From when it is in force, at most {FARTHEST.days} days ahead; by default at once.", default=None
    )


@strawberry.input(description="A version that is taken back.")
class WithdrawPolicyVersionInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    version: int = field("Number of the version; its time must not have come.")


@strawberry.input(description="An earlier version whose policies are to return.")
class RollBackPoliciesInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    to: int = field("Number of a version that was in force.")
    why: str = field(WHY)


@strawberry.type(description="What became of a version of the policies.")
class PolicyVersionPayload:
    version: PolicyVersion = field("The version as it is now.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class PolicyVersionQueries:
    @query("Versions of the policies, newest first.")
    async def policy_versions(
        self, info: Info,
        state: Annotated[VersionState | None, argument("Only those that have come so far.")] = None,
        *, stretch: Stretch,
    ) -> Connection[PolicyVersion] | None:  # fmt: skip
        page = await info.context.services.policy_versions.page(
            info.context.caller, before=read_place(stretch, _number_of, NEWEST_NUMBER), state=state,
            first=how_many(info, stretch),
        )  # fmt: skip
        await fetch_edges(info, page.items, EDGES)
        return connection(PolicyVersion, page, stretch, _number_key)

    @query("One version of the policies.")
    async def policy_version(
        self, info: Info, number: Annotated[int, argument("Its number.")]
    ) -> PolicyVersion | None:
        return shown(PolicyVersion, await info.context.services.policy_versions.get(info.context.caller, number))


@strawberry.type
class PolicyVersionMutations:
    @mutation("Draft a version of the policies. It is checked at once, and not in force. For admins.")
    async def draft_policies(
        self, info: Info, input: Annotated[DraftPoliciesInput, argument("What, and why.")]  # noqa: A002
    ) -> PolicyVersionPayload | None:
        done = await info.context.services.policy_versions.draft(
            info.context.caller, _by_name(input.files), base=input.base, why=input.why,
            wish=wish("draftPolicies", input),
        )  # fmt: skip
        return paid(PolicyVersionPayload, done, version=shown(PolicyVersion, done.subject))

    @mutation("Change the files of a version of one's own. What was simulated before counts no more.")
    async def edit_policies(
        self, info: Info, input: Annotated[EditPoliciesInput, argument("Which, and how.")]  # noqa: A002
    ) -> PolicyVersionPayload | None:
        done = await info.context.services.policy_versions.edit(
            info.context.caller, input.version, _by_name(input.files), wish("editPolicies", input)
        )
        return paid(PolicyVersionPayload, done, version=shown(PolicyVersion, done.subject))

    @mutation("Ask the decisions of a window again under a version, and keep with it what comes out. For admins.")
    async def simulate_policies(
        self, info: Info, input: Annotated[SimulatePoliciesInput, argument("Which, and the window.")]  # noqa: A002
    ) -> PolicyVersionPayload | None:
        done = await info.context.services.policy_versions.simulate(
            info.context.caller, input.version, since=input.since, until=input.until,
            wish=wish("simulatePolicies", input),
        )  # fmt: skip
        return paid(PolicyVersionPayload, done, version=shown(PolicyVersion, done.subject))

    @mutation("Let a version that somebody else wrote come into force. For admins.")
    async def approve_policies(
        self, info: Info, input: Annotated[ApprovePoliciesInput, argument("Which, and from when.")]  # noqa: A002
    ) -> PolicyVersionPayload | None:
        done = await info.context.services.policy_versions.approve(
            info.context.caller, input.version, policy_set=input.sha256, effective_from=input.effective_from,
            wish=wish("approvePolicies", input),
        )  # fmt: skip
        return paid(PolicyVersionPayload, done, version=shown(PolicyVersion, done.subject))

    @mutation("Take a version back before it comes into force. For admins.")
    async def withdraw_policy_version(
        self, info: Info, input: Annotated[WithdrawPolicyVersionInput, argument("Which.")]  # noqa: A002
    ) -> PolicyVersionPayload | None:
        done = await info.context.services.policy_versions.withdraw(
            info.context.caller, input.version, wish("withdrawPolicyVersion", input)
        )
        return paid(PolicyVersionPayload, done, version=shown(PolicyVersion, done.subject))

    @mutation("Make a version with the policies of one that was in force; a second person approves it. For admins.")
    async def roll_back_policies(
        self, info: Info, input: Annotated[RollBackPoliciesInput, argument("To which, and why.")]  # noqa: A002
    ) -> PolicyVersionPayload | None:
        done = await info.context.services.policy_versions.roll_back(
            info.context.caller, input.to, why=input.why, wish=wish("rollBackPolicies", input)
        )
        return paid(PolicyVersionPayload, done, version=shown(PolicyVersion, done.subject))


def _by_name(files: list[PolicyFileChangeInput]) -> dict[str, str | None]:
    found = {file.name: file.text for file in files}
    if len(found) < len(files):
        raise Invalid("a file is given twice.", field="files")
    return found


def _number_key(version: Any) -> bytes:
    return str(version.number).encode()


def _number_of(key: bytes) -> int:
    if not key.isdigit() or len(key) > 9:
        raise ValueError(key)
    return int(key)
