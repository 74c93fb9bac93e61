"""What there is in the house to be asked for, as those see it who may see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sharewell.store.queue import Queue

if TYPE_CHECKING:
    from tests.postgres.fuzz.conftest import House

Row = dict[str, Any]
LENT = ("bed.adult", "icu.adult", "ventilator", "nurse.icu")
STAFF = tuple(f"staff-{number}" for number in range(6))
NOTHING = """@id("extra-{n}") @sentence("Lets nobody do anything, for nobody is called so.")
permit (principal == Sharewell::Caller::"nobody-{n}", action == Sharewell::Action::"openRequest", resource);
"""
SHORT, PLENTY = {"staffed": 20, "occupied": 20, "waiting": 12}, {"staffed": 60, "occupied": 20, "waiting": 0}
_LISTS = (
    ("regulator", """{
      institutions(first: 60) { nodes { id code region status } }
      offers(first: 60) { nodes { id institutionId resource status remaining } }
      requests(first: 60) { nodes { id institutionId resource status } }
      transfers(first: 100) { nodes { id giverId receiverId resource quantity state allocationId requestId } }
      capacityReports(first: 40) { nodes { id institutionId resource asOf } }
      consents(first: 40) { nodes { id institutionId resource withdrawnAt } } }"""),
    ("regulator", """{
      agreements(first: 40) { nodes { id giverId receiverId acceptedAt endedAt } }
      surgeModes(first: 40) { nodes { id region inForce } }
      allocations(first: 40) { nodes { id fairness { rule } } }
      horizons(first: 10) { nodes { id } }
      fairnessChoices(first: 10) { nodes { id region resource } }
      feeds(first: 10) { nodes { id } }
      resources { nodes { code kind } }
      clients(first: 100) { nodes { clientId status institutionId } }
      people(first: 60) { nodes { id status } }
      jobsSetAside { id } }"""),
    ("admin", """{
      policyVersions(first: 40) { nodes { number state sha256 author origin } }
      brokenGlasses(first: 20) { nodes { id inForce } } }"""),
    ("regulator", """{ decisions(first: 60) { nodes { id kind action actor subjectKind subjectId outcome } }
      refusals: decisions(kind: "access.refused", first: 20) { nodes { id } } }"""),
)  # fmt: skip


@dataclass
class World:
    """Rows by the name of the list they stand in, newest first, and the ids of institutions by code."""

    at: datetime
    sites: dict[str, str]
    rows: dict[str, list[Row]] = field(default_factory=dict)
    cursors: list[str] = field(default_factory=list)  #: that answers held
    acted: list[tuple[str, str]] = field(default_factory=list)  #: persons for whom something was done, by institution

    def codes(self) -> list[str]:
        return [row["code"] for row in self.rows["resources"]]

    def code_of(self, institution: str) -> str | None:
        """The client of an institution, where it has one here."""
        return next((code for code, id in self.sites.items() if id == institution), None)  # noqa: A001


async def look(house: House, cursors: list[str]) -> World:
    """What there is now."""
    world = World(house.at, house.sites, cursors=cursors)
    for who, query in _LISTS:
        for name, found in (await house.ask(who, query)).items():
            world.rows[name] = found if isinstance(found, list) else found["nodes"]
    asked = [(person, id) for person in STAFF for id in list(house.sites.values())[:3]]  # noqa: A001
    aliases = " ".join(
        f'p{n}: dataSubject(identifier: "{person}", institution: "{id}") {{ subject }}'
        for n, (person, id) in enumerate(asked)  # noqa: A001
    )
    people = await house.ask("admin", f"{{ {aliases} }}")
    world.rows["subjects"] = [row for row in people.values() if row is not None]
    world.acted = [asked[n] for n, row in enumerate(people.values()) if row is not None]
    return world


async def furnish(house: House) -> None:
    """Reports, pledges, needs, plans and what becomes of them, made by those who may make them."""
    at = house.at
    await report(house)
    for resource in LENT[2:]:
        await need(house, resource)
    await plan(house)
    await house.done("planner", "planHorizon", region="us-nj", resources=["ventilator"], seconds=300, days=3)
    await house.work("horizon")
    async with house.people.database.transaction() as tx:
        for number in range(4):
            await Queue(tx.conn).enqueue("forecast", {"resource": "mask.n95", "number": number})
    async with house.workers.database.transaction() as tx:
        await tx.conn.execute("update queue.pgqueuer set status = 'failed', attempts = 4")
    for n, person in enumerate(STAFF):
        until, whose = text(at + timedelta(days=9)), {"identifier": person, "name": f"Canary {person}"}
        for code in ("north", "south"):
            await house.done(code, "giveConsent", resource=LENT[n % 4], until=until, onBehalfOf=whose)
    for number in range(4):
        asked = {"login": f"guest-{number}", "name": "A guest", "roles": ["REGULATOR"]}
        await house.done("admin", "registerPerson", **asked)
        file = {"name": f"seed_{number}.cedar", "text": NOTHING.format(n=f"seed-{number}")}
        await house.done(("admin", "second")[number % 2], "draftPolicies", files=[file], why="To try it.")
    await house.send("north", "{ people { nodes { id } } }", {})  # which is refused, and on record
    await house.run("reconcile")


async def plan(house: House) -> None:
    """What some give and others need, and runs that bring it together, so that there is something to answer."""
    for resource in LENT[:2]:
        await need(house, resource)
        await house.done("planner", "startAllocation", region="us-nj", resource=resource)
    await house.work("allocate")


async def need(house: House, resource: str) -> None:
    at = house.at
    for giver in ("north", "south"):
        window = {"availableFrom": text(at), "availableUntil": text(at + timedelta(days=5))}
        await house.done(giver, "publishOffer", resource=resource, quantity=15, **window)
    for quantity in (1, 2, 3, 1):
        needed = {"neededBy": text(at), "neededUntil": text(at + timedelta(days=4)), "reason": "SURGE"}
        await house.done("east", "openRequest", resource=resource, quantity=quantity, urgency=3, **needed)


async def report(house: House) -> None:
    """What every institution has, now."""
    for code in house.sites:
        reports = [
            {"resource": resource, "asOf": text(house.at), **(SHORT if code == "east" else PLENTY)}
            for resource in (*LENT, "mask.n95")
        ]
        await house.done(code, "reportCapacity", reports=reports)


def text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
