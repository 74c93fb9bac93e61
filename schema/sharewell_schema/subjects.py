"""Data subjects in the API: found by what their institution calls them, and erased by a ground of law."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell_schema.context import Info
from sharewell_schema.describe import argument, field, mutation, query
from sharewell_schema.grounds import Ground
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, wish


@strawberry.type(description="A person whose details are sealed in decisions on record. It names no detail itself.")
class DataSubject:
    subject: UUID = field("The random reference under which the details are sealed.")
    institution: UUID | None = field("Identifier of the institution whose person it is.", name="institutionId")
    since: datetime = field("When something was first done on the person's behalf.")
    keep_until: datetime = field("When the key is deleted by itself, unless something is done on the person's behalf.")


@strawberry.input(description="A person to be erased.")
class EraseSubjectInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    subject: UUID = field("The reference of the person; see `dataSubject`.")
    ground: Ground = field("By which ground of law.")


@strawberry.type(description="What became of a person's key.")
class EraseSubjectPayload:
    subject: UUID = field("The reference; it stays in entries and means nothing any more.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class SubjectQueries:
    @query("The person that an institution's programs call so. The looking up is on record, without what was asked.")
    async def data_subject(
        self, info: Info,
        identifier: Annotated[str, argument("What the institution calls the person.")],
        institution: Annotated[
            UUID | None, argument("Whose person; by default of the institution the client acts for, if any.")
        ] = None,
        client: Annotated[str | None, argument("Instead, a client that acts for no institution.")] = None,
    ) -> DataSubject | None:  # fmt: skip
        caller = info.context.caller
        owner = institution or (None if client else caller.institution)
        found = await info.context.services.subjects.find(
            caller, owner, client, checks.text(identifier, "identifier")
        )
        return None if found is None else DataSubject(
            subject=found.subject_ref, institution=found.institution, since=found.made_at, keep_until=found.keep_until
        )


@strawberry.type
class SubjectMutations:
    @mutation("Delete a person's key: its details in the log stay sealed for ever, and no proof changes.")
    async def erase_subject(
        self, info: Info, input: Annotated[EraseSubjectInput, argument("Whom, and why.")]  # noqa: A002
    ) -> EraseSubjectPayload | None:
        done = await info.context.services.subjects.erase(
            info.context.caller, input.subject, input.ground, wish("eraseSubject", input)
        )
        return paid(EraseSubjectPayload, done, subject=done.subject)
