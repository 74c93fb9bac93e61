"""A change of the policies through the API: drafted, simulated, approved by a second person, in force at its time in
every process, rolled back; and the glass that is broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from joserfc.jwk import ECKey
from prometheus_client import REGISTRY, CollectorRegistry
from starlette.requests import Request
from structlog.testing import capture_logs
from tests.postgres.graphql.conftest import EVERYTHING, text

from sharewell.authz import SCHEMA, Authorizer, shipped_policies
from sharewell.domain.break_glass import GlassDraft, GlassReason
from sharewell.domain.errors import Conflict, Forbidden, Unavailable
from sharewell.domain.principals import Caller, Role
from sharewell.gateway.health import Health
from sharewell.services.office import Office
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.policy_versions import ALONE, PolicyVersionRepository
from sharewell.store.pools import open_pool
from sharewell.vetting import findings
from sharewell.wiring import Services, build_services, migrations, operator

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.conftest import Connection
    from tests.postgres.graphql.conftest import Api

EXTRA = """
@id("planners-report-capacity")
@sentence("An allocator says for an institution what it has.")
permit (
  principal is Sharewell::Caller in Sharewell::Role::"allocator",
  action == Sharewell::Action::"reportCapacity",
  resource
);
"""
CLOSED = """
@id("no-reports-on-trial")
@sentence("Nobody reports anything while this is tried.")
forbid (principal, action == Sharewell::Action::"reportCapacity", resource);
"""
WORDY = EXTRA.replace("planners-report-capacity", "planners-report-it-all")
NARROW = """
@id("planner-opens-requests")
@sentence("The planner of the night opens requests for any institution.")
permit (
  principal == Sharewell::Caller::"planner",
  action in [Sharewell::Action::"openRequest", Sharewell::Action::"cancelRequest"],
  resource
);
"""
VERSION = """version {
  number state origin author base returnsTo sha256 why approvedBy effectiveFrom effectiveAt
  findings { code weight policy } steps { state client }
}"""
GLASS = "glass { id version reason remark until inForce ending client }"


@pytest.fixture
async def office(api: Api) -> Api:
    """Three admins, and the release's policies on record as version 1."""
    for name in ("author", "second"):
        api.callers[name] = Caller(
            principal=name, roles=frozenset({Role.ADMIN}), scopes=EVERYTHING, request_id="r-1"
        )
    await api.people.policies.publish(operator())
    return api


