"""The forecast job: learn from all that is known of one resource, adopt what is expected, and look at what came.

A new model is tried when the last trial is some days old, or when many series have begun to drift since; it is adopted
only if it is not worse than the one in force, which is applied to the newest numbers every day. Same data, no work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
import structlog

from sharewell.domain.drift import WatchState
from sharewell.domain.errors import Invalid, NotFound, StaleSnapshot
from sharewell.domain.forecast import NAIVE
from sharewell.domain.trial import UNTRIED, ForecastTrial, TrialOutcome
from sharewell.wiring import worker_caller
from sharewell_workers.challenge import challenge
from sharewell_workers.forecasting.model import FittedModel
from sharewell_workers.forecasting.predict import NO_MODEL, predict
from sharewell_workers.forecasting.provenance import source_sha256
from sharewell_workers.outlook import HORIZONS, Outlook, came_since, outlook_of, panels_of
from sharewell_workers.vintages import known_then

if TYPE_CHECKING:
    from sharewell.domain.principals import Caller
    from sharewell.services.forecasts import History
    from sharewell.wiring import Services
    from sharewell_workers.forecasting.panel import Panel
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)

TRY_AFTER = {1: 7, 7: 28}  #: days after a trial at which a new model is tried
MANY_DRIFT = 0.05  #: share of the series that begin to drift after a trial, from which on the next is due at once
LATE = timedelta(days=30)  #: how late a value may come and still be held against its forecast
MOST_TRIES = 5  #: readings of the history before the job gives up for now and is tried again later


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The model that answers, if there is one, and the trial that put it there."""

    model: FittedModel | None = None
    trial: ForecastTrial | None = None
    reason: str = NO_MODEL  #: why there is none


async def forecast(job: Job, services: Services) -> None:
    """Handle one job: payload `resource`. Doing it twice adopts once and judges once.

    Raises `StaleSnapshot` where reports came in during every try; the runner starts the job again later.
    """
    resource = str(job.payload["resource"])
    caller = worker_caller("forecast", job.request_id)
    for attempt in range(1, MOST_TRIES + 1):
        history = await services.forecasts.history(resource)
        try:
            for panel in panels_of(history.points, services.settings.country):
                await _judge(services, caller, resource, panel)
                await _renew(services, caller, history, panel)
        except StaleSnapshot as stale:
            log.info("history was stale", resource=resource, attempt=attempt, why=stale.message)
            continue
        return
    raise StaleSnapshot(f"reports of {resource} came in during each of {MOST_TRIES} readings of their history.")


async def _renew(services: Services, caller: Caller, history: History, panel: Panel) -> None:
    """Forecast every series of `panel` anew, after trying a new model if one is due."""
    data_sha256 = panel.digest()
    if await services.forecasts.made_from(history.resource, data_sha256):
        log.info("forecast already made from these numbers", resource=history.resource, step_days=panel.step)
        return
    force = await _in_force(services, caller, history, panel)
    # Arithmetic holds the interpreter for long; in a thread the worker still answers its heartbeat.
    outlook = await anyio.to_thread.run_sync(look_ahead, panel, history.resource, force)
    done = await services.forecasts.adopt(
        caller, history, step_days=panel.step, origin=panel.last_day, data_sha256=data_sha256,
        model=outlook.model.hash if outlook.model else NAIVE[0],
        trial=force.trial.id if outlook.model and force.trial else None, code_sha256=source_sha256(),
        forecasts=outlook.forecasts, sums=outlook.sums,
    )  # fmt: skip
    log.info(
        "forecast adopted", resource=history.resource, origin=panel.last_day.isoformat(), step_days=panel.step,
        series=done.subject.series, fallbacks=done.subject.fallbacks, model=done.subject.model[:12],
    )  # fmt: skip


