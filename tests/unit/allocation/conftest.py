"""Small instances: one builder for tests that tell a story, one strategy for tests that hunt for a counterexample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import strategies as st

from sharewell.domain.allocation import Fairness, Instance, Lane, Movement, Owner, Receiver, Reserve, Rule
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_check import broken_rules
from sharewell.domain.horizon_rows import Gate, Item, Lot, Part, Shipment, Site, Standing, Substitute, Ward, Way
from sharewell.domain.horizon_walk import Uses, alone, walk
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
def drawn(
    draw: st.DrawFn, *, sides: int = 3, most: int = 3, rules: tuple[Rule, ...] = (Rule.FLOOR,),
    categories: tuple[tuple[str, ...], ...] = ((), (), ("burns",), ("burns", "rural")),
) -> Instance:  # fmt: skip
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
        for name in draw(st.sampled_from(categories))
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


@st.composite
def drawn_horizon(
    draw: st.DrawFn,
    *,
    kinds: tuple[ResourceKind, ...],
    sites: int = 3,
    days: int = 4,
    items: int = 2,
    most: int = 3,
    aims: tuple[Aim, ...] | None = None,
    one_lot: bool = False,
    lumpy: bool = False,
) -> Horizon:
    """Any small horizon of items of `kinds`; limits are mostly loose, now and then tight.

    `lumpy` lanes carry now and then no less than some, and cost something on each day they carry any. Mostly the first
    site has what the others lack, or nothing would move.
    """
    uneven = draw(st.sampled_from([True, True, True, False]))
    names = ["bobeline", "champignac", "marsupilami"][: draw(st.integers(2, sites))]
    length = draw(st.integers(2, days))
    some, seldom = st.integers(0, most), st.sampled_from([10] * 8 + [1, 0])
    series = st.lists(some, min_size=length, max_size=length).map(tuple)
    kind = draw(st.sampled_from(kinds))
    count = 1 if kind is ResourceKind.PLACE else draw(st.integers(1, items))
    limits = st.fixed_dictionaries(
        {"pledge": st.sampled_from([1000, 1000, 500]), "gives": seldom, "takes": seldom, "ceiling": seldom,
         "urgency": st.integers(1, 5)}
    )  # fmt: skip
    lumps = st.fixed_dictionaries({"least": st.sampled_from([0, 2, 2, 3]), "charge": st.sampled_from([0, 1, 5])})
    lots, standings, wards, lanes = [], [], [], []
    for number in range(count):
        for name in names:
            row = draw(limits)
            gives, takes = uneven and name == names[0], uneven and name != names[0]
            nothing, full = (0,) * length, (most,) * length
            if kind is ResourceKind.PLACE:
                wards.append(
                    Ward(site=name, item=f"i{number}", beds=full if gives else nothing if takes else draw(series),
                         arrivals=full if takes else draw(series),
                         occupied=nothing if gives else tuple(
                             draw(st.integers(0, 1000 * most)) for _ in range(length)
                         ),
                         kept=(draw(st.sampled_from([0, 0, 1])),) * length, **row)
                )  # fmt: skip
                continue
            kept = tuple(draw(st.sampled_from([0, 0, 1])) for _ in range(length))
            need = nothing if gives else draw(series)
            standings.append(Standing(site=name, item=f"i{number}", need=need, kept=kept, **row))
            span = st.just((0, length)) if one_lot else st.sampled_from([(0, length)] * 2 + [(0, 1), (1, length)])
            spans = {draw(span) for _ in "ab"}
            for since, until in spans:
                units = most if gives else draw(st.sampled_from([0, 0, 1])) if takes else draw(some)
                lots.append(Lot(site=name, item=f"i{number}", units=units, since=since, until=until))
        lanes += [
            Way(item=f"i{number}", origin=one, destination=other, days=draw(st.sampled_from([0, 1, 1, 2])),
                metres=draw(st.integers(0, 3)), cap=draw(seldom), **(draw(lumps) if lumpy else {}))
            for one in names for other in names if one != other and draw(st.integers(0, 3))
        ]  # fmt: skip
    kits = ["team"] if count > 1 and draw(st.booleans()) else []
    standings += [
        Standing(site=name, item=kit, need=draw(series), kept=(0,) * length) for kit in kits for name in names[1:]
    ]
    nodes = [(row.site, row.item) for row in standings] + [(row.site, row.item) for row in wards]
    gated = sorted(node for node in nodes if node[1] not in kits)
    gates = [
        Gate(site=site, item=item, gives=tuple(draw(seldom) for _ in range(length)),
             takes=tuple(draw(seldom) for _ in range(length)))
        for site, item in gated[:draw(st.sampled_from([0, 0, 1, 2]))]
    ]  # fmt: skip
    loan = draw(st.sampled_from([0, 1, 2])) if kind in (ResourceKind.DEVICE, ResourceKind.STAFF) else 0
    thing = kind is not ResourceKind.PLACE
    return Horizon(
        start=NOON, days=length, seed=draw(st.sampled_from(["spip", "houba"])),
        items=tuple(
            Item(item=f"i{number}", kind=kind, loan_days=loan, home_by_end=draw(st.integers(0, 1)) if loan else 0,
                 hold_days=draw(st.sampled_from([0, 0, 1, 2])) if thing else 0,
                 lot_size=draw(st.sampled_from([1, 1, 2])) if thing else 1, stay=() if thing else (1000, 700, 200))
            for number in range(count)
        ) + tuple(Item(item=name, kind=kind) for name in kits),
        kits=tuple(
            Part(item=name, part=f"i{number}", units=draw(st.integers(1, 2))) for name in kits for number in range(2)
        ),
        sites=tuple(Site(site=name) for name in names), lots=tuple(lots), standings=tuple(standings),
        wards=tuple(wards), lanes=tuple(lanes), gates=tuple(gates),
        substitutes=(Substitute(item="i0", serves="i1"),) if count > 1 and draw(st.booleans()) else (),
        aims=aims or draw(
            st.sampled_from(
                [(Aim.SHORTAGE, Aim.MOVES), (Aim.SHORTAGE, Aim.DISTANCE, Aim.LOTTERY), (Aim.FILL, Aim.SHORTAGE)]
            )
        ),
        enough=draw(st.sampled_from([0, 0, 0, 2])),
    )  # fmt: skip


@pytest.fixture(scope="session")
def horizons() -> Callable[..., st.SearchStrategy[Horizon]]:
    """The strategy: horizons(kinds=..., sites=3, days=4, items=2, most=3, aims=None, one_lot=False, lumpy=False)."""
    return drawn_horizon


def broken(horizon: Horizon, shipments: Sequence[Shipment], uses: Uses) -> list[str]:
    """What `shipments` along lanes of `horizon`, and `uses`, break of its limits and rules, in words."""
    return broken_rules(horizon, shipments, alone(horizon), walk(horizon, shipments, uses))


def a_small_horizon(**more: Any) -> Horizon:
    """Champignac has 5 ventilators and 5 patients' masks to spare, Bobeline lacks both; four days, a day's journey."""
    rows: dict[str, Any] = {
        "start": NOON, "days": 4, "seed": "spip",
        "items": (Item(item="ventilator", kind=ResourceKind.DEVICE, hold_days=2),
                  Item(item="mask", kind=ResourceKind.CONSUMABLE)),
        "sites": (Site(site="champignac"), Site(site="bobeline")),
        "lots": (
            Lot(site="champignac", item="ventilator", units=5, since=0, until=4),
            Lot(site="champignac", item="mask", units=4, since=0, until=2),
            Lot(site="champignac", item="mask", units=6, since=0, until=4),
        ),
        "standings": (
            Standing(site="champignac", item="ventilator", need=(1, 1, 1, 1), kept=(2, 2, 2, 2), pledge=600),
            Standing(site="bobeline", item="ventilator", need=(0, 2, 4, 4), kept=(0, 0, 0, 0)),
            Standing(site="champignac", item="mask", need=(1, 1, 1, 1), kept=(0, 0, 0, 0), pledge=500),
            Standing(site="bobeline", item="mask", need=(1, 1, 3, 3), kept=(0, 0, 0, 0)),
        ),
        "lanes": (
            Way(item="ventilator", origin="champignac", destination="bobeline", days=1, metres=1000),
            Way(item="mask", origin="champignac", destination="bobeline", days=1, metres=1000),
        ),
    }  # fmt: skip
    return Horizon(**(rows | more))


@pytest.fixture(scope="session")
def a_horizon() -> Callable[..., Horizon]:
    """The builder: a_horizon(**members that differ)."""
    return a_small_horizon
