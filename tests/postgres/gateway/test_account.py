"""People look after their passkeys on a page of ours, which asks anew who is there before anything changes."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx2
import pytest
from tests.postgres.gateway.conftest import Browser, handle_in
from tests.postgres.gateway.test_grants import decisions
from tests.postgres.gateway.test_passkeys import ISSUER, Authenticator, enrolled, opened

from sharewell.domain.people import MOST_PASSKEYS, VISIT_LIFE
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import App, FrontDoor

ACCOUNT, ADD, REMOVE = "/oauth/account", "/oauth/account/add", "/oauth/account/remove"
ORIGIN = {"Origin": ISSUER}


@dataclass
class Visit:
    """The account page in a browser of its own."""

    http: httpx2.AsyncClient
    cookie: str
    page: httpx2.Response

    @property
    def handle(self) -> str:
        return handle_in(self.page)

    @property
    def options(self) -> Any:
        found = re.findall(r'data-options="([^"]+)"', self.page.text)
        assert len(found) == 1, self.page.text
        return json.loads(unescape(found[0]))

    @property
    def rows(self) -> list[list[str]]:
        """Name, day added and day last used of each passkey."""
        return [list(row) for row in re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", self.page.text)]

    @property
    def ids(self) -> list[str]:
        return re.findall(r'name="remove" value="([^"]+)"', self.page.text)

    async def post(self, path: str, **form: str) -> httpx2.Response:
        self.http.cookies.clear()
        headers = {"Cookie": self.cookie, **ORIGIN}
        self.page = await self.http.post(path, data=form, headers=headers)
        return self.page

    async def add(self, authenticator: Authenticator, name: str, **changes: Any) -> httpx2.Response:
        passkey = authenticator.create(self.options, **changes)
        return await self.post(ADD, handle=self.handle, name=name, passkey=passkey)

    async def remove(self, place: int) -> httpx2.Response:
        return await self.post(REMOVE, handle=self.handle, remove=self.ids[place])


async def entered(door: FrontDoor) -> Visit:
    """The page that asks who is there."""
    door.http.cookies.clear()
    page = await door.http.get(ACCOUNT)
    return Visit(door.http, page.headers["set-cookie"].partition(";")[0], page)


async def visiting(door: FrontDoor, somebody: Browser) -> Visit:
    """The page of somebody who signed in with password and code."""
    visit = await entered(door)
    door.clock.ahead += timedelta(seconds=30)  # a code counts once
    await visit.post(ACCOUNT, login=somebody.login, password=somebody.password, code=somebody.code)
    return visit


async def visiting_with(door: FrontDoor, authenticator: Authenticator) -> Visit:
    visit = await entered(door)
    await visit.post(ACCOUNT, handle="", passkey=authenticator.get(visit.options))
    return visit


async def signs_in(door: FrontDoor, app: App, authenticator: Authenticator) -> bool:
    page = await opened(door, app)
    return (await page.send(authenticator.get(page.options))).status_code == 200


async def test_a_person_without_a_passkey_adds_two_signs_in_with_either_and_removes_one(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    visit = await visiting(door, somebody)
    assert "You have no passkey." in visit.page.text
    phone, stick = Authenticator(), Authenticator()
    assert "is added" in (await visit.add(phone, " Phone <of> mine ")).text
    assert visit.options["excludeCredentials"][0]["id"] == json.loads(phone.create(visit.options))["id"]
    assert (await visit.add(stick, "Stick")).status_code == 200
    today = f"{door.clock():%Y-%m-%d}"
    assert visit.rows == [["Phone &lt;of&gt; mine", today, "never"], ["Stick", today, "never"]]
    listed = await door.parts.people.page(operator(), after=UUID(int=0), first=10)
    assert [each.passkeys for each in listed.items] == [2]  # what admins are told
    assert await signs_in(door, app, phone)
    assert await signs_in(door, app, stick)

    visit = await visiting(door, somebody)
    assert [used for _, _, used in visit.rows] == [today] * 2  # also where midnight came with the visit
    assert "signs in no more" in (await visit.remove(0)).text
    assert [name for name, *_ in visit.rows] == ["Stick"]
    assert not await signs_in(door, app, phone)
    assert (await door.refusals())[-1].details["reason"] == "unknown_passkey"
    assert await signs_in(door, app, stick)

    (removed,) = await decisions(door, "person.passkey_removed")
    added = await decisions(door, "person.passkey_added")
    assert {each.details["passkeys"] for each in added} == {1, 2}
    assert removed.details["passkeys"] == 1
    assert removed.details["added_by"] in {str(each.id) for each in added}
    assert {removed.actor, *(each.actor for each in added)} == {f"person/{removed.subject_id}"}
    assert "Phone" not in str([removed, *added])  # a name is personal, and stands in one place


async def test_each_passkey_has_a_counter_of_its_own(door: FrontDoor, app: App, somebody: Browser) -> None:
    visit = await visiting(door, somebody)
    busy, idle = Authenticator(counter=50), Authenticator()
    await visit.add(busy, "busy")
    await visit.add(idle, "idle")
    assert await signs_in(door, app, busy)
    assert await signs_in(door, app, idle)  # 1, where the other one is at 51
    busy.counter = 50
    assert not await signs_in(door, app, busy)
    assert (await door.refusals())[-1].details["reason"] == "passkey_cloned"


async def test_whoever_has_a_passkey_alone_adds_another_but_does_not_remove_the_last(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    phone, stick = Authenticator(), Authenticator()
    await (await visiting(door, somebody)).add(phone, "phone")
    visit = await visiting_with(door, phone)
    assert [name for name, *_ in visit.rows] == ["phone"]
    refused = await visit.remove(0)
    assert (refused.status_code, "This is your last passkey." in refused.text) == (400, True)
    await visit.add(stick, "stick")  # the visit went on
    assert (await visit.remove(0)).status_code == 200  # not the last one any more
    assert await signs_in(door, app, stick)
    assert not await signs_in(door, app, phone)
    visit = await visiting(door, somebody)  # who has the code of the app can do without
    assert (await visit.remove(0)).status_code == 200
    assert "You have no passkey." in visit.page.text
    handle = handle_in(await somebody.get("/oauth/authorize", **app.asks()))
    assert (await somebody.sign_in(handle)).status_code == 200


async def test_being_signed_in_to_an_app_opens_no_account(door: FrontDoor, app: App, somebody: Browser) -> None:
    await somebody.allow("/oauth/authorize", **app.asks())
    answer = await somebody.post(ADD, ORIGIN, handle="", name="x", passkey="{}")
    assert answer.status_code == 400
    wrong = await somebody.post(ACCOUNT, ORIGIN, login=somebody.login, password=somebody.password, code=somebody.code)
    assert "That did not work." in wrong.text  # the code was spent on the app
    assert [each.details["reason"] for each in await door.refusals()] == ["unknown_request", "wrong_code"]


async def test_what_a_page_holds_counts_once_for_minutes_and_in_its_browser_alone(
    door: FrontDoor, somebody: Browser
) -> None:
    visit, passkey = await visiting(door, somebody), Authenticator()
    elsewhere, handle = await entered(door), visit.handle
    made = passkey.create(visit.options)
    assert (await elsewhere.post(ADD, handle=handle, name="x", passkey=made)).status_code == 400
    assert (await visit.post(ADD, handle=handle, name="x", passkey=made)).status_code == 200
    assert (await visit.post(ADD, handle=handle, name="x", passkey=made)).status_code == 400
    visit = await visiting(door, somebody)
    door.clock.ahead += VISIT_LIFE
    assert (await visit.remove(0)).status_code == 400
    assert [name for name, *_ in (await visiting(door, somebody)).rows] == ["x"]


async def test_a_change_ends_every_other_visit_of_the_person(door: FrontDoor, somebody: Browser) -> None:
    phone = Authenticator()
    await (await visiting(door, somebody)).add(phone, "stolen")
    thief = await visiting_with(door, phone)
    await (await visiting(door, somebody)).remove(0)
    assert (await thief.add(Authenticator(), "of the thief")).status_code == 400

    thief = await visiting(door, somebody)
    door.clock.ahead += timedelta(seconds=30)
    await somebody.post(
        "/oauth/password", login=somebody.login, password=somebody.password, code=somebody.code, new="some other words"
    )
    assert (await thief.add(Authenticator(), "of the thief")).status_code == 400
    somebody.password = "some other words"
    assert (await visiting(door, somebody)).rows == []


@pytest.mark.parametrize("end", ["disable", "invite_again"])
async def test_the_visit_of_a_person_who_is_shut_out_is_over(door: FrontDoor, somebody: Browser, end: str) -> None:
    visit = await visiting(door, somebody)
    async with door.database.transaction(read_only=True) as tx:
        person = await tx.conn.fetchval("select id from oauth.person")
    await getattr(door.parts.people, end)(operator(), person)
    assert (await visit.add(Authenticator(), "late")).status_code == 400
    async with door.database.transaction(read_only=True) as tx:
        assert await tx.conn.fetchval("select count(*) from oauth.passkey") == 0


@pytest.mark.parametrize("path", [ACCOUNT, ADD, REMOVE])
@pytest.mark.parametrize("sent", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_another_site_posts_none_of_the_forms(
    door: FrontDoor, somebody: Browser, path: str, sent: dict[str, str]
) -> None:
    visit = await visiting(door, somebody)
    headers = {"Cookie": visit.cookie, **sent}
    answer = await door.http.post(path, data={"handle": visit.handle, "name": "x"}, headers=headers)
    assert answer.status_code == 400
    assert (await door.refusals())[-1].details["reason"] == "cross_site"


@pytest.mark.parametrize(
    ("name", "changes", "fault"),
    [
        ("", {}, "name must have 1 to 60 characters"),
        ("x" * 61, {}, "name must have 1 to 60 characters"),
        ("x", {"origin": "https://evil.example"}, "could not be checked"),
        ("x", {"challenge": "AAAA"}, "could not be checked"),
    ],
)
async def test_what_does_not_hold_is_not_added_and_can_be_tried_again(
    door: FrontDoor, somebody: Browser, name: str, changes: dict[str, Any], fault: str
) -> None:
    visit = await visiting(door, somebody)
    refused = await visit.add(Authenticator(), name, **changes)
    assert (refused.status_code, fault in refused.text, visit.rows) == (400, True, [])
    assert (await visit.add(Authenticator(), "good")).status_code == 200
    assert len(await decisions(door, "person.passkey_added")) == 1


async def test_a_person_has_ten_passkeys_and_no_more_also_when_two_are_added_at_once(
    door: FrontDoor, somebody: Browser
) -> None:
    visit = await visiting(door, somebody)
    for place in range(MOST_PASSKEYS - 1):
        assert (await visit.add(Authenticator(), f"key {place}")).status_code == 200
    other = await visiting(door, somebody)
    passkeys = [(each, Authenticator().create(each.options)) for each in (visit, other)]
    answers = await asyncio.gather(*(
        door.http.post(ADD, data={"handle": each.handle, "name": "last", "passkey": passkey},
                       headers={"Cookie": each.cookie, **ORIGIN})
        for each, passkey in passkeys
    ))  # fmt: skip
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    full = await visiting(door, somebody)
    assert len(full.rows) == MOST_PASSKEYS
    assert "no more are kept" in full.page.text
    assert "data-passkey" not in full.page.text


async def test_somebody_elses_passkey_is_not_removed(door: FrontDoor, app: App, somebody: Browser) -> None:
    hers, person = await enrolled(door, "sassette")
    async with door.database.transaction(read_only=True) as tx:
        (held,) = await tx.passkeys.of(person)
    for wrong in (str(held.added_by), "hers", ""):
        visit = await visiting(door, somebody)
        assert (await visit.post(REMOVE, handle=visit.handle, remove=wrong)).status_code == 400
    assert await signs_in(door, app, hers)
    assert await decisions(door, "person.passkey_removed") == []
