"""Larger inputs of decisions, stored once under their SHA-256; the entry in the log carries only the hash."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sharewell.domain.errors import NotFound

if TYPE_CHECKING:
    import asyncpg

ADD = "insert into sharewell.artifact (sha256, kind, body) values ($1, $2, $3) on conflict do nothing"
GET = "select body from sharewell.artifact where sha256 = $1"


async def keep_artifact(conn: asyncpg.Connection[Any], kind: str, body: bytes) -> str:
    """Store `body` once and return its SHA-256 in hex."""
    sha256 = hashlib.sha256(body).hexdigest()
    await conn.execute(ADD, sha256, kind, body)
    return sha256


async def read_artifact(conn: asyncpg.Connection[Any], sha256: str) -> bytes:
    """Return the bytes whose SHA-256 is given, or raise `NotFound`."""
    body: bytes | None = await conn.fetchval(GET, sha256)
    if body is None:
        raise NotFound(f"nothing is stored under {sha256[:64]!r}.", field="sha256")
    return body
