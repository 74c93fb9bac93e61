"""Public keys that others publish (RFC 7517), kept at hand: fetched when first needed, and anew for an unknown name.

A stranger who makes names up causes one fetch in `PAUSE`, however many tokens are sent. While the publisher is away,
keys that are known go on being used, for a day at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from sharewell.domain.errors import Unavailable
from sharewell.gateway.oauth.egress import FetchFailed

LIFE = timedelta(minutes=15)  # a key that its owner withdrew is out after this
PAUSE = timedelta(seconds=30)
LONGEST = timedelta(hours=24)
MOST = 32

log = structlog.stdlib.get_logger("sharewell.gateway")


class RemoteKeys:
    """The keys of one publisher."""

    def __init__(self, document: Callable[[], Awaitable[Mapping[str, Any]]], now: Callable[[], datetime]) -> None:
        self._document, self._now = document, now
        self._keys: Mapping[str, Key] = {}
        self._fetched: datetime | None = None
        self._tried: datetime | None = None
        self._turn = asyncio.Lock()

    async def find(self, kid: str) -> Key | None:
        """The key of that name. Raises `Unavailable` where none could ever be fetched."""
        if kid not in self._keys or not self._within(LIFE, self._fetched):
            async with self._turn:
                if (kid not in self._keys or not self._within(LIFE, self._fetched)) and not self._within(
                    PAUSE, self._tried
                ):
                    await self._fetch()
        if not self._within(LONGEST, self._fetched):
            raise Unavailable("the keys of the token's issuer cannot be had just now.")
        return self._keys.get(kid)

    def _within(self, span: timedelta, since: datetime | None) -> bool:
        return since is not None and since <= self._now() < since + span

    async def _fetch(self) -> None:
        self._tried = self._now()
        try:
            self._keys = usable(await self._document())
        except FetchFailed as why:
            log.warning("keys could not be fetched", why=str(why))
        else:
            self._fetched = self._tried


def usable(document: Mapping[str, Any]) -> dict[str, Key]:
    """The public signature keys of a JWK set, by name; what is something else is left out."""
    given = document.get("keys")
    found: dict[str, Key] = {}
    for raw in given[:MOST] if isinstance(given, list) else ():
        key = _public(raw)
        if key is not None:
            found.setdefault(str(raw["kid"]), key)
    return found


def _public(raw: object) -> Key | None:
    if not isinstance(raw, dict) or not isinstance(raw.get("kid"), str) or raw.get("use", "sig") != "sig":
        return None
    if raw.get("kty") == "oct" or "d" in raw:
        return None
    try:
        # A weak key is left out before the library warns of it.
        if raw.get("kty") == "RSA" and len(str(raw.get("n"))) * 6 < 2040:
            return None
        key = import_key(raw)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, (RSAKey, ECKey, OKPKey)) else None
