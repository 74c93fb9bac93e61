"""A request larger than any of ours, as GraphQL over HTTP answers it, and what stays of such a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx2
import pytest
from tests.postgres.following.conftest import PATIENCE

from sharewell.gateway.middleware import MAX_BODY

if TYPE_CHECKING:
    from tests.postgres.following.conftest import Gateway, Region

JSON, GRAPHQL = "application/json", "application/graphql-response+json"


async def in_parts() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 65_536


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused_in_the_form_of_graphql_and_the_next_one_is_answered(
    region: Region, gateway: Gateway, accept: str, *, announced: bool
) -> None:
    await region.institution("clinic")
    headers = {"Authorization": f"Bearer {region.token('clinic')}", "Content-Type": JSON, "Accept": accept}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as http:
        for _ in range(3):
            body = b"x" * (MAX_BODY + 1) if announced else in_parts()
            answer = await http.post(f"{gateway.url}/graphql", content=body)
            assert answer.status_code == 413
            assert answer.headers["content-type"].startswith(accept)
            (error,) = answer.json()["errors"]
            assert error["extensions"] == {"code": "INVALID", "type": "RequestError"}
            assert "1 MiB" in error["message"]
        asked = await http.post(f"{gateway.url}/graphql", json={"query": "{ me { clientId } }"})
        assert asked.json() == {"data": {"me": {"clientId": "clinic"}}}
