"""What a signed JWT (RFC 7519) says of itself, before anybody looked at its signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError


class MalformedJwt(Exception):
    """It is none, or too long; the message says so of what it was to be."""


def unverified(text: str, what: str, most: int) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Header and claims of a JWT of at most `most` bytes, called `what`.

    Raises `MalformedJwt`, also where it nests deeper than can be read.
    """
    if len(text) > most:
        raise MalformedJwt(f"The {what} is longer than {most} bytes.")
    try:
        parts = jws.extract_compact(text.encode("ascii"))
        claims = orjson.loads(parts.payload or b"")
    except (JoseError, ValueError):
        raise MalformedJwt(f"The {what} is not a signed JWT.") from None
    if not isinstance(claims, dict):
        raise MalformedJwt(f"The claims of the {what} are not an object.")
    return parts.headers(), claims
