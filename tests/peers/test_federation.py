"""A partner's subgraph extends ours: composers take both, and a gateway answers from both with the caller's token."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.peers.conftest import NODE, needs_node, node, running, staged, subgraph, token_of

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import OpenPlatform

pytestmark = needs_node
PAGE = Path(__file__).parents[2] / "docs" / "integrate.md"


@dataclass
class Graph:
    """A supergraph of ours and a partner's, behind a gateway."""

    http: httpx2.AsyncClient
    folder: Path

    async def ask(self, who: str, query: str) -> Any:
        token = await token_of(self.folder / f"{who}.json")
        answer = await self.http.post("/", json={"query": query}, headers={"Authorization": f"Bearer {token}"})
        return answer.json()


@pytest.fixture
async def graph(open_platform: OpenPlatform, tmp_path: Path) -> AsyncIterator[Graph]:
    assert NODE is not None
    async with open_platform() as platform:
        stage = await staged(platform, tmp_path)
        (sdl,) = re.findall(r"^```graphql\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        knows = json.dumps({"sdl": sdl, "sites": {"north": True, "south": False}, "flights": [stage.offer]})
        async with running(NODE, "partner.mjs", knows) as partner:
            theirs = {"name": "partner", "url": f"http://127.0.0.1:{partner}", "sdl": sdl}
            supergraph = tmp_path / "supergraph.graphql"
            supergraph.write_text(await node("compose.mjs", given=[await subgraph(platform), theirs]))
            async with (
                running(NODE, "gateway.mjs", str(supergraph)) as port,
                httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http,
            ):
                yield Graph(http, tmp_path)


async def test_a_gateway_joins_ours_and_a_partners_in_both_directions_with_the_callers_own_permissions(
    graph: Graph,
) -> None:
    theirs_of_ours = await graph.ask("north", "{ institutions { nodes { name helipad } pageInfo { hasNextPage } } }")
    assert theirs_of_ours == {"data": {"institutions": {
        "nodes": [{"name": "North", "helipad": True}, {"name": "South", "helipad": False}],
        "pageInfo": {"hasNextPage": False},
    }}}  # fmt: skip
    ours_of_theirs = await graph.ask("north", "{ landingSites { helipad name region } flights { offer { quantity } } }")
    assert ours_of_theirs == {"data": {
        "landingSites": [{"helipad": True, "name": "North", "region": "us-nj"},
                         {"helipad": False, "name": "South", "region": "us-nj"}],
        "flights": [{"offer": {"quantity": 3}}],
    }}  # fmt: skip
    # An admin has no business with offers: through a gateway neither, and the refusal is told and on record.
    refused = await graph.ask("admin", "{ landingSites { name } flights { offer { id quantity } } }")
    assert refused["data"] is None
    (error,) = refused["errors"]
    assert (error["extensions"]["code"], error["extensions"]["type"]) == ("FORBIDDEN", "Forbidden")
    assert "viewOffer" in error["message"]
