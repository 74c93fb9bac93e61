"""`sharewell replay`: play real history through a running platform, and say what sharing would have changed."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sharewell.cli.ending import unless_stopped
from sharewell.cli.evidence import take_evidence
from sharewell.cli.explained import explained
from sharewell.cli.stage import Stage, open_stage, stage_settings
from sharewell.domain.errors import Invalid
from sharewell.domain.principals import Role
from sharewell.replay.figures import sentences
from sharewell.replay.journey import Journey
from sharewell.replay.ledger import Ledger
from sharewell.replay.panel import Panel, read_hhs, read_nj
from sharewell.settings import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Play real history through the platform, with and without sharing."
)
screen = Console(stderr=True)

Until = Annotated[datetime | None, typer.Option(help="Last day to play.", formats=["%Y-%m-%d"])]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")]
Keep = Annotated[Path | None, typer.Option(help="Folder for the platform's data; by default one below the home.")]


@app.command()
def nj(
    file: Annotated[Path, typer.Argument(help="CSV of the New Jersey hospital census.", show_default=False)],
    until: Until = None,
    as_json: AsJson = False,
    home: Keep = None,
) -> None:
    """Play the New Jersey hospital census of spring 2020, day by day.

    The file has no capacity, so each hospital is taken to staff 47.5 % of the most beds it ever reported; so cut, the
    shortage without transfers is the published one.
    """
    _replay("nj", file, lambda: read_nj(file), until, [], home, as_json=as_json)


@app.command()
def hhs(
    path: Annotated[
        Path, typer.Argument(help="Facility CSV, a folder of them, or the weekly panel.", show_default=False)
    ],
    states: Annotated[str, typer.Option(help="Only these states, such as AR,FL,MS; all where empty.")] = "",
    until: Until = None,
    as_json: AsJson = False,
    home: Keep = None,
) -> None:
    """Play the weekly capacity of US hospitals as they reported it, week by week, each state by itself."""
    regions = [f"us-{state.strip().lower()}" for state in states.split(",") if state.strip()]
    _replay("hhs", path, lambda: read_hhs(path), until, regions, home, as_json=as_json)


def _replay(
    name: str, path: Path, read: Any, until: datetime | None, regions: list[str], home: Path | None, *,
    as_json: bool,
) -> None:  # fmt: skip
    try:
        panel = read().cut(until=until.date() if until else date.max, regions=regions)
    except Invalid as error:
        raise typer.BadParameter(error.message, param_hint=str(path)) from None
    with explained():
        figures = uvloop.run(unless_stopped(play(name, panel, home)))
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        for sentence in sentences(figures):
            typer.echo(sentence)
    raise typer.Exit(0 if figures["donors_worse_off"] == 0 else 1)


async def play(name: str, panel: Panel, home: Path | None) -> dict[str, Any]:
    """Run a platform, play `panel` on it, and return the figures with the evidence of the last plan."""
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    settings = Settings.from_environment()
    folder = home or settings.home / "replays" / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    began = time.monotonic()
    quiet = replace(stage_settings(settings, folder.resolve()), log_level="warning")
    async with open_stage(quiet, clock=True) as stage:
        stage.set_clock(panel.start(panel.periods[0]))
        screen.print(f"{panel.title}: {len(panel.sites)} institutions, {len(panel.periods)} periods; data in {folder}")
        ledger = await _play(stage, panel)
        figures = {"panel": panel.title, "from": str(panel.periods[0]), "until": str(panel.periods[-1]),
                   "periods": len(panel.periods), "resources": list(panel.resources), **ledger.figures()}  # fmt: skip
        regulator = await stage.client("regulator", Role.REGULATOR)
        if figures["units_proposed"]:
            evidence = await take_evidence(regulator, "plan.adopted", folder)
            figures |= {"verify": evidence.command, "log_entries": evidence.log_size}
    figures["seconds"] = round(time.monotonic() - began, 1)
    (folder / "figures.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")
    return figures


async def _play(stage: Stage, panel: Panel) -> Ledger:
    await stage.first_admin()
    operator = await stage.client("allocator", Role.ALLOCATOR)
    count = TextColumn("{task.completed}/{task.total}")
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as progress:
        players = await stage.players(panel.sites.values())
        bar = progress.add_task(str(panel.periods[0]), total=len(panel.periods))

        def told(period: date, ledger: Ledger) -> None:
            moved = sum(ledger.given.values())
            progress.update(bar, advance=1, description=f"{period}  {moved} units moved")

        async def hand_in(period: date) -> None:
            for published in panel.files.get(period, ()):
                await stage.hand_in(panel.format, published, panel.locations)

        return await Journey(panel, players, operator, stage.set_clock, told, hand_in).play()


