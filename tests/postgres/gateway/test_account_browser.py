"""People look after what signs them in, in a real browser with real (virtual) authenticators."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import pyotp
import pytest
import uvicorn
from tests import chromium
from tests.chromium import Device
from tests.postgres.gateway.conftest import AN_APP, App, Browser, who_calls

from sharewell.domain.people import PersonDraft
from sharewell.domain.principals import Role
from sharewell.gateway.app import build_app
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import FrontDoor

PICTURES = os.environ.get("SHAREWELL_PICTURES")  #: a folder to leave pictures of the pages in, for people to look at


@dataclass
class Person:
    """Somebody at a browser whose pages come from a gateway that listens."""

    tab: chromium.Tab
    site: str
    somebody: Browser

    async def enter(self) -> None:
        """Sign in by password and code."""
        await self.tab.open(f"{self.site}/oauth/account")
        self.somebody.clock.ahead += timedelta(seconds=30)  # a code counts once
        await self.tab.fill(login=self.somebody.login, password=self.somebody.password, code=self.somebody.code)
        await self.tab.press("Sign in")

    async def enter_with_passkey(self) -> None:
        await self.tab.open(f"{self.site}/oauth/account")
        await self.tab.press("Sign in with a passkey")

    async def passkeys(self) -> list[str]:
        """The names on the page."""
        names = "[...document.querySelectorAll('tbody td:first-child')].map((one) => one.textContent)"
        return list(await self.tab.run(names))

    async def picture(self, name: str) -> None:
        if PICTURES:
            await self.tab.picture(Path(PICTURES) / f"{name}.png")


@asynccontextmanager
async def listening(door: FrontDoor) -> AsyncIterator[str]:
    """The front door at an address of this machine, under the one name that browsers trust without TLS."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        site = f"http://localhost:{free.getsockname()[1]}"
        app = build_app(replace(door.parts, issuer=site), who_calls)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([free]))
        try:
            yield site
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
async def person(door: FrontDoor, somebody: Browser, tmp_path: Path) -> AsyncIterator[Person]:
    chromium.installed()
    async with listening(door) as site, chromium.opened(tmp_path / "browser") as tab:
        yield Person(tab, site, somebody)
        assert tab.complaints == []


async def test_a_person_adds_passkeys_on_two_devices_signs_in_with_each_and_removes_one(person: Person) -> None:
    tab, phone, stick = person.tab, Device(), Device()
    await person.enter()
    assert "You have no passkey." in await tab.text()
    await tab.plug_in(phone)
    await tab.fill(name="Phone <of> mine")
    await tab.press("Add a passkey")
    assert "Your passkey is added" in await tab.text()
    await tab.plug_in(stick)
    await tab.fill(name="Stick")
    await tab.enter()  # whoever types a name may well go on by the enter key
    assert (await person.passkeys()) == ["Phone <of> mine", "Stick"]
    await person.picture("passkeys")

    for device in (phone, stick):
        await tab.plug_in(device)
        await person.enter_with_passkey()
        assert "signed in here as Dr <Smurfette>" in await tab.text()
    await tab.press("Remove Phone <of> mine")
    assert (await person.passkeys()) == ["Stick"]
    await tab.press("Remove Stick")
    assert "This is your last passkey." in await tab.text()
    assert (await person.passkeys()) == ["Stick"]
    await tab.plug_in(phone)
    await person.enter_with_passkey()
    assert "That did not work." in await tab.text()
    await person.enter()
    await tab.press("Remove Stick")
    assert "You have no passkey." in await tab.text()


async def test_a_device_makes_no_passkey_for_a_stranger_and_no_second_one_for_its_owner(person: Person) -> None:
    tab = person.tab
    await person.enter()
    await tab.plug_in(Device(verifies=False))
    await tab.fill(name="Found in the street")
    await tab.click("Add a passkey")
    await tab.until("document.querySelector('[role=alert]')?.textContent.startsWith('That did not work.')")
    await tab.plug_in(Device())
    await tab.fill(name="Mine")
    await tab.press("Add a passkey")
    await tab.fill(name="Mine again")
    await tab.click("Add a passkey")
    await tab.until("document.body.innerText.includes('That did not work.')")
    await person.enter()
    assert await person.passkeys() == ["Mine"]


