"""Requested, approved and fulfilled: whatever happens in whatever order, no unit that was asked for gets lost."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.requests import RaiseReason, Request, RequestDraft, RequestReason, RequestStatus

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OVER = NOON + timedelta(days=2)
S = RequestStatus


def opened(**said: Any) -> Request:
    usual: dict[str, Any] = {
        "resource": "bed.adult", "quantity": 5, "needed_by": NOON, "needed_until": OVER, "urgency": 3,
        "reason": RequestReason.SURGE,
    }  # fmt: skip
    return Request.open(RequestDraft(**(usual | said)), id=UUID(int=1), by=UUID(int=99), at=NOON)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"quantity": 0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"raised": -1}, "raised"),
        ({"raised": 6, "raise_reason": RaiseReason.DISASTER}, "raised"),
        ({"raised": 1}, "raiseReason"),
        ({"raise_reason": RaiseReason.DISASTER}, "raiseReason"),
        ({"urgency": 0}, "urgency"),
        ({"urgency": 6}, "urgency"),
        ({"resource": "Bed"}, "resource"),
        ({"needed_until": NOON}, "neededUntil"),
        ({"needed_by": NOON.replace(tzinfo=None)}, "neededBy"),
        ({"needed_until": OVER.replace(tzinfo=None)}, "neededUntil"),
        ({"needed_by": NOON - timedelta(days=1, seconds=1)}, "neededBy"),
        ({"needed_by": NOON + timedelta(days=93), "needed_until": NOON + timedelta(days=94)}, "neededBy"),
    ],
)
def test_what_is_wrong_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        opened(**said)
    assert refused.value.field == field


def test_a_new_request_is_open_with_nothing_approved() -> None:
    request = opened()
    assert (request.requested, request.approved, request.fulfilled) == (5, 0, 0)
    assert (request.status, request.note, request.remainder_of) == (S.OPEN, "", None)


@pytest.mark.parametrize("units", [-1, 6])
def test_no_plan_approves_less_than_nothing_or_more_than_was_asked_for(units: int) -> None:
    with pytest.raises(Invalid) as refused:
        opened().approve(units, note="")
    assert refused.value.field == "approved"


def test_a_request_that_gets_nothing_stays_open_itself_and_says_why() -> None:
    request = opened().approve(0, note="Everything within reach is in use.")
    assert (request.status, request.note) == (S.OPEN, "Everything within reach is in use.")
    assert request.remainder(id=UUID(int=2), at=NOON) is None


@pytest.mark.parametrize("granted", [1, 2, 4])
def test_a_remainder_raises_no_more_than_is_left_open(granted: int) -> None:
    request = opened(raised=3, raise_reason=RaiseReason.STAFF_ABSENT).approve(granted, note="")
    for rest in (request.remainder(id=UUID(int=2), at=NOON), request.release(granted, id=UUID(int=3), at=NOON)[1]):
        assert rest is not None
        assert rest.raised == min(3, rest.requested)
        assert rest.raise_reason is RaiseReason.STAFF_ABSENT
    assert opened().approve(granted, note="").remainder(id=UUID(int=2), at=NOON).raise_reason is None  # type: ignore[union-attr]


def test_a_request_filled_whole_leaves_no_remainder() -> None:
    assert opened().approve(5, note="").remainder(id=UUID(int=2), at=NOON) is None


def test_a_request_is_answered_once() -> None:
    with pytest.raises(Conflict, match="no longer open"):
        opened().approve(2, note="").approve(2, note="")


def test_what_comes_back_when_the_time_is_over_is_not_asked_for_again() -> None:
    released, remainder = opened().approve(5, note="").release(5, id=UUID(int=2), at=OVER)
    assert (released.status, remainder) == (S.EXPIRED, None)


@pytest.mark.parametrize("units", [0, -1])
def test_an_arrival_of_nothing_is_no_arrival(units: int) -> None:
    with pytest.raises(Invalid) as refused:
        opened().approve(5, note="").fulfil(units)
    assert refused.value.field == "units"


@pytest.mark.parametrize("ended", [opened().cancel(), opened().expire(), opened().approve(5, note="")])
def test_only_an_open_request_can_be_cancelled_or_run_out(ended: Request) -> None:
    with pytest.raises(Conflict):
        ended.cancel()
    with pytest.raises(Conflict):
        ended.expire()


class Lifecycle(RuleBasedStateMachine):
    """One need and all that becomes of it: approved in part, cut, taken back, asked for again, fulfilled."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[UUID, Request] = {}
        self.at = NOON
        self.late: Counter[UUID] = Counter()  #: units taken back when it was too late to ask again
        self.answered: set[UUID] = set()

    @initialize(quantity=st.integers(1, 12))
    def open(self, quantity: int) -> None:
        self.asked = quantity
        request = opened(quantity=quantity)
        self.requests = {request.id: request}

    def some(self, data: st.DataObject, *statuses: RequestStatus) -> Request:
        found = [q.id for q in self.requests.values() if q.status in statuses]
        return self.requests[data.draw(st.sampled_from(found))]

    def has(self, *statuses: RequestStatus) -> bool:
        return any(q.status in statuses for q in self.requests.values())

    def keep(self, *requests: Request | None) -> None:
        self.requests |= {q.id: q for q in requests if q is not None}

    def next_id(self) -> UUID:
        return UUID(int=len(self.requests) + 1)

    @precondition(lambda self: self.has(S.OPEN))
    @rule(data=st.data())
    def a_plan_answers(self, data: st.DataObject) -> None:
        before = self.some(data, S.OPEN)
        request = before.approve(data.draw(st.integers(0, before.requested)), note="cut")
        if request.approved:
            self.answered.add(request.id)
        self.keep(request, request.remainder(id=self.next_id(), at=self.at))

    @precondition(lambda self: self.has(S.APPROVED))
    @rule(data=st.data())
    def a_giver_takes_units_back(self, data: st.DataObject) -> None:
        before = self.some(data, S.APPROVED)
        units = data.draw(st.integers(1, before.approved - before.fulfilled))
        request, remainder = before.release(units, id=self.next_id(), at=self.at)
        self.late[request.id] += units if remainder is None else 0
        self.keep(request, remainder)

    @precondition(lambda self: self.has(S.APPROVED))
    @rule(data=st.data())
    def units_arrive(self, data: st.DataObject) -> None:
        before = self.some(data, S.APPROVED)
        self.keep(before.fulfil(data.draw(st.integers(1, before.approved - before.fulfilled))))

    @precondition(lambda self: self.has(S.OPEN))
    @rule(data=st.data(), end=st.sampled_from([Request.cancel, Request.expire]))
    def an_open_one_ends(self, data: st.DataObject, end: Any) -> None:
        self.keep(end(self.some(data, S.OPEN)))

    @rule(hours=st.sampled_from([1, 1, 1, 30]))
    def time_passes(self, hours: int) -> None:
        self.at += timedelta(hours=hours)

    @rule(data=st.data())
    def what_is_not_on_its_way_cannot_arrive_or_be_taken_back(self, data: st.DataObject) -> None:
        request = self.some(data, *RequestStatus)
        more = request.approved - request.fulfilled + 1
        with pytest.raises(Conflict):
            request.fulfil(more)
        with pytest.raises(Conflict):
            request.release(more, id=self.next_id(), at=self.at)

    @invariant()
    def never_more_approved_than_requested_or_fulfilled_than_approved(self) -> None:
        for q in self.requests.values():
            assert 0 <= q.fulfilled <= q.approved <= q.requested

    @invariant()
    def what_is_not_approved_any_more_lives_on_linked_to_it(self) -> None:
        children: Counter[UUID] = Counter()
        for q in self.requests.values():
            if q.remainder_of is not None:
                children[q.remainder_of] += q.requested
        for q in self.requests.values():
            if q.id in self.answered:
                assert q.approved + children[q.id] + self.late[q.id] == q.requested
            else:
                assert (q.approved, children[q.id]) == (0, 0)

    @invariant()
    def the_status_says_what_the_numbers_say(self) -> None:
        for q in self.requests.values():
            match q.status:
                case S.OPEN | S.CANCELLED:
                    assert q.id not in self.answered
                case S.APPROVED:
                    assert q.approved > q.fulfilled
                case S.FULFILLED:
                    assert q.approved == q.fulfilled > 0
                case S.SUPERSEDED:
                    assert q.approved == 0
                    assert q.id in self.answered
                case S.EXPIRED:
                    assert q.approved == 0

    @invariant()
    def every_unit_asked_for_is_somewhere(self) -> None:
        somewhere = sum(self.late.values())
        for q in self.requests.values():
            somewhere += q.requested if q.id not in self.answered else q.approved
        assert not self.requests or somewhere == self.asked

    @invariant()
    def a_remainder_asks_for_the_same_thing(self) -> None:
        for q in self.requests.values():
            if q.remainder_of is not None:
                first = self.requests[q.remainder_of]
                for name in ("institution", "resource", "urgency", "needed_by", "needed_until", "reason"):
                    assert getattr(q, name) == getattr(first, name)


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
