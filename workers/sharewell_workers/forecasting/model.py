"""The model: one family of gradient-boosted quantile trees over all series of a resource, all horizons at once.

What is fitted, on which data, with which choices and seeds, is one byte string with one hash; it holds no code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sharewell.domain.errors import Invalid
from sharewell_workers.forecasting import calendars, calibration, counts, features, line, lulls, trees
from sharewell_workers.forecasting.engine import HERE
from sharewell_workers.forecasting.features import Tasks
from sharewell_workers.forecasting.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sharewell_workers.forecasting.engine import Engine
    from sharewell_workers.forecasting.features import State
    from sharewell_workers.forecasting.panel import Panel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Table = tuple[tuple[float, ...], ...]

FORMAT = "sharewell-forecast-model/5"
CALIBRATED_ON = 40_000  #: outcomes at most
CLASSES = 3  #: of series that move, by their size, at most
CLASS_OUTCOMES = 2000  #: that a class should have
MOSTLY = 0.5  #: share of series that must be whole numbers for all to be taken for counts
SIZE_WEIGHTS = (0.02, 20.0)  #: of a row's cost in units over the mean cost


class TooLittleHistory(Exception):
    """The panel has too few rows to train on; forecasts must come from the naive methods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """A trained model. Two fits on the same rows with the same recipe and seed are equal, byte for byte."""

    recipe: Recipe
    horizons: tuple[int, ...]  #: steps
    seed: int
    step: int  #: days
    season: int  #: steps
    origin: date  #: last day it was trained on
    data: str  #: SHA-256 of the panel it was trained on
    trained_rows: int
    features: tuple[str, ...]
    edges: tuple[float, ...]  #: powered values that part classes of size; see `volume`
    shape: tuple[tuple[float, ...], ...]  #: where each level lies, in heights, by class and horizon, and level
    boosters: tuple[tuple[str, ...], ...]  #: LightGBM text by seed and trained level
    slopes: line.Slopes  #: of the line, by horizon; empty without one
    doubt: float  #: share of the median's move that is not believed
    _cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def hash(self) -> str:
        """SHA-256 of `to_bytes()` in hex: it names model, data, choices and seed together."""
        if "hash" not in self._cache:
            self._cache["hash"] = hashlib.sha256(self.to_bytes()).hexdigest()
        return str(self._cache["hash"])

    def to_bytes(self) -> bytes:
        """The whole model as JSON with sorted keys, LightGBM's own text inside."""
        body = {
            "format": FORMAT, "recipe": self.recipe.to_json(), "horizons": self.horizons, "seed": self.seed,
            "step": self.step, "season": self.season, "origin": self.origin.isoformat(), "data": self.data,
            "trained_rows": self.trained_rows, "features": self.features, "edges": self.edges, "shape": self.shape,
            "boosters": self.boosters, "slopes": self.slopes, "doubt": self.doubt,
        }  # fmt: skip
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> FittedModel:
        """Inverse of `to_bytes`. Raises `Invalid` if the bytes are not such a model."""
        try:
            model = cls._decode(json.loads(data))
            model.raw(np.zeros((1, len(model.features)), dtype=np.float32))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Invalid(f"these bytes are no forecast model of this version: {error}", field="model") from None
        return model

    @classmethod
    def _decode(cls, body: dict[str, Any]) -> FittedModel:
        if body.pop("format") != FORMAT:
            raise ValueError(f"the format is not {FORMAT}")
        return cls(
            recipe=Recipe.from_json(body.pop("recipe")), origin=date.fromisoformat(body.pop("origin")),
            horizons=tuple(body.pop("horizons")), features=tuple(body.pop("features")),
            edges=tuple(body.pop("edges")), shape=tuple(tuple(row) for row in body.pop("shape")),
            boosters=tuple(tuple(texts) for texts in body.pop("boosters")),
            slopes=tuple(tuple(row) for row in body.pop("slopes")), **body,
        )  # fmt: skip

    def raw(self, rows: NDArray[np.float32]) -> Floats:
        """Uncalibrated quantiles [N, K] in volatilities from the last known value.

        Seeds are averaged; the median is drawn towards the line and towards the last value, and all levels with it.
        """
        if "loaded" not in self._cache:
            self._cache["loaded"] = [trees.load(texts) for texts in self.boosters]
        said = np.asarray(np.mean([trees.apply(boosters, rows) for boosters in self._cache["loaded"]], axis=0))
        middle = said[:, [self.recipe.trained.index(500)]]
        drawn = middle
        if self.slopes:
            straight = line.say(self.slopes, rows, self.features, self.horizons)[:, None]
            drawn = (1 - self.recipe.line) * middle + self.recipe.line * straight
        return np.asarray(said + ((1 - self.doubt) * drawn - middle))

    def quantiles(self, state: State, tasks: Tasks, engine: Engine = HERE) -> Floats:
        """Calibrated quantiles [N, L] of the values themselves, rising along each row and never negative."""
        place = np.searchsorted(np.array(self.horizons), tasks.horizon)
        shape = np.array(self.shape)[volume(state, tasks, self.edges) * len(self.horizons) + place]
        moved = calibration.unfold(engine.raw(self, state, tasks), shape, self.recipe.trained)
        powered = state.base[tasks.series, tasks.column][:, None] + state.spread(tasks)[:, None] * moved
        values = np.maximum(powered, 0.0) ** (1 / self.recipe.power) * state.calm(tasks)[:, None]
        return counts.rounded(values, state.grid.whole[tasks.series], self.recipe.whole_below)


