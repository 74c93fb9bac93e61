"""What is on record becomes a horizon that always has a schedule, and of which nothing leaves that was not offered."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.allocation.conftest import broken

from sharewell.domain import canonical
from sharewell.domain.capacity import CapacityReport
from sharewell.domain.errors import Invalid
from sharewell.domain.forecast import Forecast
from sharewell.domain.horizon import Horizon
from sharewell.domain.horizon_check import check_schedule
from sharewell.domain.horizon_draw import draw_horizon
from sharewell.domain.horizon_records import DAY, Foreseen, Stored, Terms, UnderWay, due_today, ends_on
from sharewell.domain.horizon_rows import Shipment
from sharewell.domain.horizon_today import Outcome, bind_today, measures_today, receipts_today
from sharewell.domain.horizon_walk import alone
from sharewell.domain.institutions import Institution, InstitutionKind, InstitutionStatus
from sharewell.domain.lanes import Reach
from sharewell.domain.offers import Offer, OfferStatus
from sharewell.domain.plan import Reason
from sharewell.domain.requests import RaiseReason, Request, RequestReason, RequestStatus
from sharewell.domain.resources import Resource, ResourceKind, catalogue
from sharewell.domain.transfers import TransferState
from sharewell_workers.solving import solve_horizon

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBERS = count(1)
LINE = {row.kind: row for row in catalogue() if row.code != "icu.adult"}
VENTILATOR = LINE[ResourceKind.DEVICE]
HOUSES = [UUID(int=10 + n) for n in range(3)]
NORTH, SOUTH, EAST = map(str, HOUSES)


def institution(number: int) -> Institution:
    return Institution(
        id=HOUSES[number], code=f"house-{number}", name="House", kind=InstitutionKind.HOSPITAL, region="us-nj",
        latitude=40 + number / 10, longitude=-74.0, equity_group="", status=InstitutionStatus.ACTIVE,
        registered_at=NOON,
    )  # fmt: skip


def report(who: UUID, resource: Resource, **said: Any) -> CapacityReport:
    usual: dict[str, Any] = {
        "id": UUID(int=next(NUMBERS)), "institution": who, "resource": resource.code, "as_of": NOON, "staffed": 10,
        "occupied": 0, "recorded_at": NOON, "source": "api", "period_days": 1, "marks": {},
        **dict.fromkeys(("blocked", "surge_24h", "surge_72h", "waiting", "admissions", "coverage", "corrects")),
    }  # fmt: skip
    return CapacityReport(**(usual | said))


def offer(who: UUID, resource: Resource, quantity: int, since: float = 0, until: float = 6, **said: Any) -> Offer:
    """Open from and until so many days from noon."""
    used_up = resource.kind is ResourceKind.CONSUMABLE
    usual: dict[str, Any] = {
        "id": UUID(int=next(NUMBERS)), "institution": who, "resource": resource.code, "quantity": quantity,
        "promised": 0, "minimum_kept": 0, "available_from": NOON + since * DAY, "available_until": NOON + until * DAY,
        "lot": "L1" if used_up else "", "expires_on": date(2026, 3, 20) if used_up else None,
        "status": OfferStatus.OPEN, "published_at": NOON,
    }  # fmt: skip
    return Offer(**(usual | said))


def request(who: UUID, resource: Resource, units: int, by: float = 0, until: float = 6, **said: Any) -> Request:
    usual: dict[str, Any] = {
        "id": UUID(int=next(NUMBERS)), "institution": who, "resource": resource.code, "requested": units, "approved": 0,
        "fulfilled": 0, "urgency": 3, "needed_by": NOON + by * DAY, "needed_until": NOON + until * DAY,
        "reason": RequestReason.SURGE, "status": RequestStatus.OPEN, "remainder_of": None, "note": "",
        "opened_at": NOON,
    }  # fmt: skip
    return Request(**(usual | said))


def forecast(who: UUID, resource: Resource, day: int, units: int) -> Forecast:
    return Forecast(
        institution=who, resource=resource.code, signal="need", origin=NOON.date(), target=NOON.date() + day * DAY,
        horizon=day, quantiles=((25, 1000 * max(0, units - 2)), (500, 1000 * units), (975, 1000 * (units + 2))),
        model="persistence", fallback="a test",
    )  # fmt: skip


def stored(*rows: Any, resources: tuple[Resource, ...] = (VENTILATOR,), **more: Any) -> Stored:
    """Rows of any kind, sorted into their lists."""
    forecasts: dict[tuple[str, str], dict[date, Forecast]] = defaultdict(dict)
    for row in rows:
        if isinstance(row, Forecast):
            forecasts[str(row.institution), row.resource][row.target] = row
    usual: dict[str, Any] = {
        "institutions": [institution(n) for n in range(3)], "resources": resources,
        "reports": {(str(r.institution), r.resource): r for r in rows if isinstance(r, CapacityReport)},
        "forecasts": forecasts, "offers": [r for r in rows if isinstance(r, Offer)],
        "requests": [r for r in rows if isinstance(r, Request)], "promised": {},
        "under_way": [r for r in rows if isinstance(r, UnderWay)],
    }  # fmt: skip
    return Stored(**(usual | more))


def draw(found: Stored, **terms: int) -> Horizon:
    return draw_horizon(found, Terms(**terms), region="us-nj", at=NOON, reach=Reach(unlocated_metres=100_000))


@st.composite
def on_record(draw_: st.DrawFn) -> tuple[Stored, Terms]:
    """A region of three with anything on record of one or two resources."""
    lines = draw_(st.lists(st.sampled_from(list(LINE.values())), min_size=1, max_size=2, unique=True))
    rows: list[Any] = []
    some, span = st.integers(0, 8), st.tuples(st.sampled_from([0, 0, 0.5, 1, 2]), st.sampled_from([0.5, 1, 3, 9]))
    for line in lines:
        for number, who in enumerate(HOUSES):
            staffed = draw_(some) + (8 if number == 0 else 0)
            if draw_(st.integers(0, 4)):
                rows.append(
                    report(who, line, staffed=staffed, occupied=draw_(st.integers(0, min(8, staffed))),
                           waiting=draw_(some), admissions=draw_(st.sampled_from([None, 0, 3])))
                )  # fmt: skip
            rows += [forecast(who, line, day, draw_(some)) for day in range(1, 4) if draw_(st.booleans())]
            for _ in range(draw_(st.integers(0, 2)) if number < 2 else 0):
                since, length = draw_(span)
                rows.append(
                    offer(who, line, draw_(st.integers(1, 8)), since, since + length, minimum_kept=draw_(some) // 4)
                )  # fmt: skip
            for _ in range(draw_(st.integers(0, 2)) if number else 0):
                since, length = draw_(span)
                units, raised = draw_(st.integers(1, 8)), draw_(st.booleans())
                rows.append(
                    request(who, line, units, since, since + length, urgency=draw_(st.integers(1, 5)),
                            raised=units if raised else 0, raise_reason=RaiseReason.DISASTER if raised else None)
                )  # fmt: skip
        if draw_(st.booleans()):
            state = draw_(st.sampled_from([TransferState.HELD, TransferState.DISPATCHED, TransferState.RECEIVED]))
            rows.append(under_way(line, draw_(st.integers(1, 3)), state, counted=draw_(st.booleans())))
    promised = {(NORTH, row.resource): row.units for row in rows if isinstance(row, UnderWay) and row.counted}
    terms = Terms(days=draw_(st.integers(1, 5)), level=draw_(st.sampled_from([25, 500, 900])), hold_days=2)
    return stored(*rows, resources=tuple(lines), promised=promised), terms


def under_way(line: Resource, units: int, state: TransferState, **said: Any) -> UnderWay:
    """From North to South, needed tomorrow."""
    due = NOON + 2 * DAY if line.kind is ResourceKind.DEVICE and state is TransferState.RECEIVED else None
    usual: dict[str, Any] = {
        "giver": NORTH, "receiver": SOUTH, "resource": line.code, "units": units, "state": state,
        "needed_by": NOON + DAY, "needed_until": NOON + 3 * DAY, "return_due_at": due, "reported": False,
        "counted": False,
    }  # fmt: skip
    return UnderWay(**(usual | said))


@settings(max_examples=120, deadline=None)
@given(made=on_record())
def test_whatever_is_on_record_moving_nothing_is_a_valid_answer(made: tuple[Stored, Terms]) -> None:
    horizon = draw_horizon(made[0], made[1], region="us-nj", at=NOON)
    assert Horizon.read(canonical.encode(horizon.to_json())) == horizon
    assert broken(horizon, [], alone(horizon).walk.uses) == []


@settings(max_examples=60, deadline=None)
@given(made=on_record())
def test_what_is_solved_keeps_windows_and_minimums_and_today_answers_only_what_was_asked(
    made: tuple[Stored, Terms],
) -> None:
    found, terms = made
    reach = Reach(unlocated_metres=100_000)
    horizon = draw_horizon(found, terms, region="us-nj", at=NOON, reach=reach)
    schedule = solve_horizon(horizon, seconds=5)
    check_schedule(horizon, schedule)
    outcome = Outcome.of(horizon, schedule)
    for row in schedule.shipments:
        giver, _ = outcome.parties(row)
        begins = NOON + row.day * DAY
        open_then = [o for o in found.offers if (str(o.institution), o.resource) == (giver, row.item)
                     and o.available_from < begins + DAY and o.available_until >= begins]  # fmt: skip
        assert row.units <= sum(o.remaining for o in open_then)
    today = bind_today(outcome, found.offers, found.requests, reach)
    offers = {str(row.id): row for row in found.offers}
    requests = {str(row.id): row for row in found.requests}
    taken, got = defaultdict[str, int](int), defaultdict[str, int](int)
    for move in today.assignments:
        taken[move.offer] += move.quantity
        got[move.request] += move.quantity
        one, other = offers[move.offer], requests[move.request]
        assert due_today(other, NOON) or ends_on(one, NOON)
        assert one.resource == other.resource
        assert one.institution != other.institution
    assert all(units <= offers[name].remaining for name, units in taken.items())
    assert all(units <= requests[name].requested for name, units in got.items())
    left = {row.request: row.quantity for row in today.unfilled}
    assert left == {name: q.requested - got[name] for name, q in requests.items() if q.requested > got[name]}
    for line in found.resources:
        for receipt in receipts_today(today, line.code):
            assert receipt.short_shared <= receipt.short_alone
            assert not receipt.given or receipt.stock - receipt.given >= receipt.kept
        measured = measures_today(today, line.code)
        assert measured["shortage_with"] <= measured["shortage_without"]  # type: ignore[operator]
        assert measured["beyond_reach"] <= measured["shortage_with"]  # type: ignore[operator]
    assert all(day.short_shared <= day.short_alone for day in outcome.days())


def test_an_owner_keeps_all_but_what_it_offers_from_the_day_its_window_begins() -> None:
    rows = (report(HOUSES[0], VENTILATOR, staffed=10, occupied=2), offer(HOUSES[0], VENTILATOR, 3, since=2),
            report(HOUSES[1], VENTILATOR, staffed=0, occupied=0, waiting=5))  # fmt: skip
    horizon = draw(stored(*rows), days=4)
    assert horizon.standing[NORTH, "ventilator"].kept == (10, 10, 7, 7)
    assert horizon.gate[NORTH, "ventilator"].gives == (0, 0, 3, 3)
    assert horizon.gate[SOUTH, "ventilator"].takes[0] == 0


def test_an_owner_keeps_its_own_need_at_the_quantile_that_was_chosen() -> None:
    rows = [report(HOUSES[0], VENTILATOR, staffed=10, occupied=2), offer(HOUSES[0], VENTILATOR, 8),
            *(forecast(HOUSES[0], VENTILATOR, day, 5) for day in (1, 2))]  # fmt: skip
    assert draw(stored(*rows), days=3).standing[NORTH, "ventilator"].kept == (2, 5, 5)
    assert draw(stored(*rows), days=3, level=975).standing[NORTH, "ventilator"].kept == (2, 7, 7)


def test_a_request_that_is_raised_counts_above_what_is_there_while_it_lasts() -> None:
    raised = request(HOUSES[1], VENTILATOR, 4, 1, 3, raised=4, raise_reason=RaiseReason.DISASTER)
    rows = (report(HOUSES[1], VENTILATOR, staffed=6, occupied=2), raised)
    horizon = draw(stored(*rows), days=4)
    assert horizon.standing[SOUTH, "ventilator"].need == (2, 10, 10, 2)
    other = request(HOUSES[1], VENTILATOR, 3, 1, 3, urgency=5)
    bare = report(HOUSES[1], VENTILATOR, staffed=0, waiting=2)
    shared = draw(stored(bare, raised, other), days=4)
    assert shared.standing[SOUTH, "ventilator"].need == (2, 6, 6, 2)  # what is lacked is the urgent request's
    calm = replace(raised, raised=0, raise_reason=None)
    assert draw(stored(rows[0], calm), days=4).standing[SOUTH, "ventilator"].need == (2, 2, 2, 2)


def test_what_is_under_way_arrives_and_loans_come_home() -> None:
    moving = under_way(VENTILATOR, 2, TransferState.RECEIVED, counted=True)
    rows = (report(HOUSES[0], VENTILATOR, staffed=9), report(HOUSES[1], VENTILATOR, staffed=5), moving)
    found = draw(stored(*rows, promised={(NORTH, "ventilator"): 2}), days=4)
    assert alone(found).walk.on_hand[NORTH, "ventilator"] == [7, 7, 9, 9]
    assert alone(found).walk.on_hand[SOUTH, "ventilator"] == [7, 7, 5, 5]
    reported = draw(stored(*rows[:2], replace(moving, reported=True), promised={(NORTH, "ventilator"): 2}), days=4)
    assert alone(reported).walk.on_hand[SOUTH, "ventilator"] == [5, 5, 3, 3]
    held = replace(moving, state=TransferState.HELD, return_due_at=None)
    waits = draw(stored(*rows[:2], held, promised={(NORTH, "ventilator"): 2}), days=4)
    assert alone(waits).walk.on_hand[SOUTH, "ventilator"] == [5, 7, 7, 7]


def test_people_who_are_about_to_leave_need_no_place_here() -> None:
    beds = LINE[ResourceKind.PLACE]
    rows = (report(HOUSES[1], beds, staffed=5, occupied=5, waiting=4), under_way(beds, 3, TransferState.HELD))
    assert draw(stored(*rows, resources=(beds,)), days=3).ward[SOUTH, beds.code].occupied == (9000, 6000, 6000)


def test_who_waits_moves_when_a_place_is_asked_for_and_who_is_admitted_on_that_day() -> None:
    beds = LINE[ResourceKind.PLACE]
    full = report(HOUSES[1], beds, staffed=22, occupied=22, waiting=4)
    asked = request(HOUSES[1], beds, 4, by=2)
    horizon = draw(stored(full, asked, resources=(beds,)), days=4)
    assert horizon.ward[SOUTH, beds.code].arrivals == (1, 2, 6, 2)
    weekly = replace(full, admissions=10, period_days=7)
    assert draw(stored(weekly, resources=(beds,)), days=4).ward[SOUTH, beds.code].arrivals == (5, 1, 2, 1)


def test_masks_leave_by_lot_and_what_was_received_is_held() -> None:
    masks = LINE[ResourceKind.CONSUMABLE]
    rows = (report(HOUSES[0], masks, staffed=50), offer(HOUSES[0], masks, 20, expires_on=date(2026, 3, 2)),
            report(HOUSES[1], masks, staffed=0, waiting=5), request(HOUSES[1], masks, 30))  # fmt: skip
    horizon = draw(stored(*rows, resources=(masks,)), days=4, hold_days=3)
    assert [(lot.units, lot.until) for lot in horizon.lots] == [(20, 2), (30, 4)]
    assert horizon.item[masks.code].hold_days == 3
    schedule = solve_horizon(horizon)
    check_schedule(horizon, schedule)
    today = bind_today(Outcome.of(horizon, schedule), stored(*rows).offers, stored(*rows).requests, Reach())
    leaving = sum(row.units for row in schedule.shipments if row.day == 0)
    assert leaving >= 5
    assert sum(row.quantity for row in today.assignments) == leaving


def test_what_the_last_schedule_foresaw_is_in_force_as_far_as_it_still_lies_ahead() -> None:
    rows = (report(HOUSES[0], VENTILATOR, staffed=10), offer(HOUSES[0], VENTILATOR, 3),
            report(HOUSES[1], VENTILATOR, staffed=0, waiting=5), request(HOUSES[1], VENTILATOR, 5))  # fmt: skip
    foreseen = [
        Shipment(item="ventilator", origin=NORTH, destination=SOUTH, day=day, until=5, units=1) for day in (0, 1, 3)
    ]
    last = Foreseen(start=NOON - DAY, days=5, shipments=foreseen)
    horizon = draw(stored(*rows, in_force=last), days=4)
    assert [(row.day, row.until) for row in horizon.in_force] == [(0, 4), (2, 4)]
    gone = draw(stored(*rows[:1], *rows[2:], in_force=last), days=4)
    assert gone.in_force == ()


def test_what_nothing_bears_out_is_said_to_be_above_the_need() -> None:
    rows = (report(HOUSES[0], VENTILATOR, staffed=10), offer(HOUSES[0], VENTILATOR, 3),
            report(HOUSES[1], VENTILATOR, staffed=5, occupied=2), request(HOUSES[1], VENTILATOR, 4))  # fmt: skip
    found = stored(*rows)
    horizon = draw(found)
    today = bind_today(Outcome.of(horizon, solve_horizon(horizon)), found.offers, found.requests, Reach())
    assert [(row.code, row.quantity) for row in today.unfilled] == [(Reason.ABOVE_NEED, 4)]


@pytest.mark.parametrize("wrong", [{"days": 0}, {"days": 29}, {"level": 0}, {"level": 976}, {"hold_days": 29}])
def test_terms_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        Terms(**wrong)
