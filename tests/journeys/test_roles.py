"""Every role over HTTP: it may do what the table in docs/policies.md says, and nothing else; refusals are on record."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from tests.journeys.conftest import open_folder, platform, until

from sharewell.authz import shipped_policies
from sharewell.cli.stage import Stage
from sharewell.client import ApiClient, Credential, GraphQLErrors
from sharewell.domain.principals import Role
from sharewell.replay import operations
from sharewell.replay.panel import Load, Site
from sharewell.replay.player import Held, Player, Window

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLICIES = Path(__file__).parents[2] / "docs" / "policies.md"
NOW = datetime.now(UTC)
WINDOW = Window("today", NOW, NOW + timedelta(days=1))
EVERYTHING = ("system/*.cruds",)  #: so that only the role decides
REGION = "palombia"
#: Acts that no operation of the API is about: workers do them, or an operator on the machine itself.
NOT_OVER_HTTP = {
    "expireHolds", "confirmByConsent", "detectDeviation", "expireSurge", "ingestFeed", "adoptForecast", "watchForecast",
    "rerunForecast", "adoptPlan", "sealLog", "reconcileLog", "publishPolicy", "rotateKey",
}  # fmt: skip
#: Permitted, and then not done: there is no such job, which only an admin hears, or whoever came before has done it.
NOTHING_TO_DO = {
    ("approvePolicy", "NOT_FOUND"), ("withdrawPolicy", "NOT_FOUND"), ("rollBackPolicy", "NOT_FOUND"),
    ("breakGlass", "NOT_FOUND"), ("endBreakGlass", "NOT_FOUND"), ("requeueJob", "NOT_FOUND"),
    ("overridePlan", "CONFLICT"), ("endSurge", "CONFLICT"), ("eraseSubject", "NOT_FOUND"),
    ("erasePerson", "CONFLICT"),
}  # fmt: skip
REFUSALS = """
query ($actor: String!) { decisions(actor: $actor, kind: "access.refused", first: 200) { nodes { action outcome } } }
"""
REFUSED_LAST = """
query ($actor: String!) { decisions(actor: $actor, kind: "access.refused", first: 1) { nodes { id } } }
"""
ANSWERED = "query ($transfer: UUID!) { transfer(id: $transfer) { requestId allocationId } }"
LIST = "query ($institution: UUID) { requests(institution: $institution) { nodes { id } } }"


@dataclass
class World:
    """A platform with things that acts can be tried on, and one client of each role."""

    stage: Stage
    north: Player
    south: Player
    east: Player
    clients: dict[Role, ApiClient]
    things: dict[str, Any]
    own_refusals: dict[str, str] = field(default_factory=dict)  #: by client, one of its own
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)  #: FORBIDDEN answers, by client and act
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def may(self, client: ApiClient, act: str) -> bool:
        """Try the act on what belongs to North; tell whether it was permitted and then was done."""
        try:
            things = {**self.things, "own": self.own_refusals.get(client.client_id)}
            await client.graphql(*operation(act, things, next(self.numbers)))
        except GraphQLErrors as errors:
            if set(errors.codes) == {"FORBIDDEN"}:
                self.refused[client.client_id, act] += 1
                return False
            if {(act, code) for code in errors.codes} - NOTHING_TO_DO:
                raise
        return True

    async def recorded(self, client: ApiClient) -> Counter[str]:
        """The acts this client was refused, as the regulator finds them."""
        found = await self.clients[Role.REGULATOR].graphql(REFUSALS, {"actor": client.client_id})
        nodes = found["decisions"]["nodes"]
        assert {node["outcome"] for node in nodes} <= {"REFUSED"}
        return Counter(node["action"] for node in nodes)


def operation(act: str, things: Mapping[str, Any], number: int) -> tuple[str, dict[str, Any]]:
    """What a client sends in order to do `act`, and its variables."""
    if act in QUERIES:
        return QUERIES[act], {name: things[name] for name in re.findall(r"\$(\w+):", QUERIES[act])}
    name, asked = mutations(things, number)[act]
    return _mutation(name), {"input": {"idempotencyKey": f"{act} {number}", **asked}}


QUERIES = {
    "viewInstitution": "query ($north: UUID!) { institution(id: $north) { id } }",
    "viewResource": 'query { resource(code: "bed.adult") { code } }',
    "viewCapacity": "query ($north: UUID!) { capacityReports(institution: $north) { nodes { id } } }",
    "viewExactCapacity": "query ($north: UUID!) { capacityReports(institution: $north, exact: true) { nodes { id } } }",
    "viewOffer": "query ($offer: UUID!) { offer(id: $offer) { id } }",
    "viewRequest": "query ($request: UUID!) { request(id: $request) { id } }",
    "viewTransfer": "query ($leaving: UUID!) { transfer(id: $leaving) { id } }",
    "viewOverride": "query ($north: UUID!) { overrides(institution: $north) { nodes { id } } }",
    "viewDeviation": "query ($north: UUID!) { deviationRates(institution: $north) { centre } }",
    "viewSurge": "query { surgeModes { nodes { id } } }",
    "viewConsent": "query ($north: UUID!) { consents(institution: $north) { nodes { id } } }",
    "viewAgreement": "query ($north: UUID!) { agreements(party: $north) { nodes { id } } }",
    "viewReceipt": "query ($north: UUID!) { giveAndTake(institution: $north) { nodes { runs } } }",
    "viewFeed": "query { feeds { nodes { id } } }",
    "viewForecast": "query ($north: UUID!) { forecasts(institution: $north) { nodes { resource } } }",
    "viewAllocation": "query { allocations { nodes { id } } }",
    "viewChoice": "query { fairnessChoices { nodes { id } } }",
    "viewRunDocuments": "query ($run: UUID!) { allocationInstance(id: $run) }",
    "compareRules": "query ($run: UUID!) { allocationFrontier(id: $run) { svg } }",
    "askWhatIf": "query ($answered: UUID!) { whatWouldChange(request: $answered) { changes { sentence } } }",
    "readAudit": 'query ($north: UUID!) { decisions(institution: $north, kind: "offer.published") { nodes { id } } }',
    "readAccessAudit": 'query ($north: UUID!) { decisions(institution: $north, kind: "client.registered")'
    " { nodes { id } } }",
    "readDecisionBundle": "query ($registration: UUID!) { decision(id: $registration) { bundle } }",
    "findSubject": 'query ($north: UUID!) { dataSubject(identifier: "staff-1", institution: $north) { subject } }',
    "viewSubject": "query ($acted: UUID!) { decision(id: $acted) { onBehalfOf { name } } }",
    "viewClient": "query ($client: String!) { client(clientId: $client) { clientId } }",
    "explainAccess": "query ($refusal: UUID!) { whyRefused(decision: $refusal) { action } }",
    "explainOwnRefusal": "query ($own: UUID!) { whyRefused(decision: $own) { action } }",
    "reviewAccess": "query ($client: String!) { whatCan(clientId: $client) { action } }",
    "simulatePolicy": "query ($files: [PolicyFileInput!]!) { policyComparison(files: $files) { relation } }",
    "introspect": "query { __schema { queryType { name } } }",
    "viewPerson": "query { people { nodes { id } } }",
    "viewPolicy": "query { policySet { sha256 } }",
    "viewPolicyVersion": "query { policyVersions { nodes { number } } }",
    "viewJob": "query { jobsUnderway { id } }",
}


def mutations(things: Mapping[str, Any], number: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """By act: the mutation, and its input."""
    north, window = things["north"], {"availableFrom": text(WINDOW.start), "availableUntil": text(WINDOW.end)}
    report = {"resource": "mask.n95", "asOf": text(NOW - timedelta(minutes=number)), "staffed": 100, "occupied": 10}
    needed = {"neededBy": text(WINDOW.start), "neededUntil": text(WINDOW.end), "urgency": 3, "reason": "SURGE"}
    key = Credential.generate("http://127.0.0.1", f"client-{number}", EVERYTHING).public_jwks
    return {
        "registerInstitution": ("registerInstitution", {
            "code": f"new-{number}", "name": "New", "kind": "HOSPITAL", "region": REGION,
        }),
        "updateInstitution": ("setInstitutionStatus", {"institution": north, "status": "ACTIVE"}),
        "defineResource": ("defineResource", {
            "code": f"line.{number}", "kind": "PLACE", "name": "Line", "unit": "{each}",
        }),
        "reportCapacity": ("reportCapacity", {"institution": north, "reports": [report]}),
        "publishOffer": ("publishOffer", {"institution": north, "resource": "bed.adult", "quantity": 1, **window}),
        "withdrawOffer": ("withdrawOffer", {"offer": things["offer"]}),
        "openRequest": ("openRequest", {"institution": north, "resource": "nurse.icu", "quantity": 1, **needed}),
        "cancelRequest": ("cancelRequest", {"request": things["request"]}),
        "confirmTransfer": ("confirmTransfer", {"transfer": things["leaving"]}),
        "declineTransfer": ("declineTransfer", {"transfer": things["doubtful"], "reason": "OWN_NEED_ROSE"}),
        "dispatchTransfer": ("dispatchTransfer", {"transfer": things["leaving"]}),
        "receiveTransfer": ("receiveTransfer", {"transfer": things["coming"]}),
        "returnTransfer": ("returnTransfer", {"transfer": things["coming"]}),
        "answerPlan": ("answerPlan", {"institution": north, "allocation": things["planned"]}),
        "overridePlan": ("overridePlan", {
            "transfer": things["overridden"], "kind": "CANCEL", "code": "NEED_ENDED",
        }),
        "moveUnconfirmed": ("overridePlan", {
            "transfer": things["unconfirmed"], "kind": "MOVE_UNCONFIRMED", "code": "LIFE_AT_STAKE",
        }),
        "reportUnplanned": ("reportUnplannedMove", {
            "institution": north, "giver": north, "receiver": things["south"], "resource": "mask.n95", "units": 5,
        }),
        "declareSurge": ("declareSurge", {"region": "elsewhere", "reason": "DISASTER", "until": text(WINDOW.end)}),
        "endSurge": ("endSurge", {"surge": things["surge"]}),
        "giveConsent": ("giveConsent", {"institution": north, "resource": "mask.n95", "until": text(WINDOW.end)}),
        "withdrawConsent": ("withdrawConsent", {"consent": things["consent"]}),
        "proposeAgreement": ("proposeAgreement", {
            "institution": north, "receiver": things["south"], "until": text(WINDOW.end),
        }),
        "acceptAgreement": ("acceptAgreement", {"agreement": things["shown"]}),
        "endAgreement": ("endAgreement", {"agreement": things["agreement"]}),
        "eraseSubject": ("eraseSubject", {"subject": things["person"], "ground": "OBJECTION"}),
        "registerClient": ("registerClient", {
            "name": "New", "clientId": f"client-{number}", "roles": ["REGULATOR"], "scopes": EVERYTHING, "jwks": key,
        }),
        "registerPerson": ("registerPerson", {"login": f"person-{number}", "name": "New", "roles": ["REGULATOR"]}),
        "disablePerson": ("disablePerson", {"person": things["invited person"]}),
        "erasePerson": ("erasePerson", {"person": things["invited person"], "ground": "OBJECTION"}),
        "disableClient": ("disableClient", {"clientId": things["spare client"]}),
        "trustDocuments": ("trustDocuments", {"clientId": things["spare client"], "documents": []}),
        "chooseFairness": ("chooseFairness", {"region": REGION, "resource": "bed.adult"}),
        "draftPolicy": ("draftPolicies", {
            "files": [{"name": "draft.cedar", "text": f"// draft {number}"}], "why": "A draft that stays one.",
        }),
        "approvePolicy": ("approvePolicies", {"version": 1_000_000, "sha256": "0" * 64}),
        "withdrawPolicy": ("withdrawPolicyVersion", {"version": 1_000_000}),
        "rollBackPolicy": ("rollBackPolicies", {"to": 1_000_000, "why": "There is no such version."}),
        "breakGlass": ("breakGlass", {
            "version": 1_000_000, "reason": "WRONG_RULE", "remark": "There is no such version.",
            "until": text(NOW + timedelta(hours=3)),
        }),
        "endBreakGlass": ("endBreakGlass", {"glass": str(UUID(int=1))}),
        "planHorizon": ("planHorizon", {"region": f"nowhere-{number}", "resources": ["bed.adult"]}),
        "startJob": ("startForecast", {"resource": "bed.adult"}),
        "requeueJob": ("requeueJob", {"job": "1000000"}),
    }  # fmt: skip


def table() -> dict[str, dict[Role, str]]:
    """By act and role: what the page says, such as `all` or `own`; empty where it is refused."""
    rows = POLICIES.read_text().split("<!-- table: begin -->\n")[1].split("<!-- table: end -->")[0].splitlines()
    head, _, *body = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {cells[0].strip("`"): {role: cells[head.index(role)] for role in Role} for cells in body}


def text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with platform(open_folder(tmp_path_factory), "warning") as stage:
        sites = [Site(name, name.title(), REGION, 46.0, 7.0 + i / 10) for i, name in enumerate(("north", "south"))]
        north, south = (await stage.players(sites)).values()
        east = await stage.player(Site("east", "East", "elsewhere", None, None))
        clients = {role: await client_of(stage, role, north.institution) for role in Role}
        spare = await client_of(stage, Role.REGULATOR, None, "spare")
        things = await things_of(north, south, clients) | await governed_by(stage, north, south, clients)
        things["spare client"] = spare.client_id
        things |= await person_of(stage, north, clients)
        things["invited person"] = await somebody(stage)
        files = [{"name": name, "text": data.decode()} for name, data in shipped_policies().items()]
        world = World(stage, north, south, east, clients, {**things, "files": files})
        await be_refused(world)
        yield world


async def be_refused(world: World) -> None:
    """A refusal of North's, and one of each client."""
    regulator = world.clients[Role.REGULATOR]
    for client in (world.north.client, *world.clients.values()):
        forbidden = "publishOffer" if client is world.clients[Role.ADMIN] else "registerInstitution"
        assert not await world.may(client, forbidden)
        found = await regulator.graphql(REFUSED_LAST, {"actor": client.client_id})
        world.own_refusals[client.client_id] = found["decisions"]["nodes"][0]["id"]
    world.things["refusal"] = world.own_refusals[world.north.client.client_id]


