"""A change of the policies through the API: drafted, simulated, approved by a second person, in force at its time in
every process, rolled back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from joserfc.jwk import ECKey
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from tests.postgres.graphql.conftest import text
from tests.postgres.graphql.policies.conftest import (
    CLOSED,
    EXTRA,
    VERSION,
    approved,
    drafted,
    file,
    in_force,
    may_report,
    simulated,
)

from sharewell.authz import SCHEMA, Authorizer, shipped_policies
from sharewell.domain.errors import Unavailable
from sharewell.gateway.health import Health
from sharewell.wiring import Services, migrations, operator

if TYPE_CHECKING:
    from tests.postgres.conftest import Connection
    from tests.postgres.graphql.conftest import Api

async def test_a_change_goes_from_draft_to_effective_to_superseded_and_every_step_is_on_record(office: Api) -> None:
    version = await drafted(office)
    assert (version["number"], version["state"], version["base"], version["author"]) == (2, "VALIDATED", 1, "author")
    assert version["findings"] == []
    assert not await may_report(office.people, office)
    await simulated(office, version)
    later = office.at + timedelta(hours=1)
    assert (await approved(office, version, effectiveFrom=text(later)))["state"] == "APPROVED"
    assert not await may_report(office.people, office)
    office.at = later
    assert await may_report(office.people, office)
    assert await office.people.policies.catch_up(operator()) == 1
    found = await office.ask("regulator", """{
      policyVersions { nodes { number state steps { state client } } }
      decisions(subjectKind: "policy", first: 50) { nodes { kind actor } }
    }""")  # fmt: skip
    two, one = found["policyVersions"]["nodes"]
    assert (one["state"], [step["state"] for step in one["steps"]]) == ("SUPERSEDED", ["EFFECTIVE", "SUPERSEDED"])
    assert [(step["state"], step["client"]) for step in two["steps"]] == [
        ("VALIDATED", "author"), ("SIMULATED", "author"), ("APPROVED", "second"), ("EFFECTIVE", "operator"),
    ]  # fmt: skip
    kinds = {node["kind"] for node in found["decisions"]["nodes"]}
    assert {"policy.drafted", "policy.version_simulated", "policy.approved", "policy.published"} <= kinds


async def test_a_simulation_says_what_would_come_out_otherwise_and_is_kept_with_the_version(office: Api) -> None:
    north = await office.institution("north")
    line = {"resource": "bed.adult", "asOf": text(office.at), "staffed": 3, "occupied": 1}
    assert (await office.do("planner", "reportCapacity", institution=north, reports=[line])).refusal[0] == "FORBIDDEN"
    version = await drafted(office)
    said = await simulated(office, version)
    assert said["total"]["newly_allowed"] == 1
    assert said["total"]["newly_denied"] == 0
    (changed,) = said["changed"]
    assert (changed["action"], changed["policies"]) == ("reportCapacity", ["planners-report-capacity"])
    found = await office.ask(
        "regulator", "query ($id: UUID!) { decision(id: $id) { outcome actor } }", id=changed["id"]
    )
    assert found["decision"] == {"outcome": "REFUSED", "actor": "planner"}
    kept = await office.ask("admin", "query ($number: Int!) { policyVersion(number: $number) { state simulation } }",
                            number=version["number"])  # fmt: skip
    assert kept["policyVersion"] == {"state": "SIMULATED", "simulation": said}


async def test_what_is_kept_of_a_simulation_names_decisions_to_whoever_may_read_them(office: Api) -> None:
    await office.institution("north")
    await office.report("north", staffed=20, occupied=5)
    version = await drafted(office, CLOSED)
    told = await simulated(office, version)
    assert (told["changed"], told["withheld"], told["total"]["newly_denied"]) == ([], 1, 1)
    asked = "query ($number: Int!) { policyVersion(number: $number) { simulation } }"
    listed = "{ policyVersions(first: 5) { nodes { simulation } } }"
    for who, actions in (("regulator", ["reportCapacity"]), ("admin", [])):
        found = (await office.ask(who, asked, number=version["number"]))["policyVersion"]["simulation"]
        assert [each["action"] for each in found["changed"]] == actions
        assert found["withheld"] == 1 - len(actions)
        assert [each["newly_denied"] for each in found["by"] if each["action"] == "reportCapacity"] == [1]
        page = (await office.ask(who, listed))["policyVersions"]["nodes"]
        assert [node["simulation"] for node in page] == [found, None]


async def test_a_simulation_that_is_wished_for_again_is_not_made_again_and_gets_the_first_answer(office: Api) -> None:
    version = await drafted(office)
    asked = {"version": version["number"], "since": text(office.at - timedelta(days=7)), "idempotencyKey": "same"}
    answer = "version { state simulation changedById } decision { id }"
    first = await office.done("author", "simulatePolicies", answer, **asked)
    assert await office.done("author", "simulatePolicies", answer, **asked) == first
    await approved(office, version)
    assert await office.done("author", "simulatePolicies", answer, **asked) == first
    found = await office.ask("regulator", """{
      tried: decisions(kind: "policy.simulated") { nodes { id } }
      kept: decisions(kind: "policy.version_simulated") { nodes { id } } }""")  # fmt: skip
    assert [len(found[name]["nodes"]) for name in ("tried", "kept")] == [1, 1]
    other = await office.do("author", "simulatePolicies", **(asked | {"since": text(office.at - timedelta(days=1))}))
    assert other.refusal == ("CONFLICT", "IdempotencyConflict", "input.idempotencyKey")


async def test_decisions_pin_the_hash_of_the_policies_that_were_in_force_then(office: Api) -> None:
    before = await office.done("admin", "defineResource", code="a.line", kind="PLACE", name="A", unit="1")
    await in_force(office)
    after = await office.done("admin", "defineResource", code="b.line", kind="PLACE", name="B", unit="1")
    said = {}
    for name, made in (("before", before), ("after", after)):
        found = await office.ask(
            "regulator", "query ($id: UUID!) { decision(id: $id) { policySet } }", id=made["decision"]["id"]
        )
        said[name] = found["decision"]["policySet"]
    own, extended = shipped_policies(), shipped_policies() | {"extra.cedar": EXTRA.encode()}
    assert said == {"before": Authorizer.load(own).policy_set, "after": Authorizer.load(extended).policy_set}


async def test_the_author_cannot_approve_and_the_refusal_is_cedars(office: Api) -> None:
    version = await drafted(office)
    await simulated(office, version)
    refused = await office.do("author", "approvePolicies", version=version["number"], sha256=version["sha256"])
    assert refused.refusal[0] == "FORBIDDEN"
    assert "Whoever wrote a version of the policies does not approve it" in refused.error["message"]


async def test_the_author_cannot_approve_where_cedar_has_lost_the_rule(office: Api) -> None:
    files = shipped_policies()
    lost = files["policies.cedar"].replace(b'action == Sharewell::Action::"approvePolicy"',
                                           b'action == Sharewell::Action::"endBreakGlass"')  # fmt: skip
    office.people.office.rulebook.own = Authorizer.load(files | {"policies.cedar": lost})
    version = await drafted(office)
    await simulated(office, version)
    refused = await office.do("author", "approvePolicies", version=version["number"], sha256=version["sha256"])
    assert refused.refusal[0] == "CONFLICT"


async def test_the_database_refuses_an_author_as_approver_whatever_the_program_says(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sharewell.domain.policy_versions import PolicyVersion, VersionState  # noqa: PLC0415

    version = await drafted(office)
    await simulated(office, version)

    def gullible(self: PolicyVersion, **said: Any) -> PolicyVersion:
        return replace(self, state=VersionState.APPROVED, approved_by=said["by"], approved_person=said["person"],
                       approved_at=said["at"], effective_from=said["effective_from"],
                       replaces=said["replaces"])  # fmt: skip

    monkeypatch.setattr(PolicyVersion, "approved", gullible)
    monkeypatch.setattr("sharewell.services.policy_versions.PolicyVersionService._target", _nobodys)
    asked = {"policy_set": version["sha256"], "effective_from": None}
    with pytest.raises(asyncpg.CheckViolationError, match="nobody_approves_their_own"):
        await office.people.policy_versions.approve(office.callers["author"], version["number"], **asked)


async def _nobodys(self: object, number: int) -> Any:
    from sharewell.domain.policy import Target  # noqa: PLC0415

    return Target(kind="policy", id=str(number))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("state = 'effective'", "cannot go from simulated to effective"),
        ("state = 'superseded'", "cannot go from simulated to superseded"),
        ("author = 'second'", "cannot go from"), ("base = null", "cannot go from"),
        ("findings = '[1]'", "only its author edits"),
        ("state = 'approved', approved_by = 'admin', approved_at = now(), effective_from = now()", "whoever the deci"),
    ],
)  # fmt: skip
async def test_the_table_goes_forward_only_whoever_writes_to_it(
    office: Api, owner: Connection, change: str, told: str
) -> None:
    await simulated(office, await drafted(office))
    with pytest.raises(asyncpg.PostgresError, match=told):
        await owner.execute(f"update sharewell.policy_version set {change} where number = 2")


async def test_no_row_begins_as_anything_but_the_draft_of_whom_the_decision_names(
    office: Api, owner: Connection
) -> None:
    await drafted(office)
    copied = """insert into sharewell.policy_version
      select (jsonb_populate_record(v, $1::text::jsonb)).* from sharewell.policy_version v where number = 2"""
    for said in ('{"number": 3, "author": "second"}', '{"number": 3, "state": "simulated"}',
                 '{"number": 3, "origin": "shipped", "state": "effective"}'):  # fmt: skip
        with pytest.raises(asyncpg.PostgresError, match="begins as the draft"):
            await owner.execute(copied, said)


async def test_one_person_with_two_clients_is_not_two_persons(office: Api) -> None:
    version = await drafted(office, onBehalfOf={"identifier": "staff-1"})
    await simulated(office, version)
    asked = {"version": version["number"], "sha256": version["sha256"]}
    refused = await office.do("second", "approvePolicies", onBehalfOf={"identifier": "staff-1"}, **asked)
    assert refused.refusal[0] == "CONFLICT"
    done = await office.done("second", "approvePolicies", VERSION, onBehalfOf={"identifier": "staff-2"}, **asked)
    assert done["version"]["state"] == "APPROVED"


async def test_nobody_begins_a_line_as_the_operator_does_by_taking_that_name(office: Api) -> None:
    key = ECKey.generate_key("P-384", {"kid": "operator"}).as_dict(private=False)
    asked = {"name": "operator", "roles": ["ADMIN"], "scopes": ["system/*.cruds"], "jwks": {"keys": [key]}}
    refused = await office.do("author", "registerClient", clientId="operator", **asked)
    assert refused.refusal[:2] == ("INVALID", "Invalid")
    found = await office.send("admin", '{ client(clientId: "operator") { clientId } }')
    assert found.refusal[0] == "NOT_FOUND"


async def test_a_draft_with_faults_goes_no_further(office: Api) -> None:
    version = await drafted(office, '@id("all") @sentence("Everything to all.") permit (principal, action, resource);')
    assert version["state"] == "DRAFT"
    assert {"code": "unconditional_permit", "weight": "FAULT", "policy": "all"} in version["findings"]
    tried = await office.do("author", "simulatePolicies", version=version["number"], since=text(office.at))
    assert (tried.refusal[0], "faults" in tried.error["message"]) == ("CONFLICT", True)
    refused = await office.do("second", "approvePolicies", version=version["number"], sha256=version["sha256"])
    assert refused.refusal[0] == "CONFLICT"


async def test_an_edit_undoes_the_simulation_and_only_the_author_edits(office: Api) -> None:
    version = await drafted(office)
    await simulated(office, version)
    changed = {"version": version["number"], "files": [file("extra.cedar", EXTRA.replace("has.", "has got."))]}
    assert (await office.do("second", "editPolicies", **changed)).refusal[0] == "CONFLICT"
    edited = (await office.done("author", "editPolicies", VERSION, **changed))["version"]
    assert (edited["state"], edited["sha256"] != version["sha256"]) == ("VALIDATED", True)
    asked = {"version": version["number"], "sha256": edited["sha256"]}
    assert (await office.do("second", "approvePolicies", **asked)).refusal[0] == "CONFLICT"
    await simulated(office, edited)
    stale = await office.do("second", "approvePolicies", version=version["number"], sha256=version["sha256"])
    assert stale.refusal == ("CONFLICT", "Conflict", "input.sha256")
    assert (await approved(office, edited))["state"] == "APPROVED"


async def test_a_wish_that_is_sent_again_drafts_nothing_twice_and_gets_the_same_answer(office: Api) -> None:
    first = await drafted(office, idempotencyKey="once")
    assert await drafted(office, idempotencyKey="once") == first
    listed = await office.ask("admin", "{ policyVersions { nodes { number } } }")
    assert [node["number"] for node in listed["policyVersions"]["nodes"]] == [2, 1]


async def test_versions_are_read_in_pages_newest_first_and_by_state(office: Api) -> None:
    for name in ("one", "two", "three"):
        await drafted(office, EXTRA.replace("planners", name))
    query = """query ($after: String, $state: VersionState) { policyVersions(first: 2, after: $after, state: $state) {
      nodes { number } pageInfo { hasNextPage endCursor } } }"""
    page = (await office.ask("admin", query))["policyVersions"]
    assert ([node["number"] for node in page["nodes"]], page["pageInfo"]["hasNextPage"]) == ([4, 3], True)
    rest = (await office.ask("admin", query, after=page["pageInfo"]["endCursor"]))["policyVersions"]
    assert ([node["number"] for node in rest["nodes"]], rest["pageInfo"]["hasNextPage"]) == ([2, 1], False)
    assert len((await office.ask("admin", query, state="EFFECTIVE"))["policyVersions"]["nodes"]) == 1
    assert (await office.send("admin", query, {"after": "eA"})).refusal == ("INVALID", "Invalid", "after")


async def test_of_two_changes_of_one_base_the_second_is_refused_also_in_a_race(office: Api) -> None:
    versions = [await drafted(office, EXTRA.replace("planners", name)) for name in ("first", "second", "third")]
    for version in versions:
        await simulated(office, version)
    answers = await asyncio.gather(*(
        office.do("second", "approvePolicies", version=version["number"], sha256=version["sha256"])
        for version in versions
    ))  # fmt: skip
    told = sorted(answer.body.get("errors", [{}])[0].get("extensions", {}).get("code", "done") for answer in answers)
    assert told == ["CONFLICT", "CONFLICT", "done"]


async def test_two_replicas_and_a_worker_take_a_version_into_force_at_its_time_and_one_records_it(
    office: Api, replica: Services
) -> None:
    version = await drafted(office)
    await simulated(office, version)
    later = office.at + timedelta(minutes=10)
    await approved(office, version, effectiveFrom=text(later))
    processes = (office.people, office.workers, replica)
    for process in processes:
        assert await process.policies.catch_up(operator()) == 0
    office.at = later - timedelta(microseconds=1)
    assert [await may_report(process, office) for process in processes] == [False, False, False]
    office.at = later
    # At the very moment, before anybody has looked again.
    assert [await may_report(process, office) for process in processes] == [True, True, True]
    recorded = await asyncio.gather(*(process.policies.catch_up(operator()) for process in processes))
    assert sum(recorded) == 1
    found = await office.ask("regulator", '{ decisions(kind: "policy.published") { nodes { subjectId } } }')
    assert len(found["decisions"]["nodes"]) == 2


async def test_a_version_is_not_brought_into_force_silently_where_it_cannot_be_loaded(
    office: Api, replica: Services
) -> None:
    version = await drafted(office)
    await simulated(office, version)
    later = office.at + timedelta(minutes=10)
    await approved(office, version, effectiveFrom=text(later))
    # A release that knows no such act: as if the schema of another one.
    files = shipped_policies()
    old = {name: data for name, data in files.items() if name != "capacity.cedar"}
    old[SCHEMA] = files[SCHEMA].replace(b"action reportCapacity in [write]", b"action tellCapacity in [write]")
    replica.office.rulebook.own = Authorizer.load(old)
    await replica.policies.refresh()
    assert replica.policy_fault() is None
    office.at = later
    assert "version 2 of the policies is in force and cannot be loaded by this release" in str(replica.policy_fault())
    health = Health(replica.database, migrations(), CollectorRegistry(), replica.policy_fault)
    ready = await health.ready(Request({"type": "http"}))
    assert (ready.status_code, b"version 2 of the policies" in ready.body) == (503, True)
    with pytest.raises(Unavailable, match="cannot be loaded"):
        await replica.policies.catch_up(operator())
    with pytest.raises(Unavailable, match="version 2"):
        await replica.policies.publish(operator())
    assert office.people.policy_fault() is None
    assert await office.people.policies.catch_up(operator()) == 1


async def test_a_process_that_loses_sight_of_the_schedule_judges_nothing(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.people.office.rulebook.follow()
    assert await may_report(office.people, office) is False
    monkeypatch.setattr("sharewell.services.rulebook.monotonic", lambda: 1e12)
    with pytest.raises(Unavailable, match="could not look up"):
        await may_report(office.people, office)


async def test_rolling_back_is_a_new_version_that_a_second_person_approves_without_a_simulation(office: Api) -> None:
    await in_force(office)
    assert await may_report(office.people, office)
    back = (await office.done("author", "rollBackPolicies", VERSION, to=1, why="It let too much through."))["version"]
    assert (back["number"], back["origin"], back["state"], back["base"], back["returnsTo"]) == (
        3, "ROLLED_BACK", "VALIDATED", 2, 1
    )  # fmt: skip
    asked = {"version": 3, "sha256": back["sha256"]}
    assert (await office.do("author", "approvePolicies", **asked)).refusal[0] == "FORBIDDEN"
    await approved(office, back)
    assert not await may_report(office.people, office)
    await office.people.policies.catch_up(operator())
    assert (await office.do("author", "rollBackPolicies", to=3, why="Again.")).refusal[0] == "CONFLICT"


async def test_a_version_is_withdrawn_before_its_time_and_not_after(office: Api) -> None:
    version = await drafted(office)
    await simulated(office, version)
    later = office.at + timedelta(hours=1)
    await approved(office, version, effectiveFrom=text(later))
    await office.done("author", "withdrawPolicyVersion", version=version["number"])
    office.at = later
    assert not await may_report(office.people, office)
    assert (await office.do("author", "withdrawPolicyVersion", version=1)).refusal[0] == "CONFLICT"
    assert (await office.do("author", "withdrawPolicyVersion", version=77)).refusal[0] == "NOT_FOUND"


async def test_what_changes_is_told_by_policy_and_by_file(office: Api) -> None:
    offers = shipped_policies()["offers.cedar"].decode()
    changed = offers.replace("An institution publishes and withdraws offers of its own, and of nobody else.",
                             "An institution publishes and withdraws its own offers only.")  # fmt: skip
    assert changed != offers
    version = await drafted(office, files=[file("offers.cedar", changed), file("extra.cedar", EXTRA)])
    found = await office.ask("admin", """query ($number: Int!) { policyVersion(number: $number) {
      why files { name } changes { base policies { policy kind sentence sentenceBefore } files { file diff } } } }""",
      number=version["number"])  # fmt: skip
    told = found["policyVersion"]["changes"]
    assert told["base"] == 1
    assert [(each["policy"], each["kind"]) for each in told["policies"]] == [
        ("planners-report-capacity", "ADDED"), ("pledge-own-units", "CHANGED"),
    ]  # fmt: skip
    assert told["policies"][1]["sentence"] == "An institution publishes and withdraws its own offers only."
    assert '+@sentence("An institution publishes and withdraws its own offers only.")' in told["files"][1]["diff"]
    assert SCHEMA not in {each["name"] for each in found["policyVersion"]["files"]}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"files": [file("sharewell.cedarschema", "x")]}, "INVALID"), ({"files": [file("../x.cedar", "x")]}, "INVALID"),
        ({"files": [file("gone.cedar", None)]}, "INVALID"), ({"files": []}, "INVALID"),
        ({"files": [file("extra.cedar", "x" * 65_537)]}, "INVALID"), ({"base": 77}, "NOT_FOUND"),
        ({"why": " "}, "INVALID"),
        ({"files": [file("extra.cedar", "x"), file("extra.cedar", "y")]}, "INVALID"), ({"base": -1}, "NOT_FOUND"),
    ],
)  # fmt: skip
async def test_what_is_no_change_of_policies_is_refused_with_a_reason(
    office: Api, asked: dict[str, Any], code: str
) -> None:
    usual = {"files": [file("extra.cedar", EXTRA)], "why": "W."}
    refused = await office.do("author", "draftPolicies", **(usual | asked))
    assert refused.refusal[0] == code


@pytest.mark.parametrize("who", ["planner", "regulator", "nobody"])
async def test_only_admins_change_policies_and_only_they_and_regulators_read_drafts(office: Api, who: str) -> None:
    files = [file("extra.cedar", EXTRA)]
    assert (await office.do(who, "draftPolicies", files=files, why="W.")).refusal[0] == "FORBIDDEN"
    assert (await office.do(who, "approvePolicies", version=1, sha256="00")).refusal[0] == "FORBIDDEN"
    soon = text(office.at + timedelta(hours=1))
    asked = {"version": 1, "reason": "WRONG_RULE", "remark": "R.", "until": soon}
    assert (await office.do(who, "breakGlass", **asked)).refusal[0] == "FORBIDDEN"
    listed = await office.send(who, "{ policyVersions { nodes { number } } }")
    assert ("errors" in listed.body) is (who != "regulator")
