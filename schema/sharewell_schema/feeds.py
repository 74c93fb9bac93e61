"""Published files that were taken in, in the API."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import strawberry

from sharewell.domain import checks
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info, shown
from sharewell_schema.describe import argument, field, query
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.scalars import Json
from sharewell_schema.stretch import Stretch


@strawberry.type(description="A published file that was taken in.")
class Feed:
    id: UUID = field("Its identifier.")
    format: str = field("The format it was read as, such as `hhs`.")
    dialect: str = field("Which of the format's dialects it is in.")
    sha256: str = field("SHA-256 of the file.", name="sha256")
    companion_sha256: str = field(
        "SHA-256 of the second file the format takes, such as locations; empty where there was none.",
        name="companionSha256",
    )
    name: str = field("What the file was called.")
    bytes: int = field("Its size.")
    rows: int = field("Rows that were read.")
    reports_new: int = field("Capacity reports it brought.")
    reports_corrected: int = field("Reports in it that restate one that was there.")
    reports_unchanged: int = field("Reports in it that were there already in the same words.")
    institutions_new: int = field("Institutions nobody knew before.")
    first_period: date | None = field("The first day it speaks of.")
    last_period: date | None = field("The last day it speaks of.")
    quality: Json = field(
        "How good it was: rowsRead, rowsLeftOut, institutions; for each of resources its reports, values by mark, "
        "series, complete and gaps; and flags, each a rule that hit, with count, rows and a sentence."
    )
    ingested_at: datetime = field("When it was taken in.")
    decision: UUID = field("Identifier of the decision on record for it.", name="decisionId")


@strawberry.type
class FeedQueries:
    @query("One file, with its quality report.")
    async def feed(self, info: Info, id: Annotated[UUID, argument("Its identifier.")]) -> Feed | None:  # noqa: A002
        return shown(Feed, await info.context.services.feeds.get(info.context.caller, id))

    @query("Files that were taken in, newest first.")
    async def feeds(
        self, info: Info,
        format: Annotated[str | None, argument("Only of this format, such as `hhs`.")] = None,  # noqa: A002
        *, stretch: Stretch,
    ) -> Connection[Feed] | None:  # fmt: skip
        page = await info.context.services.feeds.page(
            info.context.caller, before=read_id(stretch, NEWEST),
            format=None if format is None else checks.code(format, "format"), first=how_many(info, stretch),
        )  # fmt: skip
        return connection(Feed, page, stretch, id_key)
