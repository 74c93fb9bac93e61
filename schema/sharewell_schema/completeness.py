"""Whether anything is missing in the log: comparisons with the tables of decisions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry

from sharewell.services.completeness import Reconciled
from sharewell.store.paging import NEWEST
from sharewell_schema.context import Info
from sharewell_schema.describe import field, query
from sharewell_schema.paging import Connection, connection, how_many, id_key, read_id
from sharewell_schema.stretch import Stretch


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
class CompletenessQueries:
    @query("Comparisons of the log with every table of decisions, newest first; one is made each night.")
    async def reconciliations(
        self, info: Info, stretch: Stretch
    ) -> Connection[Reconciliation] | None:
        page = await info.context.services.completeness.page(
            info.context.caller, before=read_id(stretch, NEWEST), first=how_many(info, stretch)
        )
        made = page.told(map(_reconciliation, page.items))
        return connection(Reconciliation, made, stretch, id_key)


def _reconciliation(made: Reconciled) -> Reconciliation:
    gaps = [Gap(problem=name, count=n, missing=made.missing.get(name, [])) for name, n in made.problems.items()]
    return Reconciliation(
        id=made.id, at=made.at, complete=not gaps, decisions=made.decisions, rows=made.rows, tables=made.tables,
        gaps=gaps,
    )  # fmt: skip
