"""A real browser for tests: Chromium, told what to do by the Chrome DevTools Protocol over one WebSocket."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
    "--window-size=520,1000",
    # A click is heard also where the page has not been painted yet, and a page works on though nobody sees it.
    "--allow-pre-commit-input", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
)  # fmt: skip
PATIENCE = 120  #: seconds until a browser that says nothing is given up


def installed() -> str:
    """The path of Chromium; where there is none, the test is skipped."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"there is no Chromium on this machine ({', '.join(NAMES)}), which this test drives")
    return found


@dataclass(eq=False)
class Device:
    """An authenticator that keeps passkeys, and whose owner is there and agrees to everything."""

    verifies: bool = True  #: whether it finds that it is its owner
    passkeys: list[dict[str, Any]] = field(default_factory=list)  #: while it is unplugged
    id: str = ""


class Tab:
    """One page of a browser. Whatever the browser complains of (a policy that was broken, say) is in `complaints`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._frame = ""
        self._document = ""  #: whichever was loaded last
        self._heard = asyncio.Condition()
        self._device: Device | None = None
        self.session: str | None = None
        self.complaints: list[str] = []

    async def say(self, method: str, **params: Any) -> Any:
        """One command of the protocol, and what it answers."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        said = {"id": number, "method": method, "params": params}
        if self.session:
            said["sessionId"] = self.session
        await self._socket.send(json.dumps(said))
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def listen(self) -> None:
        """Take in what the browser says, for as long as it talks."""
        async for text in self._socket:
            told = json.loads(text)
            if (answer := self._answers.pop(told.get("id", 0), None)) is not None:
                if "error" in told:
                    answer.set_exception(AssertionError(f"the browser refuses: {told['error']}"))
                else:
                    answer.set_result(told["result"])
            match told.get("method"):
                case "Page.lifecycleEvent":
                    self._reached(told["params"])
                case "Log.entryAdded":
                    self._complain(told["params"]["entry"])
                case "Runtime.exceptionThrown":
                    self.complaints.append(str(told["params"]["exceptionDetails"]))
            async with self._heard:
                self._heard.notify_all()

    def _reached(self, event: dict[str, Any]) -> None:
        if event["name"] == "load" and event["frameId"] == self._frame:
            self._document = event["loaderId"]

    def _complain(self, entry: dict[str, Any]) -> None:
        """Keep what is a fault: not hints to authors, and not that an answer had the status 400."""
        if entry["level"] != "verbose" and entry["source"] != "network":
            self.complaints.append(entry["text"])

    async def open(self, url: str) -> None:
        await self._moving(self.say("Page.navigate", url=url))

    async def press(self, label: str) -> None:
        """Click the button that says so (or is labelled so), and wait for the page that follows."""
        await self._moving(self.click(label))

    async def enter(self) -> None:
        """Press the enter key, and wait for the page that follows."""
        key = {"key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}
        await self._moving(self.say("Input.dispatchKeyEvent", type="keyDown", **key))

    async def click(self, label: str) -> None:
        """Click the button that says so; where the page stays."""
        place = await self.run(
            f"""(() => {{
              const said = (one) => one.getAttribute("aria-label") ?? one.textContent.trim();
              const all = [...document.querySelectorAll("button, a")];
              const found = all.filter((one) => said(one) === {json.dumps(label)});
              if (found.length !== 1) throw new Error(`${{found.length}} of it: ${{document.body.innerText}}`);
              found[0].scrollIntoView({{block: "center"}});
              const box = found[0].getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2, box.width];
            }})()"""
        )
        assert place[2] > 0, f"{label} cannot be seen"
        for kind in ("mousePressed", "mouseReleased"):
            await self.say(
                "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1
            )  # fmt: skip

    async def fill(self, **fields: str) -> None:
        """Type into fields, by name, in place of what is there."""
        for name, text in fields.items():
            await self.run(f"""(() => {{
              const all = [...document.querySelectorAll("input[name={name}]:not([type=hidden])")];
              const shown = all.filter((one) => one.checkVisibility());
              if (shown.length !== 1) throw new Error(`${{shown.length}} fields {name}: ${{document.body.innerText}}`);
              shown[0].focus(); shown[0].select();
            }})()""")
            await self.say("Input.insertText", text=text)

    async def run(self, script: str) -> Any:
        """What an expression is in the page. Works whatever the page's own policy allows."""
        said = await self.say("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]["exception"]["description"]
        return said["result"].get("value")

    async def text(self) -> str:
        """What a person can read."""
        return str(await self.run("document.body.innerText"))

    async def until(self, condition: str) -> None:
        """Wait until an expression is true of the page."""
        await self.run(
            f"""new Promise((done) => {{
              const look = () => ({condition}) ? done(true) : requestAnimationFrame(look);
              look();
            }})"""
        )

    async def plug_in(self, device: Device) -> None:
        """From now on the browser finds this device, and no other."""
        if self._device is not None:
            (kept,) = (await self.say("WebAuthn.getCredentials", authenticatorId=self._device.id)).values()
            self._device.passkeys = kept
            await self.say("WebAuthn.removeVirtualAuthenticator", authenticatorId=self._device.id)
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": device.verifies, "automaticPresenceSimulation": True,
        }  # fmt: skip
        device.id = (await self.say("WebAuthn.addVirtualAuthenticator", options=options))["authenticatorId"]
        for passkey in device.passkeys:
            await self.say("WebAuthn.addCredential", authenticatorId=device.id, credential=passkey)
        self._device = device

    async def picture(self, path: Path) -> None:
        """How the page looks, whole."""
        shot = await self.say("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def start(self) -> None:
        """Have the browser tell of the page that is there."""
        for domain in ("Page", "Runtime", "Log", "WebAuthn"):
            await self.say(f"{domain}.enable")
        frame = (await self.say("Page.getFrameTree"))["frameTree"]["frame"]
        self._frame, self._document = frame["id"], frame["loaderId"]
        await self.say("Page.setLifecycleEventsEnabled", enabled=True)

    async def complained(self) -> str:
        """The next complaint, which may come a little after what it is about."""
        await self._once(lambda: bool(self.complaints))
        return self.complaints.pop()

    async def _moving(self, act: Any) -> None:
        """Wait for another document than the one that is there, whose own end of loading may come late."""
        before = self._document
        await act
        await self._once(lambda: self._document != before)

    async def _once(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._heard:
            await self._heard.wait_for(condition)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Tab]:
    """A browser of its own that knows nothing, with one page; `folder` is its home."""
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else []), f"--user-data-dir={folder}", "about:blank"]
    process = await asyncio.create_subprocess_exec(
        installed(), *flags, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        address = await _address(process.stderr)
        patient: dict[str, Any] = {"open_timeout": PATIENCE, "ping_interval": None}
        async with (
            _beside(process.stderr.read()), connect(address, max_size=None, proxy=None, **patient) as socket
        ):  # fmt: skip
            tab = Tab(socket)
            async with _beside(tab.listen()):
                await _attach(tab)
                yield tab
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Do `work` while the block runs, for no longer."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _address(stderr: asyncio.StreamReader) -> str:
    """Where the browser listens, which it says as it starts."""
    said = []
    async with asyncio.timeout(PATIENCE):
        async for line in stderr:
            if line.startswith(b"DevTools listening on "):
                return line.split()[-1].decode()
            said.append(line.decode())
    raise AssertionError(f"the browser ended: {''.join(said)}")


async def _pages(tab: Tab) -> list[str]:
    found = (await tab.say("Target.getTargets"))["targetInfos"]
    return [each["targetId"] for each in found if each["type"] == "page"]


async def _attach(tab: Tab) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (pages := await _pages(tab)):
            await asyncio.sleep(0.05)
    target = pages[0]
    tab.session = (await tab.say("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
    await tab.start()
