"""Web addresses that are kept to be compared to the letter: redirects of apps, and where keys are published."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
MAX_LENGTH: Final = 500
_NEVER: Final = frozenset(' "<>\\^`{|}#*')
_PORTS: Final = {"http": 80, "https": 443}


def is_plain(text: str) -> bool:
    """Whether `text` is a whole https address (http on this machine) without user, fragment or wildcard."""
    if len(text) > MAX_LENGTH or not text.isascii() or not text.isprintable() or set(text) & _NEVER:
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for what is no port
    except ValueError:
        return False
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    return secure and bool(parts.hostname) and "@" not in parts.netloc


def origin_of(url: str | SplitResult) -> str:
    """Scheme, host and port of `url`, spelled out so that they can be compared."""
    parts = urlsplit(url) if isinstance(url, str) else url
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def shown_origin(url: str) -> str:
    """The same as browsers write it: the usual port left out."""
    return origin_of(url).removesuffix(f":{_PORTS.get(urlsplit(url).scheme)}")