def volume(state: State, tasks: Tasks, edges: Sequence[float]) -> Ints:
    """[N] class of each task: 0 where the series has long not moved, else 1 and up by its last value (powered)."""
    at = tasks.series, tasks.column
    return np.where(state.restless[at] > 0, 1 + np.searchsorted(np.array(edges), state.base[at]), 0)


def fit(
    panel: Panel,
    horizons: Sequence[int],
    *,
    seed: int = 0,
    levels: Sequence[int] | None = None,
    recipe: Recipe | None = None,
    origin: date | None = None,
    engine: Engine = HERE,
) -> FittedModel:
    """Train on everything known at `origin` (default: the panel's last day) to look `horizons` steps ahead.

    Raises `TooLittleHistory` if there are fewer than `recipe.min_rows` rows to learn from, `Invalid` for horizons or
    levels that make no sense.
    """
    recipe = _checked(recipe or Recipe.for_step(panel.step), levels)
    ahead = tuple(sorted(set(horizons)))
    if not ahead or ahead[0] < 1:
        raise Invalid("horizons must be whole steps of 1 or more.", field="horizons")
    known = panel.until(origin) if origin is not None else panel
    grid = known.grid(origin, steps=recipe.history)
    taught = max(0, grid.value.shape[1] - recipe.train_steps)
    homes, _ = grid.homes(calendars.OWN)
    country = calendars.choice(recipe.country, panel.country, homes, grid.day(taught), grid.end, grid.step)
    lull = lulls.learn(grid, country) if country and grid.step == 7 else lulls.NO_LULL
    recipe = replace(recipe, country=country, lull=lull, signals=tuple(sorted(grid.beside)))
    state = features.observe(grid, recipe)
    model = FittedModel(
        recipe=recipe, horizons=ahead, seed=seed, step=grid.step, season=state.season, origin=grid.day(state.last),
        data=known.digest(), trained_rows=0, features=(), edges=(), shape=(), boosters=(),
        slopes=(), doubt=0.0,
    )  # fmt: skip
    # A short history is not halved for it: three quarters are left to learn from.
    held_back = min(recipe.calibration_steps, (state.last + 1) // 4)
    edges, shape = _calibrated(model, state, state.last - held_back, engine)
    return replace(_boosted(model, state, state.last, engine), edges=edges, shape=shape)


def _calibrated(model: FittedModel, state: State, until: int, engine: Engine) -> tuple[tuple[float, ...], Table]:
    """Train on outcomes up to column `until` and see how wide the bands had to be to hold what came after it.

    Gives the edges of volume classes and the shape by class and horizon.
    """
    recipe = model.recipe
    edges: tuple[float, ...] = ()
    shape = np.tile(calibration.prior(recipe.levels, recipe.trained), (2 * len(model.horizons), 1))
    if until < state.last:
        try:
            lighter = replace(recipe, seeds=1, max_rows=recipe.max_rows // 2)
            past = _boosted(replace(model, recipe=lighter), state, until, engine)
        except TooLittleHistory:
            pass  # the prior stands
        else:
            tasks = _sample(model, state, until + 1, state.last, most=CALIBRATED_ON)
            edges = _edges(state, tasks)
            said = engine.raw(past, state, tasks)
            shape = _shape(past, said, state, tasks, edges)
    return edges, tuple(tuple(round(float(f), 6) for f in row) for row in shape)


def _edges(state: State, tasks: Tasks) -> tuple[float, ...]:
    """What parts the series that move into classes of like size, as many as outcomes are enough for."""
    moving = state.base[tasks.series, tasks.column][state.restless[tasks.series, tasks.column] > 0]
    parts = int(np.clip(len(moving) // CLASS_OUTCOMES, 1, CLASSES))
    found = np.quantile(moving, np.arange(1, parts) / parts) if len(moving) else np.zeros(0)
    return tuple(round(float(edge), 6) for edge in np.unique(found))


def _shape(past: FittedModel, said: Floats, state: State, tasks: Tasks, edges: tuple[float, ...]) -> Floats:
    """Shapes of all classes, one below the other; each drawn towards that of all series that move."""
    recipe, volumes = past.recipe, volume(state, tasks, edges)
    came = _outcome(state, tasks, features.powered(state.grid, state.grid.outcome, recipe))
    doubt = _doubt(recipe.common_steps, tasks.column + tasks.horizon)
    measure = partial(calibration.shape, levels=recipe.levels, trained=recipe.trained, doubt=doubt)
    guess = measure(said, came, tasks.horizon, horizons=(0,))[0]
    found = []
    for one in range(len(edges) + 2):
        mine = (said[volumes == one], came[volumes == one], tasks.horizon[volumes == one])
        found.append(measure(*mine, horizons=past.horizons, guess=guess, still=one == 0))
    return np.concatenate(found)


def _boosted(model: FittedModel, state: State, until: int, engine: Engine) -> FittedModel:
    """Return `model` with boosters trained on outcomes up to column `until`."""
    recipe = model.recipe
    first = max(0, until - recipe.train_steps)
    bags = [_sample(model, state, first, until, most=recipe.max_rows, bag=bag) for bag in range(recipe.seeds)]
    if len(bags[0].series) < recipe.min_rows:
        raise TooLittleHistory(f"{len(bags[0].series)} rows to learn from; {recipe.min_rows} are needed.")
    lessons, names = [], [""]
    for tasks in bags:
        rows, names = engine.rows(state, tasks)
        came = _outcome(state, tasks, state.power, _damping(state, tasks))
        lessons.append(trees.Lessons(rows, came, _weight(state, tasks, until), recipe))
    boosters = engine.train(lessons, [model.seed * 1000 + bag for bag in range(recipe.seeds)])
    return replace(
        model, boosters=boosters, features=tuple(names), trained_rows=sum(len(one.rows) for one in lessons),
        slopes=line.fit(lessons[0], names, model.horizons) if _straight(state) else (),
        doubt=_doubt(recipe.moved_steps, bags[0].column + bags[0].horizon), _cache={},
    )  # fmt: skip


def _straight(state: State) -> bool:
    """Whether a line has something to say: not of counts, whose medians jump from one whole number to another."""
    return state.recipe.line > 0 and float(state.grid.whole.mean()) < MOSTLY


def _weight(state: State, tasks: Tasks, until: int) -> Floats | None:
    """How much each row counts in training: by how new it is, and by what a miss of one volatility costs in units."""
    recipe = state.recipe
    weight = None
    if recipe.recency_halflife:
        weight = 0.5 ** ((until - tasks.column - tasks.horizon) / recipe.recency_halflife)
    if recipe.size_weight:
        unit = np.maximum(state.base[tasks.series, tasks.column], 1.0) ** (1 / recipe.power - 1) * state.spread(tasks)
        size = np.clip(unit / unit.mean(), *SIZE_WEIGHTS) ** recipe.size_weight
        weight = size if weight is None else weight * size
    return weight


def _outcome(state: State, tasks: Tasks, came: Floats, damping: Floats | float = 1.0) -> Floats:
    """What `came` [S, T] (powered), times `damping` [N], in volatilities from the last known value."""
    at, column, horizon = tasks
    return np.asarray((came[at, column + horizon] * damping - state.base[at, column]) / state.spread(tasks))


def _damping(state: State, tasks: Tasks) -> Floats | float:
    """[N] what takes from each outcome (powered) the part of the common course that is not to be believed.

    A week in which all series rise is one observation of what moves them all, however many series there are; trees
    would count thousands. Of what the sum of all grew by, only a share is taught, the larger the more steps are seen.
    """
    if not state.recipe.common_steps:
        return 1.0
    doubt = _doubt(state.recipe.common_steps, tasks.column)
    spans, place = np.unique(np.stack([tasks.column, tasks.horizon]), axis=1, return_inverse=True)
    grown = np.array([_growth(state, int(column), int(horizon)) for column, horizon in spans.T])
    return np.asarray(grown[place.ravel()] ** -doubt)


def _doubt(steps: float, columns: Ints) -> float:
    """What share of that which was seen in `columns` is not to be believed, if half of it is after so many `steps`."""
    return steps / (steps + len(np.unique(columns))) if steps else 0.0


def _growth(state: State, column: int, horizon: int) -> float:
    """What the sum of all series known at both ends grew by (powered); 1 if it is of one series alone."""
    both = state.grid.firm[:, column + horizon] & (state.base[:, column] > 0)
    powered = state.base[:, column], state.power[:, column + horizon]
    ends = [part[both] ** (1 / state.recipe.power) for part in powered]
    before, after = (float(end.sum()) for end in ends)
    if not before or not after:
        return 1.0
    others = 1 - float(ends[0] @ ends[0]) / before**2  # the share of the sum's own moves that is not one series' own
    return float((after / before) ** (state.recipe.power * others))


def _sample(model: FittedModel, state: State, first: int, last: int, *, most: int, bag: int = 0) -> Tasks:
    """At most `most` tasks whose outcome lies in columns `first..last`, drawn with the model's seed, in fixed order.

    Each `bag` draws tasks of its own.
    """
    ready, firm = state.ready(), state.grid.firm
    count, width = firm.shape
    found: list[Ints] = []
    for place, h in enumerate(model.horizons):
        begin = max(first, h)
        usable = firm[:, begin : last + 1] & ready[:, begin - h : max(last + 1 - h, 0)]
        series, outcome = np.nonzero(usable)
        found.append((place * count + series) * width + outcome + begin)
    flat = np.concatenate(found)
    if len(flat) > most:
        chooser = np.random.Generator(np.random.PCG64([model.seed, bag] if bag else model.seed))
        flat = np.sort(chooser.choice(flat, size=most, replace=False))
    which, rest = np.divmod(flat, count * width)
    at, outcome = np.divmod(rest, width)
    horizon = np.array(model.horizons, dtype=np.int64)[which]
    return Tasks(at, outcome - horizon, horizon)


def _checked(recipe: Recipe, levels: Sequence[int] | None) -> Recipe:
    wanted = tuple(levels) if levels is not None else recipe.levels
    if 500 not in wanted or list(wanted) != sorted(set(wanted)) or not 0 < wanted[0] <= wanted[-1] < 1000:
        raise Invalid("levels must rise strictly between 0 and 1000 per mille and hold 500.", field="levels")
    if 500 not in recipe.trained or list(recipe.trained) != sorted(set(recipe.trained)) or len(recipe.trained) < 3:
        raise Invalid("levels to train must rise strictly and hold 500.", field="trained")
    return replace(recipe, levels=wanted)
