"""A person who lost the invitation or the second factor: an admin invites again, and what there was before is dead."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import httpx2
import pyotp
import pytest
from tests.postgres.gateway.conftest import PASSWORD, Browser, OpenPlatform, handle_in
from tests.postgres.gateway.test_passkeys import enrolled, opened
from tests.postgres.gateway.test_sharing_commands import admin_of, refused, said

from sharewell.domain.errors import Conflict
from sharewell.domain.people import Person, PersonDraft
from sharewell.domain.principals import Role
from sharewell.store.people import PersonRepository
from sharewell.wiring import operator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres.conftest import Connection
    from tests.postgres.gateway.conftest import App, FrontDoor

NEW = "another battery, horse"


async def invited_again(door: FrontDoor, person: UUID) -> str:
    _, invitation = await door.parts.people.invite_again(operator(), person)
    assert invitation is not None
    return invitation


async def secret_of(door: FrontDoor, invitation: str) -> tuple[str, str]:
    """The second factor's key that the page shows, and the page."""
    page = await door.http.post("/oauth/enrol", data={"invitation": invitation})
    return page.text.split("<code>")[1].split("</code>")[0].replace(" ", ""), page.text


async def test_what_signed_in_before_is_dead_and_the_new_invitation_sets_up_anew(door: FrontDoor, app: App) -> None:
    authenticator, person = await enrolled(door)
    page = await opened(door, app)
    await page.send(authenticator.get(page.options))
    headers = {"Cookie": page.cookie, "Origin": "https://sharewell.example"}
    back = await door.http.post("/oauth/consent", data={"handle": page.handle, "answer": "allow"}, headers=headers)
    tokens = (await app.redeem(str(httpx2.URL(back.headers["Location"]).params["code"]))).json()
    under_way = await opened(door, app)
    await under_way.send(authenticator.get(under_way.options))

    invitation = await invited_again(door, person)
    secret, told = await secret_of(door, invitation)
    assert "An admin invited you again." in told
    form = {"invitation": invitation, "password": NEW, "code": pyotp.TOTP(secret).at(door.clock())}
    assert "You can sign in now" in (await door.http.post("/oauth/enrol", data=form)).text

    door.http.cookies.clear()
    assert (await app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    headers = {"Cookie": under_way.cookie, "Origin": "https://sharewell.example"}
    late = await door.http.post("/oauth/consent", data={"handle": under_way.handle, "answer": "allow"}, headers=headers)
    assert late.status_code == 400
    again = await opened(door, app)
    assert (await again.send(authenticator.get(again.options))).status_code == 400
    assert (await door.refusals())[-1].details["reason"] == "unknown_passkey"
    browser = Browser(door.http, "smurfette", PASSWORD, secret, door.clock)
    handle = handle_in(await browser.get("/oauth/authorize", **app.asks()))
    assert (await browser.sign_in(handle)).status_code == 400
    assert (await browser.sign_in(handle, password=NEW)).status_code == 200


async def test_tokens_of_before_stay_dead_when_the_person_is_active_again(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    back = await somebody.allow("/oauth/authorize", **app.asks())
    token = (await app.redeem(back["code"])).json()["access_token"]
    person = (await door.ask(token)).json()["principal"].removeprefix("person/")
    invitation = await invited_again(door, person)
    secret, _ = await secret_of(door, invitation)
    form = {"invitation": invitation, "password": NEW, "code": pyotp.TOTP(secret).at(door.clock())}
    await door.http.post("/oauth/enrol", data=form)
    async with door.rebuilt() as http:  # a gateway that remembers nothing
        answer = await http.post("/graphql", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert (await door.refusals())[-1].details["reason"] == "revoked"


async def test_the_first_invitation_is_dead_and_a_disabled_person_is_not_invited_again(door: FrontDoor) -> None:
    draft = PersonDraft(login="smurfette", name="Smurfette", roles=frozenset({Role.REGULATOR}))
    done, first = await door.parts.people.register(operator(), draft)
    second = await invited_again(door, done.subject.id)
    for invitation, holds in ((first, False), (second, True)):
        page = await door.http.post("/oauth/enrol", data={"invitation": invitation})
        assert ("authenticator app" in page.text) == holds
    await door.parts.people.disable(operator(), done.subject.id)
    with pytest.raises(Conflict, match="is disabled"):
        await invited_again(door, done.subject.id)


async def test_a_person_who_is_disabled_while_being_invited_again_stays_disabled(
    door: FrontDoor, somebody: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = await door.parts.people.page(operator(), after=UUID(int=0), first=1)
    person, get = listed.items[0].id, PersonRepository.get

    async def read_a_moment_too_early(people: PersonRepository, id: UUID) -> Person:  # noqa: A002
        found = await get(people, id)
        monkeypatch.setattr(PersonRepository, "get", get)
        await door.parts.people.disable(operator(), person)
        return found

    monkeypatch.setattr(PersonRepository, "get", read_a_moment_too_early)
    with pytest.raises(Conflict, match="is disabled"):
        await door.parts.people.invite_again(operator(), person)
    found = await door.parts.people.find(person)
    assert found is not None
    assert found.status == "disabled"


async def test_an_invitation_that_does_not_hold_is_refused_and_recorded(door: FrontDoor) -> None:
    for form in ({"invitation": "x"}, {"invitation": "x", "password": PASSWORD, "code": "1"}):
        answer = await door.http.post("/oauth/enrol", data=form)
        assert (answer.status_code, "does not hold, or was used" in answer.text) == (400, True)
    assert [each.details["reason"] for each in await door.refusals()] == ["bad_invitation"] * 2
    assert '"x"' not in str(await door.refusals())


@pytest.mark.parametrize(
    "change", ["invitation_hash = sha256('x')", "invited_by = decision_id", "status = 'invited', password_hash = null"]
)
async def test_no_invitation_is_slipped_in_whoever_writes_to_the_table(
    door: FrontDoor, owner: Connection, change: str
) -> None:
    await enrolled(door)
    with pytest.raises(asyncpg.PostgresError, match="invit"):
        await owner.execute(f"update oauth.person set {change}")


async def test_an_admin_invites_again_at_the_command_line(open_platform: OpenPlatform, tmp_path: Path) -> None:
    async with open_platform() as platform:
        admin = await admin_of(platform, tmp_path)
        async with platform.http() as http:
            invitation = await said("person", "invite", "smurfette", "Smurfette", "-c", admin, "--role", "regulator")
            await platform.enrol(http, invitation, PASSWORD)
            listed = await said("person", "list", "-c", admin)
            person, *told = listed.strip().split("\t")
            assert told == ["active", "regulator", "passkeys=0", "smurfette", "Smurfette"]
            again = await said("person", "invite-again", person, "-c", admin)
            assert "\tinvited\t" in await said("person", "list", "-c", admin)
            await platform.enrol(http, again, NEW)
            assert "\tactive\t" in await said("person", "list", "-c", admin)
        unknown = "00000000-0000-4000-8000-000000000000"
        assert "NOT_FOUND" in await refused("person", "invite-again", unknown, "-c", admin)
        query = '{ decisions(kind: "person.invited_again") { nodes { actor } } }'
        kinds = await said("client", "query", "-c", admin, query)
        assert kinds.count('"actor"') == 1