async def client_of(stage: Stage, role: Role, institution: UUID | None, name: str = "all") -> ApiClient:
    """A client of `role` whose scopes cover everything, acting for `institution` where the role acts for one."""
    credential = Credential.generate(stage.settings.issuer, f"{name}-{role}", EVERYTHING)
    tied = role in (Role.INSTITUTION, Role.DEVICE)
    asked = {
        "idempotencyKey": credential.client_id, "name": name, "clientId": credential.client_id, "roles": [role.name],
        "scopes": EVERYTHING, "institution": str(institution) if tied else None, "jwks": credential.public_jwks,
    }  # fmt: skip
    await stage.admin.graphql(operations.REGISTER_CLIENT, {"input": asked})
    return await stage._client(credential)


async def somebody(stage: Stage) -> str:
    """A person who was invited, of no institution."""
    asked = {"idempotencyKey": "somebody", "login": "somebody", "name": "Somebody", "roles": ["REGULATOR"]}
    made = await stage.admin.graphql(_mutation("registerPerson", "person { id }"), {"input": asked})
    return str(made["registerPerson"]["person"]["id"])


async def things_of(north: Player, south: Player, clients: Mapping[Role, ApiClient]) -> dict[str, str]:
    """Something of each kind that belongs to North, made by those who may make it."""
    plenty, short = Load(40, 20), Load(10, 14)
    await north.report(NOW, 1, {"bed.adult": plenty, "icu.adult": short, "ventilator": plenty})
    await south.report(NOW, 1, {"bed.adult": short, "icu.adult": plenty, "ventilator": short})
    for giver, receiver, resource in ((north, south, "bed.adult"), (south, north, "icu.adult"),
                                      (north, south, "ventilator")):  # fmt: skip
        await giver.pledge(resource, 6, 0, WINDOW)
        await receiver.ask(resource, 4, WINDOW, staffed=10, reason="SURGE")
        await allocate(clients[Role.ALLOCATOR], resource)
    leaving, doubtful = await held(north, "bed.adult"), await held(north, "ventilator")
    coming = await held(south, "icu.adult")
    await south.steps("confirmTransfer", [coming.id])
    await south.steps("dispatchTransfer", [coming.id])
    await north.ask("nurse.icu", 2, WINDOW, staffed=10, reason="SURGE")
    (request,) = await north._all(operations.OWN_REQUESTS, "requests")
    answered = (await clients[Role.REGULATOR].graphql(ANSWERED, {"transfer": coming.id}))["transfer"]
    registration = await sealed_registration(clients[Role.REGULATOR], north.institution)
    return {
        "north": str(north.institution), "offer": north.pledged["bed.adult"][0], "request": request["id"],
        "leaving": leaving.id, "coming": coming.id, "doubtful": doubtful.id, "registration": registration,
        "client": clients[Role.INSTITUTION].client_id, "answered": answered["requestId"],
        "run": answered["allocationId"],
    }  # fmt: skip


