"""Every choice the model makes, as one value that is hashed with the model. Nothing else steers a fit.

Defaults were chosen on the New Jersey hospital days and the HHS facility weeks; docs/forecasting.md tells how.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from sharewell.domain.forecast import HUB_LEVELS, LEVELS
from sharewell_workers.forecasting import calibration, counts
from sharewell_workers.forecasting.lulls import NO_LULL, Lull

NINE = (10, 50, 150, 300, 500, 700, 850, 950, 990)  #: levels between which the hubs' 23 are interpolated


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Configuration of features, training and calibration; counts of steps, not days, unless said."""

    levels: tuple[int, ...] = LEVELS  #: quantile levels per mille, the median among them
    power: float = 0.5  #: values are modelled as value**power; 1/2 steadies the spread of counts
    lags: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    windows: tuple[int, ...] = (3, 7, 14, 28)  #: rolling means, slopes and spreads
    scale_halflife: float = 14.0  #: memory of a series' own volatility
    carry: int = 7  #: how long a last value may stand in for missing ones
    min_observed: int = 5  #: values a series needs before the model speaks for it
    calendar: bool = False  #: weeks of the year; only sensible with more than a year of history
    country: str | None = None  #: whose holidays are known, ISO 3166 or "own"; None: the panel's; "": nobody's
    lull: Lull = NO_LULL  #: what its holidays do to weeks; set by the fit
    signals: tuple[str, ...] = ()  #: of those beside the panel, the ones that are looked at; set by the fit
    history: int = 800  #: newest steps that are looked at at all
    train_steps: int = 800  #: newest origins that are trained on
    recency_halflife: float = 120.0  #: steps after which a training row weighs half; 0: all weigh the same
    max_rows: int = 30_000  #: training rows are sampled down to this many
    min_rows: int = 300  #: fewer training rows than this and no model is fitted
    rounds: int = 40
    leaves: int = 12
    rate: float = 0.08
    min_leaf: int = 40
    feature_fraction: float = 0.8
    whole_below: float = counts.BELOW  #: quantiles of counts under this are told as whole numbers; 0: none
    calibration_steps: int = 28  #: newest steps whose outcomes set the width of the bands; 0: no calibration
    trained: tuple[int, ...] = calibration.TRAINED  #: levels trees are trained for, the median among them
    seeds: int = 1  #: models averaged, each with its own seed and its own `max_rows` rows
    line: float = 0.0  #: share of a straight line in the median, beside trees, unless of counts; see `line`
    moved_steps: float = 0.0  #: steps after which it is half believed that the median moves at all; 0: at once
    common_steps: float = 0.0  #: steps after which what all series did together is half believed; 0: at once
    drawn: bool = False  #: trees draw one place to split at each feature instead of searching for the best
    size_weight: float = 0.5  #: power of a row's volatility in units that is its weight; 1: as much as it costs in WIS

    @classmethod
    def for_step(cls, step: int, **changes: Any) -> Self:
        """Return the recipe for series with one value every `step` days (1 or 7)."""
        if step == 7:
            weekly: dict[str, Any] = {
                "lags": (1, 2, 3, 4), "windows": (2, 4, 8), "scale_halflife": 8.0, "carry": 4, "history": 260,
                "train_steps": 104, "recency_halflife": 0.0, "max_rows": 150_000, "calibration_steps": 4,
                "min_leaf": 60, "rounds": 80, "drawn": True, "leaves": 20, "rate": 0.12, "size_weight": 0.25,
                "feature_fraction": 0.5, "common_steps": 20.0, "seeds": 2, "line": 0.3, "moved_steps": 2.0,
            }  # fmt: skip
            return cls(**(weekly | changes))
        return cls(**changes)

    @classmethod
    def bagged(cls, step: int, **changes: Any) -> Self:
        """Return the slow and careful one: every hub level told, from trees at nine levels, three seeds averaged."""
        return cls.for_step(step, **({"levels": HUB_LEVELS, "trained": NINE, "seeds": 3} | changes))

    def to_json(self) -> dict[str, Any]:
        """Plain values, tuples as lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**(plain | {"lull": Lull(*plain.get("lull", ()))}))
