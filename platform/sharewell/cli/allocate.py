"""`sharewell allocate`: find a plan, check one without a solver, and read what it says to each side."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from sharewell.cli import allocate_horizon, allocate_replay
from sharewell.domain import canonical
from sharewell.domain.allocation import (
    Instance,
    NotProven,
    Plan,
    PlanRefused,
    Status,
    check_certificate,
    check_plan,
)
from sharewell.domain.errors import Invalid, NotFound
from sharewell.domain.fairness import ceiling, measures, receipts
from sharewell.domain.frontier_picture import picture
from sharewell.domain.urgent import FORMAT as URGENT
from sharewell.domain.urgent import UrgentQuestion, check_urgent
from sharewell.domain.urgent import measures as measures_at_once

screen = Console(stderr=True)
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(allocate_replay.app, name="replay")
Document = TypeVar("Document", Instance, Plan, UrgentQuestion)

InstanceFile = Annotated[Path, typer.Argument(help="Instance as JSON.", show_default=False)]
PlanFile = Annotated[Path, typer.Argument(help="Plan as JSON.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]


@app.callback()
def allocate() -> None:
    """Find, check and explain plans from files; no database and no account.

    An instance is what a plan is made from, a plan what was decided; both
    are JSON (docs/allocation.md). The API gives both of any adopted plan.
    """


@app.command()
def solve(
    instance: InstanceFile,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to put the plan.", show_default=False)],
    seconds: Annotated[float, typer.Option(min=0, help="Time for the search; a plan comes out in any case.")] = 60,
    processes: Annotated[int, typer.Option(min=1, help="Of a horizon: parts to solve side by side.")] = 1,
) -> None:
    """Find the best plan for an instance, or schedule for a horizon, by the rule or the aims that stand in it."""
    if allocate_horizon.is_horizon(instance):
        allocate_horizon.solve(instance, output, seconds, processes)
        return
    from sharewell_workers.solving import cores  # noqa: PLC0415  the checks below load no solver
    from sharewell_workers.solving import solve as find  # noqa: PLC0415

    task = _read(instance, Instance)
    with screen.status(f"Solving for {len(task.owners)} offers, {len(task.receivers)} requests ..."):
        plan = find(task, seconds=seconds, processes=cores())
    output.write_bytes(canonical.encode(plan.to_json()) + b"\n")
    for sentence in _summary(task, plan):
        typer.echo(sentence)
    typer.echo(f"Written to {output}.")


@app.command()
def check(instance: InstanceFile, plan: PlanFile, as_json: AsJson = False) -> None:
    """Check a plan against its instance, with whole numbers and no solver.

    The plan of an urgent request between two runs is checked against its
    question, which takes the place of the instance.

    Valid: every limit of the instance holds and every unit is accounted for.
    Best: the certificate proves, stage by stage, that no plan is better by
    the rule. The exit status is 0 if the plan is valid and, where it claims
    to be best, proven so; 1 if not; 2 if a file cannot be read.
    """
    if allocate_horizon.is_horizon(instance):
        raise typer.Exit(0 if allocate_horizon.check(instance, plan, as_json=as_json) else 1)
    answer = _read(plan, Plan)
    at_once = _is_question(instance)
    found = _verdict_at_once(instance, answer) if at_once else _verdict(_read(instance, Instance), answer)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for sentence in _told(found):
            typer.echo(sentence)
    raise typer.Exit(0 if found["valid"] and (found["proven_best"] or not found["claims_best"]) else 1)


@app.command()
def explain(
    instance: InstanceFile,
    plan: PlanFile,
    *,
    request: Annotated[
        str, typer.Option(help="Only this request, with what would have changed the answer, found by solving again.")
    ] = "",
    site: Annotated[
        str, typer.Option(help="Of a horizon: only this site, with what would leave it less short, found as above.")
    ] = "",
    within: Annotated[float, typer.Option(min=0, help="Time for all second runs of --request or --site.")] = math.inf,
    as_json: AsJson = False,
) -> None:
    """Say why each request left short is short, and what would change it."""
    if allocate_horizon.is_horizon(instance):
        allocate_horizon.explain(instance, plan, request, site, within, as_json=as_json)
        return
    if site:
        raise typer.BadParameter("only a horizon has sites; ask by --request.", param_hint="--site")
    task, answer = _read(instance, Instance), _read(plan, Plan)
    _require_valid(task, answer)
    rows: list[dict[str, Any]] = [dict(row.to_json()) for row in answer.unfilled if request in ("", row.request)]
    if request:
        if request not in task.receiver:
            raise typer.BadParameter(f"request {request} is not part of this instance.", param_hint="--request")
        for row in rows:
            row["would_change"] = _changes(task, answer, request, within)
    if as_json:
        typer.echo(json.dumps({"unfilled": rows}))
        return
    for row in rows:
        _tell(row)
    if not rows:
        typer.echo("Nothing that was asked for is left open.")


def _tell(row: dict[str, Any]) -> None:
    typer.echo(f"{row['request']}  [{row['code']}]  {row['reason']}")
    for change in row.get("would_change", ()):
        typer.echo(f"    {change['sentence']}")
    if not row.get("would_change", True):
        typer.echo("    No single change that was tried would have brought it more.")


@app.command(name="receipts")
def show_receipts(instance: InstanceFile, plan: PlanFile, as_json: AsJson = False) -> None:
    """Say what the plan means to each institution, against what it would have had alone."""
    task, answer = _read(instance, Instance), _read(plan, Plan)
    _require_valid(task, answer)
    rows = receipts(task, answer)
    if as_json:
        typer.echo(json.dumps({"receipts": [row.to_json() for row in rows]}))
        return
    for row in rows:
        typer.echo(f"{row.institution}  {row.sentence}")


@app.command()
def frontier(
    instance: InstanceFile,
    *,
    svg: Annotated[Path | None, typer.Option(help="Also draw the curve into this file.", show_default=False)] = None,
    seconds: Annotated[float, typer.Option(min=0, help="Time for each rule.")] = 60,
    within: Annotated[float, typer.Option(min=0, help="Time for all; rules it does not suffice for are left out.")] = (
        math.inf
    ),
    as_json: AsJson = False,
) -> None:
    """Compare rules on one instance: smallest fill against need met, and the price of each choice.

    The price is the share of the urgency-weighted need that the rule gives up
    against the rule that meets most of it.
    """
    from sharewell_workers.solving import frontier as compare  # noqa: PLC0415  see solve

    task = _read(instance, Instance)
    points = []
    with screen.status("Solving under each rule ...") as status:
        for found in compare(task, seconds=seconds, within=within):
            points.append(found)
            status.update(f"Solving under each rule ... {len(points)} done")
    rows = [found.to_json(points) for found in points]
    if svg is not None:
        svg.write_text(picture(points, _heading(task)), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({"points": rows}))
        return
    typer.echo("   rule         theta  alpha  reserved  smallest fill  need met   price  units  unit-km   Gini")
    for row in rows:
        typer.echo(
            f"{'*' if row['chosen'] else ' '}{' ' if row['proven'] else '~'} "
            f"{row['rule']:<11} {row['theta']:>6} {row['alpha']:>6} {_percent(row['reserve_share']):>9} "
            f"{_percent(row['smallest_fill']):>14} {row['need_met']:>9} {_percent(row['price']):>7} {row['units']:>6} "
            f"{row['unit_kilometres']:>8} {_percent(row['gini']):>6}"
        )
    typer.echo("* is the rule that stands in the instance; ~ was cut short, its plan is not proven the best.")


def _heading(task: Instance) -> str:
    needed = sum(row.need for row in task.receivers)
    return (
        f"{task.resource}, {task.at:%d %B %Y}: {len(task.receivers)} requests need {needed} units. Each mark is one "
        "rule, solved anew."
    )


def _percent(per_mille: Any) -> str:
    return f"{per_mille / 10:.1f} %"


def _changes(task: Instance, answer: Plan, request: str, within: float) -> list[dict[str, Any]]:
    from sharewell_workers.solving import what_would_change  # noqa: PLC0415  see solve

    with screen.status("Solving again with one thing changed at a time ..."):
        return [dict(change.to_json()) for change in what_would_change(task, answer, request, within=within)]


def _is_question(path: Path) -> bool:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False  # whoever reads it next says what is wrong
    return isinstance(document, dict) and document.get("format") == URGENT


def _verdict_at_once(path: Path, answer: Plan) -> dict[str, Any]:
    question = _read(path, UrgentQuestion)
    found = _unchecked(question.hash, answer)
    try:
        check_urgent(question, answer)
        found.update(measures=measures_at_once(question, answer), proven_best=True)
    except PlanRefused as refused:
        found.update(valid=False, problems=list(refused.violations))
    return found


def _unchecked(task: str, answer: Plan) -> dict[str, Any]:
    return {
        "valid": True, "proven_best": False, "claims_best": answer.solver.status is Status.OPTIMAL,
        "problems": [], "instance": task, "plan": answer.hash, "bound": answer.solver.bound,
        "gap_millionths": answer.solver.gap,
    }  # fmt: skip


def _verdict(task: Instance, answer: Plan) -> dict[str, Any]:
    found = _unchecked(task.hash, answer)
    try:
        check_plan(task, answer)
        found["measures"] = measures(task, answer)
        check_certificate(task, answer)
        found["proven_best"] = True
    except PlanRefused as refused:
        found.update(valid=False, problems=list(refused.violations))
    except NotProven as unproven:
        found["problems"] = [unproven.message.rstrip(".")]
    return found


def _told(found: dict[str, Any]) -> list[str]:
    problems = [f"  - {problem}" for problem in found["problems"]]
    if not found["valid"]:
        return ["REFUSED: the plan is not valid for this instance.", *problems]
    if found["proven_best"]:
        return ["VALID, and proven to be the best by its rule.", f"Instance {found['instance']}, plan {found['plan']}."]
    if found["claims_best"]:
        return ["REFUSED: the plan is valid, but not proven to be the best, as it claims.", *problems]
    return [
        "VALID, but not proven to be the best: the search was cut short.",
        f"It misses at most {found['gap_millionths'] / 10_000:.2f} % of the urgency-weighted need that any plan meets.",
    ]


def _summary(task: Instance, plan: Plan) -> list[str]:
    limit = ceiling(task, plan)
    best = "the best by its rule" if plan.solver.status is Status.OPTIMAL else "valid, cut short before the proof"
    said = [f"{limit.reachable} of {limit.needed} units needed are assigned; the plan is {best}."]
    if limit.beyond_reach:
        said.insert(0 if limit.large else 1, limit.sentence)
    return said


def _require_valid(task: Instance, answer: Plan) -> None:
    try:
        check_plan(task, answer)
    except PlanRefused as refused:
        raise Invalid(f"the plan is not valid for this instance: {refused.message}") from None


def _read(path: Path, kind: type[Document]) -> Document:
    name = kind.__name__.lower()
    try:
        return kind.read(path.read_bytes())
    except OSError as why:
        raise typer.BadParameter(f"{path} cannot be read: {why.strerror}.") from None
    except (Invalid, NotFound) as why:
        raise typer.BadParameter(f"{path} is no {name}: {why.message}") from None
