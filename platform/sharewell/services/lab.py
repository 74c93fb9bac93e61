"""Solve adopted runs again: under other rules, or with one thing changed for a request that was left short.

Each question is answered by the command line in a process of its own, bounded in size, time and number: the gateway's
event loop goes on answering others, and what takes too long is ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from sharewell.domain.allocation import Instance
from sharewell.domain.errors import Invalid, NotFound, Unavailable
from sharewell.domain.policy import Action, Target
from sharewell.domain.predicate import Predicate
from sharewell.domain.principals import Caller
from sharewell.domain.urgent import RULE
from sharewell.services.office import Office
from sharewell.store.artifacts import read_artifact

MOST_LANES = 20_000  #: of an instance that is solved again while somebody waits
SECONDS = 14.0  #: for all runs of a question together
GRACE = 12.0  #: more until the process is ended: it has to start, and to finish the run it is at
AT_ONCE = 2  #: questions that one process of the gateway has answered at a time


@dataclass(frozen=True, slots=True)
class Curve:
    """What each rule reaches on one instance."""

    points: Sequence[dict[str, Any]]
    svg: str


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would have changed the answer to one request."""

    request: UUID
    allocation: UUID
    reason: str  #: why it stayed short; empty where it did not
    changes: Sequence[dict[str, Any]]


class LabService:
    """Second runs, which bind nobody."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._running = asyncio.Semaphore(AT_ONCE)

    async def frontier(self, caller: Caller, allocation: UUID) -> Curve:
        """Compare rules on the instance of a run. Raises `Invalid` where it is too large, `Unavailable` at too many."""
        region = await self._office.region_of(caller, lambda tx: tx.allocations.get(allocation))
        target = Target(kind="allocation", id=str(allocation), region=region)
        await self._office.allow(caller, Action.COMPARE_RULES, target)
        async with self._turn() as folder:
            instance, _ = await self._documents(allocation)
            drawn = Path(folder, "curve.svg")
            told = await _answer(
                folder, {"instance.json": instance}, "frontier", "--svg", str(drawn), "--within", str(SECONDS)
            )
            return Curve(told["points"], await asyncio.to_thread(drawn.read_text, "utf-8"))

    async def what_would_change(self, caller: Caller, request: UUID) -> WhatIf:
        """Try single changes for a request that a run has answered, in the newest that did. Raises `NotFound`."""
        async with self._office.looking() as tx:
            found = await tx.requests.get(request)
        target = Target(kind="allocation", id=str(request), owner=found.institution)
        await self._office.allow(caller, Action.ASK_WHAT_IF, target)
        async with self._office.reading(caller) as tx:
            allocation = await tx.allocations.that_answered(request)
        if allocation is None:
            raise NotFound(f"no run has answered request {request}.", field="request")
        async with self._turn() as folder:
            instance, plan = await self._documents(allocation)
            told = await _answer(
                folder, {"instance.json": instance, "plan.json": plan}, "explain", "--request", str(request),
                "--within", str(SECONDS),
            )  # fmt: skip
        rows = told["unfilled"] or [{"reason": "", "would_change": []}]
        return WhatIf(request, allocation, rows[0]["reason"], rows[0]["would_change"])

    async def what_would_relieve(self, caller: Caller, horizon: UUID, institution: UUID) -> Sequence[dict[str, Any]]:
        """Try single changes for what a schedule leaves `institution` short of. Raises `NotFound`, or as above."""
        target = Target(kind="allocation", id=str(horizon), owner=institution)
        await self._office.allow(caller, Action.ASK_WHAT_IF, target)
        async with self._office.reading(caller) as tx:
            run = await tx.horizons.get(horizon)
            _refuse_large(run.lanes)
            documents = {
                "horizon.json": await read_artifact(tx.conn, run.instance_sha256),
                "schedule.json": await read_artifact(tx.conn, run.schedule_sha256),
            }
            if not await tx.horizons.unmet(horizon, None, Predicate("{owner} = {0}::uuid", (institution,))):
                return []
        async with self._turn() as folder:
            told = await _answer(
                folder, documents, "explain", "--site", str(institution), "--within", str(SECONDS)
            )
        reliefs: list[dict[str, Any]] = told["would_relieve"]
        return reliefs

    async def _documents(self, allocation: UUID) -> tuple[bytes, bytes]:
        """Instance and plan of a run; raises `Invalid` where they are too large to be solved again here."""
        async with self._office.looking() as tx:
            run = await tx.allocations.get(allocation)
            if run.rule == RULE:
                raise Invalid(
                    "an urgent plan is not solved again: it follows one rule, and its reason says what it rests on.",
                    field="id",
                )
            if run.horizon is not None:
                raise Invalid(
                    "day 0 of a schedule is not solved again by itself; ask `whatWouldRelieve` of the schedule.",
                    field="id",
                )
            instance = await read_artifact(tx.conn, run.instance_sha256)
            plan = await read_artifact(tx.conn, run.plan_sha256)
        lanes = await asyncio.to_thread(lambda: len(Instance.read(instance).lanes))
        _refuse_large(lanes)
        return instance, plan

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[str]:
        """A folder to work in, for as many at a time as there is room for; raises `Unavailable` to the others."""
        if self._running.locked():
            raise Unavailable(f"{AT_ONCE} runs are being solved again already; ask again in a minute.")
        async with self._running:
            with TemporaryDirectory(prefix="sharewell-lab-") as folder:
                yield folder


def _refuse_large(lanes: int) -> None:
    if lanes > MOST_LANES:
        raise Invalid(
            f"the run has {lanes} lanes, and at most {MOST_LANES} are solved again here; use `sharewell allocate` with "
            "its documents.",
            field="id",
        )


async def _answer(folder: str, documents: dict[str, bytes], command: str, *options: str) -> Any:
    """What `sharewell allocate COMMAND DOCUMENTS OPTIONS --json` prints."""
    paths = [Path(folder, name) for name in documents]
    for path, body in zip(paths, documents.values(), strict=True):
        await asyncio.to_thread(path.write_bytes, body)
    return json.loads(await _run(command, *map(str, paths), *options, "--json"))


async def _run(*arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sharewell.cli", "allocate", *arguments, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), SECONDS + GRACE)
    except TimeoutError:
        raise Unavailable("solving it again takes too long here.") from None
    finally:
        if process.returncode is None:  # out of time, or whoever asked has gone
            process.kill()
            await process.wait()
    if process.returncode:
        raise Unavailable("solving it again failed.")
    return output
