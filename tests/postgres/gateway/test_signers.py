"""Clients that are remembered: what changed of one counts at once, whichever process changed it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from joserfc.jwk import ECKey

from sharewell.domain.clients import Client, Edition
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.gateway.conftest import FrontDoor, Program

    from sharewell.services.clients import ClientService


class Looks:
    """The clients, and how often one was looked at."""

    def __init__(self, clients: ClientService) -> None:
        self._clients, self.times = clients, 0

    async def find(self, client_id: str) -> Client | None:
        return await self._clients.find(client_id)

    async def edition(self, client_id: str) -> Edition | None:
        self.times += 1
        return await self._clients.edition(client_id)

    async def burn(self, client_id: str, jti: str, until: datetime, edition: int | None = None) -> bool:
        return await self._clients.burn(client_id, jti, until, edition)


@pytest.fixture
def looks(door: FrontDoor) -> Looks:
    return Looks(door.parts.clients)


@pytest.fixture
async def elsewhere(door: FrontDoor, ward: Program, looks: Looks) -> AsyncIterator[Program]:
    """The ward at another gateway, which has let it in before."""
    async with door.rebuilt(clients=looks) as http:
        program = replace(ward, http=http)
        await program.token()
        yield program


async def rewrite(admin_dsn: str, **columns: Any) -> None:
    """Change the registration of the ward as nobody but the owner of the machine can: without an entry."""
    conn = await asyncpg.connect(admin_dsn)
    try:
        changes = ", ".join(f"{name} = ${place}" for place, name in enumerate(columns, start=1))
        async with conn.transaction():
            await conn.execute("alter table oauth.client disable trigger needs_entry_update")
            assert await conn.execute(f"update oauth.client set {changes}", *columns.values()) == "UPDATE 1"
            await conn.execute("alter table oauth.client enable always trigger needs_entry_update")
    finally:
        await conn.close()


def key_set(*keys: ECKey) -> str:
    def shown(key: ECKey) -> Mapping[str, Any]:
        return {**key.as_dict(private=False), "use": "sig", "alg": "ES384"}

    return json.dumps({"keys": [shown(key) for key in keys]})


async def test_a_client_that_was_let_in_is_not_looked_up_again(elsewhere: Program, looks: Looks) -> None:
    for _ in range(3):
        await elsewhere.token()
    assert looks.times == 1


async def test_a_client_disabled_by_another_process_is_refused_at_once(door: FrontDoor, elsewhere: Program) -> None:
    assertion = elsewhere.assertion()
    await door.clients.disable(operator(), "ward")
    answer = await elsewhere.post(assertion)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")
    (refused,) = await door.refusals()
    assert (refused.details["reason"], refused.actor) == ("unknown_client", "anonymous")


async def test_a_remembered_registration_ends_when_it_says_so(
    door: FrontDoor, elsewhere: Program, admin_dsn: str
) -> None:
    await rewrite(admin_dsn, expires_at=door.clock() + timedelta(seconds=60))
    await elsewhere.token()
    door.clock.ahead = timedelta(seconds=61)
    assert (await elsewhere.post()).json()["error"] == "invalid_client"
    assert [refused.details["reason"] for refused in await door.refusals()] == ["unknown_client"]


async def test_a_key_that_was_taken_away_opens_nothing_and_its_successor_does(
    door: FrontDoor, elsewhere: Program, admin_dsn: str
) -> None:
    for kid, reason in (("key-1", "bad_signature"), ("key-2", "unknown_key")):
        old, new = elsewhere, elsewhere.using(key=ECKey.generate_key("P-384", {"kid": kid}))
        await rewrite(admin_dsn, jwks=key_set(new.key))  # type: ignore[arg-type]  # it was made on a curve just now
        assert (await old.post()).json()["error"] == "invalid_client"
        assert (await door.refusals())[-1].details["reason"] == reason
        await new.token()
        assert (await old.post()).json()["error"] == "invalid_client"
        elsewhere = new


async def test_a_scope_that_was_taken_away_is_not_given_again(elsewhere: Program, admin_dsn: str) -> None:
    await rewrite(admin_dsn, scopes=["system/Offer.r"])
    assert (await elsewhere.post()).json()["scope"] == "system/Offer.r"


async def test_who_signs_without_the_key_of_a_client_is_not_remembered(
    door: FrontDoor, ward: Program, looks: Looks
) -> None:
    async with door.rebuilt(clients=looks) as http:
        here = replace(ward, http=http)
        forged = here.using(key=ECKey.generate_key("P-384", {"kid": "key-1"}))
        for times in (1, 2):
            assert (await forged.post()).status_code == 400
            assert looks.times == times
        await here.token()
        assert looks.times == 3


async def test_an_assertion_is_not_used_up_for_a_registration_that_has_changed(
    door: FrontDoor, ward: Program, gateway_pool: Pool
) -> None:
    until = door.clock() + timedelta(minutes=5)
    read = await door.clients.edition("ward")
    assert read is not None
    await door.clients.disable(operator(), "ward")
    assert not await door.clients.burn("ward", "one", until, read.number)
    assert await gateway_pool.fetchval("select count(*) from oauth.jti") == 0
    now = await door.clients.edition("ward")
    assert now is not None
    assert await door.clients.burn("ward", "one", until, now.number)
    assert not await door.clients.burn("ward", "one", until, now.number)
