"""Versions of the policies in PostgreSQL. Their files are artifacts, each stored once however many versions have it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sharewell.domain.break_glass import Somebody
from sharewell.domain.errors import NotFound
from sharewell.domain.policy import policy_set_list, read_policy_set_list
from sharewell.domain.policy_versions import (
    Finding,
    PolicyVersion,
    Scheduled,
    VersionOrigin,
    VersionState,
    Weight,
)
from sharewell.store.artifacts import keep_artifact
from sharewell.store.paging import LIMIT, From, Listed, Page

if TYPE_CHECKING:
    import asyncpg

_STORED = """number, origin, state, author, author_person, base, returns_to, policy_set, findings, drafted_at,
  edited_at, simulated_at, simulation, approved_by, approved_person, approved_at, effective_from, effective_at,
  ended_at, decision_id, changed_by, replaces"""
_WHY = "(select r.body from sharewell.remark r where r.decision_id = v.decision_id) as why"
_COLUMNS = f"{_STORED}, written_through, {_WHY}"
#: Writes of versions come one after the other: each looks at what the others scheduled.
ALONE = "select pg_advisory_xact_lock(hashtextextended('policy versions', 0))"
ADD = f"""
insert into sharewell.policy_version ({_STORED})
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
"""
UPDATE = """
update sharewell.policy_version
   set state = $2, policy_set = $3, findings = $4, edited_at = $5, simulated_at = $6, simulation = $7, approved_by = $8,
       approved_person = $9, approved_at = $10, effective_from = $11, effective_at = $12, ended_at = $13,
       changed_by = $14, replaces = $15
 where number = $1
"""
#: What the platform itself does at a version's time; more a worker has no right to.
STEP = """
update sharewell.policy_version set state = $2, effective_at = $3, ended_at = $4, changed_by = $5 where number = $1
"""
NEXT = "select coalesce(max(number), 0) + 1 from sharewell.policy_version"
BY_NUMBER = f"select {_COLUMNS} from sharewell.policy_version v where number = $1"
BY_NUMBER_LOCKED = f"{BY_NUMBER} for update of v"
PAGE = f"""
select {_COLUMNS} from sharewell.policy_version v where number < $1 and ($2::text is null or state = $2)
 order by number desc limit $3
"""
NEWEST_SHIPPED = f"""
select {_COLUMNS} from sharewell.policy_version v where origin = 'shipped' order by number desc limit 1
"""
EFFECTIVE = f"select {_COLUMNS} from sharewell.policy_version v where state = 'effective' for update of v"
#: Approved and their time has come, in the order in which they come into force.
DUE = f"""
select {_COLUMNS} from sharewell.policy_version v where state = 'approved' and effective_from <= $1
 order by effective_from, number for update of v
"""
#: Read by every process each second: all there is to know of what is and will be in force.
SCHEDULE = """
select number, origin = 'shipped' as shipped, policy_set, replaces, effective_from as since, null::timestamptz as until,
       state = 'effective' as recorded
  from sharewell.policy_version where state in ('approved', 'effective')
union all
select v.number, false, v.policy_set, null, g.broken_at, g.until, true
  from sharewell.break_glass g join sharewell.policy_version v on v.number = g.version where g.ended_at is null
"""
APPROVALS = """
select approved_by as client, approved_person as person, approved_through as through from sharewell.policy_version
 where approved_turn > (select turn from sharewell.break_glass where id = $1) and state <> 'withdrawn'
"""
STEPS = """
select s.version, s.state, s.at, d.actor as client, s.decision_id
  from sharewell.policy_step s join audit.decision d on d.id = s.decision_id
 where s.version = any ($1::integer[]) order by s.version, s.at, s.decision_id
