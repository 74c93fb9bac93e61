"""Small instances: one builder for tests that tell a story, one strategy for tests that hunt for a counterexample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import strategies as st

from sharewell.domain.allocation import Fairness, Instance, Lane, Movement, Owner, Receiver, Reserve, Rule
from sharewell.domain.requests import RaiseReason
from sharewell.domain.resources import ResourceKind

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def an_instance(
    gives: Mapping[str, int],
    needs: Mapping[str, int | tuple[int, int]],
    *,
    lanes: Mapping[tuple[str, str], int] | None = None,
    caps: Mapping[tuple[str, str], int] | None = None,
    **more: Any,
) -> Instance:
    """Offers with the units they spare, requests with need (and urgency, else 3), lanes with metres (else all 1 km)."""
    wanted = {name: need if isinstance(need, tuple) else (need, 3) for name, need in needs.items()}
    metres = {(o, r): 1000 for o in gives for r in needs} if lanes is None else lanes
    rows: dict[str, Any] = {
        "resource": "ventilator",
        "kind": ResourceKind.DEVICE,
        "at": NOON,
        "seed": "spip",
        "owners": tuple(
            Owner(offer=offer, institution=f"at-{offer}", quantity=units, stock=units + 2, minimum_kept=2)
            for offer, units in gives.items()
        ),
        "receivers": tuple(
            Receiver(request=name, institution=f"at-{name}", need=need, urgency=urgency)
            for name, (need, urgency) in wanted.items()
        ),
        "lanes": tuple(
            Lane(offer=o, request=r, cap=(caps or {}).get((o, r), 100), metres=length, hours=1)
            for (o, r), length in metres.items()
        ),
    }
    return Instance(**(rows | more))


@st.composite
def drawn(draw: st.DrawFn, *, sides: int = 3, most: int = 3, rules: tuple[Rule, ...] = (Rule.FLOOR,)) -> Instance:
    """Any instance of at most `sides` offers and requests and `most` units a number; some houses play both parts."""
    # Mostly givers with something to spare, takers that lack something and lanes between them; now and then not.
    some = st.integers(1, most)
    seldom = st.sampled_from([0, 0, 0, 1, most])
    stocks = {name: (most + draw(st.integers(0, 2 * most)), draw(seldom)) for name in ("bobeline", "champignac")}
    owners = []
    for index in range(draw(st.integers(1, sides))):
        house = draw(st.sampled_from(sorted(stocks)))
        owners.append(
            Owner(offer=f"o{index}", institution=house, quantity=draw(some), stock=stocks[house][0],
                  own_need=stocks[house][1], minimum_kept=draw(seldom))
        )  # fmt: skip
    reserves = [
        Reserve(category=name, share=draw(st.sampled_from([100, 250, 500])))
        for name in draw(st.sampled_from([(), (), ("burns",), ("burns", "rural")]))
    ]
    receivers = []
    for index in range(draw(st.integers(1, sides))):
        raised = draw(st.sampled_from([0, 0, 0, 1]))
        need, held = draw(st.sampled_from([*range(most + 1), most])), draw(seldom)
        house = draw(st.sampled_from(["marsupilami", "spirou", "zyglotrop"] * 4 + ["bobeline"]))
        receivers.append(
            Receiver(request=f"r{index}", institution=house, need=need, urgency=draw(st.integers(1, 5)),
                     asked=need + draw(st.sampled_from([0, 0, 1])), held=held,
                     weight=draw(st.sampled_from([1000, 1000, 1500])),
                     credit=draw(st.sampled_from([0, 0, 700, -1500, 9000])), raised=min(raised, need),
                     raise_reason=RaiseReason.DISASTER if raised and need else None,
                     categories=tuple(row.category for row in reserves if draw(st.booleans())))
        )  # fmt: skip
    lanes = [
        Lane(offer=o.offer, request=r.request, cap=draw(st.sampled_from([0, *range(1, most + 1)])),
             metres=draw(st.integers(0, 2)), hours=1)
        for o in owners
        for r in receivers
        if o.institution != r.institution and draw(st.integers(0, 4)) > 0
    ]  # fmt: skip
    in_force = [
        Movement(offer=lane.offer, request=lane.request, quantity=draw(some))
        for lane in lanes if draw(st.integers(0, 3)) == 0
    ]  # fmt: skip
    fairness = Fairness(
        memory=draw(st.sampled_from([0, 800])), credit=draw(st.sampled_from([0, 500, 1000])),
        rule=draw(st.sampled_from(rules)),
        alpha=draw(st.sampled_from([0, 500, 1000, 2000, 4000])),
        theta=draw(st.sampled_from([1000, 1000, 700, 0])),
        buckets=draw(st.sampled_from([1, 2, 10])),
    )
    return Instance(
        resource="ventilator", kind=ResourceKind.DEVICE, at=NOON, seed=draw(st.sampled_from(["spip", "houba"])),
        owners=tuple(owners), receivers=tuple(receivers), lanes=tuple(lanes), fairness=fairness,
        reserves=tuple(reserves), in_force=tuple(in_force),
    )  # fmt: skip


@pytest.fixture(scope="session", name="an_instance")
def _an_instance() -> Callable[..., Instance]:
    """The builder."""
    return an_instance


@pytest.fixture(scope="session")
def instances() -> Callable[..., st.SearchStrategy[Instance]]:
    """The strategy: instances(sides=3, most=3, rules=(Rule.FLOOR,))."""
    return drawn
