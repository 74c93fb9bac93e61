"""The trial of a model, as the audit log has it, in the words of a report: champion, challenger, and who was better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sharewell.domain.audit import Decision, parse_entry
from sharewell.domain.bundle import MalformedBundle, parse_bundle
from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import NAIVE
from sharewell.domain.trial import CHALLENGER, IN_FORCE

TrialFile = Annotated[
    Path | None,
    typer.Option(
        "--trial", help="The bundle, or the entry, of a model's trial in the audit log: told beside the scores.",
        exists=True, dir_okay=False, show_default=False,
    ),
]  # fmt: skip


def read(file: Path) -> Decision:
    """The decision on a model out of a bundle or an entry. Raises `Invalid` if it is neither, or of another kind."""
    data = file.read_bytes()
    try:
        try:
            decision = parse_entry(parse_bundle(data).entry)
        except MalformedBundle:
            decision = parse_entry(data)
    except Invalid as why:
        raise Invalid(
            f"--trial: {file.name} is no bundle and no entry of the audit log: {why}", field="trial"
        ) from None
    if not decision.kind.startswith("model."):
        raise Invalid(f"--trial: {file.name} is of {decision.kind}, not of a model's trial.", field="trial")
    return decision


def lines(decision: Decision, model: str | None) -> Iterator[str]:
    """What became of the model, how it did beside what was in force, and whether it is the `model` at hand (a hash)."""
    told: Mapping[str, Any] = decision.details
    about = told.get("model_sha256") or "a model that could not be trained"
    yield f"Trial: {decision.kind.removeprefix('model.')} on {decision.at:%Y-%m-%d}; {about}, tried against"
    yield f"  {told.get('champion')}; by the word of the file: check it with `sharewell verify`."
    if told.get("reason"):
        yield f"  Because {told['reason']}."
    if model and model != told.get("model_sha256"):
        yield f"  It is another model than the one of this report, {model}."
    backtest: Any = told.get("backtest") or {}
    yield from _scores(backtest)


def _scores(backtest: Mapping[str, Any]) -> Iterator[str]:
    """One line for all horizons together; none where no past day could be asked."""
    rows = {row["method"]: row for row in backtest.get("scores", ()) if row["horizon"] == 0}
    if not {CHALLENGER, IN_FORCE, *NAIVE} <= set(rows):
        return
    ours = rows[CHALLENGER]
    days = backtest.get("origins") or ["?"]
    yield f"  On {ours['tasks']} forecasts from {len(days)} days, {days[0]} to {days[-1]}: WIS {ours['wis']},"
    seasonal, last = (f"{_ratio(ours, rows[name])} of {name}" for name in NAIVE)
    yield f"  {_ratio(ours, rows[IN_FORCE])} of what was in force, {seasonal}, {last};"
    held = ", ".join(f"{int(band) // 10} %: {float(share):.2f}" for band, share in ours["coverage"].items())
    yield f"  held by the bands of {held}."


def _ratio(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    other = float(theirs["wis"])
    return f"{float(ours['wis']) / other:.3f}" if other else "-"