async def governed_by(
    stage: Stage, north: Player, south: Player, clients: Mapping[Role, ApiClient]
) -> dict[str, str]:
    """Holds of North's for what can be said to them, surge mode, and a consent."""
    things = {"south": str(south.institution)}
    names = ("planned", "overridden", "unconfirmed")
    for name in names:
        line = {"code": name, "kind": "PLACE", "name": name, "unit": "{each}"}
        await stage.admin.graphql(_mutation("defineResource"), {"input": {"idempotencyKey": name, **line}})
    just_now = NOW - timedelta(seconds=1)  # what is reported as of one moment is one wish
    await north.report(just_now, 1, dict.fromkeys(names, Load(40, 20)))
    await south.report(just_now, 1, dict.fromkeys(names, Load(10, 14)))
    for name in names:
        await north.pledge(name, 6, 0, WINDOW)
        await south.ask(name, 4, WINDOW, staffed=10, reason="SURGE")
        await allocate(clients[Role.ALLOCATOR], name)
        things[name] = (await held(north, name)).id
    query = "query ($id: UUID!) { transfer(id: $id) { allocationId } }"
    found = await clients[Role.ALLOCATOR].graphql(query, {"id": things["planned"]})
    things["planned"] = found["transfer"]["allocationId"]
    until_then = {"until": text(WINDOW.end)}
    for act, name, who, asked in (
        ("declareSurge", "surge", Role.ALLOCATOR, {"region": "elsewhere", "resource": "mask.n95",
                                                   "reason": "DISASTER"}),
        ("giveConsent", "consent", Role.INSTITUTION, {"resource": "bed.adult"}),
    ):  # fmt: skip
        made = await clients[who].graphql(
            _mutation(act, f"{name} {{ id }}"), {"input": {"idempotencyKey": f"{act} first", **asked, **until_then}}
        )
        things[name] = made[act][name]["id"]
    for name, giver, receiver in (("agreement", north, south), ("shown", south, north)):
        made = await giver.client.graphql(_mutation("proposeAgreement", "agreement { id }"), {"input": {
            "idempotencyKey": "show", "receiver": str(receiver.institution), **until_then,
        }})  # fmt: skip
        things[name] = made["proposeAgreement"]["agreement"]["id"]
    return things


