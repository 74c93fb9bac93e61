"""Need is what is borne out: asking for more brings nothing, and what is raised above it stands in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.allocation import (
    Fairness,
    Instance,
    OfferRow,
    RequestRow,
    Reserve,
    Rule,
    Standing,
    build_instance,
)
from sharewell.domain.errors import Invalid
from sharewell.domain.requests import RaiseReason
from sharewell.domain.resources import ResourceKind
from sharewell.domain.snapshot import moved_before
from sharewell_workers.solving import solve

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Market:
    """Givers with units, takers with what they lack (by census) and ask for."""

    gives: Sequence[int]
    lacks: Sequence[int]
    asks: Sequence[int]
    fairness: Fairness
    capped: bool = True

    def instance(self) -> Instance:
        """Everybody in reach of everybody."""
        takers = [f"t{n}" for n in range(len(self.lacks))]
        standings = [
            Standing(institution=name, latitude=40 + n / 50, longitude=-74, stock=0, own_need=lack,
                     need_cap=lack if self.capped else None)
            for n, (name, lack) in enumerate(zip(takers, self.lacks, strict=True))
        ]  # fmt: skip
        standings += [
            Standing(institution=f"g{n}", latitude=40.2 + n / 30, longitude=-74, stock=units, own_need=0)
            for n, units in enumerate(self.gives)
        ]
        return build_instance(
            resource="ventilator", kind=ResourceKind.DEVICE, at=NOON, standings=standings, seed="spip",
            fairness=self.fairness, offers=[an_offer(n, units) for n, units in enumerate(self.gives)],
            requests=[a_request(n, units, urgency=1 + n % 5) for n, units in enumerate(self.asks)],
        )  # fmt: skip

    def truly_got(self, taker: int) -> int:
        """Units up to what it really lacks."""
        return min(self.lacks[taker], solve(self.instance()).received.get(f"r{taker}", 0))


def an_offer(number: int, units: int) -> OfferRow:
    return OfferRow(id=f"o{number}", institution=f"g{number}", quantity=units, minimum_kept=0, available_from=NOON,
                    available_until=NOON + DAY)  # fmt: skip


def a_request(number: int, units: int, **more: object) -> RequestRow:
    usual: dict[str, object] = {"urgency": 3, "needed_by": NOON + DAY / 2, "needed_until": NOON + DAY}
    return RequestRow(id=f"r{number}", institution=f"t{number}", quantity=units, **(usual | more))  # type: ignore[arg-type]


units = st.integers(1, 9)
markets = st.integers(2, 4).flatmap(
    lambda takers: st.builds(
        Market,
        gives=st.lists(units, min_size=1, max_size=3),
        lacks=st.lists(units, min_size=takers, max_size=takers),
        asks=st.lists(units, min_size=takers, max_size=takers),
        fairness=st.builds(Fairness, rule=st.sampled_from(Rule), theta=st.sampled_from([1000, 500])),
    )
)


@settings(max_examples=100, deadline=None)
@given(market=markets, more=st.integers(1, 20))
def test_asking_for_more_than_is_borne_out_never_raises_what_one_truly_receives(market: Market, more: int) -> None:
    honest = replace(market, asks=[max(pair) for pair in zip(market.asks, market.lacks, strict=True)])  # the cap binds
    inflated = replace(honest, asks=[honest.asks[0] + more, *honest.asks[1:]])
    assert inflated.truly_got(0) == honest.truly_got(0)
    assert solve(inflated.instance()).received == solve(honest.instance()).received


def test_without_the_cap_it_would_pay() -> None:
    honest = Market(gives=[6], lacks=[6, 6], asks=[6, 6], fairness=Fairness(), capped=False)
    assert (honest.truly_got(0), replace(honest, asks=[12, 6]).truly_got(0)) == (3, 4)


def test_a_request_may_ask_for_less_than_is_borne_out() -> None:
    (row,) = Market(gives=[6], lacks=[6], asks=[2], fairness=Fairness()).instance().receivers
    assert (row.need, row.asked, row.raised) == (2, 2, 0)


@pytest.mark.parametrize(("raised", "need", "counted"), [(0, 4, 0), (3, 7, 3), (9, 10, 6)])
def test_what_is_raised_counts_only_above_what_is_borne_out(raised: int, need: int, counted: int) -> None:
    request = a_request(0, 10, raised=raised, raise_reason=RaiseReason.DISASTER if raised else None)
    standing = Standing(institution="t0", latitude=None, longitude=None, stock=0, own_need=4, need_cap=4)
    instance = build_instance(
        resource="ventilator", kind=ResourceKind.DEVICE, at=NOON, offers=[], requests=[request], standings=[standing],
        seed="spip",
    )  # fmt: skip
    (row,) = instance.receivers
    assert (row.need, row.asked, row.raised) == (need, 10, counted)
    assert (row.raise_reason is not None) == (counted > 0)
    (told,) = solve(instance).unfilled
    assert ("on the institution's word (disaster)" in told.reason) == (counted > 0)


def test_a_raise_in_an_instance_has_its_reason_and_lies_within_the_need() -> None:
    base = Market(gives=[6], lacks=[6], asks=[2], fairness=Fairness()).instance()
    (row,) = base.receivers
    for wrong in ({"raised": 1}, {"raise_reason": RaiseReason.DISASTER}, {"raised": 3, "raise_reason": "disaster"}):
        with pytest.raises(Invalid):
            replace(base, receivers=(replace(row, **wrong),))


def test_credit_and_categories_of_an_institution_stand_on_its_requests() -> None:
    standing = Standing(
        institution="t0", latitude=None, longitude=None, stock=0, own_need=4, credit=900, categories=("rural",)
    )
    requests = [a_request(0, 1), replace(a_request(1, 2), institution="t0")]
    instance = build_instance(
        resource="ventilator", kind=ResourceKind.DEVICE, at=NOON, offers=[], requests=requests, standings=[standing],
        seed="spip", reserves=[Reserve(category="rural", share=100)],
    )  # fmt: skip
    assert [(row.credit, row.categories) for row in instance.receivers] == [(300, ("rural",)), (600, ("rural",))]


def test_what_lapsed_goes_on_to_the_remainders_as_far_as_they_have_room() -> None:
    lapsed = [("o", "first", 5), ("p", "first", 4), ("o", "other", 1)]
    rows = moved_before(lapsed, [("a", "first", 3), ("b", "first", 4)])
    assert {(row.offer, row.request): row.quantity for row in rows} == {("o", "a"): 3, ("o", "b"): 2, ("p", "b"): 2}
