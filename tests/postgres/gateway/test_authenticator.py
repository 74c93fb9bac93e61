"""People change their authenticator app: the new one counts once it has shown a code, and then the old one no more."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
import httpx2
import pyotp
import pytest
from tests.postgres.gateway.conftest import Browser, handle_in
from tests.postgres.gateway.test_account import ACCOUNT, ORIGIN, Visit, entered, signs_in, visiting, visiting_with
from tests.postgres.gateway.test_grants import decisions
from tests.postgres.gateway.test_passkeys import Authenticator

from sharewell.domain.people import VISIT_LIFE
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.postgres.conftest import Connection
    from tests.postgres.gateway.conftest import App, FrontDoor

KEY, CHANGE = "/oauth/account/key", "/oauth/account/authenticator"


async def new_key(visit: Visit) -> str:
    """The key of the new app, which the page shows."""
    page = await visit.post(KEY, handle=visit.handle)
    found = re.search(r"<code>([A-Z2-7 ]{39})</code>", page.text)
    assert found is not None, page.text
    assert "<svg" in page.text
    return found[1].replace(" ", "")


async def change(door: FrontDoor, visit: Visit, key: str, password: str) -> httpx2.Response:
    return await visit.post(CHANGE, handle=visit.handle, code=pyotp.TOTP(key).at(door.clock()), password=password)


async def lets_in(door: FrontDoor, app: App, somebody: Browser, key: str) -> bool:
    """Whether an app that has this key signs the person in."""
    browser = Browser(door.http, somebody.login, somebody.password, key, door.clock)
    door.http.cookies.clear()
    handle = handle_in(await browser.get("/oauth/authorize", **app.asks()))
    return (await browser.sign_in(handle)).status_code == 200


async def test_the_old_app_counts_until_the_new_one_has_shown_a_code_and_then_no_more(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    visit = await visiting(door, somebody)
    key = await new_key(visit)
    assert key != somebody.secret
    assert await lets_in(door, app, somebody, somebody.secret)
    assert not await lets_in(door, app, somebody, key)
    assert (await change(door, visit, key, somebody.password)).status_code == 200
    assert "Your new app counts now" in visit.page.text
    assert not await lets_in(door, app, somebody, somebody.secret)
    assert await lets_in(door, app, somebody, key)
    (changed,) = await decisions(door, "person.authenticator_changed")
    assert (changed.actor, changed.details) == (f"person/{changed.subject_id}", {})
    assert key not in str(await decisions(door, "person.authenticator_changed"))


async def test_the_code_that_the_new_app_showed_first_signs_nobody_in(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    visit = await visiting(door, somebody)
    key = await new_key(visit)
    assert (await change(door, visit, key, somebody.password)).status_code == 200
    door.clock.ahead -= timedelta(seconds=30)  # which `sign_in` puts back: the same code, again
    assert not await lets_in(door, app, somebody, key)
    assert (await door.refusals())[-1].details["reason"] == "wrong_code"


async def test_a_wrong_code_changes_nothing_shows_no_key_again_and_can_be_mended(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    visit = await visiting(door, somebody)
    key = await new_key(visit)
    for wrong in ("", "000000", somebody.code, "x" * 50):
        refused = await visit.post(CHANGE, handle=visit.handle, code=wrong, password=somebody.password)
        assert (refused.status_code, "not the one your new app shows" in refused.text) == (400, True)
        assert "<code>" not in refused.text
        assert "<svg" not in refused.text
    assert await lets_in(door, app, somebody, somebody.secret)
    assert (await change(door, visit, key, somebody.password)).status_code == 200


async def test_a_key_that_is_told_anew_takes_the_place_of_the_one_before(door: FrontDoor, somebody: Browser) -> None:
    visit = await visiting(door, somebody)
    seen, key = await new_key(visit), await new_key(visit)
    assert (await change(door, visit, seen, somebody.password)).status_code == 400
    assert (await change(door, visit, key, somebody.password)).status_code == 200


async def test_a_page_that_was_left_open_and_a_passkey_that_was_found_change_nothing_without_the_password(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    phone = Authenticator()
    await (await visiting(door, somebody)).add(phone, "phone")
    for visit in (await visiting(door, somebody), await visiting_with(door, phone)):
        key = await new_key(visit)
        assert (await change(door, visit, key, "not the password")).status_code == 400
        assert "That did not work." in visit.page.text
        assert (await door.refusals())[-1].details["reason"] == "wrong_password"
        assert (await visit.post(CHANGE, handle=visit.handle, code=pyotp.TOTP(key).at(door.clock()))).status_code == 400
    assert await lets_in(door, app, somebody, somebody.secret)
    assert await decisions(door, "person.authenticator_changed") == []


async def test_passwords_tried_there_are_counted_and_lock_that_page(door: FrontDoor, somebody: Browser) -> None:
    visit, other = [await visiting(door, somebody) for _ in range(2)]
    key = await new_key(visit)
    for _ in range(5):
        await change(door, visit, key, "not the password")
    assert (await change(door, visit, key, somebody.password)).status_code == 400
    assert [each.details["reason"] for each in await door.refusals()] == [*["wrong_password"] * 5, "locked"]
    assert (await change(door, other, await new_key(other), somebody.password)).status_code == 400
    assert (await door.refusals())[-1].details["reason"] == "locked"
    door.clock.ahead += timedelta(seconds=30)
    assert (await change(door, other, await new_key(other), somebody.password)).status_code == 200


async def test_a_stranger_who_locks_the_login_keeps_nobody_from_changing_the_app(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    """Whose key was seen by somebody else must be able to replace it just then."""
    phone = Authenticator()
    await (await visiting(door, somebody)).add(phone, "phone")
    stranger = Browser(door.http, somebody.login, "not the password", somebody.secret, door.clock)
    door.http.cookies.clear()
    handle = handle_in(await stranger.get("/oauth/authorize", **app.asks()))
    for _ in range(7):  # half a minute apart
        await stranger.sign_in(handle)
    assert (await door.refusals())[-1].details["reason"] == "locked"
    visit = await visiting_with(door, phone)
    key = await new_key(visit)
    assert (await change(door, visit, key, somebody.password)).status_code == 200


async def reasons(door: FrontDoor) -> list[str]:
    return [str(each.details["reason"]) for each in await door.refusals()]


async def test_tries_there_and_tries_to_sign_in_are_one_count(door: FrontDoor, app: App, somebody: Browser) -> None:
    visit = await visiting(door, somebody)
    key = await new_key(visit)
    for _ in range(3):
        assert not await lets_in(door, app, somebody, key)
    for _ in range(2):
        assert (await change(door, visit, key, "not the password")).status_code == 400
    assert (await change(door, visit, key, somebody.password)).status_code == 400
    assert (await reasons(door))[3:] == ["wrong_password", "wrong_password", "locked"]
    assert await lets_in(door, app, somebody, somebody.secret), "half a minute later"
    for tried in range(6):
        door.clock.ahead += timedelta(seconds=30 * (tried == 5))
        await change(door, visit, key, "not the password")
    assert not await lets_in(door, app, somebody, somebody.secret)
    assert (await reasons(door))[-2:] == ["wrong_password", "locked"]


async def test_under_a_lock_whoever_is_in_has_one_try_a_day_and_no_second_budget(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    visit = await visiting(door, somebody)
    key = await new_key(visit)
    stranger = Browser(door.http, somebody.login, "not the password", somebody.secret, door.clock)
    door.http.cookies.clear()
    handle = handle_in(await stranger.get("/oauth/authorize", **app.asks()))
    for _ in range(7):
        await stranger.sign_in(handle)
    before = await reasons(door)
    assert before[-1] == "locked"
    for _ in range(3):
        assert (await change(door, visit, key, "not the password")).status_code == 400
    assert (await reasons(door))[len(before) :] == ["wrong_password", "locked", "locked"]


async def test_the_right_password_there_is_no_failure_and_takes_none_of_others_back(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    """Who knows it, and lacks the code, must not be able to begin a count of codes anew."""
    visit = await visiting(door, somebody)
    key = await new_key(visit)
    wrong = "000000" if pyotp.TOTP(key).at(door.clock()) != "000000" else "000001"
    for _ in range(2):
        assert not await lets_in(door, app, somebody, key)
    for _ in range(7):
        page = await visit.post(CHANGE, handle=visit.handle, code=wrong, password=somebody.password)
        assert "not the one your new app shows" in page.text
    for _ in range(3):
        assert not await lets_in(door, app, somebody, key)
    assert await reasons(door) == ["wrong_code"] * 5
    assert (await change(door, visit, key, "not the password")).status_code == 400
    assert (await change(door, visit, key, somebody.password)).status_code == 400
    assert (await reasons(door))[5:] == ["wrong_password", "locked"]


async def test_whoever_lost_the_app_changes_it_with_a_passkey_and_the_password(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    phone = Authenticator()
    await (await visiting(door, somebody)).add(phone, "phone")
    visit = await visiting_with(door, phone)
    key = await new_key(visit)
    assert (await change(door, visit, key, somebody.password)).status_code == 200
    assert await lets_in(door, app, somebody, key)
    assert await signs_in(door, app, phone)


async def replace_app(door: FrontDoor, somebody: Browser) -> None:
    visit = await visiting(door, somebody)
    await change(door, visit, await new_key(visit), somebody.password)


async def replace_password(door: FrontDoor, somebody: Browser) -> None:
    door.clock.ahead += timedelta(seconds=30)
    form = {"login": somebody.login, "password": somebody.password, "code": somebody.code, "new": "some other words"}
    await door.http.post("/oauth/password", data=form)


async def remove_passkey(door: FrontDoor, somebody: Browser) -> None:
    visit = await visiting(door, somebody)
    await visit.add(Authenticator(), "stolen")
    await visit.remove(0)


@pytest.mark.parametrize(
    ("replace", "reason"),
    [(replace_app, "authenticator_changed"), (replace_password, "password_changed"),
     (remove_passkey, "passkey_removed")],
)  # fmt: skip
async def test_what_somebody_else_has_by_what_is_gone_ends_with_it(
    door: FrontDoor, app: App, somebody: Browser, replace: object, reason: str
) -> None:
    assert callable(replace)
    back = await somebody.allow("/oauth/authorize", **app.asks())
    tokens = (await app.redeem(back["code"])).json()
    thief = Browser(door.http, somebody.login, somebody.password, somebody.secret, door.clock)
    handle = handle_in(await thief.get("/oauth/authorize", **app.asks()))
    assert (await thief.sign_in(handle)).status_code == 200
    open_page = await visiting(door, somebody)
    door.http.cookies.clear()
    await replace(door, somebody)
    assert (await app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    async with door.rebuilt() as http:  # a gateway that remembers nothing
        answer = await http.post("/graphql", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert answer.status_code == 401
    assert (await thief.post("/oauth/consent", handle=handle, answer="allow")).status_code == 400
    assert (await open_page.post(KEY, handle=open_page.handle)).status_code == 400
    (ended,) = await decisions(door, "token.revoked")
    assert (ended.details["reason"], ended.actor) == (reason, f"person/{ended.details['person']}")


@pytest.mark.parametrize("end", ["time", "other browser", "disabled", "used"])
async def test_a_new_key_is_good_for_its_own_visit_alone(door: FrontDoor, somebody: Browser, end: str) -> None:
    visit = await visiting(door, somebody)
    key, handle = await new_key(visit), visit.handle
    match end:
        case "time":
            door.clock.ahead += VISIT_LIFE
        case "other browser":
            visit.cookie = (await entered(door)).cookie
        case "disabled":
            async with door.database.transaction(read_only=True) as tx:
                person = await tx.conn.fetchval("select id from oauth.person")
            await door.parts.people.disable(operator(), person)
        case _:
            assert (await change(door, visit, key, somebody.password)).status_code == 200
            door.clock.ahead += timedelta(seconds=60)
    code = pyotp.TOTP(key).at(door.clock())
    assert (await visit.post(CHANGE, handle=handle, code=code, password=somebody.password)).status_code == 400
    assert len(await decisions(door, "person.authenticator_changed")) == (end == "used")


async def test_no_key_is_confirmed_that_was_not_told(door: FrontDoor, somebody: Browser) -> None:
    visit = await visiting(door, somebody)
    refused = await visit.post(CHANGE, handle=visit.handle, code=somebody.code, password=somebody.password)
    assert refused.status_code == 400
    assert await decisions(door, "person.authenticator_changed") == []


@pytest.mark.parametrize("path", [KEY, CHANGE])
async def test_another_site_posts_neither_form(door: FrontDoor, somebody: Browser, path: str) -> None:
    visit = await visiting(door, somebody)
    headers = {"Cookie": visit.cookie, **ORIGIN, "Origin": "https://evil.example"}
    assert (await door.http.post(path, data={"handle": visit.handle}, headers=headers)).status_code == 400
    assert (await door.refusals())[-1].details["reason"] == "cross_site"
    assert (await door.http.post(path, data={"handle": visit.handle})).status_code == 400  # no browser of ours
    assert "<code>" not in (await door.http.get(ACCOUNT)).text


async def test_a_sign_in_that_was_checked_before_the_change_lets_nobody_in_after_it(
    door: FrontDoor, app: App, somebody: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thief's password and code are right when they are compared, and dead a moment later."""
    checked, changed = asyncio.Event(), asyncio.Event()
    signed_in = door.parts.grants.signed_in

    async def after_the_change(*arguments: object) -> None:
        checked.set()
        await changed.wait()
        await signed_in(*arguments)  # type: ignore[arg-type]

    visit = await visiting(door, somebody)
    key = await new_key(visit)
    thief = Browser(door.http, somebody.login, somebody.password, somebody.secret, door.clock)
    handle = handle_in(await thief.get("/oauth/authorize", **app.asks()))
    with monkeypatch.context() as patched:
        patched.setattr(door.parts.grants, "signed_in", after_the_change)
        entering = asyncio.create_task(thief.sign_in(handle))
        await checked.wait()
        assert (await change(door, visit, key, somebody.password)).status_code == 200
        changed.set()
        assert (await entering).status_code == 400
    assert (await thief.post("/oauth/consent", handle=handle, answer="allow")).status_code == 400
    assert await decisions(door, "token.granted") == []


async def test_nobody_replaces_the_key_of_somebody_who_can_sign_in_without_an_entry(
    door: FrontDoor, somebody: Browser, gateway: Connection
) -> None:
    await visiting(door, somebody)
    with pytest.raises(asyncpg.PostgresError, match="not changed without an entry"):
        await gateway.execute("update oauth.person set totp_secret = 'of the thief'")
