"""What a regulator takes away from a run: the proof of one decision, checked here as a stranger would check it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2

from sharewell.client import ApiClient, ApiError
from sharewell.domain.bundle import read_key, verify_bundle
from sharewell.replay import operations

SEALED_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two files that convince without a database: the bundle, and the key of the log."""

    decision: UUID
    bundle: Path
    key: Path
    log_size: int

    @property
    def command(self) -> str:
        """What whoever doubts it types."""
        return f"sharewell verify {self.bundle} --key {self.key}"


async def take_evidence(regulator: ApiClient, kind: str, folder: Path) -> Evidence:
    """Fetch the bundle of the newest decision of `kind`, once it is sealed, and verify it.

    Raises `NotVerified` if it does not hold, `ApiError` if there is no such decision or nobody seals.
    """
    newest = await _sealed(regulator, kind)
    data = await regulator.graphql(operations.BUNDLE, {"id": newest["id"]})
    async with httpx2.AsyncClient(timeout=10) as http:
        vkey = (await http.get(f"{regulator.base_url}/log/vkey")).text
    bundle, key = folder / "bundle.json", folder / "log.vkey"
    bundle.write_text(data["decision"]["bundle"], encoding="utf-8")
    key.write_text(vkey, encoding="ascii")
    verified = verify_bundle(bundle.read_bytes(), read_key(str(key)))
    return Evidence(UUID(newest["id"]), bundle, key, verified.checkpoint.size)


async def _sealed(regulator: ApiClient, kind: str) -> dict[str, Any]:
    """The newest decision of `kind` that is in the tree."""
    deadline = time.monotonic() + SEALED_SECONDS
    while time.monotonic() < deadline:
        found = (await regulator.graphql(operations.DECISIONS, {"kind": kind}))["decisions"]["nodes"]
        if not found:
            raise ApiError(f"the log has no decision of the kind {kind}.")
        if found[0]["logIndex"] is not None:
            newest: dict[str, Any] = found[0]
            return newest
        await asyncio.sleep(0.2)
    raise ApiError(f"the newest decision of the kind {kind} was not sealed within {SEALED_SECONDS:.0f} seconds.")
