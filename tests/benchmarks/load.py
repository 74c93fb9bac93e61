"""Two hundred clients at once for a minute: four readings for each audited write, and the same beside one that floods.

Everything goes through the gateway as `sharewell serve` builds it: tokens are checked, rates are the usual ones, each
request has its line in a log file, and the database is as durable as in production. Whoever asks is a process of its
own, and the one that floods is another, so that its spinning is not measured as the others' waiting. It floods by 20
connections, each of which sends the next request as soon as the last is answered, whatever the answer, and opens again
what is closed. On two cores all of them take a good part of the time that is measured: latencies are what the clients
themselves wait. Even load and flood take turns; the ratio is the median of those of the turns.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
from api import ONE, fill  # type: ignore[import-not-found]  # beside this file
from joserfc.jwk import ECKey
from side_by_side import Client, services_on  # type: ignore[import-not-found]

from sharewell import logs
from sharewell.cli.running import build_connections, build_gateway, token_keys
from sharewell.domain.clients import ClientDraft
from sharewell.domain.principals import Caller, Role
from sharewell.gateway.oauth.keys import KeyFile
from sharewell.gateway.server import bind, serve
from sharewell.wiring import Services, operator

CLIENTS: Final = int(os.environ.get("SHAREWELL_LOAD_CLIENTS", "200"))
SECONDS: Final = float(os.environ.get("SHAREWELL_LOAD_SECONDS", "60"))
TURNS: Final = int(os.environ.get("SHAREWELL_LOAD_TURNS", "1"))
FLOOD: Final = 20  #: connections of the one that floods, none of which ever pauses
PAUSE_SECONDS: Final = 1.0  #: between two requests of a client
WARM_SECONDS: Final = 5.0
SCOPES: Final = ("system/Offer.cruds", "system/Request.cruds")
LIST: Final = "{ offers(first: 20) { nodes { id resource quantity remaining status } } }"
OPEN: Final = """mutation ($input: OpenRequestInput!) { openRequest(input: $input) { decision { id } } }"""


async def measure(urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Records of the even load and of the same beside a flood, with the growth of the gateway's memory."""
    async with services_on(urls, most=20) as services, _served(services) as (port, job):
        await _loaded(port, job, 0, WARM_SECONDS)
        records: list[dict[str, Any]] = []
        ratios: list[float] = []
        for _ in range(TURNS):
            even, beside = [await _loaded(port, job, flood, SECONDS) for flood in (0, FLOOD)]
            records += [even, beside]
            ratios.append(beside["p99_ms"] / even["p99_ms"])
    growth = {"benchmark": "gateway.load.flood", "p99_over_even": round(statistics.median(ratios), 2)}
    return [*records, growth | {"turns": [round(ratio, 2) for ratio in ratios]}]


@asynccontextmanager
async def _served(services: Services) -> AsyncIterator[tuple[int, Path]]:
    """The gateway's port, and the file that tells clients what to ask with."""
    with tempfile.TemporaryDirectory() as folder:
        keys, job = token_keys(services.settings), Path(folder) / "job.json"
        caller, offer = await fill(services)
        names = [*(f"load-{number}" for number in range(CLIENTS)), "flood"]
        tokens = [await _registered(services, keys, caller, name) for name in names]
        job.write_bytes(orjson.dumps({"offer": str(offer), "tokens": tokens}))
        ready, stop, taken = asyncio.Event(), asyncio.Event(), bind("127.0.0.1", 0)
        with (Path(folder) / "log").open("w") as log:
            logs.configure(stream=log)
            gateway, connections = build_gateway(services, keys), build_connections(services.settings)
            serving = asyncio.create_task(serve(gateway, taken, stop, ready=ready, connections=connections))
            await ready.wait()
            yield taken.getsockname()[1], job
            stop.set()
            await serving
            logs.configure()


async def _registered(services: Services, keys: KeyFile, caller: Caller, name: str) -> str:
    """A client of the caller's institution, and a token of it that lasts an hour."""
    key = ECKey.generate_key("P-384", {"kid": name})
    draft = ClientDraft(
        name=name, client_id=name, roles=frozenset({Role.INSTITUTION}), scopes=SCOPES, institution=caller.institution,
        jwks={"keys": [key.as_dict(private=False)]},
    )  # fmt: skip
    await services.clients.register(operator(), draft)
    issuer, now = services.settings.issuer, int(time.time())
    claims = {"iss": issuer, "aud": issuer, "sub": name, "client_id": name, "iat": now, "exp": now + 3600, "jti": name,
              "scope": " ".join(SCOPES)}  # fmt: skip
    return keys.sign(claims, type="at+jwt")


