"""`sharewell allocate replay`: published cases over a horizon, beside what was published for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sharewell.cli.allocate_horizon import screen
from sharewell.domain import canonical
from sharewell.domain.horizon import Aim
from sharewell.domain.horizon_certificate import check_bounds
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_measures import share_table

if TYPE_CHECKING:
    from sharewell.domain.horizon import Horizon

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
Data = Annotated[Path, typer.Argument(help="Folder of the published data.", show_default=False)]
Seconds = Annotated[float, typer.Option(min=0, help="Time for each schedule.")]
Keep = Annotated[Path | None, typer.Option(help="Folder for every horizon and schedule.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]

#: Per cent of the overflow taken away, for each of which the fewest moves are sought.
STEPS = (20, 40, 60, 80, 84, 88, 90, 91)
KILOMETRES = 60
PLEDGES = (50, 100, 200)  #: per mille


@app.callback()
def replay() -> None:
    """Solve published cases over their horizon and print them beside the published figures.

    Every schedule is checked, and its bounds are proven, before it is shown.
    """


@app.command()
def nj(
    data: Data, *, seconds: Seconds = 60, keep: Keep = None, as_json: AsJson = False,
    curve: Annotated[bool, typer.Option(help="Also the fewest moves for each step of overflow.")] = True,
) -> None:  # fmt: skip
    """New Jersey, spring 2020: 75 hospitals send new patients to one another, 50 days, nobody worse off.

    DATA holds bench_nj_transfers, us_nj_hospitals and us_hhs_facility.
    """
    from sharewell_workers.solving.published import new_jersey  # noqa: PLC0415  checking loads no solver

    whole = new_jersey(data)
    near = new_jersey(data, lane_metres=1000 * KILOMETRES)
    rows = [_row("least overflow", whole, seconds, keep)]
    alone = rows[0]["alone"]
    for step in STEPS if curve else (88,):
        enough = int(alone * 1000) * (100 - step) // 100
        rows.append(_row(f"fewest moves, -{step} %", replace(whole, enough=enough), seconds, keep))
    rows.append(_row(f"least overflow, lanes to {KILOMETRES} km", near, 2 * seconds, keep))
    admitted = sum(sum(ward.arrivals) for ward in whole.wards)
    for row in rows:
        row["moved_per_cent"] = round(100 * row["moved"] / admitted, 2)
        row["moved_at_least_per_cent"] = round(100 * row["moved_at_least"] / admitted, 2)
    if as_json:
        typer.echo(json.dumps({"case": "nj", "admitted": admitted, "rows": rows}))
        return
    typer.echo(f"{admitted} people admitted; patient-days over capacity {alone:,.0f} without sharing.")
    typer.echo("Published for 72 days and other capacities: -88.6 % moving 14.25 % of patients.")
    typer.echo(f"{'':34} overflow    change  at best   moved   share  at least  worse off  seconds")
    for row in rows:
        typer.echo(
            f"{row['what']:34} {row['shared']:8,.0f} {-row['fixed_per_cent']:8.2f}% {_best(row):>8} "
            f"{row['moved']:7} {row['moved_per_cent']:6.2f}% {row['moved_at_least']:8} {row['worse_off']:10} "
            f"{row['seconds']:8}"
        )
    typer.echo("At best, at least: proven by multipliers, without trust in the solver.")


@app.command()
def ventilators(data: Data, *, seconds: Seconds = 60, keep: Keep = None, as_json: AsJson = False) -> None:
    """Fifty US states, spring 2020: a share of half the ventilators may help elsewhere; no federal surge.

    3 days on the way, 3,000 a day and state, units received stay 10 days,
    nobody worse off. DATA holds bench_ventilators.
    """
    from sharewell_workers.solving.published import ventilators as case  # noqa: PLC0415  see nj

    published = {50: 7674, 100: 6112, 200: 5950}  # plans of transfers_table-ode.csv, replayed; docs/allocation.md
    rows = []
    for pledge in PLEDGES:
        row = _row(f"pledge {pledge / 10:g} %", case(data, pledge=pledge), seconds, keep)
        rows.append(row | {"published": published[pledge]})
    if as_json:
        typer.echo(json.dumps({"case": "ventilators", "rows": rows}))
        return
    typer.echo(f"Ventilator-days short without sharing: {rows[0]['alone']:,.0f} (ODE forecast, 47 days).")
    typer.echo(f"{'':14} short  at least  gap %  published  moved  unit-km     worse off  seconds")
    for row in rows:
        typer.echo(
            f"{row['what']:13} {row['shared']:6,.0f} {row['short_at_least']:9,.0f} {row['gap_per_cent']:6.2f} "
            f"{row['published']:10,} {row['moved']:6} {row['unit_km']:9,} {row['worse_off']:10} {row['seconds']:9}"
        )
    typer.echo("At least: proven by multipliers, without trust in the solver.")


def _best(row: dict[str, Any]) -> str:
    return "" if row["fixable_per_cent"] is None else f"{-row['fixable_per_cent']:.2f}%"


def _row(what: str, horizon: Horizon, seconds: float, keep: Path | None) -> dict[str, Any]:
    """Solve, check, prove and measure one case of one item whose urgencies are all 1."""
    from sharewell_workers.solving import solve_horizon  # noqa: PLC0415  see nj

    with screen.status(f"Solving: {what} ..."):
        schedule = solve_horizon(horizon, seconds=seconds)
    check_schedule(horizon, schedule)
    check_bounds(horizon, schedule)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in what)
        (keep / f"{name}.horizon.json").write_bytes(canonical.encode(horizon.to_json()))
        (keep / f"{name}.schedule.json").write_bytes(canonical.encode(schedule.to_json()))
    measures = share_table(horizon, schedule)
    (item,) = measures["items"].values()
    unit = 1000 if horizon.items[0].is_place else 1
    before, least = measures["weighted_alone"], measures["weighted_least"]
    return {
        "what": what, **item,
        "fixed_per_cent": round(100 * (before - measures["weighted_shared"]) / before, 2),
        "fixable_per_cent": None if least is None else round(100 * (before - least) / before, 2),
        "short_at_least": None if least is None else least / unit,
        "gap_per_cent": schedule.search.gap / 10_000, "solver_gap_per_cent": schedule.search.solver_gap / 10_000,
        "moved_at_least": sum(row.bound for row in schedule.stages if row.aim is Aim.MOVES),
        "unit_km": sum(
            row.units * horizon.lane[row.item, row.origin, row.destination].metres for row in schedule.shipments
        ) // 1000,
        "status": schedule.search.status.value, "seconds": round(schedule.search.milliseconds / 1000, 1),
    }  # fmt: skip
