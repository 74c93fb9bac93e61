"""How many connections one address may hold open, so that no address takes them all.

Addresses are counted as in `proxies`. Proxies of ours are not counted: what they pass on is everybody's.
"""

from __future__ import annotations

from asyncio import BaseTransport, Transport
from collections.abc import Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sharewell.gateway.proxies import NOWHERE, Network, counted_as, within

MOST = 1000
_WHY = b'{"error":{"code":"TOO_MANY_REQUESTS","message":"Too many connections from your address."}}'
REFUSAL = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_WHY), _WHY)
)


@cache
def _figure(registry: CollectorRegistry) -> Counter:
    """A registry takes each figure once, however many servers a process runs."""
    return Counter(
        "sharewell_http_connections_refused", "Connections beyond the bound of their address.", registry=registry
    )


class Connections:
    """Those of one gateway, by address."""

    def __init__(self, registry: CollectorRegistry, *, most: int = MOST, proxies: Sequence[Network] = ()) -> None:
        self._figure, self._most, self._proxies = _figure(registry), most, tuple(proxies)
        self.held: dict[str, int] = {}  #: by what the address is counted as

    def come(self, address: str) -> bool:
        """Count one more from the peer's address, if it may be."""
        key = counted_as(address)
        held = self.held.get(key, 0)
        if held >= self._most and not within(address, self._proxies):
            self._figure.inc()
            return False
        self.held[key] = held + 1
        return True

    def leave(self, address: str) -> None:
        """Count one less."""
        key = counted_as(address)
        self.held[key] -= 1
        if not self.held[key]:
            del self.held[key]

    def protocols(self) -> tuple[type[HttpToolsProtocol], type[WebSocketsSansIOProtocol]]:
        """uvicorn's protocols, counting here."""
        return _http(self), _websocket(self)


def _address(transport: BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else NOWHERE


def _http(connections: Connections) -> type[HttpToolsProtocol]:
    class Counted(HttpToolsProtocol):
        address: str | None = None  #: None: it is not counted, or counted elsewhere

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            address = _address(transport)
            if not connections.come(address):
                transport.write(REFUSAL)
                transport.close()
                return
            self.address = address
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.address is not None:
                connections.leave(self.address)
                super().connection_lost(exc)

        def handle_websocket_upgrade(self) -> None:
            super().handle_websocket_upgrade()
            self.address = None  # the socket's protocol has it now

    return Counted


def _websocket(connections: Connections) -> type[WebSocketsSansIOProtocol]:
    """The same connection under another protocol: it was let in when it came."""

    class Counted(WebSocketsSansIOProtocol):
        address = NOWHERE

        def connection_made(self, transport: BaseTransport) -> None:
            self.address = _address(transport)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.leave(self.address)
            super().connection_lost(exc)

    return Counted
