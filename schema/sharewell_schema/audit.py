"""The audit log in the API. Each reading of it is a decision on record itself."""

from __future__ import annotations

import base64
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain.audit import ALLOWED, REFUSED
from sharewell.domain.errors import Invalid
from sharewell.services.completeness import Reconciled
from sharewell.store.audit import DecisionFilter, RecordedDecision
from sharewell.store.paging import Page
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, described, field, query
from sharewell_schema.paging import (
    FIRST,
    NEWEST,
    After,
    Connection,
    First,
    bad_cursor,
    connection,
    how_many,
    id_key,
    read_cursor,
    read_id,
)
from sharewell_schema.scalars import Json


class Outcome(StrEnum):
    """What was decided."""

    ALLOWED = ALLOWED
    REFUSED = REFUSED


described(Outcome, "What was decided.", allowed="It was done.", refused="It was not permitted, and nothing was done.")

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


async def _bundle(self: Any, info: strawberry.Info[Any, None]) -> str:
    bundle: bytes = await info.context.services.audit.bundle(info.context.caller, self.id)
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


@strawberry.type(description="What the log promised of one decision, and how it kept that.")
class LogReceipt:
    receipt: str = strawberry.field(
        resolver=lambda self: self.receipt.decode(), description="The signed promise; the mutation answered with it."
    )
    merge_by: datetime = field("By when the decision must be in a signed tree.")
    log_index: int | None = field("Its place in the log; null until it is sealed.")
    proof: str | None = strawberry.field(
        resolver=lambda self: None if self.proof is None else self.proof.decode(),
        description="A proof that it is in a signed tree, as c2sp.org/tlog-proof has it; null until it is.",
    )


REFUSAL_REASONS = "`fork` is proof against the log that signed both; `rollback` is a smaller tree than was cosigned."


@strawberry.type(description="A checkpoint of another log that this node, as its witness, did not cosign.")
class WitnessRefusal:
    at: datetime = field("When it was refused.")
    origin: str = field("Name of the log that signed it.")
    reason: str = field(REFUSAL_REASONS)
    known_size: int = field("Entries in the tree that was cosigned before.")
    known_checkpoint: str = strawberry.field(
        resolver=lambda self: self.known_note.decode(), description="What was cosigned before, as it was signed."
    )
    request: str = strawberry.field(
        resolver=lambda self: base64.b64encode(self.request).decode(),
        description="The whole request, with the checkpoint that was refused, in base64.",
    )


@strawberry.type(description="Something that is missing in the log, or in the tables beside it.")
class Gap:
    problem: str = field("What is amiss, such as `decisions_without_entry`, with the table where there is one.")
    count: int = field("How many.")
    missing: list[str] = field("The first twenty: decisions, staged entries or indexes of the log.")


@strawberry.type(description="One comparison of the log with itself and with every table of decisions.")
class Reconciliation:
    id: UUID = field("Identifier of the decision that records it.")
    at: datetime = field("When it was made.")
    complete: bool = field("Whether nothing was missing.")
    decisions: int = field("Decisions that were looked at.")
    rows: int = field("Rows of tables that name their decision that were looked at.")
    tables: list[str] = field("Those tables, with the column that names the decision.")
    gaps: list[Gap] = field("What was missing.")


@strawberry.type
class AuditQueries:
    @query("What the log promised of a decision, and the proof that it kept it. Recorded like reading the decision.")
    async def log_receipt(
        self, info: Info, decision: Annotated[UUID, argument("Which decision.")]
    ) -> LogReceipt | None:
        return shown(LogReceipt, await info.context.services.audit.receipt(info.context.caller, decision))

    @query("What this node refused to cosign as a witness of other logs, newest first. The reading is put on record.")
    async def witness_refusals(
        self, info: Info,
        origin: Annotated[str | None, argument("Only of the log with this name.")] = None,
        first: First = FIRST, after: After = None,
    ) -> Connection[WitnessRefusal] | None:  # fmt: skip
        page = await info.context.services.witness.refusals(
            info.context.caller, before=_number(after), origin=_word(origin, "origin"), first=how_many(first)
        )
        return connection(WitnessRefusal, page, after, lambda refusal: refusal.id.to_bytes(8, "big"))

    @query("Comparisons of the log with every table of decisions, newest first; one is made each night.")
    async def reconciliations(
        self, info: Info, first: First = FIRST, after: After = None
    ) -> Connection[Reconciliation] | None:
        page = await info.context.services.completeness.page(
            info.context.caller, before=read_id(after, NEWEST), first=how_many(first)
        )
        made = Page(tuple(map(_reconciliation, page.items)), page.has_more)
        return connection(Reconciliation, made, after, id_key)

    @query("One decision. Regulators read all; others those about their institution.")
    async def decision(self, info: Info, id: Annotated[UUID, argument("Its identifier.")]) -> Decision | None:  # noqa: A002
        return _decision(await info.context.services.audit.get(info.context.caller, id))

    @query("Decisions on record, newest first. The reading is put on record too.")
    async def decisions(
        self, info: Info,
        institution: Annotated[
            UUID | None, argument("Only about this institution; by default the one the client acts for, if any.")
        ] = None,
        actor: Annotated[str | None, argument("Only what this client or worker asked for.")] = None,
        kind: Annotated[str | None, argument("Only of this kind, such as `offer.published`.")] = None,
        outcome: Annotated[Outcome | None, argument("Only those that ended so.")] = None,
        subject_kind: Annotated[str | None, argument("Only those done to this kind of thing.")] = None,
        subject_id: Annotated[str | None, argument("Only those done to the thing with this identifier.")] = None,
        since: Annotated[datetime | None, argument("Only from this moment on.")] = None,
        until: Annotated[datetime | None, argument("Only before this moment.")] = None,
        first: First = FIRST, after: After = None,
    ) -> Connection[DecisionHeader] | None:  # fmt: skip
        matching = DecisionFilter(
            institution=institution or info.context.caller.institution, actor=_word(actor, "actor"),
            kind=_word(kind, "kind"), outcome=outcome, subject_kind=_word(subject_kind, "subjectKind"),
            subject_id=_word(subject_id, "subjectId"), since=since, until=until,
        )  # fmt: skip
        page = await info.context.services.audit.page(
            info.context.caller, before=read_id(after, NEWEST), matching=matching, first=how_many(first)
        )
        return connection(DecisionHeader, page, after, id_key)


def _number(after: str | None) -> int:
    if after is None:
        return 2**63 - 1
    key = read_cursor(after)
    if len(key) != 8:
        raise bad_cursor()
    return min(int.from_bytes(key, "big"), 2**63 - 1)


def _reconciliation(made: Reconciled) -> Reconciliation:
    gaps = [Gap(problem=name, count=n, missing=made.missing.get(name, [])) for name, n in made.problems.items()]
    return Reconciliation(
        id=made.id, at=made.at, complete=not gaps, decisions=made.decisions, rows=made.rows, tables=made.tables,
        gaps=gaps,
    )  # fmt: skip


def _word(text: str | None, field: str) -> str | None:
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
