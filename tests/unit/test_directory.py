"""Registrations at hand: fresh within seconds, and no memory for names that were made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sharewell.domain.clients import Client, ClientStatus
from sharewell.domain.errors import Unavailable
from sharewell.domain.principals import Role
from sharewell.gateway import directory
from sharewell.gateway.directory import LIFE, Directory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_client(client_id: str, *, expires_at: datetime | None = None) -> Client:
    return Client(
        client_id=client_id, name="n", roles=frozenset({Role.REGULATOR}), scopes=("system/Offer.r",), keys=(),
        institution=None, status=ClientStatus.ACTIVE, expires_at=expires_at, created_at=NOON,
    )  # fmt: skip


class Registry:
    """Registrations that can change and go away, read by a directory whose clock stands where a test puts it."""

    def __init__(self, *clients: Client) -> None:
        self.clients = {client.client_id: client for client in clients}
        self.reads = 0
        self.away = False
        self.now = NOON
        self.directory = Directory(self.find, lambda: self.now)

    async def find(self, client_id: str) -> Client | None:
        if self.away:
            raise Unavailable
        self.reads += 1
        return self.clients.get(client_id)


async def test_a_registration_is_read_once_in_a_while() -> None:
    registry = Registry(a_client("ward"))
    for _ in range(3):
        assert await registry.directory.usable("ward") == registry.clients["ward"]
    assert registry.reads == 1


async def test_a_change_is_seen_within_its_life() -> None:
    registry = Registry(a_client("ward"))
    await registry.directory.usable("ward")
    registry.clients["ward"] = registry.clients["ward"].disable()
    registry.now = NOON + LIFE - timedelta(microseconds=1)
    assert await registry.directory.usable("ward") is not None
    registry.now = NOON + LIFE
    assert await registry.directory.usable("ward") is None


async def test_a_registration_at_hand_still_expires_to_the_second() -> None:
    registry = Registry(a_client("ward", expires_at=NOON + timedelta(seconds=1)))
    assert await registry.directory.usable("ward") is not None
    registry.now = NOON + timedelta(seconds=1)
    assert await registry.directory.usable("ward") is None


async def test_a_clock_that_is_put_back_does_not_keep_it_for_ever() -> None:
    registry = Registry(a_client("ward"))
    await registry.directory.usable("ward")
    registry.now = NOON - timedelta(days=1)
    await registry.directory.usable("ward")
    assert registry.reads == 2


async def test_an_unknown_client_is_asked_for_again() -> None:
    registry = Registry()
    assert await registry.directory.usable("ward") is None
    registry.clients["ward"] = a_client("ward")
    assert await registry.directory.usable("ward") is not None


async def test_while_the_database_is_away_only_what_is_fresh_is_used() -> None:
    registry = Registry(a_client("ward"))
    await registry.directory.usable("ward")
    registry.away = True
    assert await registry.directory.usable("ward") is not None
    registry.now = NOON + LIFE
    with pytest.raises(Unavailable):
        await registry.directory.usable("ward")


async def test_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST", 3)
    registry = Registry(*(a_client(f"c-{number}") for number in range(10)))
    for number in range(10):
        await registry.directory.usable(f"c-{number}")
        assert len(registry.directory._held) <= 3