async def _loaded(port: int, job: Path, flood: int, seconds: float) -> dict[str, Any]:
    """What the clients found, with as many connections of the one that floods."""
    told = Path("/proc/self/status")
    before, begun = _resident(told.read_text()), time.process_time()
    asked = [(CLIENTS, 0), *([(0, flood)] if flood else [])]
    found, *flooded = await asyncio.gather(*(_process(port, job, *each, seconds) for each in asked))
    return {
        "benchmark": "gateway.load", "load": "beside a flood" if flood else "even", "clients": CLIENTS,
        "seconds": seconds, **found, "flood_connections": flood,
        "flood_answers": flooded[0]["answers"] if flood else {},
        "gateway_cpu": round((time.process_time() - begun) / seconds, 2),
        "resident_mb_before": before, "resident_mb_after": _resident(told.read_text()),
    }  # fmt: skip


async def _process(port: int, job: Path, clients: int, flood: int, seconds: float) -> dict[str, Any]:
    arguments = [str(each) for each in (port, job, clients, flood, seconds)]
    asking = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *arguments, stdout=asyncio.subprocess.PIPE
    )
    found: dict[str, Any] = json.loads((await asking.communicate())[0])
    return found


def _resident(status: str) -> int:
    return int(status.split("VmRSS:")[1].split(maxsplit=1)[0]) // 1024


class Asking:
    """Whoever asks in one process, and what it was told."""

    def __init__(self, port: int, job: Mapping[str, Any], seconds: float) -> None:
        self._port, self._offer, self._tokens = port, job["offer"], job["tokens"]
        self._until = time.monotonic() + seconds
        self._waited: list[float] = []
        self._answers: Counter[str] = Counter()
        self._failed: list[str] = []

    async def patient(self, number: int) -> None:
        """One request a second, each of which must be answered well."""
        await asyncio.sleep(number / CLIENTS * PAUSE_SECONDS)
        client, turn = await Client.open(self._port), 0
        while time.monotonic() < self._until:
            begun = time.perf_counter()
            try:
                status, told = await self._ask(client, number, turn)
            except (OSError, EOFError) as why:
                self._failed.append(repr(why))
                client = await Client.open(self._port)
            else:
                self._waited.append(time.perf_counter() - begun)
                if status != 200 or b'"errors"' in told:
                    self._failed.append(f"{status} {told.decode()[:200]}")
            turn += 1
            await asyncio.sleep(max(0.0, PAUSE_SECONDS - (time.perf_counter() - begun)))

    async def flooding(self, connection: int) -> None:
        """One request as soon as the last was answered, whatever the answer."""
        client, turn = await Client.open(self._port), connection * 1_000_000
        while time.monotonic() < self._until:
            try:
                status, _ = await self._ask(client, CLIENTS, turn)
                self._answers[str(status)] += 1
            except (OSError, EOFError):
                self._answers["closed"] += 1
                client = await Client.open(self._port)
            turn += 1

    async def _ask(self, client: Client, number: int, turn: int) -> tuple[int, bytes]:
        body = orjson.dumps(_asked(self._offer, number, turn))
        answer: tuple[int, bytes] = await client.exchange(
            "/graphql", body, f"Authorization: Bearer {self._tokens[number]}\r\n"
        )
        return answer

    def found(self) -> dict[str, Any]:
        """What it is worth."""
        if not self._waited:
            return {"answers": self._answers}
        cuts = statistics.quantiles(self._waited, n=100)
        return {
            "requests": len(self._waited), "errors": len(self._failed), "why": self._failed[:1],
            "p50_ms": round(1000 * cuts[49], 1), "p90_ms": round(1000 * cuts[89], 1),
            "p99_ms": round(1000 * cuts[98], 1),
        }  # fmt: skip


async def _ask_all(port: int, job: Path, clients: int, flood: int, seconds: float) -> dict[str, Any]:
    asking = Asking(port, orjson.loads(job.read_bytes()), seconds)
    await asyncio.gather(
        *(asking.patient(number) for number in range(clients)),
        *(asking.flooding(connection) for connection in range(flood)),
    )
    return asking.found()


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
    _, port_, job_, clients_, flood_, seconds_ = sys.argv
    print(json.dumps(uvloop.run(_ask_all(int(port_), Path(job_), int(clients_), int(flood_), float(seconds_)))))
