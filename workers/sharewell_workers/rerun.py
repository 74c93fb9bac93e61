"""Make a forecast or a model's trial once more from what it was made of, and say whether it comes out the same.

All that is needed is in one file of *evidence*: the entry of the log, the reported rows as they were known then, and
the models that the entry names by their hashes. Every part is held against the entry's hashes, so it does not matter
who hands the file over; that the entry itself is in the log is what `sharewell verify` proves.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from sharewell.domain.audit import Decision, parse_entry, parse_time
from sharewell.domain.errors import Invalid, NotFound
from sharewell.domain.forecast import fingerprint, fingerprint_of_sums, line_of
from sharewell.domain.trial import TrialOutcome, verdict
from sharewell.services.ids import new_id
from sharewell.wiring import worker_caller
from sharewell_workers.challenge import Challenge, challenge, recipe_of
from sharewell_workers.forecasting.model import FittedModel
from sharewell_workers.forecasting.panel import Panel
from sharewell_workers.forecasting.predict import NO_MODEL, predict
from sharewell_workers.forecasting.provenance import code_version
from sharewell_workers.outlook import HORIZONS, frame_of, outlook_of
from sharewell_workers.vintages import known_then, of_step

if TYPE_CHECKING:
    from uuid import UUID

    from sharewell.domain.forecast import Forecast
    from sharewell.wiring import Services

FORMAT: Final = "sharewell-forecast-evidence/1"
TRIALS: Final = tuple(f"model.{outcome}" for outcome in TrialOutcome)
RUN: Final = "forecast.adopted"
MOST_DIFFERENCES: Final = 5  #: told one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything one re-run needs."""

    entry: bytes  #: of the log
    rows: str  #: reported rows as CSV, one a series and day
    known: Mapping[str, str] = field(default_factory=dict)  #: of a trial: such rows by past day, where others
    models: Mapping[str, str]  #: by SHA-256, those that the entry names and that were kept
    forecasts: tuple[str, ...] = ()  #: what a run made, one line a series and day, to say where another differs

    @property
    def decision(self) -> Decision:
        """What was decided. Raises `Invalid` if the entry is none of a forecast or a trial."""
        found = parse_entry(self.entry)
        if found.kind not in (*TRIALS, RUN):
            raise Invalid(f"a decision of kind {found.kind} has nothing to be re-run.", field="entry")
        return found

    def to_bytes(self) -> bytes:
        """As JSON."""
        body = {
            "format": FORMAT, "entry": self.entry.decode(), "rows": self.rows, "known": dict(self.known),
            "models": dict(self.models), "forecasts": list(self.forecasts),
        }  # fmt: skip
        return json.dumps(body, sort_keys=True, indent=1, ensure_ascii=True).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Evidence:
        """Inverse of `to_bytes`. Raises `Invalid` if the bytes are no evidence."""
        try:
            body = json.loads(data)
            _require(body["format"] == FORMAT, f"the format is not {FORMAT}")
            found = cls(
                entry=body["entry"].encode(), rows=str(body["rows"]), known=dict(body["known"]),
                models=dict(body["models"]), forecasts=tuple(body["forecasts"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as why:
            raise Invalid(f"these bytes are no evidence of a forecast: {why}", field="evidence") from None
        _ = found.decision
        return found


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was compared."""

    same: bool | None  #: None: told, and no part of the verdict
    said: str

    @property
    def name(self) -> str:
        """What was compared: data, model, backtest, verdict, training, forecasts or sums."""
        return self.said.partition(":")[0]


def rerun(evidence: Evidence) -> Iterator[Finding]:
    """Compare, one finding after the other. Where the data differ, nothing further is worth comparing."""
    decision = evidence.decision
    told: Mapping[str, Any] = decision.details
    panel = Panel.of(_frame(evidence.rows), step=int(told["step_days"]))
    digest = panel.digest()
    yield Finding(digest == told["data_sha256"], _hashes("data", digest, told["data_sha256"]))
    if digest != told["data_sha256"]:
        return
    if decision.kind == RUN:
        yield _code({"sha256": str(told["code_sha256"])})
        yield from _run(panel, told, evidence)
    else:
        yield _code(told["code"])
        yield from _trial(panel, decision.kind, told, evidence)


def _trial(panel: Panel, kind: str, told: Mapping[str, Any], evidence: Evidence) -> Iterator[Finding]:
    training, champion = told["training"], _model(evidence, str(told["champion"]))
    found = challenge(
        panel, training["horizons"], champion, recipe=recipe_of(training), seed=training["seed"],
        known={date.fromisoformat(day): _frame(rows) for day, rows in evidence.known.items()},
    )  # fmt: skip
    if found.attempt is None or found.attempt.body is None:
        yield _failed(kind, found, str(told["reason"]))
        return
    sha256 = hashlib.sha256(found.attempt.body).hexdigest()
    yield Finding(sha256 == told["model_sha256"], _hashes("model", sha256, told["model_sha256"]))
    if sha256 != told["model_sha256"] and str(told["model_sha256"]) in evidence.models:
        yield Finding(None, _parts(found.attempt.body, evidence.models[str(told["model_sha256"])]))
    same = found.attempt.backtest == told["backtest"]
    yield Finding(same, "backtest: " + ("identical" if same else _scores(found.attempt.backtest, told["backtest"])))
    outcome, _ = verdict(found.attempt.backtest)
    yield Finding(f"model.{outcome}" == kind, f"verdict: {outcome}, and on record it is {kind.removeprefix('model.')}")


def _failed(kind: str, found: Challenge, reason: str) -> Finding:
    failure = found.attempt.failure if found.attempt else found.too_little
    if kind == "model.failed":
        return Finding(failure == reason, f"training: {failure}; on record: {reason}")
    return Finding(False, f"training: {failure}; on record it did not fail")


def _run(panel: Panel, told: Mapping[str, Any], evidence: Evidence) -> Iterator[Finding]:
    model, ahead = _model(evidence, str(told["model"])), HORIZONS[panel.step]
    rows = predict(model, panel, panel.last_day, ahead, reason=_reason(evidence.forecasts), sums=True)
    outlook = outlook_of(rows, str(told["resource"]), panel.last_day, model)
    made, sha256 = outlook.forecasts, fingerprint(outlook.forecasts)
    yield Finding(sha256 == told["forecasts_sha256"], _hashes("forecasts", sha256, told["forecasts_sha256"]))
    if sha256 != told["forecasts_sha256"]:
        for line in _differences(made, evidence.forecasts):
            yield Finding(None, line)
    added_up = fingerprint_of_sums(outlook.sums)
    yield Finding(added_up == told["sums_sha256"], _hashes("sums", added_up, told["sums_sha256"]))


def _reason(lines: tuple[str, ...]) -> str:
    """Why there was no model, as most lines of that run tell it; a series may have a reason of its own."""
    reasons = [reason for line in lines if (reason := line.split("[", 1)[1].split("]", 1)[0])]
    return max(sorted(set(reasons)), key=reasons.count) if reasons else NO_MODEL


def _differences(made: list[Forecast], lines: tuple[str, ...]) -> Iterator[str]:
    ours, theirs = {line_of(each) for each in made}, set(lines)
    for name, some in (("only now", ours - theirs), ("only on record", theirs - ours)):
        yield f"{name}: {len(some)} of {len(ours if name == 'only now' else theirs)} lines"
        yield from (f"  {line}" for line in sorted(some)[:MOST_DIFFERENCES])


def _model(evidence: Evidence, sha256: str) -> FittedModel | None:
    """A model the entry names; None for a naive method. Raises `Invalid` if it is missing or has another hash."""
    if len(sha256) != 64:
        return None
    body = evidence.models.get(sha256, "").encode()
    if hashlib.sha256(body).hexdigest() != sha256:
        raise Invalid(f"the evidence lacks the model {sha256[:12]}, or holds another under its name.", field="models")
    return FittedModel.from_bytes(body)


def _code(then: Mapping[str, Any]) -> Finding:
    now = code_version()
    changed = [name for name in sorted(then) if then[name] != now.get(name)]
    other = [f"{name} {then[name]} then, {now.get(name, 'none')} now" for name in changed]
    return Finding(None, "code: " + ("the same" if not other else "; ".join(other)))


def _hashes(name: str, now: str, then: Any) -> str:
    return f"{name}: identical, {now}" if now == then else f"{name}: differs, {now} now, {then} on record"


def _parts(now: bytes, then: str) -> str:
    one, other = json.loads(now), json.loads(then)
    parts = sorted(part for part in one.keys() | other.keys() if one.get(part) != other.get(part))
    return f"  the models differ in {', '.join(parts)}"


def _scores(now: Mapping[str, Any], then: Any) -> str:
    rows = {(row["method"], row["horizon"]): row["wis"] for row in then.get("scores", ())}
    other = [
        f"{row['method']} at {row['horizon']} {row['wis']} now, {rows.get((row['method'], row['horizon']))} on record"
        for row in now.get("scores", ()) if rows.get((row["method"], row["horizon"])) != row["wis"]
    ]  # fmt: skip
    return "differs" + (": " + "; ".join(other[:MOST_DIFFERENCES]) if other else " in what was asked")


async def collect(services: Services, id: UUID) -> Evidence:  # noqa: A002
    """The evidence of a trial or a run, by its own id or that of its decision, from the history as known then.

    Raises `NotFound` if there is none.
    """
    async with services.database.transaction(read_only=True) as tx:
        decision = await tx.forecasts.decision_of(id)
        if decision is None:
            raise NotFound(f"no forecast and no trial of a model has the id {id}.", field="id")
        recorded = await tx.audit.get(decision)
        run = await tx.forecasts.run(decision)
        forecasts = await tx.forecasts.of_run(run.id) if run else []
    told: Mapping[str, Any] = recorded.decision.details
    history = await services.forecasts.history(str(told["resource"]), parse_time(str(told["known_at"])))
    frame = frame_of(of_step(history.points, int(told["step_days"])))
    named = [str(told[name]) for name in ("model", "model_sha256", "champion") if len(str(told.get(name, ""))) == 64]
    found = Evidence(
        entry=recorded.entry, rows=frame.write_csv(), models=await _kept(services, named),
        forecasts=tuple(sorted(line_of(each) for each in forecasts)),
    )  # fmt: skip
    if run is not None:
        return found
    panel = Panel.of(frame, step=int(told["step_days"]))
    then = await known_then(services, history, panel, _model(found, str(told["champion"])))
    return replace(found, known={day.isoformat(): rows.write_csv() for day, rows in then.items()})


async def put_on_record(services: Services, evidence: Evidence, found: Sequence[Finding]) -> UUID:
    """Record in the log what a re-run found; the id of that decision."""
    caller = worker_caller("forecast", str(new_id()))
    differs = [finding.name for finding in found if finding.same is False]
    done = await services.forecasts.rerun(
        caller, evidence.decision, same=not differs, differs=differs, code=code_version()
    )  # fmt: skip
    return done.decision


async def _kept(services: Services, named: list[str]) -> dict[str, str]:
    """Those of the models that were adopted at any time; others are known by their hash alone."""
    found = {}
    for sha256 in named:
        with suppress(NotFound):
            found[sha256] = (await services.trials.model(sha256)).decode()
    return found


def _frame(rows: str) -> pl.DataFrame:
    try:
        return pl.read_csv(io.StringIO(rows), schema=frame_of([]).schema)
    except pl.exceptions.PolarsError as why:
        raise Invalid(f"the rows cannot be read: {str(why).splitlines()[0]}", field="rows") from None
