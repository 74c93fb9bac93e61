"""The panel: all series of one resource on one calendar, as rows for people and as a matrix for arithmetic."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sharewell.domain.capacity import Mark
from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import calendars, counts, intervals, quality, series

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SEASONS = {1: 7, 7: 52}  #: steps after which the calendar repeats, by step
MOST_STEPS = 3660  #: ten years of days; a stray row from long ago must not fill the memory
SHORT_SEASONS = {1: 7, 7: 4}  #: stands in where history is shorter than a season


@dataclass(frozen=True, slots=True)
class Panel:
    """Cleaned rows (see `series.clean`), sorted by series and day, and what cleaning saw (see `quality.report`)."""

    frame: pl.DataFrame
    quality: pl.DataFrame
    step: int
    country: str | None = None  #: whose holidays its series keep, ISO 3166 or `calendars.OWN`; None if not known

    unit: str | None = None  #: of all values; None where nobody said
    unnamed: int = 0  #: rows that named no series and were left out
    beside: Mapping[str, Panel] = field(default_factory=dict)  #: other signals of the same series, by name

    @classmethod
    def of(
        cls,
        frame: pl.DataFrame,
        *,
        step: int | None = None,
        country: str | None = None,
        unit: str | None = None,
        moved: pl.DataFrame | None = None,
        known_on: date | None = None,
    ) -> Panel:
        """Clean `frame` (see `series.clean`); raises `Invalid` naming what is missing or unreadable.

        Without a `country` each series keeps the holidays of the one that its group's name begins with, as in `de-by`.
        """
        home = calendars.checked(country) if country and country != calendars.OWN else country
        made = series.clean(frame, step=step, unit=unit, moved=moved, known_on=known_on)
        home = home or calendars.country_of(made.rows["group"].unique().to_list())
        return cls(made.rows, made.quality, made.step, home, made.unit, made.unnamed)

    @property
    def last_day(self) -> date:
        """Newest day with any row. Raises `Invalid` for a panel without rows."""
        newest = self.frame["day"].max()
        if not isinstance(newest, date):
            raise Invalid("the panel has no rows.", field="panel")
        return newest

    def until(self, day: date) -> Panel:
        """The panel as if nothing after `day` had been reported; every series stays, even if it is left empty."""
        beside = {name: other.until(day) for name, other in self.beside.items()}
        return replace(self, frame=self.frame.filter(pl.col("day") <= day), beside=beside)

    def seen_with(self, **beside: Panel) -> Panel:
        """This panel, and other signals that may tell where it is heading, such as admissions beside beds.

        Their series go by the same names; those that this panel lacks are left out. Raises `Invalid` for another step.
        """
        for name, other in beside.items():
            if other.step != self.step:
                raise Invalid(f"{name} steps {other.step} days, the panel {self.step}.", field="step")
        return replace(self, beside={**self.beside, **beside})

    def digest(self) -> str:
        """SHA-256 over the cleaned rows in order: the same rows give the same hash, however they were sent."""
        text = self.frame.select("series", "group", "day", "value", "mark", "size").write_csv(float_precision=6)
        hidden = self.frame.filter(pl.col("lower") < pl.col("upper")).select("series", "day", "lower", "upper")
        head = f"step={self.step} unit={self.unit}\n"
        head += "".join(f"{name}={self.beside[name].digest()}\n" for name in sorted(self.beside))
        return hashlib.sha256((head + text + hidden.write_csv(float_precision=6)).encode()).hexdigest()

    def grid(self, last: date | None = None, *, steps: int | None = None) -> Grid:
        """Lay the panel out as a matrix whose last column is `last` (default: the newest day), `steps` wide at most."""
        names = self.quality["series"].to_list()
        end = last if last is not None else self.last_day
        end = _on_calendar(end, self.frame, self.step)
        rows = self.frame.filter(pl.col("day") <= end)
        first = rows["day"].min()
        width = (end - first).days // self.step + 1 if isinstance(first, date) else 1
        width = min(width, steps or MOST_STEPS)
        beside = {
            name: _fill(other.frame, names, end, width, self.step).value for name, other in self.beside.items()
        }
        return replace(_fill(rows, names, end, width, self.step), beside=beside)


@dataclass(frozen=True, slots=True)
class Grid:
    """A matrix of series by step. `value` is NaN where nothing is known; `firm` marks what may be learned from."""

    names: list[str]
    group: Ints  #: [S] number of each series' group
    size: Floats  #: [S] static size such as population; NaN where not given
    end: date  #: day of the last column
    step: int  #: days
    value: Floats  #: [S, T]; the middle of its interval where it is suppressed
    firm: NDArray[np.bool_]  #: [S, T] observed, not carried forward or imputed
    lower: Floats  #: [S, T]; the same array as `value` where every value is exact
    upper: Floats  #: [S, T]
    whole: NDArray[np.bool_]  #: [S] counts: every exact value is a whole number
    groups: list[str]  #: names of the groups, by number
    beside: dict[str, Floats] = field(default_factory=dict)  #: [S, T] other signals of the same series

    def until(self, column: int, *, steps: int | None = None) -> Grid:
        """The grid as if `column` were its last, `steps` wide at most."""
        span = slice(max(0, column + 1 - steps) if steps else 0, column + 1)
        value = self.value[:, span]
        exact = self.lower is self.value
        lower, upper = (value, value) if exact else (self.lower[:, span], self.upper[:, span])
        return replace(
            self, end=self.day(column), value=value, firm=self.firm[:, span], lower=lower, upper=upper,
            whole=counts.are_whole(value, lower, upper),
            beside={name: other[:, span] for name, other in self.beside.items()},
        )  # fmt: skip

    def of(self, series: slice) -> Grid:
        """Some series alone, groups numbered as before."""
        exact = self.lower is self.value
        value = self.value[series]
        lower, upper = (value, value) if exact else (self.lower[series], self.upper[series])
        return replace(
            self, names=self.names[series], group=self.group[series], size=self.size[series], value=value,
            firm=self.firm[series], lower=lower, upper=upper, whole=self.whole[series],
            beside={name: other[series] for name, other in self.beside.items()},
        )  # fmt: skip

    @property
    def outcome(self) -> Floats:
        """[S, T] what stands for values where misses are counted: intervals spread out, not put at their middle."""
        return intervals.spread(self.lower, self.upper)

    def homes(self, country: str | None) -> tuple[list[str], Ints]:
        """Whose holidays there are ("": nobody's), and [S] which of them each series keeps.

        They are those of `country`, or with `calendars.OWN` of each group.
        """
        if country != calendars.OWN:
            return [country or ""], np.zeros(len(self.group), dtype=np.int64)
        found = [calendars.home(name) for name in self.groups]
        codes = sorted(set(found))
        return codes, np.array([codes.index(home) for home in found], dtype=np.int64)[self.group]

    def day(self, column: int) -> date:
        """Day of a column; columns past the last lie in the future."""
        return self.end + timedelta(days=(column - self.value.shape[1] + 1) * self.step)

    @property
    def season(self) -> int:
        """Steps after which the calendar repeats, or its stand-in where history is shorter."""
        full = SEASONS[self.step]
        return full if self.value.shape[1] > full + 8 else SHORT_SEASONS[self.step]


def _on_calendar(end: date, frame: pl.DataFrame, step: int) -> date:
    """Newest calendar day of the panel that is not after `end`; for daily panels `end` itself."""
    some = frame["day"].max()
    if step == 1 or not isinstance(some, date):
        return end
    return end - timedelta(days=(end - some).days % step)


def _fill(rows: pl.DataFrame, names: list[str], end: date, width: int, step: int) -> Grid:
    start = end - timedelta(days=(width - 1) * step)
    order = pl.DataFrame({"series": names, "_row": np.arange(len(names))}, schema_overrides={"series": pl.String})
    placed = rows.join(order, on="series", how="inner").filter(pl.col("day").is_between(start, end))
    column = ((placed["day"] - start).dt.total_days() // step).to_numpy()
    row = placed["_row"].to_numpy()

    def lay(name: str) -> Floats:
        laid = np.full((len(names), width), np.nan)
        laid[row, column] = placed[name].to_numpy()
        return laid

    value = lay("value")
    exact = not placed.select((pl.col("lower") < pl.col("upper")).any()).item()
    firm = np.zeros((len(names), width), dtype=bool)
    learn = placed["mark"].is_in([str(Mark.REPORTED), str(Mark.SUPPRESSED)]) & placed["value"].is_not_null()
    firm[row, column] = learn.to_numpy()
    static = order.join(
        rows.group_by("series").agg(pl.col("group").last(), pl.col("size").last()), on="series", how="left"
    ).sort("_row")
    named = static["group"].fill_null("all")
    group = named.rank("dense").cast(pl.Int64).to_numpy() - 1
    lower, upper = (value, value) if exact else (lay("lower"), lay("upper"))
    size = static["size"].to_numpy().astype(float)
    whole = counts.are_whole(value, lower, upper)
    return Grid(names, group, size, end, step, value, firm, lower, upper, whole, named.unique().sort().to_list())


def describe(panel: Panel) -> dict[str, Any]:
    """Totals of the quality report, for a log line or a page."""
    names = [name for name in quality.COUNTS if name not in ("longest_gap", "silent")]
    sums = panel.quality.select(pl.sum(*names)).to_dicts()[0]
    return {"series": panel.quality.height, "step_days": panel.step, "unnamed": panel.unnamed, **sums}
