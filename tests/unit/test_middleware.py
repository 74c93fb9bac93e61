"""What every request passes: ids, limits, masks and safe headers, around applications that misbehave."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sharewell.domain.errors import Conflict, Invalid, OfferExhausted, Unavailable
from sharewell.gateway.middleware import CrashMask, HeaderLimit, RequestId, SafeHeaders, Watch

FAILURES = {
    "invalid": Invalid("quantity is 0; it must be 1 or more.", field="quantity"),
    "conflict": Conflict("taken."),
    "exhausted": OfferExhausted(),
    "away": Unavailable("the database cannot be reached.", retry_after_seconds=3),
    "crash": RuntimeError("the secret plan"),
    "gone": ClientDisconnect(),
}


async def fail(request: Request) -> Response:
    raise FAILURES[request.path_params["how"]]


async def context(request: Request) -> Response:
    return JSONResponse(structlog.contextvars.get_contextvars())


async def breaks_off(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("too late")

    return StreamingResponse(parts())


async def events(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b":"

    return StreamingResponse(parts(), media_type="text/event-stream")


async def own_policy(request: Request) -> Response:
    return Response("<p>", headers={"Content-Security-Policy": "default-src 'self'", "Cache-Control": "public"})


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def http(registry: CollectorRegistry) -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(
        routes=[
            Route("/fail/{how}", fail),
            Route("/context", context),
            Route("/breaks-off", breaks_off),
            Route("/own-policy", own_policy),
            Route("/events", events),
        ],
        middleware=[
            Middleware(RequestId),
            Middleware(Watch, registry=registry),
            Middleware(SafeHeaders, https=True),
            Middleware(CrashMask),
            Middleware(HeaderLimit),
        ],
    )
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://sharewell.example") as http:
        yield http


async def test_a_well_formed_request_id_is_taken_along(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/context", headers={"X-Request-Id": "replay-2020-06-19.7"})
    assert answer.headers["X-Request-Id"] == "replay-2020-06-19.7"
    assert answer.json()["request_id"] == "replay-2020-06-19.7"
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize("given", ["short", "a" * 65, 'ab"cdefgh', "abc defgh", "..aaaaaaaa"])
async def test_an_odd_request_id_is_replaced_by_one_of_ours(http: httpx2.AsyncClient, given: str) -> None:
    answer = await http.get("/context", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 36


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [("invalid", 400, "INVALID"), ("conflict", 409, "CONFLICT"), ("exhausted", 409, "CONFLICT")],
)
async def test_what_a_caller_can_act_on_is_said(http: httpx2.AsyncClient, how: str, status: int, code: str) -> None:
    answer = await http.get(f"/fail/{how}")
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"].get("field") == ("quantity" if how == "invalid" else None)


async def test_a_database_that_is_away_is_a_503_with_a_hint(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/fail/away")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "3"
    assert answer.json()["error"]["code"] == "UNAVAILABLE"


async def test_a_crash_shows_its_id_and_nothing_else(http: httpx2.AsyncClient, log_stream: io.StringIO) -> None:
    answer = await http.get("/fail/crash")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"]["id"] == answer.headers["X-Request-Id"]
    assert "the secret plan" in log_stream.getvalue()  # but the operator finds it


async def test_a_crash_after_the_answer_began_breaks_the_connection(http: httpx2.AsyncClient) -> None:
    with pytest.raises(RuntimeError, match="too late"):
        await http.get("/breaks-off")


async def test_a_client_that_goes_away_while_it_asks_is_no_crash(
    http: httpx2.AsyncClient, registry: CollectorRegistry
) -> None:
    with structlog.testing.capture_logs() as lines:
        await http.get("/fail/gone")
    assert [line["status"] for line in lines] == [400]
    assert b"sharewell_http_crashes_total 0.0" in generate_latest(registry)


async def test_answers_carry_safe_headers_unless_the_application_sets_its_own(http: httpx2.AsyncClient) -> None:
    plain, own = await http.get("/context"), await http.get("/own-policy")
    assert plain.headers["X-Content-Type-Options"] == own.headers["X-Content-Type-Options"] == "nosniff"
    assert plain.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in plain.headers["Content-Security-Policy"]
    assert plain.headers["Strict-Transport-Security"]
    assert own.headers["Content-Security-Policy"] == "default-src 'self'"
    assert own.headers["Cache-Control"] == "public"


async def test_headers_without_end_are_refused(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/context", headers={"X-Long": "a" * 20_000})).status_code == 431


async def test_a_stream_is_no_figure_of_how_long_answers_take(
    http: httpx2.AsyncClient, registry: CollectorRegistry, log_stream: io.StringIO
) -> None:
    assert (await http.get("/events")).text == ":"
    assert b"/events" not in generate_latest(registry)
    assert '"event":"stream"' in log_stream.getvalue().replace(": ", ":")


async def test_requests_are_counted_by_route_and_never_by_path(
    http: httpx2.AsyncClient, registry: CollectorRegistry
) -> None:
    await http.get("/fail/invalid")
    await http.get("/fail/crash")
    await http.get("/nowhere/at/all")
    await http.request("BREW", "/nowhere/else")

    def count(**labels: Any) -> float | None:
        return registry.get_sample_value("sharewell_http_request_seconds_count", labels)

    assert count(method="GET", route="/fail/{how}", status="400") == 1
    assert count(method="GET", route="/fail/{how}", status="500") == 1
    assert count(method="GET", route="unknown", status="404") == 1
    assert count(method="OTHER", route="unknown", status="404") == 1
    assert registry.get_sample_value("sharewell_http_crashes_total") == 1
    assert b"/nowhere" not in generate_latest(registry)


async def test_what_an_answer_was_held_back_for_is_no_work_and_its_line_is_anothers(
    registry: CollectorRegistry, log_stream: io.StringIO
) -> None:
    now = 0.0

    async def held(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal now
        now += 5.25
        scope.setdefault("state", {})["braked"] = 5.0
        await Response(status_code=429)(scope, receive, send)

    transport = httpx2.ASGITransport(Watch(held, registry, lambda: now))
    async with httpx2.AsyncClient(transport=transport, base_url="https://sharewell.example") as http:
        assert (await http.get("/")).status_code == 429
    labels = {"method": "GET", "route": "unknown", "status": "429"}
    assert registry.get_sample_value("sharewell_http_request_seconds_sum", labels) == 0.25
    assert '"request"' not in log_stream.getvalue()
