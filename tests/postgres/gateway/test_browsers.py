"""Scripts of pages may call from the origins that the operator lists, and from no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import FrontDoor

BOARD = "https://board.example.org"
WISH = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type, dpop"}


async def test_a_page_of_a_listed_origin_may_send_tokens_and_read_what_is_left_of_its_rate(door: FrontDoor) -> None:
    async with door.rebuilt(allowed_origins=(BOARD,)) as http:
        asked = await http.options("/graphql", headers={"Origin": BOARD, **WISH})
        answer = await http.get("/graphql", headers={"Origin": BOARD})
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (200, BOARD)
    assert answer.headers["Access-Control-Allow-Origin"] == BOARD
    assert "RateLimit" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_page_of_another_origin_is_told_nothing(door: FrontDoor) -> None:
    async with door.rebuilt(allowed_origins=(BOARD,)) as http:
        asked = await http.options("/graphql", headers={"Origin": "https://evil.example.org", **WISH})
        answer = await http.get("/graphql", headers={"Origin": "https://evil.example.org"})
    assert asked.status_code == 400
    assert "Access-Control-Allow-Origin" not in {**asked.headers, **answer.headers}


async def test_without_a_list_no_page_may_call(door: FrontDoor) -> None:
    asked = await door.http.options("/graphql", headers={"Origin": BOARD, **WISH})
    assert (asked.status_code, "Access-Control-Allow-Origin" in asked.headers) == (400, False)
