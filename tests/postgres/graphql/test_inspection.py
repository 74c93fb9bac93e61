"""What regulators do with the log: search and count, follow a case, take a period away, make a decision once more."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from tests.postgres.conftest import behind_the_guard
from typer.testing import CliRunner

from sharewell.audit.keys import LogKey
from sharewell.audit.seal import Sequencer
from sharewell.authz import Authorizer, shipped_policies
from sharewell.cli.main import app as command
from sharewell.client import Credential
from sharewell.domain.audit import FORMER_KINDS, parse_entry
from sharewell.domain.clients import ClientDraft
from sharewell.domain.dossier import Dossier, read_dossier
from sharewell.domain.principals import Role
from sharewell.gateway.app import Parts, build_app
from sharewell.gateway.oauth.keys import load_or_create
from sharewell.gateway.periods import period_route
from sharewell.gateway.server import bind, serve
from sharewell.settings import Settings
from sharewell.wiring import build_services, migrations, operator
from sharewell_schema.view import graphql_app

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.graphql.conftest import Api

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
FACETS = """
query ($resource: String, $actor: String, $institution: UUID, $since: DateTime) {
  decisionFacets(resource: $resource, actor: $actor, institution: $institution, since: $since) {
    decisions kinds { value decisions } outcomes { value decisions } resources { value decisions }
    institutions { value decisions } policySets { value decisions } } }
"""
CASE = """
query ($id: UUID!) { case(id: $id) {
  requestIds allocationIds transferIds complete steps { decisionId kind logIndex outcome sentence } } }
"""
FOUND = """
query ($kind: String, $resource: String, $action: String, $policySet: String) {
  decisions(kind: $kind, resource: $resource, action: $action, policySet: $policySet, first: 500) {
    nodes { id kind action policySet } } }