async def person_of(stage: Stage, north: Player, clients: Mapping[Role, ApiClient]) -> dict[str, str]:
    """Somebody of North's, on whose behalf something was done, and a registration on somebody's behalf."""
    asked = {
        "idempotencyKey": "a person", "resource": "icu.adult", "until": text(WINDOW.end),
        "onBehalfOf": {"identifier": "staff-1"},
    }  # fmt: skip
    await clients[Role.INSTITUTION].graphql(_mutation("giveConsent"), {"input": asked})
    found = await clients[Role.REGULATOR].graphql(QUERIES["findSubject"], {"north": str(north.institution)})
    key = Credential.generate("http://127.0.0.1", "for-somebody", EVERYTHING).public_jwks
    made = await stage.admin.graphql(_mutation("registerClient"), {"input": {
        "idempotencyKey": "for somebody", "name": "New", "clientId": "for-somebody", "roles": ["DEVICE"],
        "scopes": EVERYTHING, "institution": str(north.institution), "jwks": key,
        "onBehalfOf": {"identifier": "admin-1", "name": "Somebody"},
    }})  # fmt: skip
    return {"person": found["dataSubject"]["subject"], "acted": made["registerClient"]["decision"]["id"]}


def _mutation(name: str, select: str = "decision { id }") -> str:
    kind = name[0].upper() + name[1:]
    return f"mutation ($input: {kind}Input!) {{ {name}(input: $input) {{ {select} }} }}"


