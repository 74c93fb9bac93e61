"""Fairness choices in PostgreSQL; the newest of a region and resource is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sharewell.domain.choices import Choice, ChosenReserve, read_fairness, read_reserve
from sharewell.store.paging import LIMIT, NEWEST, From, Listed, Page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import asyncpg

_COLUMNS = "id, region, resource, fairness, reserves, chosen_at"
ADD = f"""
insert into sharewell.choice ({_COLUMNS}, decision_id)
values ($1, $2, $3, $4::text::jsonb, $5::text::jsonb, $6, $7)
"""
IN_FORCE = f"""
select {_COLUMNS} from sharewell.choice where region = $1 and resource = $2 order by id desc limit 1
"""
ALL_IN_FORCE = f"""
select distinct on (resource) {_COLUMNS} from sharewell.choice where region = $1 and resource = any($2)
 order by resource, id desc
"""
PAGE = f"""
select {_COLUMNS} from sharewell.choice
 where id < $1 and ($2::text is null or region = $2) and ($3::text is null or resource = $3) order by id desc limit $4
"""


class ChoiceRepository:
    """By which rules is allocated."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, choice: Choice, decision: UUID) -> None:
        await self._conn.execute(
            ADD, choice.id, choice.region, choice.resource, orjson.dumps(choice.fairness.to_json()).decode(),
            orjson.dumps([_members(row) for row in choice.reserves]).decode(), choice.chosen_at, decision,
        )  # fmt: skip

    async def in_force(self, region: str, resource: str) -> Choice | None:
        """The newest; None where nobody chose and the default holds."""
        row = await self._conn.fetchrow(IN_FORCE, region, resource)
        return None if row is None else _choice(row)

    async def all_in_force(self, region: str, resources: Sequence[str]) -> dict[str, Choice]:
        """The newest of each of `resources` for which anybody chose."""
        rows = await self._conn.fetch(ALL_IN_FORCE, region, resources)
        return {row["resource"]: _choice(row) for row in rows}

    async def page(self, *, before: UUID, region: str | None, resource: str | None, first: int) -> Page[Choice]:
        """Newest first."""
        asked = Listed(PAGE, (From(before, NEWEST), region, resource, LIMIT))
        return await asked.page(self._conn, _choice, first)


def _members(row: ChosenReserve) -> dict[str, Any]:
    return {**row.reserve.to_json(), "institutions": [str(id) for id in row.institutions]}  # noqa: A001


def _choice(row: asyncpg.Record) -> Choice:
    return Choice(
        id=row["id"], region=row["region"], resource=row["resource"],
        fairness=read_fairness(orjson.loads(row["fairness"])),
        reserves=tuple(read_reserve(members) for members in orjson.loads(row["reserves"])),
        chosen_at=row["chosen_at"],
    )  # fmt: skip
