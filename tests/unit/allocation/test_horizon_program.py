"""Columns that share entries are those that were written one by one, and bounds those of the whole matrix."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain import canonical
from sharewell.domain.certificate import NotProven
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_certificate import Face
from sharewell.domain.horizon_program import Program, stretches
from sharewell.domain.horizon_rows import Item, Lot, Site, Standing, Way
from sharewell.domain.horizon_rules import program_of
from sharewell.domain.horizon_stock import Stock
from sharewell.domain.horizon_walk import alone
from sharewell.domain.resources import ResourceKind
from sharewell_workers.solving.search import matrix_of

Horizons = Callable[..., st.SearchStrategy[Horizon]]
KINDS = tuple(ResourceKind)
AIMS = st.sampled_from([tuple(Aim), (Aim.SHORTAGE, Aim.MOVES, Aim.DISTANCE, Aim.LOTTERY)])


def programs(horizon: Horizon) -> list[Program]:
    by_itself = alone(horizon)
    return [program_of(horizon, by_itself, part) for part in stretches(horizon)]


def one_by_one(self: Stock, lane: Way, until: int, days: list[int], size: int) -> None:
    """Instead of `Stock._plain`: as for lanes that stand in rows of their own."""
    for day in days:
        self._lane(self.horizon.item[lane.item], lane, until, day)
        assert size == self.horizon.item[lane.item].lot_size


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_shared_entries_are_those_written_lane_by_lane(horizons: Horizons, data: st.DataObject) -> None:
    horizon = data.draw(horizons(kinds=KINDS, aims=data.draw(AIMS)))
    shared = programs(horizon)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stock, "_plain", one_by_one)
        single = programs(horizon)
    for one, other in zip(shared, single, strict=True):
        assert one.names == other.names
        assert (one.lower, one.upper, one.whole) == (other.lower, other.upper, other.whole)
        assert (one.row_at, one.row_lower, one.row_upper) == (other.row_at, other.row_lower, other.row_upper)
        assert one.costs == other.costs
        assert (matrix_of(one) != matrix_of(other)).nnz == 0


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_bounds_and_faces_are_those_of_the_whole_matrix(horizons: Horizons, data: st.DataObject) -> None:
    horizon = data.draw(horizons(kinds=KINDS, aims=data.draw(AIMS)))
    for program in programs(horizon):
        face, matrix = Face.start(program), matrix_of(program).toarray().astype(object)
        for aim in horizon.aims[:3]:
            over, chance = data.draw(st.integers(1, 3)), data.draw(st.randoms(use_true_random=False))
            costs = np.array(program.costs[aim], dtype=object)
            limits = [*zip(face.row_lower, face.row_upper, strict=True), *((None, most) for _, most in face.locks)]
            rows = [chance.randint(-2, 2) for _ in limits]
            sides = [low if y > 0 else high for y, (low, high) in zip(rows, limits, strict=True)]
            if any(y and side is None for y, side in zip(rows, sides, strict=True)):
                with pytest.raises(NotProven, match="wrong sign"):
                    face.bound(program.costs[aim], over, rows)
            rows = [0 if side is None else y for y, side in zip(rows, sides, strict=True)]
            written = np.vstack([matrix, *(np.array(lock, dtype=object)[None, :] for lock, _ in face.locks)])
            rates = over * costs - written.T @ np.array(rows, dtype=object)
            lower, upper = np.array(face.lower, dtype=object), np.array(face.upper, dtype=object)
            total = sum(y * (side or 0) for y, side in zip(rows, sides, strict=True))
            bound = face.bound(program.costs[aim], over, rows)
            assert bound.total == total + np.minimum(rates * lower, rates * upper).sum()
            met = bound.total % over == 0 and data.draw(st.booleans())
            face.keep(bound, bound.total // over + (not met))
            if met:
                lower[rates < 0], upper[rates > 0] = upper[rates < 0], lower[rates > 0]
            assert (face.lower, face.upper) == (lower.tolist(), upper.tolist())


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_hash_is_that_of_the_canonical_document(horizons: Horizons, data: st.DataObject) -> None:
    horizon = data.draw(horizons(kinds=KINDS, lumpy=True))
    assert horizon.hash == hashlib.sha256(canonical.encode(horizon.to_json())).hexdigest()


def test_lanes_from_one_site_are_limited_by_where_they_lead() -> None:
    horizon = Horizon(
        start=datetime(2026, 1, 31, 12, tzinfo=UTC), days=2, seed="spip",
        items=(Item(item="x", kind=ResourceKind.DEVICE),),
        sites=tuple(Site(site=name) for name in ("bobeline", "champignac", "spirou")),
        lots=(Lot(site="spirou", item="x", units=9, since=0, until=2),),
        standings=(
            Standing(site="bobeline", item="x", need=(9, 9), kept=(0, 0)),
            Standing(site="champignac", item="x", need=(9, 9), kept=(0, 0), takes=1),
            Standing(site="spirou", item="x", need=(0, 0), kept=(0, 0), pledge=1000),
        ),
        lanes=tuple(
            Way(item="x", origin="spirou", destination=name, days=0, metres=1) for name in ("bobeline", "champignac")
        ),
    )  # fmt: skip
    (program,) = programs(horizon)
    named = zip(program.names, program.upper, strict=True)
    most = {(name[1].destination, name[3]): units for name, units in named if name[0] == "lane"}
    assert most == {("bobeline", 0): 9, ("bobeline", 1): 9, ("champignac", 0): 1, ("champignac", 1): 1}
