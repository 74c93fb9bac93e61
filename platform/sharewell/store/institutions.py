"""Institutions in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict, Unpack
from uuid import UUID

from asyncpg import UniqueViolationError

from sharewell.domain.errors import Conflict, NotFound
from sharewell.domain.institutions import Institution, InstitutionKind, InstitutionStatus
from sharewell.store.paging import (
    IN_TURN,
    LIMIT,
    OLDEST,
    SEEN,
    Condition,
    From,
    Listed,
    Page,
    Place,
    Sort,
    any_of,
)
from sharewell.store.written import (
    Columns,
    Noun,
    One,
    Wanted,
    WantedOne,
    Written,
    degrees,
    moment,
    named,
    optional,
    text,
    uuid,
    write_one,
    write_page,
)

if TYPE_CHECKING:
    import asyncpg

_COLUMNS = "id, code, name, kind, region, latitude, longitude, equity_group, status, registered_at, decision_id"
ADD = f"""
insert into sharewell.institution ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
BY_ID = f"select {_COLUMNS} from sharewell.institution where id = $1"
BY_ID_LOCKED = f"{BY_ID} for update"
BY_IDS = f"select {_COLUMNS} from sharewell.institution where id = any ($1::uuid[])"
BY_CODE = f"select {_COLUMNS} from sharewell.institution where code = $1"
BY_CODES = f"select {_COLUMNS} from sharewell.institution where code = any ($1::text[])"
IN_REGION = f"select {_COLUMNS} from sharewell.institution where region = $1 order by id"
STANDING = "select status from sharewell.institution where id = $1"
SET_STATUS = "update sharewell.institution set status = $2, decision_id = $3 where id = $1 returning true"
PAGE = f"""
select {_COLUMNS} from sharewell.institution
 where id > $1 and {SEEN} and ($2::text is null or region = $2) order by id limit $3
"""
WRITTEN = Columns({
    "id": uuid("id"), "code": text("code"), "name": text("name"), "kind": named("kind", InstitutionKind),
    "region": text("region"), "latitude": optional(degrees("latitude")), "longitude": optional(degrees("longitude")),
    "equity_group": text("equity_group"), "status": named("status", InstitutionStatus),
    "registered_at": moment("registered_at"), "changed_by": uuid("decision_id"),
}, parties=())  # fmt: skip
#: As rows that name an institution write it.
NAMED = Noun("institution", "sharewell.institution", "id", WRITTEN)

#: Orders and searches name their collation, so that they are the same wherever the database is.
SORTS: Final[Mapping[str, Sort]] = {
    "registered": IN_TURN,
    "name": Sort('name collate "C"', "text", "name"),
    "code": Sort('code collate "C"', "text", "code"),
}


#: The collation knows capitals of all scripts, and stands in PostgreSQL itself, as of 17.
IN_TEXT: Final = (
    "strpos(lower((name || e'\\n' || code) collate pg_c_utf8), lower({0}::text collate pg_c_utf8)) > 0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionFilter:
    """Which institutions are wanted; None: all."""

    regions: Sequence[str] | None = None
    kinds: Sequence[InstitutionKind] | None = None
    statuses: Sequence[InstitutionStatus] | None = None
    codes: Sequence[str] | None = None
    text: str | None = None  #: in the name or the code, in capitals or not

    def conditions(self) -> Iterator[Condition]:
        yield from any_of("region", "text", self.regions)
        yield from any_of("kind", "text", self.kinds)
        yield from any_of("status", "text", self.statuses)
        yield from any_of("code", "text", self.codes)
        if self.text is not None:
            yield Condition(IN_TEXT, (self.text,))


class InstitutionList(TypedDict):
    """Which institutions, from where on, and how many."""

    after: UUID
    region: str | None
    first: int
    matching: NotRequired[InstitutionFilter]
    place: NotRequired[Place | None]  #: in another order than that of being taken in; then `after` says nothing


class InstitutionRepository:
    """Everyone who takes part."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, institution: Institution, decision: UUID) -> None:
        """Store it; raises `Conflict` where the code is taken."""
        i = institution
        try:
            await self._conn.execute(
                ADD, i.id, i.code, i.name, i.kind, i.region, i.latitude, i.longitude, i.equity_group, i.status,
                i.registered_at, decision,
            )  # fmt: skip
        except UniqueViolationError as error:
            raise Conflict(f"an institution with code {i.code} is registered already.", field="code") from error

    async def get(self, id: UUID, *, lock: bool = False) -> Institution:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID_LOCKED if lock else BY_ID, id)
        if row is None:
            raise _missing(id)
        return _institution(row)

    async def standing(self, id: UUID) -> str | None:  # noqa: A002
        """Its status, or None where there is no such institution."""
        status: str | None = await self._conn.fetchval(STANDING, id)
        return status

    async def by_code(self, code: str) -> Institution | None:
        row = await self._conn.fetchrow(BY_CODE, code)
        return None if row is None else _institution(row)

    async def by_ids(self, ids: list[UUID]) -> dict[UUID, Institution]:
        return {row["id"]: _institution(row) for row in await self._conn.fetch(BY_IDS, ids)}

    async def by_codes(self, codes: list[str]) -> dict[str, Institution]:
        return {row["code"]: _institution(row) for row in await self._conn.fetch(BY_CODES, codes)}

    async def in_region(self, region: str) -> list[Institution]:
        return [_institution(row) for row in await self._conn.fetch(IN_REGION, region)]

    async def set_status(self, id: UUID, status: InstitutionStatus, decision: UUID) -> None:  # noqa: A002
        if not await self._conn.fetchval(SET_STATUS, id, status, decision):
            raise _missing(id)

    async def page(self, **asked: Unpack[InstitutionList]) -> Page[Institution]:
        """In the order they were taken in, or in that of the place asked for."""
        return await _listed(asked).page(self._conn, _institution, asked["first"], asked.get("place"))

    async def write_page(self, wanted: Wanted, **asked: Unpack[InstitutionList]) -> Written:
        """The same, in the order they were taken in, written."""
        return await write_page(self._conn, WRITTEN, wanted, _listed(asked), asked["first"], told=False, seen={})

    async def write_one(self, wanted: WantedOne, id: UUID) -> One:  # noqa: A002
        """The same as `get`, written."""
        one = await write_one(self._conn, WRITTEN, wanted, BY_ID, id, {})
        if one is None:
            raise _missing(id)
        return one


def _missing(id: UUID) -> NotFound:  # noqa: A002
    return NotFound(f"no institution has the id {id}.", field="institution")


def _listed(asked: InstitutionList) -> Listed:
    values = From(asked["after"], OLDEST), asked["region"], LIMIT
    return Listed(PAGE, values).where(asked.get("matching", InstitutionFilter()).conditions())


def _institution(row: asyncpg.Record) -> Institution:
    return Institution(
        id=row["id"], code=row["code"], name=row["name"], kind=InstitutionKind(row["kind"]), region=row["region"],
        latitude=row["latitude"], longitude=row["longitude"], equity_group=row["equity_group"],
        status=InstitutionStatus(row["status"]), registered_at=row["registered_at"],
        changed_by=row["decision_id"],
    )  # fmt: skip
