"""The queue in front of the work: bounds hold, no slot stays empty, nobody starves, whatever comes and goes."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.gateway.turns import LATELY, LONG, Bounds, Crowded, Slot, Turns

CLIENTS = "abcd"
#: What happens: a client asks; the n-th of those at work is done, or steps aside; the n-th that waits goes away.
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(CLIENTS)),
        st.tuples(st.sampled_from(["done", "aside", "gone"]), st.integers(0, 20)),
    ),
    max_size=60,
)
BOUNDS = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 4)).map(
    lambda three: Bounds(max(three[:2]), min(three[:2]), 8, three[2])
)


class Scene:
    """Clients in front of the queue, and what they hold."""

    def __init__(self, bounds: Bounds) -> None:
        self.turns, self.bounds = Turns(bounds), bounds
        self.waiting: list[tuple[str, asyncio.Task[Slot]]] = []
        self.held: list[Slot] = []
        self.order: list[str] = []
        self.crowded = 0

    async def happens(self, what: str, who: str | int) -> None:
        if isinstance(who, str):
            self.waiting.append((who, asyncio.create_task(self.turns.take(who))))
        elif what == "gone" and self.waiting:
            _, task = self.waiting.pop(who % len(self.waiting))
            task.cancel()
        elif self.held:
            slot = self.held[who % len(self.held)]
            if what == "aside":
                slot.step_aside()
            else:
                self.held.remove(slot)
                slot.give_back()
                slot.give_back()  # which changes nothing
                slot.step_aside()  # nor does this
        await self.settle()

    async def settle(self) -> None:
        """Let every task go on as far as it can."""
        for _ in range(3):
            await asyncio.sleep(0)
        for client, task in [each for each in self.waiting if each[1].done()]:
            self.waiting.remove((client, task))
            if isinstance(task.exception(), Crowded):
                self.crowded += 1
            else:
                self.held.append(task.result())
                self.order.append(client)

    def check(self) -> None:
        common = sum(slot.common for slot in self.held)
        each = Counter(slot.client for slot in self.held if slot.common)
        lasting = Counter(slot.client for slot in self.held if not slot.common)
        assert common == self.turns.taken <= self.bounds.slots
        assert max(each.values(), default=0) <= self.bounds.each
        assert max(lasting.values(), default=0) <= self.bounds.each
        assert lasting.total() <= self.bounds.lasting
        if common < self.bounds.slots:  # no slot stays empty while somebody may have it
            assert all(each[client] >= self.turns.share(client) for client, _ in self.waiting)
        assert self.turns.waiting == len(self.waiting)
        assert max(Counter(client for client, _ in self.waiting).values(), default=0) <= self.bounds.waiting

    async def run_dry(self) -> None:
        while self.held:
            await self.happens("done", 0)
            self.check()
        assert not self.waiting
        assert not self.turns._ring
        assert not self.turns._short
        assert not self.turns._lasting
        assert not self.turns._overdue


@settings(max_examples=150, deadline=None)
@given(bounds=BOUNDS, happenings=HAPPENINGS)
def test_bounds_hold_no_slot_stays_empty_and_everybody_has_a_turn(
    bounds: Bounds, happenings: list[tuple[str, str | int]]
) -> None:
    async def play() -> None:
        scene = Scene(bounds)
        for happening in happenings:
            await scene.happens(*happening)
            scene.check()
        await scene.run_dry()

    asyncio.run(play())


@settings(max_examples=80, deadline=None)
@given(slots=st.integers(1, 4), asking=st.lists(st.sampled_from(CLIENTS), min_size=1, max_size=60))
def test_between_two_turns_of_one_client_no_other_that_waits_is_passed_over(slots: int, asking: list[str]) -> None:
    async def play() -> list[str]:
        scene = Scene(Bounds(slots, slots, len(asking)))
        for client in "z" * slots:  # takes all slots, so that the others queue up
            await scene.happens("ask", client)
        for client in asking:
            await scene.happens("ask", client)
        await scene.run_dry()
        return scene.order[slots:]

    order, left = asyncio.run(play()), Counter(asking)
    assert Counter(order) == left
    last: dict[str, int] = {}
    for now, client in enumerate(order):
        between = set(order[last.get(client, now) + 1 : now])
        waits = {other for other in left if 0 < left[other] <= LONG * slots}  # whoever pushes may be passed over
        assert waits - {client} <= between or client not in last
        last[client], left[client] = now, left[client] - 1


async def test_a_flood_of_one_client_delays_another_by_one_turn_and_not_by_its_length() -> None:
    scene = Scene(Bounds(slots=2, each=2, waiting=50))
    for _ in range(40):
        await scene.happens("ask", "flood")
    await scene.happens("ask", "ward")
    await scene.happens("done", 0)
    await scene.happens("done", 0)
    assert "ward" in scene.order[2:4]


async def test_a_client_that_pushes_has_one_slot_while_others_come_and_its_share_again_once_it_is_alone() -> None:
    scene = Scene(Bounds(slots=4, each=2, waiting=200))
    await scene.happens("ask", "ward")
    await scene.happens("done", 0)
    for _ in range(2 + LONG * 2):
        await scene.happens("ask", "flood")
    assert scene.order == ["ward", "flood", "flood"]  # its queue is not long yet
    for _ in range(2 * LATELY):
        await scene.happens("ask", "flood")
    await scene.happens("done", 0)
    assert [slot.client for slot in scene.held] == ["flood"]
    while len(scene.held) == 1:
        await scene.happens("done", 0)
    assert scene.order[-LATELY:] == ["flood"] * LATELY  # so nobody else came lately
    await scene.happens("ask", "ward")
    await scene.happens("done", 0)
    await scene.happens("done", 0)
    assert Counter(slot.client for slot in scene.held) == {"ward": 1, "flood": 1}


async def test_a_queue_that_gets_shorter_as_its_clients_go_has_its_whole_share_at_once() -> None:
    scene = Scene(Bounds(slots=4, each=2, waiting=200))
    await scene.happens("ask", "ward")
    for _ in range(3 + LONG * 2):
        await scene.happens("ask", "flood")
    await scene.happens("done", 1)
    assert Counter(slot.client for slot in scene.held) == {"ward": 1, "flood": 1}
    await scene.happens("gone", 0)
    assert Counter(slot.client for slot in scene.held) == {"ward": 1, "flood": 2}


async def test_who_has_too_many_waiting_is_turned_away_and_others_are_not() -> None:
    scene = Scene(Bounds(slots=1, each=1, waiting=2))
    for _ in range(5):
        await scene.happens("ask", "flood")
    await scene.happens("ask", "ward")
    assert scene.crowded == 2
    assert [client for client, _ in scene.waiting] == ["flood", "flood", "ward"]


async def test_long_work_leaves_its_slot_to_others_and_a_client_has_but_a_few_such() -> None:
    scene = Scene(Bounds(slots=2, each=1, waiting=9))
    for client in ("slow", "slow", "slow", "ward"):
        await scene.happens("ask", client)
    assert scene.order == ["slow", "ward"]
    await scene.happens("aside", 0)
    assert scene.order == ["slow", "ward", "slow"]  # it may have one beside the one that lasts
    await scene.happens("aside", 2)
    assert scene.order == ["slow", "ward", "slow"]  # a third it may not have: the second stays in its slot
    await scene.happens("done", 0)
    assert scene.order == ["slow", "ward", "slow", "slow"]  # now there is room for the second to step aside


async def test_however_many_clients_have_long_work_few_go_on_beside_the_slots() -> None:
    scene = Scene(Bounds(slots=4, each=2, waiting=9, lasting=3))
    for client in "abcdabcdabcd":
        await scene.happens("ask", client)
    for _ in range(12):
        for nth in range(len(scene.held)):
            await scene.happens("aside", nth)
            scene.check()
    assert len(scene.held) == 4 + 3
    await scene.run_dry()


async def test_a_client_that_may_have_no_more_beside_the_slots_keeps_no_other_from_it() -> None:
    turns = Turns(Bounds(slots=4, each=1, waiting=9, lasting=2))
    for _ in range(2):
        (await turns.take("a")).step_aside()
    other = await turns.take("b")
    other.step_aside()
    assert not other.common


async def test_room_beside_the_slots_goes_to_whose_work_has_lasted_longest() -> None:
    turns = Turns(Bounds(slots=4, each=1, waiting=9, lasting=1))
    slots = [await turns.take(client) for client in "abc"]
    for slot in slots:
        slot.step_aside()
    slots[0].give_back()
    assert [slot.common for slot in slots[1:]] == [False, True]


async def test_a_client_whose_requests_last_may_ask_short_ones_beside() -> None:
    turns = Turns(Bounds(slots=16, each=2, waiting=9, lasting=3))
    for slot in [await turns.take("a") for _ in range(2)]:
        slot.step_aside()
    short = [turns.at_once("a") for _ in range(2)]
    assert None not in short
    assert turns.at_once("a") is None


async def test_a_turn_that_comes_as_its_client_goes_is_given_to_the_next() -> None:
    turns = Turns(Bounds(slots=1, each=1, waiting=9))
    held = await turns.take("a")
    gone, stays = asyncio.create_task(turns.take("b")), asyncio.create_task(turns.take("c"))
    await asyncio.sleep(0)
    held.give_back()  # b's turn has come, and b has not run yet
    gone.cancel()
    assert (await stays).client == "c"
    with pytest.raises(asyncio.CancelledError):
        await gone


@pytest.mark.parametrize(("slots", "each", "waiting"), [(0, 0, 0), (4, 5, 0), (4, 0, 0), (4, 4, -1)])
def test_bounds_under_which_nothing_could_be_answered_are_refused(slots: int, each: int, waiting: int) -> None:
    with pytest.raises(ValueError, match="slots must be"):
        Bounds(slots, each, waiting)