async def sealed_registration(regulator: ApiClient, institution: UUID) -> str:
    """The decision by which the institution's first client was registered, once its bundle can be had."""
    query = """
    query ($institution: UUID!) {
      decisions(institution: $institution, kind: "client.registered") { nodes { id logIndex } }
    }"""
    registrations: list[dict[str, Any]] = []

    async def sealed() -> bool:
        found = await regulator.graphql(query, {"institution": str(institution)})
        registrations[:] = found["decisions"]["nodes"]
        return registrations[-1]["logIndex"] is not None

    await until(sealed)
    return str(registrations[-1]["id"])


async def allocate(planner: ApiClient, resource: str) -> None:
    asked = {"idempotencyKey": f"allocate {resource}", "region": REGION, "resource": resource}
    await planner.graphql(operations.START_ALLOCATION, {"input": asked})

    async def done() -> bool:
        return not (await planner.graphql(operations.UNDERWAY))["jobsUnderway"]

    await until(done)


async def held(giver: Player, resource: str) -> Held:
    (found,) = [t for t in await giver.transfers("HELD") if t.resource == resource]
    return found


async def test_every_act_of_the_table_is_tried_here() -> None:
    tried = {*QUERIES, *mutations(defaultdict(str), 0)}
    assert tried == table().keys() - NOT_OVER_HTTP


