"""Following what happens over a WebSocket: who is let in, what is answered, and with which code it ends."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from joserfc.jwk import ECKey
from tests.postgres.following.conftest import EVERYTHING, ISSUER, OFFERS, PAGE, follow_from, socket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sharewell.domain.principals import Caller, Role
from sharewell_schema import sockets

if TYPE_CHECKING:
    from tests.postgres.following.conftest import Gateway, Open, Region, Socket


async def code_of(ended: Socket, *sent: str | bytes) -> tuple[int, str]:
    """With which code and reason the connection is closed, whatever comes before; also while `sent` is being sent."""
    with pytest.raises(ConnectionClosed) as closed:
        for message in sent:
            await ended.connection.send(message)
        while True:
            await ended.receive()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def test_events_come_one_after_the_other_and_several_operations_share_a_connection(
    region: Region, gateway: Gateway
) -> None:
    await region.institution("clinic")
    async with socket(gateway.url) as talk:
        await talk.begin(region.token("clinic"))
        await talk.subscribe("me", "{ me { clientId } }")
        assert await talk.receive() == {
            "type": "next", "id": "me", "payload": {"data": {"me": {"clientId": "clinic"}}}
        }  # fmt: skip
        assert await talk.receive() == {"type": "complete", "id": "me"}
        await talk.subscribe("a", OFFERS)
        await talk.subscribe("b", "subscription { requests { request { id } } }")
        first = json.loads(await talk.connection.recv())
        second = json.loads(await talk.connection.recv())
        assert {one["payload"]["id"] for one in (first, second)} == {"a", "b"}  # both say where they begin
        offer, asked = await region.pledge("clinic"), await region.ask("clinic")
        told = {(one := await talk.receive())["id"]: one["payload"]["data"] for _ in range(2)}
        assert told["a"]["offers"]["offer"]["id"] == str(offer.id)
        assert told["b"]["requests"]["request"]["id"] == str(asked.id)
        await talk.send(type="complete", id="a")
        await talk.send(type="ping")
        assert await talk.receive() == {"type": "pong"}
        await region.pledge("clinic")
        asked = await region.ask("clinic")
        assert (await talk.receive())["payload"]["data"]["requests"]["request"]["id"] == str(asked.id)


async def test_the_token_may_come_in_the_header_too(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    bearer = {"Authorization": f"Bearer {region.token('clinic')}"}
    async with socket(gateway.url, additional_headers=bearer) as talk:
        await talk.begin()
        await talk.subscribe("me", "{ me { clientId } }")
        assert (await talk.receive())["payload"] == {"data": {"me": {"clientId": "clinic"}}}


async def test_whoever_brings_no_good_token_is_not_let_in(region: Region, gateway: Gateway) -> None:
    for given in ({}, {"authorization": "Bearer nonsense"}, {"authorization": 3}, {"authorization": "DPoP x"}):
        async with socket(gateway.url) as talk:
            await talk.send(type="connection_init", payload=given)
            assert (await code_of(talk))[0] == sockets.FORBIDDEN
    with pytest.raises(InvalidStatus) as refused:
        async with socket(gateway.url, additional_headers={"Authorization": "Bearer nonsense"}):
            pass
    assert refused.value.response.status_code == 401
    assert len(await region.recorded("access.refused")) == 2  # where a token was shown


async def test_a_token_that_is_bound_to_a_key_opens_nothing_without_its_proof(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    key = ECKey.generate_key("P-256")
    claims = {
        "iss": ISSUER, "aud": ISSUER, "sub": "clinic", "client_id": "clinic", "jti": "t", "scope": "system/*.cruds",
        "iat": int(region.clock().timestamp()), "exp": int(region.clock().timestamp()) + 60,
        "cnf": {"jkt": key.thumbprint()},
    }  # fmt: skip
    async with socket(gateway.url) as talk:
        bound = region.keys.sign(claims, type="at+jwt")
        await talk.send(type="connection_init", payload={"authorization": f"Bearer {bound}"})
        assert (await code_of(talk))[0] == sockets.FORBIDDEN
    (refused,) = await region.recorded("access.refused")
    assert refused.details["reason"] == "no_proof"


async def test_pages_of_other_origins_may_not_connect(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    async with socket(gateway.url, origin=PAGE) as talk:
        await talk.begin(region.token("clinic"))
    for origin in ("https://evil.example", "null", f"{PAGE}.evil.example"):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(gateway.url, origin=origin):
                pass
        assert refused.value.response.status_code == 403


async def test_a_connection_that_says_nothing_is_closed(
    region: Region, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "INIT_SECONDS", 0.1)
    async with socket(gateway.url) as talk:
        assert (await code_of(talk))[0] == sockets.TOO_LATE
    async with socket(gateway.url, subprotocols=["graphql-ws"]) as talk:
        assert (await code_of(talk))[0] == sockets.NO_SUCH_PROTOCOL


ID_TWICE = [{"type": "subscribe", "id": "1", "payload": {"query": OFFERS}}] * 2


NO_MESSAGES: list[tuple[list[Any], int]] = [
    ([{"type": "connection_init"}], sockets.INIT_TWICE),
    (ID_TWICE, sockets.ID_IN_USE),
    ([{"type": "subscribe", "id": "1", "payload": {"query": 3}}], sockets.BAD_MESSAGE),
    ([{"type": "subscribe", "payload": {"query": OFFERS}}], sockets.BAD_MESSAGE),
    ([{"type": "hello"}], sockets.BAD_MESSAGE),
    (["not json"], sockets.BAD_MESSAGE),
    ([b"\x00\x01"], sockets.BAD_MESSAGE),
    (["[]"], sockets.BAD_MESSAGE),
    (["x" * (1024 * 1024 + 1)], 1009),
]


async def test_what_is_no_message_of_the_protocol_ends_the_connection(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    for sent, code in NO_MESSAGES:
        async with socket(gateway.url) as talk:
            await talk.begin(region.token("clinic"))
            written = [message if isinstance(message, str | bytes) else json.dumps(message) for message in sent]
            assert (await code_of(talk, *written))[0] == code, str(sent)[:80]


async def test_nothing_is_answered_before_a_connection_says_who_it_is(region: Region, gateway: Gateway) -> None:
    async with socket(gateway.url) as talk:
        await talk.subscribe("1", "{ me { clientId } }")
        assert (await code_of(talk))[0] == sockets.UNAUTHORISED


async def test_a_wrong_operation_is_an_error_and_the_connection_stays(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    await region.client("narrow", Role.REGULATOR, scopes=("system/Request.rs",))
    async with socket(gateway.url) as talk:
        await talk.begin(region.token("narrow"))
        for name, query, code in (
            ("1", "subscription { nothing }", "INVALID"), ("2", OFFERS, "FORBIDDEN"),
            ("3", 'subscription { requests(after: "!") { cursor } }', "INVALID"),
        ):  # fmt: skip
            await talk.subscribe(name, query)
            said = await talk.receive()
            assert (said["type"], said["id"]) == ("error", name)
            assert said["payload"][0]["extensions"]["code"] == code
        await talk.subscribe("1", "{ me { clientId } }")
        assert (await talk.receive())["type"] == "next"


async def test_a_connection_has_so_many_operations_and_no_more(
    region: Region, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MOST_OPERATIONS", 2)
    await region.institution("clinic")
    async with socket(gateway.url) as talk:
        await talk.begin(region.token("clinic"))
        for name in ("1", "2", "3"):
            await talk.subscribe(name, OFFERS)
        said = await talk.receive()
        assert (said["type"], said["id"], said["payload"][0]["extensions"]["code"]) == ("error", "3", "UNAVAILABLE")


async def test_a_connection_outlasts_no_registration(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    async with socket(gateway.url) as talk:
        await talk.begin(region.token("clinic"))
        await talk.subscribe("1", "{ me { clientId } }")
        assert [(await talk.receive())["type"] for _ in range(2)] == ["next", "complete"]
        admin = Caller(
            principal="admin", roles=frozenset({Role.ADMIN}), scopes=frozenset({EVERYTHING}), request_id="r-1"
        )
        await region.services.clients.disable(admin, "clinic")
        region.clock.ahead = timedelta(seconds=6)  # a registration is at hand for five
        await talk.subscribe("2", "{ me { clientId } }")
        assert (await code_of(talk))[0] == sockets.FORBIDDEN


async def test_a_connection_ends_with_its_token(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    for query in (OFFERS, None):
        async with socket(gateway.url) as talk:
            region.clock.stands = datetime.now(UTC)  # until it is let in, however long that takes
            await talk.begin(region.token("clinic", seconds=2))
            if query:
                await talk.subscribe("1", query)
            region.clock.stands = None
            code, reason = await code_of(talk)
            assert code == sockets.FORBIDDEN
            assert "get a new one" in reason


async def test_a_connection_ends_with_its_gateway_and_goes_on_at_another(region: Region, open_gateway: Open) -> None:
    await region.institution("clinic")
    token = region.token("clinic")
    async with open_gateway() as one, open_gateway() as other:
        start = await follow_from(one.url, token)
        async with socket(one.url) as talk, socket(one.url) as idle:
            for each in (talk, idle):
                await each.begin(token)
            await talk.subscribe("1", OFFERS, after=start)
            await talk.connection.recv()
            ending = asyncio.create_task(one.end())
            assert {(await code_of(each))[0] for each in (talk, idle)} == {sockets.RESTART}
            await ending
        offer = await region.pledge("clinic")
        async with socket(other.url) as talk:
            await talk.begin(token)
            await talk.subscribe("1", OFFERS, after=start)
            assert (await talk.receive())["payload"]["data"]["offers"]["offer"]["id"] == str(offer.id)
