"""Which addresses the bound on connections holds, and which are one."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from prometheus_client import CollectorRegistry

from sharewell.gateway.connections import Connections

PROXIES = (ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/56"), ip_network("2001:db8::7/128"))


@pytest.mark.parametrize("address", ["10.244.0.7", "::ffff:10.244.0.7", "fd00:10:244::7", "2001:db8::7"])
def test_what_proxies_of_ours_pass_on_has_no_bound_of_theirs(address: str) -> None:
    connections = Connections(CollectorRegistry(), most=2, proxies=PROXIES)
    assert [connections.come(address) for _ in range(4)] == [True] * 4
    for _ in range(4):
        connections.leave(address)
    assert connections.held == {}


def test_the_addresses_of_one_subscriber_share_a_bound_and_their_room() -> None:
    connections = Connections(CollectorRegistry(), most=2, proxies=PROXIES)
    assert [connections.come(f"2001:db8::{n}") for n in (1, 2, 3)] == [True, True, False]
    assert connections.come("2001:db8:0:1::1")
    connections.leave("2001:db8::1")
    assert connections.come("2001:db8::3")
