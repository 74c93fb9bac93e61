"""Fetching documents that others publish (their keys), without being made to fetch anything else.

Only origins that the operator listed are asked. The name is resolved here and the connection goes to that very
address, so that a name cannot point somewhere else between the check and the use (DNS rebinding). Addresses of this
machine and of its link are never asked through a name; private ones only for origins listed as `private:`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx2
import orjson

from sharewell.domain.addresses import LOOPBACK, origin_of

MAX_DOCUMENT = 64 * 1024
SECONDS = 5.0
PRIVATE = "private:"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, 2.1; a translator on the way takes it to what it holds


class FetchFailed(Exception):
    """The document could not be had; the message says why, in words that are safe to log."""


class Egress:
    """Gets JSON documents from listed origins."""

    def __init__(self, origins: Iterable[str], *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        listed = list(origins)
        self._private = {origin_of(each.removeprefix(PRIVATE)): each.startswith(PRIVATE) for each in listed}
        self._transport = transport

    def allows(self, url: str) -> bool:
        """Whether the operator listed the origin of `url`."""
        return origin_of(url) in self._private

    async def document(self, url: str) -> Mapping[str, Any]:
        """The JSON object at `url`. Raises `FetchFailed`."""
        if not self.allows(url):
            raise FetchFailed(f"the origin {origin_of(url)} is not listed in SHAREWELL_EGRESS")
        parts = urlsplit(url)
        try:
            async with asyncio.timeout(SECONDS):
                body = await self._body(parts, await self._address(parts))
            document = orjson.loads(body)
        except (httpx2.HTTPError, OSError, TimeoutError, ValueError) as error:
            raise FetchFailed(f"{origin_of(url)} did not answer with JSON ({type(error).__name__})") from error
        if not isinstance(document, dict):
            raise FetchFailed(f"what {origin_of(url)} answered is not a JSON object")
        return document

    async def _address(self, parts: SplitResult) -> Address:
        """Where the name points now; refuses addresses that a name must not point to."""
        host = parts.hostname or ""
        found = await asyncio.get_running_loop().getaddrinfo(host, _port(parts), type=socket.SOCK_STREAM)
        address = ipaddress.ip_address(found[0][4][0])
        origin, literal = origin_of(parts), host in LOOPBACK or _is_literal(host)
        if not _may_reach(address, literal=literal, private=self._private[origin]):
            raise FetchFailed(f"{host} points to an address inside; list it as {PRIVATE}{origin} if that is right")
        return address

    async def _body(self, parts: SplitResult, address: Address) -> bytes:
        host = f"[{address}]" if address.version == 6 else str(address)
        pinned = parts._replace(netloc=f"{host}:{_port(parts)}", fragment="").geturl()
        headers = {"Host": parts.netloc, "Accept": "application/json"}
        # No redirects, no proxies from the environment, no cookies: what was listed is asked, and nothing else.
        async with (
            httpx2.AsyncClient(transport=self._transport, trust_env=False, timeout=SECONDS) as http,
            http.stream(
                "GET", pinned, headers=headers, follow_redirects=False, extensions={"sni_hostname": parts.hostname}
            ) as answer,
        ):
            if answer.status_code != 200:
                raise FetchFailed(f"{parts.hostname} answered with status {answer.status_code}")
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_DOCUMENT:
                    raise FetchFailed(f"what {parts.hostname} answered is longer than {MAX_DOCUMENT} bytes")
            return body


def _port(parts: SplitResult) -> int:
    return parts.port or (80 if parts.scheme == "http" else 443)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _held(address: Address) -> Address:
    """The IPv4 address that one of IPv6 stands for, mapped, translated (RFC 6052) or 6to4 (RFC 3056)."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _may_reach(address: Address, *, literal: bool, private: bool) -> bool:
    if literal:  # the operator wrote this very address
        return True
    address = _held(address)
    never = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    # Python calls them global: what is reserved (RFC 4291, 2.5.5.1 among it), and the sites of old (RFC 3879).
    never = never or address.is_reserved or (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)
    return not never and (address.is_global or (private and address.is_private))
