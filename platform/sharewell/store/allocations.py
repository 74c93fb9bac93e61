"""Allocation runs in PostgreSQL: what was solved, the plan that was adopted, what sharing changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from sharewell.domain.errors import NotFound, StaleSnapshot
from sharewell.domain.visibility import coarse
from sharewell.store.paging import LIMIT, NEWEST, From, Listed, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import asyncpg

_COLUMNS = """id, region, resource, rule, instance_sha256, plan_sha256, owners, receivers, needed, assigned, measures,
  stages, solver, adopted_at, fairness, reserves, horizon_id"""
ADD = f"""
insert into sharewell.allocation ({_COLUMNS}, decision_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12::text::jsonb, $13::text::jsonb, $14,
  $15::text::jsonb, $16::text::jsonb, $17, $18)
on conflict (instance_sha256, resource) do nothing returning true
"""
BY_ID = f"select {_COLUMNS} from sharewell.allocation where id = $1"
BY_IDS = f"select {_COLUMNS} from sharewell.allocation where id = any ($1::uuid[])"
#: Units on their way or arrived that an institution got by urgent plans since all were last planned for.
GRANTED_SINCE_RUN = """
select t.receiver_id, sum(least(t.quantity, t.dispatched, t.received))::integer as units
  from sharewell.transfer t join sharewell.allocation a on a.id = t.allocation_id
 where a.region = $1 and a.resource = $2 and a.rule = 'projected_proportional'
   and t.state not in ('declined', 'expired', 'cancelled', 'returned')
   and a.id > coalesce((select r.id from sharewell.allocation r
                         where r.region = $1 and r.resource = $2 and r.rule <> 'projected_proportional'
                         order by r.id desc limit 1), '00000000-0000-0000-0000-000000000000')
 group by t.receiver_id
"""
ANSWERED = "select true from sharewell.allocation where instance_sha256 = $1 limit 1"
#: A run leaves its decision with each request it answers, until another deed follows; then its transfers tell.
THAT_ANSWERED = """
select coalesce(
  (select a.id from sharewell.request q
     join sharewell.allocation a on a.decision_id = q.decision_id and a.resource = q.resource
    where q.id = $1),
  (select t.allocation_id from sharewell.transfer t
    where t.request_id = $1 and not exists (select from sharewell.override o where o.replacement_id = t.id)
    order by t.id desc limit 1))
