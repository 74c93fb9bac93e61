"""Forecasting without a database: a panel of series in, quantiles out, each saying how it was made.

`Panel` cleans and aligns, `fit` trains one model over all series, `predict` applies it, `backtest` says what it is
worth. Nothing here opens a connection or reads a clock.
"""

from __future__ import annotations

from sharewell_workers.forecasting.backtest import BacktestReport, backtest
from sharewell_workers.forecasting.model import FittedModel, TooLittleHistory, fit
from sharewell_workers.forecasting.panel import Panel
from sharewell_workers.forecasting.predict import predict
from sharewell_workers.forecasting.recipe import Recipe

__all__ = ["BacktestReport", "FittedModel", "Panel", "Recipe", "TooLittleHistory", "backtest", "fit", "predict"]
