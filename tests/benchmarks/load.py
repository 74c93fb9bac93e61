"""Two hundred clients at once for a minute: four readings for each audited write, and the same beside one that floods.

The clients are a process of their own and so is the gateway, which works as in production on a durable database. On two
cores the clients take a good part of the time that is measured: latencies are what they themselves wait. Everything is
asked over HTTP by connections that are kept. The check of tokens is left out, but not the limit of each client's rate,
which is the usual one and all that stands between the others and the flood.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
from api import ONE, fill  # type: ignore[import-not-found]  # beside this file
from side_by_side import Client, services_on  # type: ignore[import-not-found]
from starlette.responses import Response

from sharewell.domain.clients import RateClass
from sharewell.gateway.rates import Buckets
from sharewell.gateway.server import bind, serve
from sharewell_schema.view import graphql_app

CLIENTS: Final = 200
SECONDS: Final = float(os.environ.get("SHAREWELL_LOAD_SECONDS", "60"))
FLOOD: Final = 20  #: connections of the one that floods, none of which ever pauses
PAUSE_SECONDS: Final = 1.0  #: between two requests of a client
LIST: Final = "{ offers(first: 20) { nodes { id resource quantity remaining status } } }"
OPEN: Final = """mutation ($input: OpenRequestInput!) { openRequest(input: $input) { decision { id } } }"""


async def measure(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Records of the even load and of the same beside a flood, with the growth of the gateway's memory."""
    ready, told = asyncio.Event(), Path("/proc/self/status")
    async with services_on(urls, most=10) as services:
        caller, offer = await fill(services)
        inner, stop, buckets = graphql_app(services), asyncio.Event(), Buckets(time.monotonic)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                for name in ("startup", "shutdown"):
                    await receive()
                    await send({"type": f"lifespan.{name}.complete"})
                return
            if buckets.take(scope["query_string"].decode(), RateClass.STANDARD).pause:
                await Response(status_code=429)(scope, receive, send)
                return
            await inner({**scope, "state": {"caller": caller, "request_id": "load"}}, receive, send)

        taken = bind("127.0.0.1", 0)
        serving = asyncio.create_task(serve(app, taken, stop, ready=ready))
        await ready.wait()
        port, records = taken.getsockname()[1], list[dict[str, Any]]()
        for name, flooding in (("warm", 0), ("even", 0), ("beside a flood", FLOOD)):
            before = _resident(told.read_text())
            clients = await asyncio.create_subprocess_exec(
                sys.executable, __file__, str(port), str(offer), str(flooding), str(5 if name == "warm" else SECONDS),
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            found = json.loads((await clients.communicate())[0])
            memory = {"resident_mb_before": before, "resident_mb_after": _resident(told.read_text())}
            records.append({"benchmark": "gateway.load", "load": name, **found, **memory})
        stop.set()
        await serving
    _, even, flood = records
    return [even, flood | {"p99_over_even": round(flood["p99_ms"] / even["p99_ms"], 2)}]


def _resident(status: str) -> int:
    return int(status.split("VmRSS:")[1].split(maxsplit=1)[0]) // 1024


async def _clients(port: int, offer: str, flooding: int, seconds: float) -> dict[str, Any]:
    until = time.monotonic() + seconds
    waited: list[float] = []
    failed: list[str] = []
    flooded: list[float] = []
    await asyncio.gather(
        *(_one(port, offer, number, until, waited, failed, PAUSE_SECONDS) for number in range(CLIENTS)),
        *(_one(port, offer, CLIENTS + n, until, flooded, failed, 0.0) for n in range(flooding)),
    )
    cuts = statistics.quantiles(waited, n=100)
    return {
        "clients": CLIENTS, "seconds": seconds, "requests": len(waited), "of_the_flood": len(flooded),
        "errors": len(failed), "why": failed[:1], "p50_ms": round(1000 * cuts[49], 1),
        "p99_ms": round(1000 * cuts[98], 1),
    }  # fmt: skip


async def _one(
    port: int, offer: str, number: int, until: float, waited: list[float], failed: list[str], pause: float
) -> None:
    await asyncio.sleep(number / CLIENTS * pause)
    client = await Client.open(port)
    name = number if pause else "flood"
    turn = 0
    while time.monotonic() < until:
        body = orjson.dumps(_asked(offer, number, turn))
        begun = time.perf_counter()
        try:
            told = await client.post(f"/graphql?{name}", body)
        except (OSError, EOFError, AssertionError) as why:
            if not pause and " 429 " in str(why):
                continue  # which is as it should be
            failed.append(str(why))
            client = await Client.open(port)
        else:
            waited.append(time.perf_counter() - begun)
            if b'"errors"' in told:
                failed.append(told.decode()[:200])
        turn += 1
        await asyncio.sleep(max(0.0, pause - (time.perf_counter() - begun)))


def _asked(offer: str, number: int, turn: int) -> dict[str, Any]:
    match (turn + number) % 5:
        case 0:
            at = time.time()
            span = {"neededBy": _time(at + 3600), "neededUntil": _time(at + 7200)}
            need = {"idempotencyKey": f"load-{os.getpid()}-{number}-{turn}", "resource": "bed.adult", "quantity": 1}
            return {"query": OPEN, "variables": {"input": {**need, **span, "urgency": 3, "reason": "SURGE"}}}
        case 1 | 2:
            return {"query": LIST}
        case _:
            return {"query": ONE, "variables": {"id": offer}}


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_clients(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))))