"""
FILES = "select sha256, body from sharewell.artifact where sha256 = any ($1::text[])"


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """A state that a version came to."""

    version: int
    state: VersionState
    at: datetime
    client: str  #: principal that brought it there
    decision: UUID


class PolicyVersionRepository:
    """Versions of the policies."""

    def __init__(self, conn: asyncpg.Connection[Any]) -> None:
        self._conn = conn

    async def alone(self) -> None:
        """Nobody else changes versions, or breaks a glass, until this transaction ends."""
        await self._conn.execute(ALONE)

    async def next_number(self) -> int:
        number: int = await self._conn.fetchval(NEXT)
        return number

    async def add(self, version: PolicyVersion) -> None:
        v = version
        await self._conn.execute(
            ADD, v.number, v.origin, v.state, v.author, v.author_person, v.base, v.returns_to, v.policy_set,
            _written(v), v.drafted_at, v.edited_at, v.simulated_at, _json(v.simulation), v.approved_by,
            v.approved_person, v.approved_at, v.effective_from, v.effective_at, v.ended_at, v.decision, v.changed_by,
            v.replaces,
        )  # fmt: skip

    async def update(self, version: PolicyVersion, decision: UUID) -> None:
        v = version
        await self._conn.execute(
            UPDATE, v.number, v.state, v.policy_set, _written(v), v.edited_at, v.simulated_at, _json(v.simulation),
            v.approved_by, v.approved_person, v.approved_at, v.effective_from, v.effective_at, v.ended_at, decision,
            v.replaces,
        )  # fmt: skip

    async def step(self, version: PolicyVersion, decision: UUID) -> None:
        """Store that it came into force, out of it, or was passed over."""
        v = version
        await self._conn.execute(STEP, v.number, v.state, v.effective_at, v.ended_at, decision)

    async def get(self, number: int, *, lock: bool = False) -> PolicyVersion:
        version = await self.find(number, lock=lock)
        if version is None:
            raise NotFound(f"there is no version {number} of the policies.", field="version")
        return version

    async def find(self, number: int, *, lock: bool = False) -> PolicyVersion | None:
        # A number beyond the column's type is none that was given out.
        if not 0 < number < 2**31:
            return None
        row = await self._conn.fetchrow(BY_NUMBER_LOCKED if lock else BY_NUMBER, number)
        return None if row is None else _version(row)

    async def page(self, *, before: int, state: VersionState | None, first: int) -> Page[PolicyVersion]:
        """Newest first."""
        asked = Listed(PAGE, (From(before, 2**31 - 1), state, LIMIT))
        return await asked.page(self._conn, _version, first)

    async def newest_shipped(self) -> PolicyVersion | None:
        row = await self._conn.fetchrow(NEWEST_SHIPPED)
        return None if row is None else _version(row)

    async def effective(self) -> PolicyVersion | None:
        """The one that is on record as in force, locked."""
        row = await self._conn.fetchrow(EFFECTIVE)
        return None if row is None else _version(row)

    async def due(self, at: datetime) -> list[PolicyVersion]:
        """Those whose time has come and that are not on record as in force yet, locked, in their order."""
        return [_version(row) for row in await self._conn.fetch(DUE, at)]

    async def schedule(self) -> tuple[Scheduled, ...]:
        return tuple(Scheduled(**row) for row in await self._conn.fetch(SCHEDULE))

    async def approvals(self, since: UUID) -> list[Somebody]:
        """Who approved versions after that glass was broken, by the order of the log; but for those withdrawn."""
        return [Somebody(**row) for row in await self._conn.fetch(APPROVALS, since)]

    async def steps(self, numbers: list[int]) -> list[PolicyStep]:
        return [_step(row) for row in await self._conn.fetch(STEPS, numbers)]

    async def keep_files(self, files: Mapping[str, bytes]) -> str:
        """Store a set of policies, schema included, and return the hash that names it."""
        listed = policy_set_list(files)
        for data in (listed, *files.values()):
            await keep_artifact(self._conn, "policy", data)
        return hashlib.sha256(listed).hexdigest()

    async def files(self, policy_set: str) -> dict[str, bytes]:
        """The files of a set by their name, schema included. Raises `NotFound`."""
        listed = await self._bodies([policy_set])
        if policy_set not in listed:
            raise NotFound(f"no policies are stored under {policy_set[:64]!r}.", field="sha256")
        names = read_policy_set_list(listed[policy_set])
        bodies = await self._bodies(list(names.values()))
        return {name: bodies[sha256] for name, sha256 in names.items()}

    async def _bodies(self, hashes: list[str]) -> dict[str, bytes]:
        return {row["sha256"]: row["body"] for row in await self._conn.fetch(FILES, hashes)}


def _step(row: asyncpg.Record) -> PolicyStep:
    return PolicyStep(row["version"], VersionState(row["state"]), row["at"], row["client"], row["decision_id"])


def _written(version: PolicyVersion) -> str:
    return json.dumps([asdict(finding) for finding in version.findings])


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _version(row: asyncpg.Record) -> PolicyVersion:
    told = dict(row)
    told["origin"], told["state"] = VersionOrigin(told["origin"]), VersionState(told["state"])
    told["decision"] = told.pop("decision_id")
    told["written_through"] = tuple(told["written_through"])
    told["findings"] = tuple(
        Finding(**(each | {"weight": Weight(each["weight"])})) for each in json.loads(told["findings"])
    )
    told["simulation"] = None if told["simulation"] is None else json.loads(told["simulation"])
    return PolicyVersion(**told)
