"""`sharewell demo`: the whole journey in a made-up region, then a platform to try it on."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.markup import escape

from sharewell.cli.ending import unless_stopped
from sharewell.cli.evidence import Evidence, take_evidence
from sharewell.cli.explained import explained
from sharewell.cli.picture import draw
from sharewell.cli.stage import Stage, open_stage, stage_settings
from sharewell.client import ApiClient
from sharewell.clock import release_clock
from sharewell.domain.errors import SharewellError
from sharewell.domain.principals import Role
from sharewell.replay import operations
from sharewell.replay.figures import sentences
from sharewell.replay.journey import Journey
from sharewell.replay.ledger import Ledger
from sharewell.replay.panel import Panel
from sharewell.replay.player import Player
from sharewell.replay.region import HISTORY_DAYS, make_region
from sharewell.settings import Settings

MARKER = "made-by-sharewell-demo"  #: only a folder with this file in it is ever emptied
TWICE = (
    "Plans are made twice for each day: the evening before from forecasts, and in the morning from what is really "
    "needed. So a plan may leave short what is not lacking in the end."
)
screen = Console()


class DemoFailed(SharewellError):
    """A step of the journey did not hold; the message says which."""


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop after the journey; exit status 0 if all of it held.")
    ] = False,
) -> None:
    """Show what sharewell does: 24 institutions, a surge, and every decision checked by a stranger.

    Needs no data and no server of yours. Afterwards it keeps serving, so that you can try it: it prints the address,
    a query, and a credential for each role. Ctrl-C stops it. Its data is made anew each time.
    """
    invited = asyncio.Event()
    with explained():
        try:
            uvloop.run(unless_stopped(_demo(Settings.from_environment(), None if once else invited)))
        except typer.Exit:
            if not invited.is_set():  # later on, stopping it is how it ends
                raise


async def _demo(settings: Settings, invited: asyncio.Event | None) -> None:
    """Show it and, with `invited`, set that and serve until cancelled."""
    began = time.monotonic()
    home = _empty(settings.home / "demo")
    panel = make_region((datetime.now(UTC) - timedelta(days=1)).date())
    ours = replace(stage_settings(settings, home), log_level="warning")
    screen.print("Starting a database, the gateway and a worker …")
    async with open_stage(ours, clock=True) as stage:
        players, ledger = await _journey(stage, panel)
        regulator = await stage.client("regulator", Role.REGULATOR)
        evidence = await take_evidence(regulator, "plan.adopted", home)
        plans = await _plans(regulator)
        _tell(panel, ledger, evidence, plans, time.monotonic() - began)
        if invited is None:
            return
        assert stage.settings.clock_file is not None
        release_clock(stage.settings.clock_file)
        await _invite(stage, players)
        invited.set()
        await asyncio.Event().wait()


async def _journey(stage: Stage, panel: Panel) -> tuple[dict[str, Player], Ledger]:
    stage.set_clock(panel.start(panel.periods[0]))
    await stage.first_admin()
    operator = await stage.client("allocator", Role.ALLOCATOR)
    screen.print(f"Registering {len(panel.sites)} institutions, each with an OAuth client and a key of its own …")
    players = await stage.players(panel.sites.values())
    screen.print(f"They report {HISTORY_DAYS} days of capacity over GraphQL; then the surge, day by day …")

    def told(period: object, ledger: Ledger) -> None:
        screen.print(f"  {period}: {sum(ledger.given.values())} units moved so far")

    return players, await Journey(panel, players, operator, stage.set_clock, told).play(HISTORY_DAYS)


async def _plans(regulator: ApiClient) -> list[dict[str, Any]]:
    """Every plan that was adopted, as a regulator reads it."""
    plans: list[dict[str, Any]] = []
    after, more = None, True
    while more:
        page = (await regulator.graphql(operations.PLANS, {"after": after}))["allocations"]
        plans += page["nodes"]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    return plans


def _of_plans(plans: list[dict[str, Any]]) -> list[str]:
    """What the platform itself says of the plan that sharing could help least, and to a request left short."""
    said = []
    hardest = max(plans, key=lambda plan: int(plan["ceiling"]["beyondReach"]))
    ceiling = hardest["ceiling"]
    if ceiling["beyondReach"]:
        said.append(f"The plan that sharing could help least, for {hardest['resource']}: {ceiling['sentence']}")
    short = [one for plan in plans for one in plan["unfilled"]]
    if short:
        told = max(short, key=lambda one: (int(one["quantity"]), str(one["reason"])))
        said.append(f"What the request left shortest was told: {told['reason']}")
    return [TWICE, *said] if said else []


def _tell(panel: Panel, ledger: Ledger, evidence: Evidence, plans: list[dict[str, Any]], seconds: float) -> None:
    played = ledger.panel = panel.cut(since=panel.periods[HISTORY_DAYS])
    figures = {
        "panel": panel.title, "from": str(played.periods[0]), "until": str(played.periods[-1]), **ledger.figures(),
        "verify": evidence.command, "log_entries": evidence.log_size, "seconds": round(seconds, 1),
    }  # fmt: skip
    screen.print()
    screen.print(draw(ledger))
    for sentence in (*sentences(figures), *_of_plans(plans)):
        screen.print(f"• {sentence}", soft_wrap=True)
    if figures["donors_worse_off"]:
        raise DemoFailed("a donor was left worse off.")
    if figures["shortage_with_sharing"] >= figures["shortage_without_sharing"]:
        raise DemoFailed("sharing did not lessen the shortage.")
    screen.print("[bold green]Every step held[/], and the newest plan was verified from its bundle alone.")


async def _invite(stage: Stage, players: dict[str, Player]) -> None:
    """Leave a credential for each role, and say how to use it."""
    folder = stage.settings.home / "credentials"
    folder.mkdir(mode=0o700)
    first = next(iter(players.values()))
    await stage.client(f"{first.site.code}-monitor", Role.DEVICE, first.institution)
    await stage.client("auditor", Role.AUDITOR)
    await stage.let_in("second-admin")
    names = {
        "admin": "admin", "second-admin": "second-admin", "auditor": "auditor", "allocator": "allocator",
        "regulator": "regulator", "institution": first.site.code, "device": f"{first.site.code}-monitor",
    }  # fmt: skip
    screen.print(
        f"\nThe platform goes on at [bold]{stage.settings.issuer}/graphql[/]. A credential for each role, and a second "
        "admin, who can approve what the first one drafts:", soft_wrap=True,
    )  # fmt: skip
    for role, name in names.items():
        path = folder / f"{role}.json"
        stage.credentials[name].save(path)
        screen.print(f"  {role:<13} {path}", soft_wrap=True)
    query = "{ offers(first: 3) { nodes { institution { name } resource quantity promised } } }"
    screen.print("Try, from another terminal:", end="\n  ")
    screen.print(f"sharewell client query --credential {folder / 'institution.json'} '{escape(query)}'", soft_wrap=True)
    screen.print("Ctrl-C stops it.")


def _empty(home: Path) -> Path:
    """A new folder for this demonstration; the one of the last is removed."""
    home = home.resolve()
    if (home / MARKER).exists():
        shutil.rmtree(home)
    home.mkdir(parents=True)
    (home / MARKER).touch()
    return home
