"""Whatever way an operation comes by, its client has no more of them at work than its turns allow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.postgres.following.conftest import socket

from sharewell.domain.principals import Role
from sharewell.gateway.turns import Bounds
from sharewell.settings import TURNS
from sharewell_schema.view import View

if TYPE_CHECKING:
    from tests.postgres.following.conftest import Gateway, Open, Region

ASKED = 8
ME = "{ me { clientId } }"
ALERTS = "subscription { alerts { cursor } }"
CROWDED = Bounds(slots=2, each=1, waiting=1, lasting=0)
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

    async def all_there(self, gateway: Gateway, asked: int = ASKED) -> None:
        """Return once all that were asked are at work, or wait for their turn."""
        while self.now + (gateway.registry.get_sample_value("sharewell_http_waiting") or 0) < asked:
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



async def test_who_has_too_many_waiting_over_a_socket_is_told_so_for_that_operation_alone(
    region: Region, open_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client in ("flood", "ward"):
        await region.client(client, Role.REGULATOR)
    held = Held(monkeypatch)
    async with (
        open_gateway(turns=CROWDED) as gateway, socket(gateway.url) as flood, socket(gateway.url) as again,
        socket(gateway.url) as ward,
    ):  # fmt: skip
        for talk, client in ((flood, "flood"), (again, "flood"), (ward, "ward")):
            await talk.begin(region.token(client))
        await flood.subscribe("worked on", ME)
        await held.all_there(gateway, 1)
        await flood.subscribe("waits", ME)
        await held.all_there(gateway, 2)
        # Of a subscription it is the opening that waits; another connection of the client has no queue of its own.
        for talk, query in ((flood, ME), (flood, ALERTS), (again, ME)):
            await talk.subscribe("too many", query)
            said = await talk.receive()
            assert (said["type"], said["id"]) == ("error", "too many")
            (error,) = said["payload"]
            assert error["extensions"]["code"] == "UNAVAILABLE"
            assert "2 of your requests are not answered yet" in error["message"]
        await ward.subscribe("1", ME)
        await held.all_there(gateway, 3)
        held.go_on.set()
        assert (await ward.receive())["payload"] == {"data": {"me": {"clientId": "ward"}}}
        told = [await flood.receive() for _ in range(4)]
        assert [each["id"] for each in told if each["type"] == "next"] == ["worked on", "waits"]
        await again.subscribe("too many", ME)  # there is room again, on the same connection and under the same name
        assert (await again.receive())["payload"] == OURS


@pytest.mark.parametrize("query", [ME, ALERTS], ids=["query", "subscription"])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_who_has_too_many_waiting_is_refused_before_a_stream_begins(
    region: Region, open_gateway: Open, monkeypatch: pytest.MonkeyPatch, accept: str, query: str
) -> None:
    await region.client("flood", Role.REGULATOR)
    held = Held(monkeypatch)
    headers = {"Authorization": f"Bearer {region.token('flood')}"}
    async with (
        open_gateway(turns=CROWDED) as gateway,
        httpx2.AsyncClient(timeout=60, base_url=gateway.url, headers=headers) as http,
    ):
        asked = [asyncio.create_task(http.post("/graphql", json={"query": ME})) for _ in range(2)]
        await held.all_there(gateway, 2)
        refused = await http.post("/graphql", json={"query": query}, headers={"Accept": accept})
        assert (refused.status_code, refused.headers["Retry-After"], refused.headers["RateLimit"]) == (
            429, "1", '"waiting";r=0'
        )  # fmt: skip
        assert refused.json()["error"]["code"] == "TOO_MANY_REQUESTS"
        held.go_on.set()
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 200]