async def _in_force(services: Services, caller: Caller, history: History, panel: Panel) -> InForce:
    """What answers today: the model in force, or a new one that was tried just now and is not worse."""
    trial, newest = await services.trials.standing(history.resource, panel.step)
    champion = await _read(services, trial)
    force = InForce(model=champion, trial=trial) if champion else InForce()
    waits = not due(newest, panel.last_day, await _drifting_since(services, history.resource, newest, panel))
    if champion is not None and waits:
        return force
    if champion is None and trial is None and newest is not None and waits:
        return InForce(reason=f"no trained model is in force: {newest.reason}")
    known = await known_then(services, history, panel, champion)
    found = await anyio.to_thread.run_sync(partial(challenge, panel, HORIZONS[panel.step], champion, known=known))
    if found.attempt is None:
        log.info("no model can be trained yet", resource=history.resource, why=found.too_little)
        return force if champion else InForce(reason=found.too_little)
    concluded = (await services.trials.conclude(caller, history, found.attempt)).subject
    told = {"resource": history.resource, "step_days": panel.step, "trial": str(concluded.id)}
    if concluded.outcome is TrialOutcome.ADOPTED:
        log.info("a new model is in force", model=concluded.model[:12], instead_of=concluded.champion[:12], **told)
        return InForce(model=found.model, trial=concluded)
    log.warning("a new model is not in force", outcome=str(concluded.outcome), why=concluded.reason, **told)
    return force if champion else InForce(reason=f"no trained model is in force: {concluded.reason}")


async def _drifting_since(services: Services, resource: str, newest: ForecastTrial | None, panel: Panel) -> float:
    """The share of the panel's series that began to drift on days which the newest trial could not learn from."""
    if newest is None:
        return 0.0
    marked = {str(who) for who in await services.drift.since(resource, newest.origin)}
    return len(marked & set(panel.quality["series"])) / panel.quality.height


def due(newest: ForecastTrial | None, today: date, drifting: float = 0.0) -> bool:
    """Whether to try a new model: some time after the last trial, at once after one that could not be concluded.

    At once, too, where a large share of the series is `drifting` since: what they do now was not there to be learnt.
    """
    if newest is None:
        return True
    age = (today - newest.origin).days
    if newest.outcome is TrialOutcome.FAILED or newest.reason == UNTRIED:
        return age >= newest.step_days
    if drifting >= MANY_DRIFT:
        return True
    return age >= TRY_AFTER[newest.step_days]


async def _read(services: Services, trial: ForecastTrial | None) -> FittedModel | None:
    """The model of `trial`, unless this release cannot read it any more."""
    if trial is None:
        return None
    try:
        return FittedModel.from_bytes(await services.trials.model(trial.model))
    except (Invalid, NotFound) as error:
        log.warning("the model in force cannot be read and is replaced", model=trial.model[:12], why=error.message)
        return None


async def _judge(services: Services, caller: Caller, resource: str, panel: Panel) -> None:
    """Hold what came against what had been forecast for it."""
    furthest = timedelta(days=panel.step * HORIZONS[panel.step][-1])
    since = panel.last_day - furthest - LATE
    midnight = datetime.combine(since, time(), UTC)
    found = await services.drift.judge(caller, resource, panel.step, came_since(panel, since), midnight)
    for watch in found.marked:
        drifts = watch.state is WatchState.DRIFTING
        log.log(
            30 if drifts else 20, "a forecast drifts" if drifts else "a forecast holds again", resource=resource,
            institution=str(watch.institution), target=watch.last_target.isoformat(),
        )  # fmt: skip


def look_ahead(panel: Panel, resource: str, force: InForce) -> Outlook:
    """Forecast every series of `panel`, and the sums of regions and of all.

    Series are forecast naively, and say why, where the model cannot speak for them, and all are where it fails.
    """
    try:
        return _outlook(panel, resource, force.model, force.reason)
    except Exception as error:
        if force.model is None:
            raise
        log.exception("the model in force could not be applied", resource=resource, model=force.model.hash[:12])
        return _outlook(panel, resource, None, f"the model failed with {type(error).__name__}")


def _outlook(panel: Panel, resource: str, model: FittedModel | None, reason: str) -> Outlook:
    rows = predict(model, panel, panel.last_day, HORIZONS[panel.step], reason=reason, sums=True)
    return outlook_of(rows, resource, panel.last_day, model)