async def test_what_the_table_refuses_is_forbidden_and_the_regulator_finds_it(world: World) -> None:
    permitted = [
        (act, role)
        for act, roles in table().items()
        for role, whose in roles.items()
        if act not in NOT_OVER_HTTP and not whose and await world.may(world.clients[role], act)
    ]
    assert permitted == []
    for client in world.clients.values():
        mine = Counter({act: times for (who, act), times in world.refused.items() if who == client.client_id})
        recorded = await world.recorded(client)
        # Whoever may not even read a decision is refused that, before its bundle and its person.
        read_first = Counter(readAccessAudit=recorded["readAccessAudit"] - mine["readAccessAudit"])
        unread = ("readDecisionBundle", "viewSubject") if read_first.total() else ()
        assert recorded - read_first == mine - Counter(unread)
        assert recorded.total() == mine.total()


async def test_an_institution_gets_at_nothing_that_is_only_for_its_owner(world: World) -> None:
    stranger = world.east.client
    only_own = [
        act for act, roles in table().items()
        if act not in NOT_OVER_HTTP and roles[Role.INSTITUTION] not in ("", "all")
    ]  # fmt: skip
    assert [act for act in only_own if await world.may(stranger, act)] == []
    assert (await world.recorded(stranger)).total() == len(only_own)
    # Nor does it see them in lists: of another's requests, or of all, that is of its own.
    with pytest.raises(GraphQLErrors) as refused:
        await stranger.graphql(LIST, {"institution": str(world.north.institution)})
    assert refused.value.codes == ["FORBIDDEN"]
    assert (await stranger.graphql(LIST))["requests"]["nodes"] == []
    assert (await world.north.client.graphql(LIST))["requests"]["nodes"] != []


async def test_what_the_table_permits_is_done(world: World) -> None:
    refused = [
        (act, role)
        for act, roles in table().items()
        for role, whose in roles.items()
        if act not in NOT_OVER_HTTP and whose and not await world.may(world.clients[role], act)
    ]
    assert refused == []