async def test_a_person_who_is_invited_adds_a_passkey_while_setting_up(person: Person, door: FrontDoor) -> None:
    tab, draft = person.tab, PersonDraft(login="brainy", name="Brainy", roles=frozenset({Role.REGULATOR}))
    _, invitation = await door.parts.people.register(operator(), draft)
    await tab.open(f"{person.site}/oauth/enrol")
    await tab.fill(invitation=invitation or "")
    await tab.press("Go on")
    await tab.plug_in(Device())
    await tab.click("Add a passkey, to sign in without password and code")
    await tab.until("document.body.innerText.includes('Your passkey is ready')")
    key = str(await tab.run("document.querySelector('code').textContent")).replace(" ", "")
    await tab.fill(password="a bed is a bed is a bed", code=pyotp.TOTP(key).at(door.clock()))
    await person.picture("enrol")
    await tab.press("Set up")
    assert "You can sign in now" in await tab.text()
    await person.enter_with_passkey()
    assert "signed in here as Brainy" in await tab.text()
    assert await person.passkeys() == ["First passkey"]


async def test_an_app_is_let_in_with_a_passkey_and_the_browser_goes_back_to_it(person: Person, door: FrontDoor) -> None:
    tab, back = person.tab, person.site.replace("localhost", "127.0.0.1") + "/healthz"
    app = App(door.http, (await door.register(**AN_APP | {"redirect_uris": [back]})).record)
    await person.enter()
    await tab.plug_in(Device())
    await tab.fill(name="Phone")
    await tab.press("Add a passkey")
    await tab.open(f"{person.site}/oauth/authorize?{urlencode(app.asks(redirect_uri=back))}")
    await tab.press("Sign in with a passkey")
    assert "Let Bed <board> act for you?" in await tab.text()
    await person.picture("consent")
    await tab.press("Allow")
    arrived = urlsplit(await tab.run("location.href"))
    assert f"{arrived.scheme}://{arrived.netloc}{arrived.path}" == back
    said = dict(parse_qsl(arrived.query))
    assert (said["state"], said["iss"]) == ("s-1", person.site)


async def test_a_person_changes_the_authenticator_app(person: Person) -> None:
    tab, somebody = person.tab, person.somebody
    await person.enter()
    await tab.press("Change your authenticator app")
    await person.picture("authenticator")
    key = str(await tab.run("document.querySelector('code').textContent")).replace(" ", "")
    assert await tab.run("document.querySelector('svg').getBoundingClientRect().height") > 150  # a camera reads it
    await tab.fill(code="000000", password=somebody.password)
    await tab.press("Change to the new app")
    assert "not the one your new app shows" in await tab.text()
    assert key[:4] not in await tab.text()
    await person.picture("authenticator-refused")
    await tab.fill(code=pyotp.TOTP(key).at(somebody.clock()), password=somebody.password)
    await tab.press("Change to the new app")
    assert "Your new app counts now" in await tab.text()
    await person.picture("authenticator-changed")
    await person.enter()
    assert "That did not work." in await tab.text()
    somebody.secret = key
    await person.enter()
    assert "signed in here as" in await tab.text()


async def test_a_script_that_got_into_a_page_does_not_run(person: Person) -> None:
    """And whatever the policy of a page forbids is noticed here: no other test would fail of an inline script."""
    tab = person.tab
    await person.enter()
    assert tab.complaints == []
    inline = "Object.assign(document.createElement('script'), {textContent: 'window.ran = true'})"
    assert await tab.run(f"document.body.append({inline}), window.ran ?? false") is False
    assert "Content Security Policy" in await tab.complained()


async def test_a_narrow_page_is_not_wider_than_its_screen(person: Person) -> None:
    tab = person.tab
    await tab.say("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True)
    await person.enter()
    await tab.plug_in(Device())
    await tab.fill(name="The-one-on-the-key-ring-that-hangs-in-the-hall-behind-a-door")
    await tab.press("Add a passkey")
    await person.picture("narrow")
    assert await tab.run("document.documentElement.scrollWidth") <= 320
    await tab.press("Change your authenticator app")
    assert await tab.run("document.documentElement.scrollWidth") <= 320