@pytest.fixture
async def replica(
    office: Api, database_urls: Mapping[DatabaseRole, str], tmp_path: Path
) -> AsyncIterator[Services]:
    """Another gateway over the same database."""
    async with open_pool(database_urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as pool:
        services = build_services(Settings(home=tmp_path, allocate_after=None), Database(pool), Authorizer.load())
        services.office.now = lambda: office.at
        yield services


def file(name: str, text: str | None) -> dict[str, str | None]:
    return {"name": name, "text": text}


async def drafted(api: Api, text: str = EXTRA, who: str = "author", **more: Any) -> dict[str, Any]:
    files = [file("extra.cedar", text)]
    made = await api.done(who, "draftPolicies", VERSION, **({"files": files, "why": "Because."} | more))
    return dict(made["version"])


async def simulated(api: Api, version: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"version": version["number"], "since": text(api.at - timedelta(days=7)),
             "until": text(api.at + timedelta(seconds=1))}  # fmt: skip
    done = await api.done("author", "simulatePolicies", "version { simulation }", **asked)
    return dict(done["version"]["simulation"])


async def approved(api: Api, version: Mapping[str, Any], who: str = "second", **more: Any) -> dict[str, Any]:
    asked = {"version": version["number"], "sha256": version["sha256"], **more}
    return dict((await api.done(who, "approvePolicies", VERSION, **asked))["version"])


async def in_force(api: Api, text: str = EXTRA) -> dict[str, Any]:
    """A version of the office's own that came into force just now."""
    version = await drafted(api, text)
    await simulated(api, version)
    await approved(api, version)
    await api.people.policies.catch_up(operator())
    return version


async def may_report(services: Services, api: Api) -> bool:
    """Whether a planner may do what only the draft permits."""
    from sharewell.domain.policy import Action, Target  # noqa: PLC0415

    return services.office.may(api.callers["planner"], Action.REPORT_CAPACITY, Target(kind="capacity", id="1"))


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


CLIENT = """mutation ($input: RegisterClientInput!) { registerClient(input: $input) { client { clientId } } }"""


async def admin_by(api: Api, who: str, client_id: str) -> None:
    """`who` registers one more admin, who may then call, too."""
    key = ECKey.generate_key("P-384", {"kid": client_id}).as_dict(private=False)
    asked = {
        "idempotencyKey": client_id, "clientId": client_id, "name": client_id, "roles": ["ADMIN"],
        "scopes": ["system/*.cruds"], "jwks": {"keys": [key]},
    }  # fmt: skip
    await api.ask(who, CLIENT, input=asked)
    api.callers[client_id] = replace(api.callers[who], principal=client_id)


@pytest.mark.parametrize(
    ("author", "approver"),
    [
        ("author", "puppet"), ("puppet", "author"), ("author", "grandchild"), ("grandchild", "author"),
        ("puppet", "sibling"), ("grandchild", "sibling"),
    ],
)  # fmt: skip
async def test_nobody_approves_through_an_admin_of_their_own_making(office: Api, author: str, approver: str) -> None:
    await admin_by(office, "author", "puppet")
    await admin_by(office, "author", "sibling")
    await admin_by(office, "puppet", "grandchild")
    version = await drafted(office, who=author)
    asked = {"version": version["number"], "since": text(office.at - timedelta(days=1))}
    await office.done(author, "simulatePolicies", VERSION, **asked)
    refused = await office.do(approver, "approvePolicies", version=version["number"], sha256=version["sha256"])
    assert refused.refusal[:2] == ("CONFLICT", "Conflict")
    done = await approved(office, version)
    assert done["state"] == "APPROVED"


async def test_whoever_invites_a_person_again_could_be_that_person_and_is_no_second_one(office: Api) -> None:
    asked = {"login": "smurfette", "name": "Smurfette", "roles": ["ADMIN"]}
    made = await office.done("second", "registerPerson", "person { id } invitation", **asked)
    person = made["person"]["id"]
    office.callers["person"] = replace(office.callers["second"], principal=f"person/{person}")
    again = await office.done("author", "invitePersonAgain", "person { status } invitation", person=person)
    assert again["person"] == {"status": "INVITED"}
    assert again["invitation"] not in {None, made["invitation"]}
    version = await drafted(office)
    await simulated(office, version)
    refused = await office.do("person", "approvePolicies", version=version["number"], sha256=version["sha256"])
    assert refused.refusal[0] == "CONFLICT"
    await office.done("second", "invitePersonAgain", person=person)  # for good: who has both lines is of both
    refused = await office.do("person", "approvePolicies", version=version["number"], sha256=version["sha256"])
    assert refused.refusal[0] == "CONFLICT"


async def an_app(api: Api, who: str) -> str:
    """`who` registers an app on people's own devices, through which they can do all that they may; its id."""
    asked = {
        "idempotencyKey": f"app of {who}", "clientId": f"app-of-{who}", "name": "Our board", "roles": ["ADMIN"],
        "scopes": ["user/*.cruds"], "redirectUris": ["https://app.example/back"],
    }  # fmt: skip
    await api.ask(who, CLIENT, input=asked)
    return f"app-of-{who}"


async def a_person(api: Api, who: str) -> None:
    """`who` registers a person who is an admin, and who acts as `person of who`, or `... by APP`."""
    asked = {"login": f"smurf.{who}", "name": "Smurf", "roles": ["ADMIN"]}
    made = await api.done(who, "registerPerson", "person { id }", **asked)
    person = replace(api.callers[who], principal=f"person/{made['person']['id']}")
    api.callers[f"person of {who}"] = person
    for app in ("author", "second", "third"):
        api.callers[f"person of {who} by app of {app}"] = replace(person, client_id=f"app-of-{app}")


@pytest.fixture
async def apps(office: Api) -> Api:
    """The same, with an app of each of three admins, and two people who are admins, too."""
    office.callers["third"] = replace(office.callers["second"], principal="third")
    for who in ("author", "second", "third"):
        await an_app(office, who)
    for who in ("author", "second"):
        await a_person(office, who)
    return office


@pytest.mark.parametrize(
    ("author", "approver"),
    [
        ("author", "person of second by app of author"),
        ("person of author", "person of second by app of author"),
        ("person of second by app of author", "author"),
        ("person of author by app of third", "person of second by app of third"),
    ],
)
async def test_nobody_writes_and_approves_through_the_app_of_one_of_the_two(
    apps: Api, author: str, approver: str
) -> None:
    """Who registered the app has the tokens of whoever consented, and could do both with nobody looking on."""
    version = await drafted(apps, who=author)
    asked = {"version": version["number"], "since": text(apps.at - timedelta(days=1))}
    await apps.done(author, "simulatePolicies", VERSION, **asked)
    refused = await apps.do(approver, "approvePolicies", version=version["number"], sha256=version["sha256"])
    assert refused.refusal[0] == "CONFLICT"
    assert "with a client of your own line" in refused.error["message"]
    found = await apps.ask("regulator", '{ decisions(kind: "policy.drafted") { nodes { id } } }')
    drafting, _ = found["decisions"]["nodes"]  # and what the release came with
    entry = await apps.ask("regulator", "query ($id: UUID!) { decision(id: $id) { details } }", **drafting)
    assert entry["decision"]["details"].get("through") == apps.callers[author].app


async def test_people_approve_through_apps_of_their_own_line_and_of_a_third_one(apps: Api) -> None:
    for author, approver in (
        ("author", "person of second by app of second"), ("author", "person of second by app of third"),
        ("person of author by app of author", "person of second by app of second"),
        ("person of author by app of third", "second"),
    ):  # fmt: skip
        version = await drafted(apps, who=author)
        asked = {"version": version["number"], "since": text(apps.at - timedelta(days=1))}
        await apps.done(author, "simulatePolicies", VERSION, **asked)
        later = {"effectiveFrom": text(apps.at + timedelta(hours=1))}
        assert (await approved(apps, version, approver, **later))["state"] == "APPROVED"
        await apps.done(approver, "withdrawPolicyVersion", version=version["number"])


async def test_an_edit_through_the_app_of_the_approver_counts_as_the_draft_does(apps: Api) -> None:
    version = await drafted(apps, who="person of author")
    editor = "person of author by app of second"
    files = [file("extra.cedar", NARROW)]
    edited = await apps.done(editor, "editPolicies", VERSION, version=version["number"], files=files)
    asked = {"version": version["number"], "since": text(apps.at - timedelta(days=1))}
    await apps.done("person of author", "simulatePolicies", VERSION, **asked)
    approval = {"version": version["number"], "sha256": edited["version"]["sha256"]}
    assert (await apps.do("second", "approvePolicies", **approval)).refusal[0] == "CONFLICT"
    assert (await approved(apps, edited["version"], "third"))["state"] == "APPROVED"


async def test_whom_an_app_registers_in_a_persons_name_is_of_the_apps_line_too(apps: Api) -> None:
    await admin_by(apps, "person of second by app of author", "puppet")
    apps.callers["puppet"] = replace(apps.callers["puppet"], client_id="puppet")
    version = await drafted(apps)
    await simulated(apps, version)
    refused = await apps.do("puppet", "approvePolicies", version=version["number"], sha256=version["sha256"])
    assert refused.refusal[0] == "CONFLICT"


async def test_a_person_invited_again_through_an_app_is_of_the_apps_line_too(apps: Api) -> None:
    id = apps.callers["person of second"].principal.removeprefix("person/")  # noqa: A001
    await a_person(apps, "third")
    apps.callers["inviter"] = replace(apps.callers["person of third"], client_id="app-of-author")
    await apps.done("inviter", "invitePersonAgain", person=id)
    version = await drafted(apps)
    await simulated(apps, version)
    asked = {"version": version["number"], "sha256": version["sha256"]}
    assert (await apps.do("person of second", "approvePolicies", **asked)).refusal[0] == "CONFLICT"


async def test_the_database_refuses_an_approval_through_the_authors_app_whatever_the_program_says(
    apps: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sharewell.domain.policy_versions import Lines  # noqa: PLC0415

    version = await drafted(apps)
    await simulated(apps, version)
    monkeypatch.setattr(Lines, "check", lambda _: None)
    approver = apps.callers["person of second by app of author"]
    with pytest.raises(Conflict, match="no line in common"):
        await apps.people.policy_versions.approve(
            approver, version["number"], policy_set=version["sha256"], effective_from=None
        )


async def test_whoever_broke_the_last_glass_does_not_break_the_next_through_an_app_of_their_own(
    apps: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    glass = await broken(apps, 1)
    await apps.done("author", "endBreakGlass", glass=glass.data["breakGlass"]["glass"]["id"])
    puppet = "person of second by app of author"
    assert (await broken(apps, 1, puppet)).refusal[0] == "CONFLICT"
    with monkeypatch.context() as patched:
        patched.setattr("sharewell.services.break_glass._same_line", _never)
        draft = GlassDraft(version=1, reason=GlassReason.CARE_BLOCKED, until=apps.at + timedelta(hours=1), remark="X")
        with pytest.raises(Conflict, match="nor does anybody of their line"):
            await apps.people.break_glass.break_it(apps.callers[puppet], draft)
    assert "data" in (await broken(apps, 1, "person of second by app of second")).body


async def test_an_approval_through_an_app_of_the_breakers_is_no_second_word(apps: Api) -> None:
    waiting = await drafted(apps)
    await simulated(apps, waiting)
    narrow = await drafted(apps, NARROW, "third")
    glass = (await broken(apps, narrow["number"], "third")).data["breakGlass"]["glass"]
    await apps.done("third", "endBreakGlass", glass=glass["id"])
    apps.at += timedelta(hours=1)
    later = {"effectiveFrom": text(apps.at + timedelta(days=80))}
    await approved(apps, waiting, "person of second by app of third", **later)
    assert (await broken(apps, narrow["number"], "third")).refusal[0] == "CONFLICT"


async def test_an_admin_registered_by_another_line_after_the_draft_is_a_second_person(office: Api) -> None:
    version = await drafted(office)
    await simulated(office, version)
    await admin_by(office, "second", "colleague")
    assert (await approved(office, version, "colleague"))["state"] == "APPROVED"


async def test_the_database_refuses_an_approver_of_the_authors_line_whatever_the_program_says(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sharewell.domain.policy_versions import Lines  # noqa: PLC0415

    await admin_by(office, "author", "puppet")
    version = await drafted(office)
    await simulated(office, version)
    monkeypatch.setattr(Lines, "check", lambda _: None)
    asked = {"policy_set": version["sha256"], "effective_from": None}
    with pytest.raises(Conflict, match="no line in common"):
        await office.people.policy_versions.approve(office.callers["puppet"], version["number"], **asked)


async def test_whoever_broke_the_last_glass_does_not_break_the_next_through_an_admin_of_their_own_making(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin_by(office, "author", "puppet")
    glass = await broken(office, 1)
    await office.done("author", "endBreakGlass", glass=glass.data["breakGlass"]["glass"]["id"])
    assert (await broken(office, 1, "puppet")).refusal[0] == "CONFLICT"
    monkeypatch.setattr("sharewell.services.break_glass._same_line", _never)
    draft = GlassDraft(version=1, reason=GlassReason.CARE_BLOCKED, until=office.at + timedelta(hours=1), remark="X")
    with pytest.raises(Conflict, match="nor does anybody of their line"):
        await office.people.break_glass.break_it(office.callers["puppet"], draft)


async def _never(*_: object) -> bool:
    return False


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


# --- in whose place ------------------------------------------------------------------------------------------------


async def coming(api: Api, policies: str, hours: int, **more: Any) -> dict[str, Any]:
    """A version that is approved for some hours ahead."""
    version = await drafted(api, policies, **more)
    await simulated(api, version)
    await approved(api, version, effectiveFrom=text(api.at + timedelta(hours=hours)))
    return version


async def states(api: Api) -> dict[int, str]:
    found = await api.ask("admin", "{ policyVersions { nodes { number state } } }")
    return {node["number"]: node["state"] for node in found["policyVersions"]["nodes"]}


def judges_by(services: Services, policy: str) -> bool:
    return policy in services.office.authz.policies


async def test_no_version_is_approved_whose_place_a_later_one_is_to_take(office: Api) -> None:
    later = await coming(office, EXTRA, 2)
    sooner = await drafted(office, NARROW)
    await simulated(office, sooner)
    asked = {"version": sooner["number"], "sha256": sooner["sha256"],
             "effectiveFrom": text(office.at + timedelta(hours=1))}  # fmt: skip
    refused = await office.do("second", "approvePolicies", **asked)
    assert refused.refusal == ("CONFLICT", "Conflict", "input.version")
    assert "withdraw version 2 first" in refused.error["message"]
    await office.done("second", "withdrawPolicyVersion", version=later["number"])
    assert (await office.done("second", "approvePolicies", VERSION, **asked))["version"]["state"] == "APPROVED"


async def test_a_version_is_not_withdrawn_while_an_approved_one_stands_on_it(office: Api) -> None:
    two = await coming(office, EXTRA, 1)
    three = await coming(office, NARROW, 2, files=[file("narrow.cedar", NARROW)], base=2)
    refused = await office.do("second", "withdrawPolicyVersion", version=two["number"])
    assert (refused.refusal[0], "withdraw version 3 first" in refused.error["message"]) == ("CONFLICT", True)
    for version in (three, two):
        await office.done("second", "withdrawPolicyVersion", version=version["number"])
    office.at += timedelta(hours=3)
    await office.people.policies.catch_up(operator())
    assert await states(office) == {1: "EFFECTIVE", 2: "WITHDRAWN", 3: "WITHDRAWN"}


async def test_versions_that_stand_on_each_other_come_into_force_one_after_the_other(office: Api) -> None:
    await coming(office, EXTRA, 1)
    await coming(office, NARROW, 2, files=[file("narrow.cedar", NARROW)], base=2)
    office.at += timedelta(hours=2)
    assert judges_by(office.people, "planner-opens-requests")  # both at once, where nobody looked in between
    assert await office.people.policies.catch_up(operator()) == 2
    assert await states(office) == {1: "SUPERSEDED", 2: "SUPERSEDED", 3: "EFFECTIVE"}
    assert judges_by(office.people, "planners-report-capacity")


async def test_what_was_approved_over_one_release_does_not_undo_the_next_and_that_is_said(
    office: Api, replica: Services
) -> None:
    await coming(office, EXTRA, 2)
    await coming(office, WORDY, 3, base=2)
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"next.cedar": NARROW.encode()})
    counted = REGISTRY.get_sample_value("sharewell_policies_passed_over_total") or 0
    with capture_logs() as logged:
        assert await replica.policies.publish(operator())
    assert REGISTRY.get_sample_value("sharewell_policies_passed_over_total") == counted + 2
    told = [(line["version"], line["replaces"]) for line in logged if "is passed over" in line["event"]]
    assert told == [(2, 1), (3, 2)]
    assert await states(office) == {1: "SUPERSEDED", 2: "PASSED_OVER", 3: "PASSED_OVER", 4: "EFFECTIVE"}
    office.at += timedelta(hours=4)
    for process in (replica, office.people):
        await process.policies.catch_up(operator())
        assert not await may_report(process, office)
    assert judges_by(replica, "planner-opens-requests")
    found = await office.ask("regulator", """{ decisions(kind: "policy.passed_over") { nodes { subjectId actor } }
      policyVersion(number: 2) { replaces steps { state } } }""")  # fmt: skip
    assert {node["subjectId"] for node in found["decisions"]["nodes"]} == {"2", "3"}
    assert found["policyVersion"]["replaces"] == 1
    assert [step["state"] for step in found["policyVersion"]["steps"]][-2:] == ["APPROVED", "PASSED_OVER"]


async def test_no_process_judges_by_what_is_passed_over_before_that_is_on_record(
    office: Api, owner: Connection
) -> None:
    """As a release of before left it: two versions approved over one, the sooner of them last."""
    await coming(office, EXTRA, 2)
    await owner.execute("""
      alter table sharewell.policy_version disable trigger user;
      update sharewell.policy_version set effective_from = effective_from - interval '90 minutes' where number = 2
    """)
    await coming(office, NARROW, 1, files=[file("narrow.cedar", NARROW)], base=2)
    await owner.execute("""
      update sharewell.policy_version set effective_from = effective_from + interval '90 minutes' where number = 2;
      update sharewell.policy_version set replaces = 1 where number = 3;
      alter table sharewell.policy_version enable always trigger life, enable always trigger keep_step
    """)
    await office.people.policies.refresh()
    office.at += timedelta(hours=3)
    assert judges_by(office.people, "planner-opens-requests")
    assert await office.people.policies.catch_up(operator()) == 2
    assert await states(office) == {1: "SUPERSEDED", 2: "PASSED_OVER", 3: "EFFECTIVE"}


async def test_an_approval_by_the_release_before_which_knows_of_no_places_has_its_place(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its programs may still run, or be started again, over the tables of this one."""
    update = PolicyVersionRepository.update

    async def without(self: Any, version: Any, decision: Any) -> None:
        await update(self, replace(version, replaces=None), decision)

    monkeypatch.setattr(PolicyVersionRepository, "update", without)
    await coming(office, EXTRA, 1)
    found = await office.ask("admin", "{ policyVersion(number: 2) { state replaces } }")
    assert found["policyVersion"] == {"state": "APPROVED", "replaces": 1}
    office.at += timedelta(hours=1)
    await office.people.policies.catch_up(operator())
    assert await may_report(office.people, office)


async def test_the_database_brings_no_version_into_force_in_another_ones_place(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await coming(office, EXTRA, 1)
    monkeypatch.setattr("sharewell.services.policies.PolicyService._replaced", _nothing)
    monkeypatch.setattr("sharewell.domain.policy_versions.PolicyVersion.took_effect", _gullibly)
    office.at += timedelta(hours=1)
    with pytest.raises(Conflict, match="approved to replace"):
        await office.people.policies.catch_up(operator())


async def _nothing(*_: object) -> None:
    """No version is superseded."""


def _gullibly(self: Any, at: Any, **_: object) -> Any:
    from sharewell.domain.policy_versions import VersionState  # noqa: PLC0415

    return replace(self, state=VersionState.EFFECTIVE, effective_at=at)


# --- the glass -----------------------------------------------------------------------------------------------------


async def broken(api: Api, version: int, who: str = "author", hours: float = 2) -> Any:
    asked = {"version": version, "reason": "WRONG_RULE", "remark": "Nurses are locked out.",
             "until": text(api.at + timedelta(hours=hours))}  # fmt: skip
    return await api.do(who, "breakGlass", GLASS, **asked)


async def test_the_glass_brings_back_what_was_in_force_at_once_everywhere_and_ends_by_itself(
    office: Api, replica: Services
) -> None:
    await in_force(office)
    glass = (await broken(office, 1)).data["breakGlass"]["glass"]
    assert (glass["inForce"], glass["client"], glass["remark"]) == (True, "author", "Nurses are locked out.")
    await replica.policies.catch_up(operator())
    assert [await may_report(process, office) for process in (office.people, replica)] == [False, False]
    alerts = await office.ask("regulator", f"{{ brokenGlasses(onlyCurrent: true) {{ nodes {{ {GLASS[8:-2]} }} }} }}")
    assert [node["id"] for node in alerts["brokenGlasses"]["nodes"]] == [glass["id"]]
    office.at += timedelta(hours=2)
    # Nobody has looked, and the policies of before are back.
    assert [await may_report(process, office) for process in (office.people, replica)] == [True, True]
    assert await replica.policies.catch_up(operator()) == 1
    assert await office.people.policies.catch_up(operator()) == 0
    found = await office.ask("regulator", """{ brokenGlasses { nodes { ending inForce } }
      decisions(subjectKind: "policy") { nodes { kind } } }""")  # fmt: skip
    assert found["brokenGlasses"]["nodes"] == [{"ending": "EXPIRED", "inForce": False}]
    assert {"policy.glass_broken", "policy.glass_expired"} <= {node["kind"] for node in found["decisions"]["nodes"]}


async def test_a_version_whose_time_comes_under_a_broken_glass_is_in_force_when_that_ends(
    office: Api, replica: Services
) -> None:
    await coming(office, EXTRA, 1)
    narrow = await drafted(office, NARROW, "second")
    glass = (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]
    later = await drafted(office, WORDY, files=[file("wordy.cedar", WORDY)], base=2)
    await simulated(office, later)
    await approved(office, later, effectiveFrom=text(office.at + timedelta(minutes=90)))
    office.at += timedelta(minutes=100)
    for process in (office.people, replica):
        await process.policies.catch_up(operator())
        assert (judges_by(process, "planner-opens-requests"), await may_report(process, office)) == (True, False)
    assert await states(office) == {1: "SUPERSEDED", 2: "SUPERSEDED", 3: "VALIDATED", 4: "EFFECTIVE"}
    fresh = await drafted(office, NARROW, files=[file("fresh.cedar", NARROW.replace("planner-opens", "fresh-opens"))])
    assert fresh["base"] == 4  # what is drafted under the glass stands on what is in force without it
    await office.done("second", "endBreakGlass", glass=glass["id"])
    await replica.policies.refresh()
    for process in (office.people, replica):
        assert (judges_by(process, "planner-opens-requests"), judges_by(process, "planners-report-it-all")) == (
            False, True
        )  # fmt: skip


async def test_the_glass_gives_a_named_caller_named_acts_and_nothing_wider(office: Api) -> None:
    wide, narrow = await drafted(office), await drafted(office, NARROW)
    refused = await broken(office, wide["number"])
    assert refused.refusal[0] == "CONFLICT"
    assert "must name one caller" in refused.error["message"]
    assert (await broken(office, narrow["number"])).data["breakGlass"]["glass"]["inForce"]
    north = await office.institution("north")
    await office.done("planner", "openRequest", institution=north, **office.need_of(1))


async def test_a_broken_glass_drops_no_policy_and_no_faulty_version_comes_into_force_by_it(office: Api) -> None:
    shipped = shipped_policies()["offers.cedar"].decode()
    fewer = await drafted(office, files=[file("offers.cedar", shipped.split('@id("')[0])])
    assert (await broken(office, fewer["number"])).refusal[0] == "CONFLICT"
    access = shipped_policies()["access.cedar"].decode()
    faulty = await drafted(office, files=[file("access.cedar", access.replace('"research-changes-nothing"', '"r"')
                                               .replace('"regulator-changes-nothing"', '"s"'))])  # fmt: skip
    assert (await broken(office, faulty["number"])).refusal[0] == "CONFLICT"


async def test_whoever_broke_the_last_glass_needs_a_second_person_before_the_next(office: Api) -> None:
    narrow = await drafted(office, NARROW)
    glass = (await broken(office, narrow["number"])).data["breakGlass"]["glass"]
    assert (await broken(office, narrow["number"], "second")).refusal[0] == "CONFLICT"  # one at a time
    ended = await office.done("second", "endBreakGlass", GLASS, glass=glass["id"])
    assert ended["glass"]["ending"] == "ENDED"
    assert (await office.do("second", "endBreakGlass", glass=glass["id"])).refusal[0] == "CONFLICT"
    assert (await broken(office, narrow["number"])).refusal[0] == "CONFLICT"
    office.at += timedelta(days=30)
    assert (await broken(office, narrow["number"])).refusal[0] == "CONFLICT"
    version = await drafted(office)
    await simulated(office, version)
    await approved(office, version)
    await office.people.policies.catch_up(operator())
    assert (await broken(office, 1)).data["breakGlass"]["glass"]["version"] == 1


@pytest.mark.parametrize("hours", [0, 5, 1000])
async def test_a_glass_is_broken_for_as_long_as_the_operator_allows_and_no_longer(office: Api, hours: int) -> None:
    narrow = await drafted(office, NARROW)
    assert (await broken(office, narrow["number"], hours=hours)).refusal == ("INVALID", "Invalid", "input.until")


async def test_the_database_refuses_a_second_glass_of_the_same_caller_and_a_longer_one(
    office: Api, owner: Connection
) -> None:
    narrow = await drafted(office, NARROW)
    glass = (await broken(office, narrow["number"])).data["breakGlass"]["glass"]
    with pytest.raises(asyncpg.PostgresError, match="ends once, and nothing else"):
        await owner.execute("update sharewell.break_glass set until = until + interval '1 hour'")
    await office.done("author", "endBreakGlass", GLASS, glass=glass["id"])
    again = """insert into sharewell.break_glass
      select gen_random_uuid(), version, reason, now(), now() + interval '1 h',"""
    with pytest.raises(asyncpg.PostgresError, match="does not break the next"):
        await owner.execute(f"{again} client, person, null, null, decision_id, null from sharewell.break_glass")


async def test_the_approval_of_an_admin_of_the_breakers_making_is_no_second_word(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin_by(office, "second", "puppet")
    waiting = await drafted(office)
    await simulated(office, waiting)
    narrow = await drafted(office, NARROW, "second")
    glass = (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]
    await office.done("second", "endBreakGlass", glass=glass["id"])
    office.at += timedelta(hours=1)
    await approved(office, waiting, "puppet", effectiveFrom=text(office.at + timedelta(days=80)))
    assert (await broken(office, narrow["number"], "second")).refusal[0] == "CONFLICT"
    monkeypatch.setattr("sharewell.services.break_glass.others_word", lambda *_, **__: True)
    refused = await broken(office, narrow["number"], "second")
    assert (refused.refusal[0], "nor does anybody of their line" in refused.error["message"]) == ("CONFLICT", True)


async def test_the_breakers_own_approval_and_a_withdrawn_one_are_no_second_word(
    office: Api, owner: Connection
) -> None:
    waiting = await drafted(office)  # by the author, who is not the one to break the glass
    await simulated(office, waiting)
    narrow = await drafted(office, NARROW, "second")
    glass = (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]
    await office.done("second", "endBreakGlass", glass=glass["id"])
    office.at += timedelta(hours=1)
    soon = text(office.at + timedelta(days=80))
    await approved(office, waiting, "second", effectiveFrom=soon)
    assert (await broken(office, narrow["number"], "second")).refusal[0] == "CONFLICT"
    again = """insert into sharewell.break_glass
      select gen_random_uuid(), version, reason, now(), now() + interval '1 h', client, person, null, null,
             decision_id, null from sharewell.break_glass"""
    with pytest.raises(asyncpg.PostgresError, match="does not break the next"):
        await owner.execute(again)
    await office.done("second", "withdrawPolicyVersion", version=waiting["number"])
    others = await drafted(office)
    await simulated(office, others)
    await approved(office, others, "admin", effectiveFrom=soon)
    await office.done("second", "withdrawPolicyVersion", version=others["number"])
    assert (await broken(office, narrow["number"], "second")).refusal[0] == "CONFLICT"
    with pytest.raises(asyncpg.PostgresError, match="does not break the next"):
        await owner.execute(again)
    kept = await drafted(office)
    await simulated(office, kept)
    await approved(office, kept, "admin", effectiveFrom=soon)
    assert (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]["client"] == "second"


async def test_which_glass_was_the_last_is_told_by_the_log_and_not_by_the_clocks_of_processes(
    office: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One gateway's clock is behind by a day: its ids and its times say that its glass was broken first."""
    waiting = await drafted(office)
    await simulated(office, waiting)
    later = {"effectiveFrom": text(office.at + timedelta(days=80))}
    await approved(office, waiting, "admin", **later)  # before either glass, by anybody's clock but one
    narrow = await drafted(office, NARROW)
    first = (await broken(office, narrow["number"], "second")).data["breakGlass"]["glass"]
    await office.done("second", "endBreakGlass", glass=first["id"])
    now = office.at
    with monkeypatch.context() as patched:
        patched.setattr("sharewell.services.break_glass.new_id", lambda: UUID(int=1))
        office.at -= timedelta(days=1)
        glass = (await broken(office, narrow["number"], "author")).data["breakGlass"]["glass"]
        await office.done("author", "endBreakGlass", glass=glass["id"])
    office.at = now
    assert (await broken(office, narrow["number"], "author")).refusal[0] == "CONFLICT"
    monkeypatch.setattr("sharewell.services.break_glass.check_breaks", lambda *_, **__: None)
    refused = await broken(office, narrow["number"], "author")
    assert (refused.refusal[0], "does not break the next" in refused.error["message"]) == ("CONFLICT", True)


# --- releases ------------------------------------------------------------------------------------------------------


async def test_another_release_replaces_the_set_of_a_release_and_never_an_approved_one(
    office: Api, replica: Services
) -> None:
    next_release = Authorizer.load(shipped_policies() | {"next.cedar": NARROW.encode()})
    replica.office.rulebook.own = next_release
    assert await replica.policies.publish(operator())
    assert not await replica.policies.publish(operator())
    found = await office.ask("admin", "{ policyVersions { nodes { number state origin } } }")
    assert [tuple(node.values()) for node in found["policyVersions"]["nodes"]] == [
        (2, "EFFECTIVE", "SHIPPED"), (1, "SUPERSEDED", "SHIPPED"),
    ]  # fmt: skip
    await office.people.policies.refresh()
    await in_force(office)
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"later.cedar": NARROW.encode()})
    assert not await replica.policies.publish(operator())  # the approved one stays
    found = await office.ask("admin", "{ policyVersions { nodes { number state origin } } }")
    assert [tuple(node.values()) for node in found["policyVersions"]["nodes"]][:2] == [
        (4, "VALIDATED", "SHIPPED"), (3, "EFFECTIVE", "DRAFTED"),
    ]  # fmt: skip
    assert await may_report(replica, office)


async def test_a_release_that_finds_fault_with_what_is_in_force_does_not_start(
    office: Api, replica: Services, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(findings._found.cache_clear)
    await in_force(office)
    findings._found.cache_clear()
    monkeypatch.setattr("sharewell.vetting.findings.PROTECTED", frozenset({"pledge-own-units", "seal-seals"}))
    assert not await replica.policies.publish(operator())
    findings._found.cache_clear()  # what it found is kept by the files alone, for a release does not change
    stricter = shipped_policies()
    stricter["offers.cedar"] = stricter["offers.cedar"].replace(b"resource.owner == principal.institution", b"true")
    monkeypatch.setattr("sharewell.vetting.findings.shipped_policies", lambda: stricter)
    with pytest.raises(Unavailable, match="finds fault with it: the policy pledge-own-units must stay"):
        await replica.policies.publish(operator())


OWN = "principal has institution && resource has owner && resource.owner == principal.institution"
NEIGHBOUR = f"""
@id("who-looks-at-offers")
@sentence("Institutions see their own offers and those of one neighbour.")
forbid (principal in Sharewell::Role::"institution", action == Sharewell::Action::"viewOffer", resource)
unless {{ resource has owner && resource.owner == Sharewell::Institution::"NEIGHBOUR" }}
unless {{ {OWN} }};
"""
NOBODY = f"""
@id("who-looks-at-offers")
@sentence("Nobody but regulators sees offers that are not their own.")
forbid (principal, action == Sharewell::Action::"viewOffer", resource)
unless {{ principal in Sharewell::Role::"regulator" }}
unless {{ {OWN} }};
"""


@pytest.mark.parametrize(
    ("who", "query"),
    [
        ("receiver", "{ offers { nodes { id } } }"),
        ("receiver", "{ offers { nodes { id changedById } } }"),
        ("planner", "{ transfers { nodes { offer { id } } } }"),
    ],
)
async def test_a_list_is_not_told_where_the_policies_change_between_its_reading_and_the_record_of_it(
    office: Api, monkeypatch: pytest.MonkeyPatch, who: str, query: str
) -> None:
    """By a version whose time comes in that very moment."""
    await office.held_transfer()
    await in_force(office, NEIGHBOUR.replace("NEIGHBOUR", str(office.callers["giver"].institution)))
    assert "'id'" in str((await office.send(who, query)).data)
    version, later = await drafted(office, NOBODY), office.at + timedelta(hours=1)
    await simulated(office, version)
    await approved(office, version, effectiveFrom=text(later))
    still = Office.still_seen

    async def as_its_time_comes(*asked: Any) -> None:
        office.at = later
        await still(*asked)

    monkeypatch.setattr(Office, "still_seen", as_its_time_comes)
    told = await office.send(who, query)
    assert (told.status, told.refusal[0], told.headers["Retry-After"]) == (503, "UNAVAILABLE", "1")
    assert told.error["message"] == "the policies changed while this was read, so it is not told; ask again."


# --- clocks and races ----------------------------------------------------------------------------------------------


async def waiting(pool: Pool, number: int) -> None:
    """Until so many wait for their turn to write versions."""
    async with asyncio.timeout(20):
        while await pool.fetchval("select count(*) from pg_locks where locktype = 'advisory' and not granted") < number:
            await asyncio.sleep(0.01)


async def one_after_the_other(pool: Pool, *acts: Callable[[], Awaitable[Any]], between: Callable[[], None]) -> Any:
    """Each begins before the first is let to write; then they write in this order."""
    tasks: list[asyncio.Future[Any]] = []
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(ALONE)
        for number, act in enumerate(acts, 1):
            tasks.append(asyncio.ensure_future(act()))
            await waiting(pool, number)
        between()
    return await asyncio.gather(*tasks)


def nothing_happens() -> None:
    """Between."""


async def test_a_process_whose_clock_is_behind_judges_by_what_is_on_record_as_in_force(
    office: Api, replica: Services
) -> None:
    await in_force(office)
    replica.office.now = lambda: office.at - timedelta(seconds=5)
    await replica.policies.refresh()
    assert await may_report(replica, office)
    assert replica.office.rulebook.scheduled_at(replica.office.now()).number == 2  # type: ignore[union-attr]


async def test_a_gateway_whose_clock_is_behind_simulates_and_approves_what_another_one_edited_just_now(
    office: Api,
) -> None:
    version = await drafted(office)
    now, window = office.at, text(office.at - timedelta(days=7))
    office.at -= timedelta(seconds=5)
    done = await office.do("author", "simulatePolicies", VERSION, version=version["number"], since=window)
    assert "errors" not in done.body
    office.at -= timedelta(seconds=5)
    assert (await approved(office, version))["effectiveFrom"] == text(now)
    office.at = now
    await office.people.policies.catch_up(operator())
    assert await may_report(office.people, office)


async def test_a_clock_that_is_behind_lets_nothing_wide_through_the_glass(office: Api, replica: Services) -> None:
    await in_force(office)
    wide = await drafted(office, WORDY, files=[file("wordy.cedar", WORDY)])
    replica.office.now = lambda: office.at - timedelta(seconds=5)
    draft = GlassDraft(
        version=wide["number"], reason=GlassReason.WRONG_RULE, until=office.at + timedelta(hours=1), remark="R."
    )
    with pytest.raises(Conflict, match="must name one caller"):
        await replica.break_glass.break_it(office.callers["author"], draft)


async def test_a_process_that_had_to_wait_brings_into_force_what_was_approved_meanwhile(
    office: Api, replica: Services, gateway_pool: Pool
) -> None:
    narrow, version = await drafted(office, NARROW), await drafted(office)
    await simulated(office, version)
    assert "errors" not in (await broken(office, narrow["number"])).body
    office.at += timedelta(hours=2)  # the end of the glass is to be put on record
    recorded = await one_after_the_other(
        gateway_pool, lambda: approved(office, version), lambda: replica.policies.catch_up(operator()),
        between=nothing_happens,
    )  # fmt: skip
    assert recorded[1] == 2
    assert (await states(office))[version["number"]] == "EFFECTIVE"


async def test_a_release_that_starts_takes_the_place_of_nothing_that_was_approved_meanwhile(
    office: Api, replica: Services, gateway_pool: Pool
) -> None:
    version = await drafted(office)
    await simulated(office, version)
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"next.cedar": NARROW.encode()})
    await one_after_the_other(
        gateway_pool, lambda: approved(office, version), lambda: replica.policies.publish(operator()),
        between=nothing_happens,
    )  # fmt: skip
    assert await states(office) == {1: "SUPERSEDED", 2: "EFFECTIVE", 3: "VALIDATED"}
    assert await may_report(replica, office)


async def test_nothing_is_withdrawn_whose_time_came_while_that_had_to_wait(office: Api, gateway_pool: Pool) -> None:
    version = await coming(office, EXTRA, 1)
    office.at += timedelta(minutes=59)

    def time_passes() -> None:
        office.at += timedelta(minutes=2)

    (answer,) = await one_after_the_other(
        gateway_pool, lambda: office.do("second", "withdrawPolicyVersion", version=version["number"]),
        between=time_passes,
    )  # fmt: skip
    assert (answer.refusal[0], "its time has come" in answer.error["message"]) == ("CONFLICT", True)
    assert await may_report(office.people, office)


async def test_of_two_approvals_the_one_that_had_to_wait_is_of_the_later_time(office: Api, gateway_pool: Pool) -> None:
    """So it stands on what the other one brought into force, or is refused for that."""
    version = await drafted(office)
    await simulated(office, version)

    def time_passes() -> None:
        office.at += timedelta(minutes=2)

    (done,) = await one_after_the_other(gateway_pool, lambda: approved(office, version), between=time_passes)
    assert done["effectiveFrom"] == text(office.at)


async def test_a_draft_is_written_on_top_of_what_another_process_brought_into_force_just_now(
    office: Api, replica: Services
) -> None:
    await in_force(office)
    made = await replica.policy_versions.draft(office.callers["author"], {"more.cedar": NARROW}, base=None, why="W.")
    assert made.subject.base == 2
    with pytest.raises(Conflict, match="no longer is"):
        await replica.policy_versions.roll_back(office.callers["author"], 2, why="W.")


async def test_going_back_and_forth_is_a_version_each_time_and_never_one_that_changes_nothing(office: Api) -> None:
    await in_force(office)
    for to, reports in ((1, False), (2, True), (3, False)):
        back = (await office.done("author", "rollBackPolicies", VERSION, to=to, why="Back."))["version"]
        await approved(office, back)
        await office.people.policies.catch_up(operator())
        assert (back["returnsTo"], await may_report(office.people, office)) == (to, reports)
    for same in (1, 3, 5):
        refused = await office.do("author", "rollBackPolicies", to=same, why="Again.")
        assert refused.refusal == ("CONFLICT", "Conflict", "input.to")


async def test_the_set_of_a_release_that_was_approved_comes_into_force_as_it_was_approved(
    office: Api, replica: Services
) -> None:
    """To the byte, also in a release that came meanwhile and ships another."""
    await in_force(office)
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"next.cedar": NARROW.encode()})
    await replica.policies.publish(operator())
    found = await office.ask("admin", "{ policyVersion(number: 3) { number sha256 origin } }")
    shipped = found["policyVersion"]
    await simulated(office, shipped)
    await approved(office, shipped, effectiveFrom=text(office.at + timedelta(hours=1)))
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"later.cedar": CLOSED.encode()})
    await replica.policies.publish(operator())
    office.at += timedelta(hours=1)
    assert (judges_by(replica, "planner-opens-requests"), judges_by(replica, "no-reports-on-trial")) == (True, False)
    await replica.policies.catch_up(operator())
    query = '{ decisions(kind: "policy.published", first: 1) { nodes { subjectId } } }'
    assert (await office.ask("regulator", query))["decisions"]["nodes"] == [{"subjectId": shipped["sha256"]}]
    # It is the set of a release all the same: the next one takes its place, also where that could not load it.
    files = {name: data for name, data in shipped_policies().items() if name != "capacity.cedar"}
    files[SCHEMA] = files[SCHEMA].replace(b"action reportCapacity in [write]", b"action tellCapacity in [write]")
    replica.office.rulebook.own, replica.office.rulebook._loaded = Authorizer.load(files), {}
    assert await replica.policies.publish(operator())
    assert (await states(office))[3] == "SUPERSEDED"
    assert replica.office.authz is replica.office.rulebook.own