async def test_what_a_regulator_reads_is_on_record_itself(world: World) -> None:
    regulator = world.clients[Role.REGULATOR]
    query = """
    query ($actor: String!, $kind: String!) {
      decisions(actor: $actor, kind: $kind, first: 200) { nodes { id subjectId } }
    }"""

    async def readings(kind: str) -> list[dict[str, str]]:
        found = await regulator.graphql(query, {"actor": regulator.client_id, "kind": kind})
        nodes: list[dict[str, str]] = found["decisions"]["nodes"]
        return nodes

    before = await readings("audit.read")
    after = await readings("audit.read")
    assert len(after) == len(before) + 1  # the reading before, once
    assert await world.may(regulator, "readDecisionBundle")
    bundles = await readings("audit.bundle_read")
    assert world.things["registration"] in {node["subjectId"] for node in bundles}


async def sharewell(*arguments: object) -> tuple[int, str]:
    """Run the command line as an admin would; exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sharewell.cli", *map(str, arguments), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_an_admin_asks_who_can_what_and_why_at_the_command_line(world: World, tmp_path: Path) -> None:
    admin, key = world.stage.credentials["admin"], tmp_path / "admin.json"
    admin.save(key)
    status, told = await sharewell("access", "why", world.things["refusal"], "-c", key)
    assert (status, "no policy permitted it" in told, "with the role admin" in told) == (0, True, True)
    status, told = await sharewell("access", "who-can", "publishOffer", "--owner", world.things["north"], "-c", key)
    assert status == 0
    assert f"client {world.north.client.client_id} (north): pledge-own-units" in told
    status, told = await sharewell("access", "what-can", world.clients[Role.DEVICE].client_id, "-c", key)
    assert (status, told.splitlines()[0]) == (0, "reportCapacity own: report-own-capacity")
    for form in ("csv", "json"):
        status, told = await sharewell("access", "review", tmp_path / f"a.{form}", "--format", form, "-c", key)
        assert status == 0, told
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = json.loads((tmp_path / "a.json").read_text())["access"]
    assert [row["id"] for row in rows] == [row["id"] for row in kept]
    assert {row["holder"] for row in rows} == {"CLIENT", "PERSON"}


async def test_an_admin_tries_a_draft_at_the_command_line(world: World, tmp_path: Path) -> None:
    key, folder, other = tmp_path / "admin.json", tmp_path / "draft", tmp_path / "same"
    world.stage.credentials["admin"].save(key)
    for each in (folder, other):
        each.mkdir()
        for name, data in shipped_policies().items():
            (each / name).write_bytes(data)
    status, told = await sharewell("policy", "compare", folder, "-c", key)
    assert (status, told.startswith("equivalent")) == (0, True)
    (folder / "trial.cedar").write_text(
        '@id("trial") @sentence("No pledges on trial.") forbid (principal, action == Sharewell::Action::"publishOffer",'
        " resource);"
    )
    status, told = await sharewell("policy", "compare", folder, other)
    assert (status, told.startswith("less permissive"), "exhaustive" in told) == (1, True, True)
    status, told = await sharewell("policy", "simulate", folder, "-c", key)
    assert status == 1
    changed = r"north publishOffer: \d+ unchanged, 0 newly allowed, [1-9]\d* newly denied, 0 not replayable"
    assert re.search(changed, told)
    named = "allowed by pledge-own-units then, refused by trial now; decision "
    assert named not in told
    assert re.search(r"and [1-9]\d* that change, which you may not read", told)
    regulator = tmp_path / "regulator.json"
    await world.stage.client("watcher", Role.REGULATOR)
    world.stage.credentials["watcher"].save(regulator)
    status, told = await sharewell("policy", "simulate", folder, "-c", regulator)
    assert (status, named in told, "may not read" in told) == (1, True, False)
    (folder / "trial.cedar").write_text("permit;")
    status, told = await sharewell("policy", "simulate", folder, "-c", key)
    assert (status, "the draft cannot be used: trial.cedar" in told) == (1, True)