"""


@pytest.fixture
async def seal(sequencer_pool: Pool) -> Any:
    """Put everything on record under a signature."""
    sequencer = Sequencer(sequencer_pool, KEY)

    async def until_all_is_sealed() -> None:
        while (await sequencer.seal()).entries:
            pass

    return until_all_is_sealed


async def run(*arguments: object) -> tuple[int, str]:
    """Exit status and output of a `sharewell` command."""
    result = await asyncio.to_thread(CliRunner().invoke, command, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.output


async def kinds_of(api: Api, **asked: str) -> list[str]:
    return [node["kind"] for node in (await api.ask("regulator", FOUND, **asked))["decisions"]["nodes"]]


async def test_decisions_are_found_by_resource_action_and_policy_set(api: Api) -> None:
    await api.held_transfer()
    await api.done("giver", "reportCapacity", reports=[
        {"resource": name, "asOf": "2026-03-01T11:00:00Z", "staffed": 4, "occupied": 1}
        for name in ("ventilator", "icu.adult")
    ])  # fmt: skip
    assert await kinds_of(api, resource="ventilator") == ["capacity.reported", "resource.defined"]
    assert set(await kinds_of(api, resource="bed.adult")) == {
        "capacity.reported", "offer.published", "request.opened", "plan.adopted", "resource.defined",
    }  # fmt: skip
    assert await kinds_of(api, action="publishOffer") == ["offer.published"]
    in_force = (await api.ask("regulator", "{ policySet { sha256 } }"))["policySet"]["sha256"]
    found = await api.ask("regulator", FOUND, policySet=in_force)
    assert {node["policySet"] for node in found["decisions"]["nodes"]} == {in_force}
    assert await kinds_of(api, policySet="ab" * 32) == []


async def test_counts_by_what_decisions_say_are_those_of_the_decisions_themselves(api: Api) -> None:
    await api.held_transfer()
    await api.do("receiver", "declineTransfer", transfer=await _held(api), reason="OWN_NEED_ROSE")
    counted = (await api.ask("regulator", FACETS))["decisionFacets"]
    listed = (await api.ask("regulator", FOUND))["decisions"]["nodes"]
    # The reading of the list came after the counting, and the counting counts itself.
    assert counted["decisions"] == len(listed) - 1
    by_kind = {row["value"]: row["decisions"] for row in counted["kinds"]}
    for kind, times in by_kind.items():
        assert times == sum(node["kind"] == kind for node in listed) - (kind == "audit.read"), kind
    assert {row["value"]: row["decisions"] for row in counted["outcomes"]}["refused"] == 1
    assert sum(row["decisions"] for row in counted["institutions"]) == counted["decisions"]
    beds = (await api.ask("regulator", FACETS, resource="bed.adult"))["decisionFacets"]
    assert {row["value"] for row in beds["kinds"]} == set(await kinds_of(api, resource="bed.adult"))
    later = (await api.ask("regulator", FACETS, since="2026-03-02T00:00:00Z"))["decisionFacets"]
    assert (later["decisions"], later["kinds"]) == (0, [])


async def test_an_institution_counts_what_is_about_itself_and_nobody_elses(api: Api) -> None:
    await api.held_transfer()
    giver = str(api.callers["giver"].institution)
    own = (await api.ask("giver", FACETS))["decisionFacets"]
    assert [row["value"] for row in own["institutions"]] == [giver]
    answer = await api.send("receiver", FACETS, {"institution": giver})
    assert answer.refusal[0] == "FORBIDDEN"
    refused = await api.ask("regulator", '{ decisions(kind: "access.refused") { nodes { actor action } } }')
    assert refused["decisions"]["nodes"] == [{"actor": "receiver-client", "action": "readAudit"}]
    readings = await api.ask("regulator", '{ decisions(kind: "audit.read", actor: "giver-client") { nodes { id } } }')
    assert len(readings["decisions"]["nodes"]) == 1


async def _held(api: Api) -> str:
    found = await api.ask("giver", "{ transfers { nodes { id } } }")
    id: str = found["transfers"]["nodes"][0]["id"]  # noqa: A001
    return id


async def test_a_case_is_told_in_order_from_the_request_to_the_departure(api: Api, seal: Any) -> None:
    transfer = await api.held_transfer()
    await api.done("giver", "confirmTransfer", transfer=transfer)
    await api.done("giver", "dispatchTransfer", transfer=transfer, units=3)
    await api.done("receiver", "receiveTransfer", transfer=transfer)
    await seal()
    case = (await api.ask("regulator", CASE, id=transfer))["case"]
    assert [step["kind"] for step in case["steps"]] == [
        "offer.published", "request.opened", "plan.adopted", "transfer.confirmed", "transfer.dispatched",
        "deviation.detected", "transfer.received",
    ]  # fmt: skip
    indexes = [step["logIndex"] for step in case["steps"]]
    assert indexes == sorted(indexes)
    assert [step["sentence"] for step in case["steps"]] == [
        "Giver pledged 6 units of bed.adult.",
        "Receiver asked for 4 units of bed.adult, urgency 3 of 5, because of surge.",
        "A plan for bed.adult in us-nj became binding: 4 of 4 units, by floor.",
        "Giver stands by 4 units of bed.adult for Receiver.",
        "3 units of bed.adult left Giver for Receiver; 4 were adopted.",
        "What was done is not what was adopted (dispatched_less): 4 units adopted, 3 moved, from Giver to Receiver.",
        "3 units of bed.adult from Giver arrived at Receiver.",
    ]
    for id in (case["requestIds"][0], case["allocationIds"][0]):  # noqa: A001
        same = (await api.ask("regulator", CASE, id=id))["case"]
        assert [step["decisionId"] for step in same["steps"]] == [step["decisionId"] for step in case["steps"]]


async def test_what_a_declined_hold_became_belongs_to_the_case_of_the_first_request(api: Api) -> None:
    first = await api.held_transfer()
    await api.done("giver", "declineTransfer", transfer=first, reason="OWN_NEED_ROSE")
    api.at += timedelta(minutes=5)
    await api.allocate()
    held = await api.ask("giver", "{ transfers(state: HELD) { nodes { id request { id } } } }")
    (second,) = held["transfers"]["nodes"]
    case = (await api.ask("regulator", CASE, id=second["id"]))["case"]
    assert (len(case["requestIds"]), set(case["transferIds"])) == (2, {first, second["id"]})
    assert [step["kind"] for step in case["steps"]] == [
        "offer.published", "request.opened", "plan.adopted", "transfer.declined", "plan.adopted",
    ]  # fmt: skip


async def test_an_override_is_part_of_the_case_and_so_is_an_access_that_was_refused(api: Api) -> None:
    transfer = await api.held_transfer()
    assert (await api.do("receiver", "confirmTransfer", transfer=transfer)).refusal[0] == "FORBIDDEN"
    await api.done("giver", "overridePlan", transfer=transfer, kind="CANCEL", code="NEED_ENDED")
    steps = (await api.ask("regulator", CASE, id=transfer))["case"]["steps"]
    assert [step["sentence"] for step in steps[-2:]] == [
        "receiver-client was refused confirmTransfer.",
        "giver-client departed from the plan on purpose: cancel by the code need_ended.",
    ]
    own = (await api.ask("receiver", CASE, id=transfer))["case"]["steps"]
    assert [step["kind"] for step in own] == ["request.opened", "access.refused"]
    run = (await api.ask("regulator", CASE, id=transfer))["case"]["allocationIds"][0]
    assert (await api.ask("receiver", CASE, id=run))["case"]["allocationIds"] == []
    assert (await api.send("planner", CASE, {"id": transfer})).refusal[0] == "FORBIDDEN"
    unknown = await api.send("regulator", CASE, {"id": "01900000-0000-7000-8000-000000000000"})
    assert unknown.refusal[0] == "NOT_FOUND"


async def test_the_retention_report_says_what_is_held_and_what_may_go(api: Api, seal: Any) -> None:
    await api.held_transfer()
    await api.do("receiver", "confirmTransfer", transfer=await _held(api))
    await seal()
    query = """{ retention { origin prunableBelow
                 held { year kind decisions keepYears prunable first last } } }"""
    people = build_services(
        Settings(home=api.people.settings.home, keep_years={"": 10, "access": 2}), api.people.database
    )
    api.people.inspection._keep = people.inspection._keep

    def held(found: Any, kind: str) -> Any:
        (row,) = [row for row in found["held"] if (row["kind"], row["year"]) == (kind, 2026)]
        return row

    now = (await api.ask("regulator", query))["retention"]
    assert now["origin"] == "log.example/2026"
    assert held(now, "access.refused")["keepYears"] == 2
    assert (held(now, "offer.published")["prunable"], now["prunableBelow"]) == (0, 0)
    api.at += timedelta(days=3 * 365)
    soon = (await api.ask("regulator", query))["retention"]
    assert held(soon, "access.refused")["prunable"] == held(soon, "access.refused")["decisions"] == 1
    assert (held(soon, "offer.published")["prunable"], soon["prunableBelow"]) == (0, 0)
    api.at += timedelta(days=8 * 365)
    await seal()
    late = (await api.ask("regulator", query))["retention"]
    assert held(late, "offer.published")["prunable"] == 1
    assert late["prunableBelow"] == sum(row["decisions"] for row in late["held"] if row["year"] == 2026)


async def dossier_of(api: Api, id: str, who: str = "regulator") -> Dossier:  # noqa: A002
    found = await api.ask(who, "query ($id: UUID!) { decision(id: $id) { dossier } }", id=id)
    return read_dossier(found["decision"]["dossier"].encode())


async def test_every_ruling_of_a_journey_is_the_same_when_its_policies_are_asked_again(
    api: Api, seal: Any, tmp_path: Path
) -> None:
    await api.people.policies.publish(operator())
    transfer = await api.held_transfer()
    await api.do("receiver", "confirmTransfer", transfer=transfer)
    await api.done("giver", "confirmTransfer", transfer=transfer)
    await seal()
    listed = (await api.ask("regulator", FOUND))["decisions"]["nodes"]
    kinds = {node["kind"]: node["id"] for node in listed}
    assert {"access.refused", "plan.adopted", "offer.published", "policy.published"} <= kinds.keys()
    for kind, id in kinds.items():  # noqa: A001
        if kind == "audit.read":
            continue  # of just now, and not sealed yet
        path = tmp_path / f"{kind}.json"
        path.write_bytes((await dossier_of(api, id)).encode())
        status, said = await run("replay-decision", path, "--key", KEY.vkey)
        assert (status, "ruling: byte-identical" in said, "IDENTICAL" in said) == (0, True, True), said
    status, said = await run("replay-decision", tmp_path / "plan.adopted.json")
    assert "plan: byte-identical when found anew" in said
    assert "NOT CHECKED  that the entry is in the log" in said
    made_from = "query ($id: UUID!) { decision(id: $id) { madeFrom { kind name held } } }"
    found = (await api.ask("regulator", made_from, id=kinds["plan.adopted"]))["decision"]["madeFrom"]
    assert {row["kind"]: row["held"] for row in found} == {
        "policy set": True, "instance": True, "plan": True, "code": False
    }  # fmt: skip


async def test_a_decision_of_old_policies_is_asked_under_them_and_not_under_those_of_today(
    api: Api, seal: Any, tmp_path: Path
) -> None:
    files = shipped_policies()
    old = files | {"offers.cedar": files["offers.cedar"] + b'\n@id("once")\n@sentence("Once.")\n'
                   b'permit (principal, action == Sharewell::Action::"publishOffer", resource);\n'}  # fmt: skip
    await api.institution("clinic")
    await api.report("clinic", staffed=20, occupied=5)
    rulebook = api.people.office.rulebook
    today, rulebook.own = rulebook.own, Authorizer.load(old)
    await api.people.policies.publish(operator())
    made = await api.done("clinic", "publishOffer", **api.pledge_of(1))
    rulebook.own = today
    await api.people.policies.publish(operator())
    await seal()
    dossier = await dossier_of(api, made["decision"]["id"])
    assert "once" in dossier.decision.policies
    path = tmp_path / "old.json"
    path.write_bytes(dossier.encode())
    status, said = await run("replay-decision", path)
    assert (status, "once" in said) == (0, True), said
    # The set of today under the name of the old one is no set of that name.
    swapped = dict(dossier.policies)
    swapped[dossier.decision.policy_set] = swapped[dossier.decision.policy_set].replace("offers", "others")
    path.write_bytes(replace(dossier, policies=swapped).encode())
    status, said = await run("replay-decision", path)
    assert (status, "has another SHA-256" in said) == (2, True), said


async def test_an_entry_that_claims_what_the_policies_did_not_say_is_told(api: Api, seal: Any, tmp_path: Path) -> None:
    await api.people.policies.publish(operator())
    await api.institution("clinic")
    made = (await api.report("clinic", staffed=20, occupied=5))["decision"]["id"]
    await seal()
    dossier = await dossier_of(api, made)
    bundle = dossier.contents
    forged = json.loads(bundle.entry)
    forged["details"]["asked"]["roles"] = []
    entry = json.dumps(forged, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert parse_entry(entry).details["asked"] != dossier.decision.details["asked"]
    path = tmp_path / "forged.json"
    path.write_bytes(replace(dossier, bundle=replace(bundle, entry=entry).encode()).encode())
    status, said = await run("replay-decision", path)
    assert (status, "DIFFERS  ruling" in said) == (1, True), said
    status, said = await run("replay-decision", path, "--key", KEY.vkey)
    assert (status, "NOT VERIFIED" in said) == (1, True), said


@pytest.fixture
async def credential(api: Api, tmp_path: Path) -> AsyncIterator[Mapping[str, Path]]:
    """A gateway on a real port; the credential files of a regulator and of an institution."""
    taken, stop, ready = bind("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    address, people, files = f"http://127.0.0.1:{taken.getsockname()[1]}", api.people, {}
    parts = Parts(
        issuer=address, keys=load_or_create(tmp_path / "keys.json", at=datetime.now(UTC)), database=people.database,
        clients=people.clients, people=people.people, grants=people.grants, access=people.access,
        migrations=migrations(), registry=CollectorRegistry(),
    )  # fmt: skip
    await api.institution("clinic")
    for name, role, institution in (
        ("regulator", Role.REGULATOR, None), ("clinic", Role.INSTITUTION, api.callers["clinic"].institution)
    ):  # fmt: skip
        made = Credential.generate(address, f"{name}-bot", ["system/*.cruds"])
        draft = ClientDraft(
            name=name, client_id=made.client_id, roles=frozenset({role}), scopes=made.scopes, jwks=made.public_jwks,
            institution=institution,
        )  # fmt: skip
        await people.clients.register(operator(), draft)
        files[name] = tmp_path / f"{name}.json"
        made.save(files[name])
    app = build_app(parts, graphql_app(people), more_routes=lambda check: [period_route(check, people.inspection)])
    serving = asyncio.create_task(serve(app, taken, stop, ready=ready))
    await ready.wait()
    yield files
    stop.set()
    await serving


async def test_a_period_is_taken_away_verified_and_shown_in_the_words_of_others(
    api: Api, credential: Mapping[str, Path], seal: Any, tmp_path: Path
) -> None:
    await api.people.policies.publish(operator())
    await api.held_transfer()
    api.at += timedelta(days=1)
    await api.report("giver", staffed=20, occupied=6)
    await seal()
    file = tmp_path / "march-1.zip"
    asked = ("log", "period", "-c", credential["regulator"], "--from", "2026-03-01", "--to", "2026-03-02")
    status, said = await run(*asked, "-o", file)
    assert status == 0, said
    status, said = await run("verify", file, "--key", KEY.vkey, "--json")
    assert (status, json.loads(said)["verified"], json.loads(said)["first"]) == (0, True, 0)
    status, said = await run("verify", file, "--key", KEY.vkey)
    assert (status, "VERIFIED" in said, "1 of the 1 policy sets" in said) == (0, True, True), said
    unpacked = zipfile.ZipFile(io.BytesIO(file.read_bytes()))
    unpacked.extractall(tmp_path / "folder")
    assert (await run("verify", tmp_path / "folder", "--key", KEY.vkey))[0] == 0
    entries = [parse_entry(line) for line in unpacked.read("entries.jsonl").splitlines()]
    assert {entry.at.day for entry in entries} == {1}
    reading = await api.ask("regulator", '{ decisions(kind: "audit.period_read") { nodes { actor } } }')
    assert reading["decisions"]["nodes"] == [{"actor": "regulator-bot"}]
    for words, name in (("fhir", "resourceType"), ("cloudevents", "specversion"), ("ocsf", "class_uid")):
        lines = tmp_path / words
        assert (await run(*asked, "--view", words, "-o", lines))[0] == 0
        shown = [json.loads(line) for line in lines.read_bytes().splitlines()]
        assert len(shown) == len(entries)
        assert all(name in each for each in shown)
    made = tmp_path / "dossier.json"
    asked_for = ("log", "dossier", entries[-1].id, "-c", credential["regulator"], "-o", made)
    assert (await run(*asked_for))[0] == 0
    status, said = await run("replay-decision", made, "--key", KEY.vkey)
    assert (status, "IDENTICAL" in said) == (0, True), said
    query = "query ($id: UUID!) { decision(id: $id) { shownAs(words: FHIR) } }"
    one = await api.ask("regulator", query, id=str(entries[0].id))
    assert one["decision"]["shownAs"]["id"] == str(entries[0].id)


@pytest.mark.parametrize(
    ("who", "period", "complaint"),
    [
        ("clinic", ("2026-03-01", "2026-03-02"), "refused"),
        ("regulator", ("2026-03-02", "2026-03-01"), "begin before it ends"),
        ("regulator", ("2020-03-01", "2020-03-02"), "nothing that is sealed"),
        ("regulator", ("yesterday", "2026-03-01"), "is no day or time"),
    ],
)
async def test_a_period_that_cannot_be_had_is_explained(
    api: Api, credential: Mapping[str, Path], seal: Any, tmp_path: Path, who: str, period: tuple[str, str],
    complaint: str,
) -> None:  # fmt: skip
    await seal()
    asked = ("log", "period", "-c", credential[who], "--from", period[0], "--to", period[1])
    status, said = await run(*asked, "-o", tmp_path / "file")
    assert (status != 0, complaint in " ".join(said.split())) == (True, True), said
    assert not (tmp_path / "file").exists()


async def test_a_changed_log_gives_no_period(
    api: Api, credential: Mapping[str, Path], seal: Any, admin_dsn: str, tmp_path: Path
) -> None:
    await seal()
    change = "update audit.entry set body = overlay(body placing 'X' from 12) where staged_id = 3"
    await behind_the_guard(admin_dsn, "entry", change)
    asked = ("log", "period", "-c", credential["regulator"], "--from", "2026-03-01", "--to", "2026-03-02")
    result = await asyncio.to_thread(CliRunner().invoke, command, [*map(str, asked), "-o", str(tmp_path / "file")])
    assert result.exit_code != 0
    assert not (tmp_path / "file").exists()


async def test_a_kind_that_no_decision_is_of_is_told_with_those_near_and_one_of_an_earlier_release_is_searched(
    api: Api,
) -> None:
    for query in ("decisions(kind: $kind) { nodes { id } }", "decisionFacets(kind: $kind) { decisions }"):
        asked = f"query ($kind: String!) {{ {query} }}"
        wrong = (await api.send("regulator", asked, {"kind": "offer.publised"})).error
        assert (wrong["extensions"]["code"], wrong["extensions"]["field"]) == ("INVALID", "kind")
        assert "did you mean offer.published" in wrong["message"]
        assert "such as offer.published" in (await api.send("regulator", asked, {"kind": "x"})).error["message"]
        for former in sorted(FORMER_KINDS):
            assert "errors" not in (await api.send("regulator", asked, {"kind": former})).body