"""
PAGE = f"""
select {_COLUMNS} from sharewell.allocation
 where id < $1 and ($2::text is null or region = $2) and ($3::text is null or resource = $3) order by id desc limit $4
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """One adopted plan."""

    id: UUID
    region: str
    resource: str
    rule: str  #: by which it was decided
    instance_sha256: str
    plan_sha256: str
    owners: int  #: offers that could give
    receivers: int  #: requests that were open
    needed: int
    assigned: int
    measures: Mapping[str, Any]  #: fairness and shortage, before and after
    stages: list[dict[str, Any]]  #: what each stage reached over all parts
    solver: Mapping[str, Any]  #: name, version, status, bound, gap, seed, time, memory
    adopted_at: datetime
    fairness: Mapping[str, Any]  #: the rule it was made by
    reserves: Sequence[Mapping[str, Any]]  #: categories that supply was kept for
    horizon: UUID | None = None  #: the schedule of which this is day 0; None for a run by itself

    @property
    def withheld(self) -> bool:
        """Nothing is: this is the whole of it."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class VeiledAllocation:
    """An adopted plan as somebody sees it who may not read its documents; the fields of `Allocation`."""

    id: UUID
    region: str
    resource: str
    rule: str
    instance_sha256: str
    plan_sha256: str
    owners: int
    receivers: int
    needed: int | None
    assigned: int | None
    measures: Mapping[str, Any] | None
    solver: Mapping[str, Any]  #: without the bound
    adopted_at: datetime
    fairness: Mapping[str, Any]
    reserves: Sequence[Mapping[str, Any]]
    horizon: UUID | None
    withheld: bool  #: whether its totals are left out, as somebody's part in them is a small count
    stages: None = None

    @classmethod
    def of(cls, allocation: Allocation, *, withheld: bool) -> VeiledAllocation:
        """Totals unless they are withheld, shares in coarse steps, and no fraction that tells its parts."""
        a = allocation
        return cls(
            id=a.id, region=a.region, resource=a.resource, rule=a.rule, instance_sha256=a.instance_sha256,
            plan_sha256=a.plan_sha256, owners=a.owners, receivers=a.receivers, adopted_at=a.adopted_at,
            fairness=a.fairness, reserves=a.reserves, horizon=a.horizon, withheld=withheld,
            needed=None if withheld else a.needed, assigned=None if withheld else a.assigned,
            measures=None if withheld else coarse(a.measures), solver={**a.solver, "bound": None},
        )  # fmt: skip


class AllocationRepository:
    """The plans that bind."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def add(self, allocation: Allocation, decision: UUID) -> None:
        """Store it; raises `StaleSnapshot` where a plan for the same instance is adopted already."""
        a = allocation
        if not await self._conn.fetchval(
            ADD, a.id, a.region, a.resource, a.rule, a.instance_sha256, a.plan_sha256, a.owners, a.receivers, a.needed,
            a.assigned, orjson.dumps(dict(a.measures)).decode(), orjson.dumps(list(a.stages)).decode(),
            orjson.dumps(dict(a.solver)).decode(), a.adopted_at, orjson.dumps(dict(a.fairness)).decode(),
            orjson.dumps(list(a.reserves)).decode(), a.horizon, decision,
        ):  # fmt: skip
            raise StaleSnapshot("a plan for this very instance is adopted already.")

    async def that_answered(self, request: UUID) -> UUID | None:
        """The run that answered a request last; None where none has."""
        found: UUID | None = await self._conn.fetchval(THAT_ANSWERED, request)
        return found

    async def answers(self, instance_sha256: str) -> bool:
        """Tell whether a plan for this instance is adopted already."""
        return bool(await self._conn.fetchval(ANSWERED, instance_sha256))

    async def granted_since_run(self, region: str, resource: str) -> dict[UUID, int]:
        """Units that urgent plans brought to each institution since all of the region were last planned for."""
        rows = await self._conn.fetch(GRANTED_SINCE_RUN, region, resource)
        return {row["receiver_id"]: row["units"] for row in rows}

    async def get(self, id: UUID) -> Allocation:  # noqa: A002
        row = await self._conn.fetchrow(BY_ID, id)
        if row is None:
            raise NotFound(f"no allocation run has the id {id}.", field="allocation")
        return _allocation(row)

    async def by_ids(self, ids: list[UUID]) -> dict[UUID, Allocation]:
        return {row["id"]: _allocation(row) for row in await self._conn.fetch(BY_IDS, ids)}

    async def page(
        self, *, before: UUID, region: str | None, resource: str | None, first: int
    ) -> Page[Allocation]:
        """Newest first."""
        asked = Listed(PAGE, (From(before, NEWEST), region, resource, LIMIT))
        return await asked.page(self._conn, _allocation, first)


def _allocation(row: asyncpg.Record) -> Allocation:
    return Allocation(
        id=row["id"], region=row["region"], resource=row["resource"], rule=row["rule"],
        instance_sha256=row["instance_sha256"], plan_sha256=row["plan_sha256"], owners=row["owners"],
        receivers=row["receivers"], needed=row["needed"], assigned=row["assigned"],
        measures=orjson.loads(row["measures"]), stages=orjson.loads(row["stages"]),
        solver=orjson.loads(row["solver"]), adopted_at=row["adopted_at"], fairness=orjson.loads(row["fairness"]),
        reserves=orjson.loads(row["reserves"]), horizon=row["horizon_id"],
    )  # fmt: skip
