"""Trusted documents in the API: what a client may send, registered beforehand."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from sharewell.domain.errors import Invalid
from sharewell.domain.trusted_documents import TrustedDocuments as Trusted
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, field, mutation, query
from sharewell_schema.documents import prepare
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, none_field, paid, person_field, seen_field, wish


@strawberry.type(description="A GraphQL document that a client may send.")
class TrustedDocument:
    name: str = field("Its SHA-256 in hex; send it as `documentId`, with `sha256:` before it.")
    text: str = field("The document itself.")


def _documents(self: Trusted) -> list[TrustedDocument]:
    return [TrustedDocument(name=name, text=self.texts[name]) for name in sorted(self.texts)]


@strawberry.type(description="All that a client may send, as of a moment; with no document it may send anything.")
class TrustedDocuments:
    client_id: str = field("The client.")
    documents: list[TrustedDocument] = strawberry.field(resolver=_documents, description="The documents, by name.")
    trusted_at: datetime = field("Since when this list is in force.")
    changed_by: UUID = field("Identifier of the decision that gave it this list.", name="changedById")


@strawberry.input(description="The documents that a client may send, in place of those before.")
class TrustDocumentsInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    if_changed_by: UUID | None = seen_field()
    if_none: bool = none_field()
    client_id: str = field("Which client.")
    documents: list[str] = field("Its documents, up to 200, each valid; none at all lets it send anything again.")


@strawberry.type(description="What became of trustDocuments.")
class TrustDocumentsPayload:
    trusted: TrustedDocuments = field("The list in force.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class TrustedDocumentQueries:
    @query("The documents that a client may send, if it was given a list. For admins, and for its institution.")
    async def trusted_documents(
        self, info: Info, client_id: Annotated[str, argument("Its OAuth client id.")]
    ) -> TrustedDocuments | None:
        return shown(
            TrustedDocuments, await info.context.services.trusted_documents.of(info.context.caller, client_id)
        )


@strawberry.type
class TrustedDocumentMutations:
    @mutation("Say which documents a client may send, and that it may send no other. For admins.")
    async def trust_documents(
        self, info: Info, input: Annotated[TrustDocumentsInput, argument("The documents.")]  # noqa: A002
    ) -> TrustDocumentsPayload | None:
        _check(info, input.documents)
        done = await info.context.services.trusted_documents.trust(
            info.context.caller, input.client_id, input.documents, wish("trustDocuments", input)
        )
        return paid(TrustDocumentsPayload, done, trusted=done.subject)


def _check(info: Any, texts: list[str]) -> None:
    """Raise `Invalid` for the first text that this schema could not answer."""
    for place, text in enumerate(texts):
        prepared = prepare(info.schema._schema, text)  # noqa: SLF001 - graphql-core's own
        if isinstance(prepared, list):
            raise Invalid(f"the document cannot be answered: {prepared[0].message}", field=f"documents.{place}")
