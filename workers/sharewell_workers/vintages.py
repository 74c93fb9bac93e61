"""What was known on past days: a model's trial must not see values that were corrected later, or had yet to come in."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from sharewell_workers.forecasting.trial import origins
from sharewell_workers.outlook import HORIZONS, frame_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from sharewell.services.forecasts import History
    from sharewell.store.capacity import SeriesPoint
    from sharewell.wiring import Services
    from sharewell_workers.forecasting.model import FittedModel
    from sharewell_workers.forecasting.panel import Panel

LOADED = timedelta(days=14)  #: a value taken in later than this after its day was loaded as history, not reported late


async def known_then(
    services: Services, history: History, panel: Panel, champion: FittedModel | None
) -> dict[date, pl.DataFrame]:
    """For each day that a trial asks for, the rows as known then; days of which nothing has changed are left out.

    Each day is seen as long after it as `history` was read after its newest day. What was loaded as history counts as
    known on its own day, since nobody can say when it became known elsewhere: so do all values of days before the first
    was taken in here.
    """
    lag, points = history.known_at - _midnight(panel.last_day), of_step(history.points, panel.step)
    began = min(point.recorded_at for point in points)
    days = origins(panel, HORIZONS[panel.step][-1], champion)
    found = {}
    for day in (day for day in days if _midnight(day) + lag >= began):
        now = [point for point in points if point.day <= day]
        past = await services.forecasts.history(history.resource, _midnight(day) + lag)
        then = _with_loaded([point for point in of_step(past.points, panel.step) if point.day <= day], now)
        if then and then != now:
            found[day] = frame_of(then)
    return found


def of_step(points: Sequence[SeriesPoint], step: int) -> list[SeriesPoint]:
    """Those of weekly series (7) or of daily ones (1)."""
    return [point for point in points if (point.period_days == 7) == (step == 7)]


def _with_loaded(then: list[SeriesPoint], now: list[SeriesPoint]) -> list[SeriesPoint]:
    reported = {(point.institution, point.day) for point in then}
    loaded = [
        point for point in now
        if (point.institution, point.day) not in reported and point.recorded_at - _midnight(point.day) > LOADED
    ]  # fmt: skip
    return sorted([*then, *loaded], key=lambda point: (point.institution, point.day))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
