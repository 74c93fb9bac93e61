"""The resource catalogue in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncpg import UniqueViolationError

from sharewell.domain.errors import Conflict, NotFound
from sharewell.domain.resources import Resource, ResourceKind
from sharewell.store.paging import LIMIT, From, Listed, Page
from sharewell.store.written import Columns, Noun, named, number, text

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

_COLUMNS = "code, kind, name, unit, standard_code, gtin, skill, loan_days"
ADD = f"insert into sharewell.resource ({_COLUMNS}, decision_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
BY_CODE = f"select {_COLUMNS} from sharewell.resource where code = $1"
BY_CODES = f"select {_COLUMNS} from sharewell.resource where code = any ($1::text[])"
PAGE = f"select {_COLUMNS} from sharewell.resource where code > $1 order by code limit $2"
#: As rows that name a line write it.
NAMED = Noun("resource", "sharewell.resource", "code", Columns({
    "code": text("code"), "kind": named("kind", ResourceKind), "name": text("name"), "unit": text("unit"),
    "standard_code": text("standard_code"), "gtin": text("gtin"), "skill": text("skill"),
    "loan_days": number("loan_days"),
}, parties=()))  # fmt: skip


class ResourceRepository:
    """The lines of the catalogue."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, resource: Resource, decision: UUID) -> None:
        """Store it; raises `Conflict` where the code is taken."""
        r = resource
        try:
            await self._conn.execute(
                ADD, r.code, r.kind, r.name, r.unit, r.standard_code, r.gtin, r.skill, r.loan_days, decision
            )
        except UniqueViolationError as error:
            raise Conflict(f"the catalogue has {r.code} already.", field="code") from error

    async def find(self, code: str) -> Resource | None:
        row = await self._conn.fetchrow(BY_CODE, code)
        return None if row is None else _resource(row)

    async def get(self, code: str) -> Resource:
        resource = await self.find(code)
        if resource is None:
            raise NotFound(f"the catalogue has no {code[:64]!r}; ask `resources` for its codes.", field="resource")
        return resource

    async def by_codes(self, codes: list[str]) -> dict[str, Resource]:
        return {row["code"]: _resource(row) for row in await self._conn.fetch(BY_CODES, codes)}

    async def page(self, *, after: str, first: int) -> Page[Resource]:
        asked = Listed(PAGE, (From(after, ""), LIMIT))
        return await asked.page(self._conn, _resource, first)


def _resource(row: asyncpg.Record) -> Resource:
    return Resource(
        code=row["code"], kind=ResourceKind(row["kind"]), name=row["name"], unit=row["unit"],
        standard_code=row["standard_code"], gtin=row["gtin"], skill=row["skill"], loan_days=row["loan_days"],
    )  # fmt: skip
