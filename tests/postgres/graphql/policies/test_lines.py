"""A second person is somebody whom the first did not make, and who acts through no app of theirs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.postgres.graphql.conftest import text
from tests.postgres.graphql.policies.conftest import (
    CLIENT,
    NARROW,
    VERSION,
    admin_by,
    approved,
    broken,
    drafted,
    file,
    simulated,
)

from sharewell.domain.break_glass import GlassDraft, GlassReason
from sharewell.domain.errors import Conflict

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

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
