"""Forecasts in the form of the public hubs: 23 quantiles, a Saturday as reference, horizons of 0 to 3 weeks.

A hub's reference date is the Saturday that ends the week in which forecasts are due. What may be used is what was
public on the Wednesday before it; the newest week in that table ended the Saturday before, so horizon 0 is one step.
Conventions: the FluSight and COVID-19 forecast hubs of the CDC, model output of type quantile.
"""

from sharewell_workers.forecasting.hub.score import scores
from sharewell_workers.forecasting.hub.season import HORIZONS, Hub, read

__all__ = ["HORIZONS", "Hub", "read", "scores"]
