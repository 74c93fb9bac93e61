"""The lifecycle of a transfer: only its own steps, every path comes to an end, and units count as long as they must."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sharewell.domain.errors import HoldExpired, Invalid, WrongStep
from sharewell.domain.resources import ResourceKind, catalogue
from sharewell.domain.transfers import (
    BY_OVERRIDE,
    HOLD,
    NEXT,
    DeclineReason,
    Transfer,
    TransferState,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINES = {line.kind: line for line in catalogue()}
S = TransferState

#: The lifecycle once more, in the words of its documentation; the code must not know any other.
LIFECYCLE = """
proposed -> held
held -> confirmed
held -> declined
held -> expired
confirmed -> dispatched
confirmed -> declined
dispatched -> received
received -> return_due
received -> returned
return_due -> returned
"""
#: And what only an override does.
BY_OVERRIDE_ALONE = """
held -> cancelled
held -> dispatched
confirmed -> cancelled
"""
STEPS = {tuple(line.split(" -> ")) for line in LIFECYCLE.strip().splitlines()}
OVERRIDES = {tuple(line.split(" -> ")) for line in BY_OVERRIDE_ALONE.strip().splitlines()}
ENDS = {S.DECLINED, S.EXPIRED, S.CANCELLED, S.RETURNED}


def a_transfer(state: TransferState = S.HELD) -> Transfer:
    return Transfer(
        id=UUID(int=1), offer=UUID(int=2), request=UUID(int=3), giver=UUID(int=4), receiver=UUID(int=5),
        resource="ventilator", quantity=3, state=state, reason="It is the nearest with units to spare.",
        allocation=UUID(int=6), hold_until=NOON + HOLD, decline_reason=None, return_due_at=None, changed_at=NOON,
    )  # fmt: skip


def paths(state: TransferState, walked: tuple[TransferState, ...] = ()) -> Iterator[tuple[TransferState, ...]]:
    assert state not in walked, "a circle"
    if not NEXT[state]:
        yield (*walked, state)
    for following in NEXT[state] | BY_OVERRIDE.get(state, frozenset()):
        yield from paths(following, (*walked, state))


def test_the_steps_are_those_of_the_documented_lifecycle() -> None:
    assert {(one, other) for one, others in NEXT.items() for other in others} == STEPS
    assert {(one, other) for one, others in BY_OVERRIDE.items() for other in others} == OVERRIDES
    assert not STEPS & OVERRIDES
    assert set(NEXT) == set(TransferState)


def test_every_path_ends_and_no_state_is_entered_twice() -> None:
    assert {path[-1] for path in paths(S.PROPOSED)} == ENDS


def test_a_device_is_due_back_after_the_days_of_the_catalogue() -> None:
    received = a_transfer(S.DISPATCHED).receive(LINES[ResourceKind.DEVICE], at=NOON)
    assert received.return_due_at == NOON + timedelta(days=10)


def test_a_loan_falls_due_at_the_very_instant_and_no_earlier() -> None:
    received = a_transfer(S.DISPATCHED).receive(LINES[ResourceKind.DEVICE], at=NOON)
    due = NOON + timedelta(days=10)
    with pytest.raises(WrongStep, match="not due"):
        received.fall_due(at=due - timedelta(microseconds=1))
    assert received.fall_due(at=due).state is S.RETURN_DUE


@pytest.mark.parametrize("kind", [ResourceKind.PLACE, ResourceKind.CONSUMABLE, ResourceKind.STAFF])
def test_nothing_else_has_a_day_on_which_it_is_due(kind: ResourceKind) -> None:
    received = a_transfer(S.DISPATCHED).receive(LINES[kind], at=NOON)
    assert received.return_due_at is None
    with pytest.raises(WrongStep, match="not due"):
        received.fall_due(at=NOON + timedelta(days=3650))


@pytest.mark.parametrize("state", TransferState)
def test_a_consumable_never_comes_back(state: TransferState) -> None:
    with pytest.raises(Invalid, match="leaves for good"):
        a_transfer(state).give_back(LINES[ResourceKind.CONSUMABLE], at=NOON)


def test_a_hold_is_good_until_its_very_last_instant() -> None:
    held = a_transfer()
    last = held.hold_until - timedelta(microseconds=1)
    assert held.confirm(at=last).state is S.CONFIRMED
    with pytest.raises(WrongStep, match="the hold lasts until"):
        held.expire(at=last)
    assert held.expire(at=held.hold_until).state is S.EXPIRED
    with pytest.raises(HoldExpired):
        held.confirm(at=held.hold_until)


def test_a_wrong_step_says_what_the_transfer_is_and_what_it_could_become() -> None:
    with pytest.raises(WrongStep, match="is confirmed; from there it can become declined, dispatched"):
        a_transfer(S.CONFIRMED).receive(LINES[ResourceKind.DEVICE], at=NOON)
    with pytest.raises(WrongStep, match="it has ended"):
        a_transfer(S.RETURNED).dispatch(at=NOON)


def test_units_that_are_not_counted_are_as_many_as_before() -> None:
    left = a_transfer(S.CONFIRMED).dispatch(at=NOON)
    assert left.dispatched == 3
    assert replace(left, dispatched=2).receive(LINES[ResourceKind.PLACE], at=NOON).received == 2


@pytest.mark.parametrize("units", [0, -1, 10**9, True])
def test_a_count_that_cannot_be_is_refused(units: int) -> None:
    with pytest.raises(Invalid, match="units is"):
        a_transfer(S.CONFIRMED).dispatch(units, at=NOON)
    with pytest.raises(Invalid, match="units is"):
        a_transfer(S.DISPATCHED).receive(LINES[ResourceKind.PLACE], units, at=NOON)


class Lifecycle(RuleBasedStateMachine):
    """Every step is tried in every state and at every time; those the lifecycle has work, the others change nothing."""

    @initialize(kind=st.sampled_from(ResourceKind))
    def propose(self, kind: ResourceKind) -> None:
        self.resource = LINES[kind]
        self.at = NOON
        self.transfer = a_transfer(S.PROPOSED)
        self.walked = [S.PROPOSED]

    def step(
        self, to: TransferState, take: Callable[[], Transfer], *, in_time: bool = True, by_override: bool = False
    ) -> None:
        before = self.transfer
        if (before.state, to) in (OVERRIDES if by_override else STEPS) and in_time:
            self.transfer = take()
            assert (self.transfer.state, self.transfer.changed_at) == (to, self.at)
            self.walked.append(to)
        else:
            with pytest.raises((WrongStep, Invalid)):
                take()

    @rule(hours=st.sampled_from([1, 6, 25, 24 * 11]))
    def time_passes(self, hours: int) -> None:
        self.at += timedelta(hours=hours)

    @rule()
    def hold(self) -> None:
        self.step(S.HELD, lambda: self.transfer._step(S.HELD, self.at))

    @rule()
    def confirm(self) -> None:
        in_time = self.at < self.transfer.hold_until
        self.step(S.CONFIRMED, lambda: self.transfer.confirm(at=self.at), in_time=in_time)

    @rule(reason=st.sampled_from(DeclineReason))
    def decline(self, reason: DeclineReason) -> None:
        self.step(S.DECLINED, lambda: self.transfer.decline(reason, at=self.at))

    @rule()
    def expire(self) -> None:
        in_time = self.at >= self.transfer.hold_until
        self.step(S.EXPIRED, lambda: self.transfer.expire(at=self.at), in_time=in_time)

    @rule(units=st.none() | st.integers(1, 6))
    def dispatch(self, units: int | None) -> None:
        self.step(S.DISPATCHED, lambda: self.transfer.dispatch(units, at=self.at))

    @rule(units=st.none() | st.integers(1, 6))
    def dispatch_unconfirmed(self, units: int | None) -> None:
        self.step(
            S.DISPATCHED, lambda: self.transfer.dispatch(units, at=self.at, unconfirmed=True), by_override=True
        )  # fmt: skip

    @rule()
    def cancel(self) -> None:
        self.step(S.CANCELLED, lambda: self.transfer.cancel(at=self.at), by_override=True)

    @rule(units=st.none() | st.integers(1, 6))
    def receive(self, units: int | None) -> None:
        self.step(S.RECEIVED, lambda: self.transfer.receive(self.resource, units, at=self.at))

    @rule()
    def fall_due(self) -> None:
        due = self.transfer.return_due_at
        self.step(S.RETURN_DUE, lambda: self.transfer.fall_due(at=self.at), in_time=due is not None and due <= self.at)

    @rule()
    def give_back(self) -> None:
        returns = self.resource.kind is not ResourceKind.CONSUMABLE
        self.step(S.RETURNED, lambda: self.transfer.give_back(self.resource, at=self.at), in_time=returns)

    @invariant()
    def a_reason_is_given_exactly_where_it_was_declined(self) -> None:
        assert (self.transfer.state is S.DECLINED) == (self.transfer.decline_reason is not None)

    @invariant()
    def only_a_device_that_arrived_is_due_back(self) -> None:
        arrived = S.RECEIVED in self.walked and self.resource.kind is ResourceKind.DEVICE
        assert (self.transfer.return_due_at is not None) == arrived

    @invariant()
    def what_left_and_arrived_is_counted_exactly_from_then_on(self) -> None:
        now = self.transfer
        assert (now.dispatched is not None, now.received is not None) == (
            S.DISPATCHED in self.walked, S.RECEIVED in self.walked,
        )  # fmt: skip
        assert 0 <= now.arrived <= now.on_the_way <= now.quantity

    @invariant()
    def units_and_parties_stay_the_same(self) -> None:
        first, now = a_transfer(), self.transfer
        for name in ("offer", "request", "giver", "receiver", "resource", "quantity", "allocation", "hold_until"):
            assert getattr(first, name) == getattr(now, name)


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
