"""Pictures of forecasts for people: fans, calibration, and scores by horizon, as SVG or PNG.

The same numbers give the same bytes with one version of matplotlib. It is loaded when something is drawn, not before.
"""

from __future__ import annotations

from sharewell_workers.forecasting.plots.calibration import draw as calibration
from sharewell_workers.forecasting.plots.fans import draw as fans
from sharewell_workers.forecasting.plots.horizons import draw as horizons

__all__ = ["calibration", "fans", "horizons"]
