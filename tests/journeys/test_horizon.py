"""A region looks ahead: a schedule is asked for, today's part confirmed, the rest re-planned, the decision verified."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from tests.journeys.conftest import PATIENCE_SECONDS, platform, until

from sharewell.cli.stage import Stage
from sharewell.client import ApiClient
from sharewell.domain.principals import Role
from sharewell.replay import operations
from sharewell.replay.panel import Load, Site
from sharewell.replay.player import Window

START = datetime(2026, 3, 1, 6, tzinfo=UTC)
AHEAD = Window("week", START, START + timedelta(days=6))
LATER = Window("later", START + timedelta(days=2), START + timedelta(days=6))
PLAN = "mutation ($input: PlanHorizonInput!) { planHorizon(input: $input) { key } }"
READ = """{ horizons(first: 1) { nodes {
  id sentence instanceSha256 scheduleSha256 search { status } runs { id resource assigned }
  movements { resource day units held } byDay { resource day shortAlone shortShared }
  outlook { shortAlone shortShared } unmet { sentence } } } }"""
DECISIONS = '{ decisions(kind: "schedule.adopted", first: 1) { nodes { id logIndex } } }'


async def plan(planner: ApiClient, name: str) -> dict[str, Any]:
    asked = {"idempotencyKey": name, "region": "palombia", "resources": ["ventilator", "bed.adult"], "seconds": 30}
    await planner.graphql(PLAN, {"input": asked})

    async def idle() -> bool:
        state = await planner.graphql(operations.UNDERWAY)
        assert state["jobsSetAside"] == []
        return not any(job["name"] == "horizon" for job in state["jobsUnderway"])

    await until(idle)
    found: dict[str, Any] = (await planner.graphql(READ))["horizons"]["nodes"][0]
    return found


async def test_a_week_is_planned_confirmed_planned_again_and_verified_on_another_machine(home: Path) -> None:
    async with platform(home, "warning") as stage:
        stage.set_clock(START)
        planner, regulator = [await stage.client(r.value, r) for r in (Role.ALLOCATOR, Role.REGULATOR)]
        sites = [Site(code, code.title(), "palombia", 46.0, 7.0 + place / 10) for place, code in enumerate("xy")]
        giver, asker = (await stage.players(sites)).values()
        await giver.report(START, 1, {"ventilator": Load(20, 8), "bed.adult": Load(40, 30)})
        await asker.report(START, 1, {"ventilator": Load(6, 10), "bed.adult": Load(10, 12)})
        await giver.pledge("ventilator", 8, 0, AHEAD)
        await giver.pledge("bed.adult", 6, 0, AHEAD)
        await asker.ask("ventilator", 4, AHEAD, staffed=6, reason="SURGE")
        await asker.ask("bed.adult", 2, LATER, staffed=10, reason="SURGE")

        found = await plan(planner, "first")
        assert {(row["resource"], row["day"] == 0, row["held"]) for row in found["movements"]} == {
            ("ventilator", True, 4), ("bed.adult", False, 0),
        }  # fmt: skip
        assert all(row["shortShared"] <= row["shortAlone"] for row in found["outlook"])
        (held,) = await giver.transfers("HELD")
        await giver.steps("confirmTransfer", [held.id])
        await giver.steps("dispatchTransfer", [held.id])

        stage.set_clock(START + timedelta(days=2))
        again = await plan(planner, "second")
        assert {(row["resource"], row["day"]) for row in again["movements"] if row["held"]} == {("bed.adult", 0)}
        await verify(stage, regulator, planner, again)


async def verify(stage: Stage, regulator: ApiClient, planner: ApiClient, found: dict[str, Any]) -> None:
    """Take the proof away, and check it with the domain alone; then the documents by the command line."""

    async def sealed() -> bool:
        return (await regulator.graphql(DECISIONS))["decisions"]["nodes"][0]["logIndex"] is not None

    await until(sealed)
    decision = (await regulator.graphql(DECISIONS))["decisions"]["nodes"][0]["id"]
    bundled = await regulator.graphql("query ($id: UUID!) { decision(id: $id) { bundle } }", {"id": decision})
    folder = stage.settings.home
    (folder / "bundle.json").write_text(bundled["decision"]["bundle"])
    async with httpx2.AsyncClient(base_url=stage.settings.issuer, timeout=PATIENCE_SECONDS) as http:
        key = (await http.get("/log/vkey")).text.strip()
    for command in ("sharewell.cli verify", "sharewell.domain.bundle"):
        words = [sys.executable, "-m", *command.split(), str(folder / "bundle.json"), "--key", key]
        told = subprocess.run(words, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr
        assert "leaves nobody worse off" in told.stdout
    query = "query ($id: UUID!) { instance: horizonInstance(id: $id) schedule: horizonSchedule(id: $id) }"
    documents = await planner.graphql(query, {"id": found["id"]})
    for name, body in documents.items():
        (folder / f"{name}.json").write_text(body)
    words = [sys.executable, "-m", "sharewell.cli", "allocate", "check", "--json"]
    checked = subprocess.run(
        [*words, str(folder / "instance.json"), str(folder / "schedule.json")], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert json.loads(checked.stdout)["bounds_proven"]
