"""Which address a request comes from. What a header says of it counts only where a proxy of ours put it there.

Anybody can send a header, so by default the peer of the connection is the address, whatever is written. Where proxies
stand in front, the operator names them and the one header that they write; it is read from its end, through the
proxies, to the first address that is none of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

Network = IPv4Network | IPv6Network
NOWHERE = "unknown"  #: no connection over IP, such as a socket file
#: RFC 7239, 4: the parameter `for` of one element, quoted where it holds a colon.
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;,\s]*)', re.IGNORECASE)
MOST_HOPS = 20


class PeerAddress:
    """Puts the address that requests are counted by into `scope["state"]["peer"]`."""

    def __init__(self, app: ASGIApp, *, proxies: Sequence[Network] = (), header: str = "x-forwarded-for") -> None:
        self.app, self._proxies, self._header = app, tuple(proxies), header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope.setdefault("state", {})["peer"] = self._peer(scope)
        await self.app(scope, receive, send)

    def _peer(self, scope: Scope) -> str:
        address = (scope.get("client") or (NOWHERE, 0))[0]
        if within(address, self._proxies):
            # Whoever is nearest to us comes last; what lies behind the first stranger is that stranger's word.
            for hop in reversed(_hops(Headers(scope=scope), self._header)[-MOST_HOPS:]):
                address = hop
                if not within(hop, self._proxies):
                    break
        return counted_as(address)


def within(text: str, networks: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks; what is none lies nowhere."""
    if not networks:
        return False
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in networks)


def counted_as(text: str) -> str:
    """An IPv4 address itself; of IPv6 the /64, which one subscriber has whole; anything else is one stranger."""
    try:
        address = ip_address(text)
    except ValueError:
        return NOWHERE
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), 64), strict=False))


def _hops(headers: Headers, header: str) -> list[str]:
    """The addresses of every such header, in the order of writing."""
    elements = [part.strip() for line in headers.getlist(header) for part in line.split(",")]
    if header != "forwarded":
        return [_bare(element) for element in elements]
    found = [_FOR.search(element) for element in elements]
    return [_bare(match[1]) if match else NOWHERE for match in found]


def _bare(text: str) -> str:
    """Without quotes, brackets and port."""
    text = text.strip('"')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
