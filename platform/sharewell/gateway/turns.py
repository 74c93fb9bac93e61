"""Whose request is worked on next: a bounded number at once, few of one client, and the clients in turn.

A queue for each client stands in a ring; a free slot goes to the first in the queue of the next client that does not
have its share already (round-robin fair queueing: Nagle, RFC 970). However much one client sends, another waits for the
end of work that was begun and for one turn of each client, never for a queue that is not its own. A client that pushes,
with a long queue, has one slot as long as others come too: what runs side by side slows all at every step.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

LONG = 2  #: times its share of the slots: a longer queue pushes
LATELY = 32  #: turns of which one was another's, or a client is alone


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the requests in one gateway. Raises ValueError for bounds under which nothing could be answered."""

    slots: int  #: worked on at once, of all clients together
    each: int  #: of them, of one client; and as many of it again that last, if there is room
    waiting: int  #: that one client may have in its queue
    lasting: int = 3  #: that have left their slots to others and go on beside them, of all clients together

    def __post_init__(self) -> None:
        if not 1 <= self.each <= self.slots or self.waiting < 0 or self.lasting < 0:
            raise ValueError("slots must be 1 or more, each from 1 to slots, and waiting and lasting 0 or more.")


class Crowded(Exception):
    """The client has as many in its queue as it may."""


class Slot:
    """What one request holds while it is worked on; given back once, however often that is said."""

    __slots__ = ("_turns", "client", "common", "held")

    def __init__(self, turns: Turns, client: str) -> None:
        self._turns, self.client = turns, client
        self.held = True
        self.common = True  #: whether it counts among the slots of all

    def step_aside(self) -> None:
        """Leave the slot to others, though the work is not done: it lasts. Where there is no room, do so later."""
        if self.held and self.common:
            self._turns.overdue(self)

    def give_back(self) -> None:
        """The work is done."""
        if self.held:
            self.held = False
            self._turns.left(self)


Queue = deque[asyncio.Future[Slot]]


class Turns:
    """The slots of one gateway and the queues in front of them. Belongs to one event loop."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds: Final = bounds
        self.taken = 0  #: of the common slots
        self._short, self._lasting = Counter[str](), Counter[str]()  #: by client, in common slots and no more
        self._overdue: dict[Slot, None] = {}  #: would leave their slots if there were room; oldest first
        self._lately = deque[str](maxlen=LATELY)  #: whose turns were the last
        self._ring: dict[str, Queue] = {}  #: who waits; whoever is next comes first; no queue is empty

    @property
    def waiting(self) -> int:
        """How many wait, of all clients."""
        return sum(map(len, self._ring.values()))

    def share(self, client: str) -> int:
        """How many of the common slots the client may have now."""
        pushes = len(self._ring.get(client, ())) > LONG * self.bounds.each
        return 1 if pushes and any(other != client for other in self._lately) else self.bounds.each

    def at_once(self, client: str) -> Slot | None:
        """A turn, if there is one without waiting."""
        return self._given(client) if client not in self._ring and self._may_have(client) else None

    async def take(self, client: str) -> Slot:
        """Wait for a turn. Raises `Crowded` if too many of the client wait already."""
        if (slot := self.at_once(client)) is not None:
            return slot
        queue = self._ring.setdefault(client, deque())
        if len(queue) >= self.bounds.waiting:
            self._forget_if_empty(client)
            raise Crowded
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            self._withdraw(client, turn)
            raise

    def overdue(self, slot: Slot) -> None:
        """Its work lasts: the slot is free for others, now or once there is room beside."""
        self._overdue[slot] = None
        self._make_room()
        self._hand_out()

    def left(self, slot: Slot) -> None:
        """A client has one slot less."""
        _less(self._short if slot.common else self._lasting, slot.client)
        if slot.common:
            self.taken -= 1
            self._overdue.pop(slot, None)
        self._make_room()
        self._hand_out()

    def _make_room(self) -> None:
        """Have those step aside that may: of a client no more than it may have short ones, and few of all."""
        for slot in list(self._overdue):
            if self._lasting.total() >= self.bounds.lasting:
                return
            if self._lasting[slot.client] < self.bounds.each:
                del self._overdue[slot]
                slot.common = False
                self.taken -= 1
                _less(self._short, slot.client)
                self._lasting[slot.client] += 1

    def _may_have(self, client: str) -> bool:
        return self.taken < self.bounds.slots and self._short[client] < self.share(client)

    def _given(self, client: str) -> Slot:
        self.taken += 1
        self._short[client] += 1
        self._lately.append(client)
        return Slot(self, client)

    def _hand_out(self) -> None:
        """Give free slots to who may have them. Those passed over have their share, so they are few."""
        while (client := next(filter(self._may_have, self._ring), None)) is not None:
            queue = self._ring.pop(client)
            turn = _first(queue)
            if turn is not None:
                turn.set_result(self._given(client))
            if queue:
                self._ring[client] = queue  # behind all others

    def _withdraw(self, client: str, turn: asyncio.Future[Slot]) -> None:
        """Whoever waited is gone; its turn may have come at the same moment."""
        if not turn.cancelled():
            turn.result().give_back()
            return
        with suppress(KeyError, ValueError):  # unless it was passed over in the meantime
            self._ring[client].remove(turn)
            self._forget_if_empty(client)
            self._hand_out()  # a shorter queue may have a larger share

    def _forget_if_empty(self, client: str) -> None:
        if not self._ring[client]:
            del self._ring[client]


def _less(held: Counter[str], client: str) -> None:
    held[client] -= 1
    if not held[client]:
        del held[client]


def _first(queue: Queue) -> asyncio.Future[Slot] | None:
    """The first that still waits, taken out; whoever goes away may not have run since."""
    while queue:
        turn = queue.popleft()
        if not turn.cancelled():
            return turn
    return None
