"""graphql-http's audits of a server find nothing to say about the running gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.conftest import needs_node, node, token_of

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import OpenPlatform

AUDITS = 61


@needs_node
async def test_all_audits_of_graphql_over_http_pass(open_platform: OpenPlatform, tmp_path: Path) -> None:
    credential = tmp_path / "planner.json"
    async with open_platform() as platform:
        await platform.run("client", "register", "Planner", "--role", "admin", "--bootstrap", "--out", credential)
        headers = {"Authorization": f"Bearer {await token_of(credential)}"}
        said = await node("audits.mjs", given={"url": f"{platform.url}/graphql", "headers": headers})
    lines = said.splitlines()
    assert [line for line in lines if not line.startswith("ok ")] == []
    assert len(lines) == AUDITS
