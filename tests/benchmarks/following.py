"""Followers of what happens: how late they hear, how many events a gateway tells, and what one that waits costs.

Clients and gateway share this process and its one processor; figures of a gateway alone are better.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.postgres.following.conftest import (
    OFFERS,
    Region,
    a_gateway,
    a_region,
    follow_from,
    messages,
    sealing_all_the_time,
)

from sharewell.domain.principals import Role
from sharewell.settings import DatabaseRole
from sharewell.store.pools import open_pool

FOLLOWERS, EVENTS, IDLE = 10, 100, 200


async def measure(urls: Mapping[DatabaseRole, str]) -> list[dict[str, Any]]:
    """The records, on one gateway."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            a_region(urls, Path(folder)) as region,
            open_pool(urls[DatabaseRole.SEQUENCER], DatabaseRole.SEQUENCER) as pool,
            sealing_all_the_time(pool),
            a_gateway(urls, region) as gateway,
        ):
            await region.institution("clinic", beds=EVENTS + 1)
            return [await _late(region, gateway.url), await _idle(region, gateway.url)]


async def _late(region: Region, url: str) -> dict[str, Any]:
    token, done, heard = region.token("clinic"), {}, []
    start = await follow_from(url, token)

    async def follow() -> None:
        left = EVENTS
        async with aclosing(messages(url, token, OFFERS, {"after": start})) as stream:  # type: ignore[type-var]
            async for message in stream:
                if message.event == "next":
                    heard.append((message.data["data"]["offers"]["offer"]["id"], time.perf_counter()))
                    left -= 1
                    if not left:
                        return

    following_all = [asyncio.create_task(follow()) for _ in range(FOLLOWERS)]
    await asyncio.sleep(1)
    begun = time.perf_counter()
    for _ in range(EVENTS):
        offer = await region.pledge("clinic")
        done[str(offer.id)] = time.perf_counter()
    await asyncio.gather(*following_all)
    told = time.perf_counter() - begun
    late = quantiles([at - done[offer] for offer, at in heard], n=100)
    return {
        "benchmark": "following.told", "followers": FOLLOWERS, "per_second": round(len(heard) / told),
        "late_p50_milliseconds": round(late[49] * 1000), "late_p99_milliseconds": round(late[98] * 1000),
    }  # fmt: skip


async def _idle(region: Region, url: str) -> dict[str, Any]:
    for number in range(IDLE // 20):
        await region.client(f"idle-{number}", Role.REGULATOR)
    before, held = psutil.Process().memory_info().rss, []
    host, _, port = url.removeprefix("http://").partition(":")
    body = json.dumps({"query": OFFERS}).encode()
    for number in range(IDLE):
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(
            b"POST /graphql HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {region.token(f'idle-{number // 20}')}\r\nContent-Length: {len(body)}\r\n\r\n"
            .encode() + body
        )  # fmt: skip
        await reader.readuntil(b"id: ")
        held.append(writer)
    grown = psutil.Process().memory_info().rss - before
    processor = psutil.Process().cpu_times()
    await asyncio.sleep(5)
    after = psutil.Process().cpu_times()
    for writer in held:
        writer.close()
    return {
        "benchmark": "following.waiting", "streams": IDLE, "kib_each_with_its_client": round(grown / IDLE / 1024),
        "processor_share": round((after.user + after.system - processor.user - processor.system) / 5, 3),
    }  # fmt: skip
