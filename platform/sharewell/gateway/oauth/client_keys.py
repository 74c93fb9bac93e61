"""Keys of clients that publish them (`jwks_uri`, RFC 7591, 2), each publisher's kept at hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from joserfc.jwk import ECKey, Key, RSAKey

from sharewell.gateway.oauth.egress import Egress
from sharewell.gateway.oauth.remote_keys import RemoteKeys

MOST = 1024


class ClientKeys:
    """Finds the key of a registered address by name."""

    def __init__(self, egress: Egress, now: Callable[[], datetime]) -> None:
        self._egress, self._now = egress, now
        self._publishers: dict[str, RemoteKeys] = {}

    async def find(self, url: str, kid: str) -> Key | None:
        """The key, if it is one that SMART's two algorithms sign with. Raises `Unavailable`."""
        if url not in self._publishers:
            if len(self._publishers) >= MOST:
                self._publishers.clear()  # addresses come from registrations, so this is rare
            self._publishers[url] = RemoteKeys(partial(self._egress.document, url), self._now)
        key = await self._publishers[url].find(kid)
        good = isinstance(key, RSAKey) or (isinstance(key, ECKey) and key.curve_name == "P-384")
        return key if good else None
