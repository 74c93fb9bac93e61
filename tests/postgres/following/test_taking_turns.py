"""Whatever way an operation comes by, its client has no more of them at work than its turns allow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.postgres.following.conftest import socket

from sharewell.domain.principals import Role
from sharewell.settings import TURNS
from sharewell_schema.view import View

if TYPE_CHECKING:
    from tests.postgres.following.conftest import Gateway, Region

ASKED = 8
ME = "{ me { clientId } }"
OURS = {"data": {"me": {"clientId": "flood"}}}


class Held:
    """Operations stay at work until the test lets them go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.most, self.go_on = 0, 0, asyncio.Event()
        run = View._run

        async def held(view: View, *args: Any) -> Any:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await self.go_on.wait()
                return await run(view, *args)
            finally:
                self.now -= 1

        monkeypatch.setattr(View, "_run", held)

    async def all_there(self, gateway: Gateway) -> None:
        """Return once all that were asked are at work, or wait for their turn."""
        while self.now + (gateway.registry.get_sample_value("sharewell_http_waiting") or 0) < ASKED:
            await asyncio.sleep(0.001)

    def check(self) -> None:
        # Those that last are few more; how fast this machine is decides whether there are such.
        assert 0 < self.most <= 2 * TURNS["each"] < ASKED


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_requests_take_turns_however_they_are_to_be_answered(
    region: Region, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    await region.client("flood", Role.REGULATOR)
    held = Held(monkeypatch)
    headers = {"Authorization": f"Bearer {region.token('flood')}", "Accept": accept}
    async with httpx2.AsyncClient(timeout=60) as http:
        asking = [http.post(f"{gateway.url}/graphql", json={"query": ME}, headers=headers) for _ in range(ASKED)]
        asked = [asyncio.create_task(each) for each in asking]
        await held.all_there(gateway)
        held.go_on.set()
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {200}
    assert all('"clientId":"flood"' in answer.text for answer in answers)
    assert {answer.headers["content-type"].partition(";")[0] for answer in answers} == {accept}
    held.check()


async def test_operations_over_one_socket_take_turns(
    region: Region, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await region.client("flood", Role.REGULATOR)
    held = Held(monkeypatch)
    async with socket(gateway.url) as talk:
        await talk.begin(region.token("flood"))
        for n in range(ASKED):
            await talk.subscribe(str(n), ME)
        await held.all_there(gateway)
        held.go_on.set()
        said = [await talk.receive() for _ in range(2 * ASKED)]
    assert [each["payload"] for each in said if each["type"] == "next"] == [OURS] * ASKED
    assert {each["id"] for each in said if each["type"] == "complete"} == {str(n) for n in range(ASKED)}
    held.check()