async def test_what_a_newer_release_judged_by_an_earlier_version_can_be_looked_into_afterwards(
    office: Api, replica: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the version with its own schema, and so by a set that no other release has."""
    from sharewell.domain.policy import Action, Target  # noqa: PLC0415

    await in_force(office, CLOSED)
    back = (await office.done("author", "rollBackPolicies", VERSION, to=1, why="Back."))["version"]
    await approved(office, back)
    await office.people.policies.catch_up(operator())
    files = shipped_policies()
    newer = files | {SCHEMA: files[SCHEMA] + b"\n"}
    replica.office.rulebook.own = Authorizer.load(newer)
    with monkeypatch.context() as patched:
        patched.setattr("sharewell.vetting.findings.shipped_policies", lambda: newer)
        await replica.policies.publish(operator())
    glass = (await broken(office, 2)).data["breakGlass"]["glass"]
    await replica.policies.catch_up(operator())
    assert replica.office.authz.policy_set != office.people.office.authz.policy_set
    with pytest.raises(Forbidden, match="Nobody reports anything"):
        await replica.office.permit(office.callers["planner"], Action.REPORT_CAPACITY, Target(kind="capacity", id="1"))
    await office.done("second", "endBreakGlass", GLASS, glass=glass["id"])
    asked = '{ decisions(kind: "access.refused", first: 1) { nodes { id } } }'
    (refused,) = (await office.ask("regulator", asked))["decisions"]["nodes"]
    query = "query ($id: UUID!) { whyRefused(decision: $id) { policies { id } } }"
    found = await office.ask("regulator", query, id=refused["id"])
    assert found["whyRefused"]["policies"] == [{"id": "no-reports-on-trial"}]
