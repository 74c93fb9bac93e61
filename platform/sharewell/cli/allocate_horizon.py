"""What `sharewell allocate` does with a horizon (several items, day by day) instead of an instance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console

from sharewell.domain import canonical
from sharewell.domain.allocation import NotProven, PlanRefused
from sharewell.domain.errors import Invalid
from sharewell.domain.horizon import ROWS_OF, Horizon
from sharewell.domain.horizon_certificate import check_bounds
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_measures import share_table
from sharewell.domain.plan import Status
from sharewell.domain.schedule import Schedule

screen = Console(stderr=True)
Document = TypeVar("Document", Horizon, Schedule)


def is_horizon(path: Path) -> bool:
    """Whether the document says so; what cannot be read is left to its reader to refuse."""
    try:
        document = canonical.parse_loosely(path.read_bytes())
    except (OSError, Invalid):
        return False
    return isinstance(document, dict) and document.get("format") in ROWS_OF


def solve(path: Path, output: Path, seconds: float, processes: int) -> None:
    """Find the best schedule, write it, and say what it reaches."""
    from sharewell_workers.solving import solve_horizon  # noqa: PLC0415  checking loads no solver

    horizon = read(path, Horizon)
    with screen.status(f"Solving for {len(horizon.sites)} sites over {horizon.days} days ..."):
        schedule = solve_horizon(horizon, seconds=seconds, processes=processes)
    check_schedule(horizon, schedule)
    output.write_bytes(canonical.encode(schedule.to_json()) + b"\n")
    for sentence in summary(horizon, schedule):
        typer.echo(sentence)
    typer.echo(f"Written to {output}.")


def check(instance: Path, plan: Path, *, as_json: bool) -> bool:
    """Say whether the schedule is valid and its bounds proven; return whether both hold."""
    horizon, schedule = read(instance, Horizon), read(plan, Schedule)
    found: dict[str, Any] = {
        "valid": False, "bounds_proven": False, "claims_best": schedule.search.status is Status.OPTIMAL, "problems": [],
        "instance": horizon.hash, "plan": schedule.hash, "gap_millionths": schedule.search.gap,
        "stages": [row.to_json() for row in schedule.stages],
    }  # fmt: skip
    try:
        check_schedule(horizon, schedule)
        found["valid"] = True
        check_bounds(horizon, schedule)
        found["bounds_proven"] = True
        found["measures"] = share_table(horizon, schedule)
    except PlanRefused as refused:
        found["problems"] = list(refused.violations)
    except NotProven as unproven:
        found["problems"] = [unproven.message.rstrip(".")]
    for line in [json.dumps(found)] if as_json else _verdict(found, schedule):
        typer.echo(line)
    return bool(found["bounds_proven"])


def _verdict(found: dict[str, Any], schedule: Schedule) -> list[str]:
    problems = [f"  - {problem}" for problem in found["problems"]]
    if not found["valid"]:
        return ["REFUSED: the schedule is not valid for this horizon.", *problems]
    if not found["bounds_proven"]:
        return ["REFUSED: the schedule is valid, but its multipliers do not prove what it states.", *problems]
    if found["claims_best"]:
        return ["VALID, and proven to be the best, aim by aim.", f"Instance {found['instance']}, plan {found['plan']}."]
    if not schedule.search.gap:
        said = ["VALID, and proven that no schedule has less shortage; a later aim might be reached better."]
        return [*said, *_bounds(schedule)]
    most = schedule.search.gap / 10_000
    said = [f"VALID; another schedule could avoid at most {most:.2f} % of the shortage that is left: that is proven."]
    if schedule.search.solver_gap < schedule.search.gap:
        told = schedule.search.solver_gap / 10_000
        said.append(f"The solver says {told:.2f} %; that rests on its word, no proof is attached.")
    return [*said, *_bounds(schedule)]


def _bounds(schedule: Schedule) -> list[str]:
    return [
        f"  - {aim}: {value} reached, {bound} at least."
        for aim in dict.fromkeys(row.aim for row in schedule.stages)
        for value, bound in [schedule.total(aim)]
    ]


def explain(instance: Path, plan: Path, request: str, site: str, within: float, *, as_json: bool) -> None:
    """Say for every need that stays open how much and why; of one site also what would leave it less short."""
    if request:
        raise typer.BadParameter("a horizon has no requests; ask by --site.", param_hint="--request")
    horizon, schedule = read(instance, Horizon), read(plan, Schedule)
    try:
        check_schedule(horizon, schedule)
    except PlanRefused as refused:
        raise Invalid(f"the schedule is not valid for this horizon: {refused.message}") from None
    unmet = [row for row in schedule.unmet if site in ("", row.site)]
    reliefs = _reliefs(horizon, schedule, site, within) if site else None
    if as_json:
        told = {"unmet": [row.to_json() for row in unmet]}
        typer.echo(json.dumps(told if reliefs is None else told | {"would_relieve": reliefs}))
        return
    for row in unmet:
        units = f"{row.units / 1000:g}" if horizon.item[row.item].is_place else row.units
        typer.echo(f"{row.site}  {row.item}  [{row.code}]  {units} unit-days short. {row.reason}")
    if not unmet:
        typer.echo("No need is left open.")
        return
    for relief in reliefs or ():
        typer.echo(f"    {relief['item']}: {relief['sentence']}")
    if reliefs == []:
        typer.echo("    No single change that was tried would leave it less short.")


def _reliefs(horizon: Horizon, schedule: Schedule, site: str, within: float) -> list[Any]:
    from sharewell_workers.solving import what_would_relieve  # noqa: PLC0415  see solve

    if site not in horizon.site:
        raise typer.BadParameter(f"site {site} is not part of this horizon.", param_hint="--site")
    with screen.status("Solving again with one thing changed at a time ..."):
        return [row.to_json() for row in what_would_relieve(horizon, schedule, site, within=within)]


def summary(horizon: Horizon, schedule: Schedule) -> list[str]:
    """What the schedule reaches, in sentences; what no sharing can fix comes first where it is most of it."""
    table = share_table(horizon, schedule)
    best = "proven to be the best, aim by aim" if schedule.search.status is Status.OPTIMAL else "valid, with a bound"
    said = [
        f"{name}: {row['shared']:g} unit-days short, alone {row['alone']:g}; {row['moved']} moved, "
        f"{row['worse_off']} sites worse off."
        for name, row in table["items"].items()
    ]
    said.append(f"The schedule is {best}.")
    fixable, fixed = table["redistributable_per_mille"], table["fixed_per_mille"]
    if fixable is None:
        return [*said, f"Sharing fixes {fixed / 10:.1f} % of the shortage; what is left was called enough."]
    words = f"Sharing fixes {fixed / 10:.1f} % of the shortage; at most {fixable / 10:.1f} % could be."
    return [words, *said] if fixable < 500 else [*said, words]


def read(path: Path, kind: type[Document]) -> Document:
    """Read a document or refuse it, naming the path of what is wrong."""
    try:
        return kind.read(path.read_bytes())
    except OSError as why:
        raise typer.BadParameter(f"{path} cannot be read: {why.strerror}.") from None
    except Invalid as why:
        raise typer.BadParameter(f"{path} is no {kind.__name__.lower()}: {why.message}") from None
