"""Why each request stays short, and what each assignment does: a function of the instance and the units moved alone.

Sentences name needs, distances and counts, never institutions: the one who got nothing learns why, not who. What
would change the answer is told from a real second run, not from multipliers, which mislead where ties are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sharewell.domain.certificate import floor_units
from sharewell.domain.instance import Instance, Lane, Receiver, Rule
from sharewell.domain.moves import Moves, total
from sharewell.domain.network import leximin_key
from sharewell.domain.plan import Assignment, Reason, Unfilled
from sharewell.domain.visibility import KEEPS
from sharewell.domain.welfare import price

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sharewell.domain.reserves import Account

Claim = tuple[int, int, int]
Used = Sequence[tuple[Lane, Sequence[tuple[Lane, int]]]]  #: lanes, and what is used in place of each, with the units


def assignments(instance: Instance, moved: Mapping[tuple[str, str], int]) -> tuple[Assignment, ...]:
    """Every movement of `moved` (offer, request -> units) with its sentence."""
    totals = total((request, units) for (_, request), units in moved.items())
    return tuple(
        Assignment(
            offer=offer, request=request, quantity=units,
            reason=_assignment_sentence(instance, instance.lane[offer, request], units, totals[request]),
        )
        for (offer, request), units in moved.items()
        if units > 0
    )  # fmt: skip


def unfilled(
    instance: Instance, moved: Mapping[tuple[str, str], int], floors: Sequence[tuple[int, int]]
) -> tuple[Unfilled, ...]:
    """Every request that stays short of what it asked, with code and sentence; `floors` per part as value, over."""
    parts = {row.request: part.index for part in instance.parts for row in part.receivers}
    view = _View(instance, Moves(instance, moved), _floor_of(instance, floors), parts, {})
    rows = []
    for receiver in instance.receivers:
        left = receiver.asked - view.received(receiver)
        if left > 0:
            code, sentence = _why(view, receiver)
            rows.append(Unfilled(request=receiver.request, quantity=left, code=code, reason=sentence))
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class _View:
    """The run, indexed for questions about single requests."""

    instance: Instance
    moves: Moves
    floor_of: Mapping[str, tuple[int, int, int]]  #: by request: units guaranteed, and the floor as value, over
    part_of: Mapping[str, int]  #: by request that any unit can reach
    claims: dict[tuple[str, int], Claim]  #: what `claim` answered before
    reserves: dict[int, _Reserved] = field(default_factory=dict)  #: by part, where asked for

    def received(self, receiver: Receiver) -> int:
        """Units assigned to `receiver`."""
        return self.moves.received.get(receiver.request, 0)

    def claim(self, receiver: Receiver, unit: int) -> Claim:
        """How strong the claim to the `unit`-th unit of this run is, by the rule; the larger wins."""
        key = (receiver.request, unit)
        if key not in self.claims:
            self.claims[key] = _claim(self.instance, receiver, unit)
        return self.claims[key]

    def filled(self, receiver: Receiver) -> int:
        """Share of the whole need that is there after the run, in percent."""
        return (receiver.held + self.received(receiver)) * 100 // max(1, receiver.whole_need)

    def is_kept_for(self, other: Receiver, receiver: Receiver) -> bool:
        """Whether a unit passed from `other` to `receiver` would leave less charged to the reserves."""
        part = self.part_of.get(other.request)
        if not self.instance.reserves or part is None or part != self.part_of.get(receiver.request):
            return False
        if part not in self.reserves:
            self.reserves[part] = _Reserved.of(self.instance, part, self.moves.received)
        got = self.received(other), self.received(receiver)
        changes = [(other.request, got[0], got[0] - 1), (receiver.request, got[1], got[1] + 1)]
        return self.reserves[part].falls(changes)


@dataclass(frozen=True, slots=True)
class _Reserved:
    """What is charged to the reserves of one part."""

    account: Account
    cuts: list[int]
    place: Mapping[str, int]  #: of each request in the account

    @classmethod
    def of(cls, instance: Instance, index: int, received: Mapping[str, int]) -> _Reserved:
        """The account of part `index` when requests have `received`."""
        part = instance.parts[index]
        account = instance.account(part)
        cuts = account.cuts([received.get(row.request, 0) for row in part.receivers])
        return cls(account, cuts, {row.request: place for place, row in enumerate(part.receivers)})

    def falls(self, changes: Sequence[tuple[str, int, int]]) -> bool:
        """Whether less is charged once requests change (request, units before, units after)."""
        return self.account.falls(self.cuts, [(self.place[name], old, new) for name, old, new in changes])


def _claim(instance: Instance, receiver: Receiver, unit: int) -> Claim:
    worth = price(instance.fairness, receiver, unit)
    if instance.fairness.rule is not Rule.LEXIMIN or not receiver.whole_need:
        return (0, 0, worth)
    filled, whole = leximin_key(instance, receiver, unit - 1)
    return (-filled, -whole, worth)


def _why(view: _View, receiver: Receiver) -> tuple[Reason, str]:
    got = view.received(receiver)
    missing = receiver.need - got
    above = receiver.asked - receiver.need
    if missing == 0:
        return Reason.ABOVE_NEED, (
            f"{_units(got)} of {receiver.asked} asked for: the forecast or census bears out {receiver.need}, and the "
            f"other {above} lie above it."
        )
    code, why = _why_short(view, receiver)
    head = f"{_units(got)} of the {receiver.need} needed: "
    tail = f" {_units(above).capitalize()} asked for beyond that: above the forecast or census." if above else ""
    return code, head + why + _raised(receiver) + tail


def _raised(receiver: Receiver) -> str:
    """What of the need counts on the institution's word; empty where nothing does."""
    if receiver.raise_reason is None:
        return ""
    why = receiver.raise_reason.replace("_", " ")
    return f" Of the need, {_units(receiver.raised)} count on the institution's word ({why})."


def _why_short(view: _View, receiver: Receiver) -> tuple[Reason, str]:
    lanes = view.moves.lanes_to.get(receiver.request, [])
    if not lanes:
        return Reason.NO_LANE, "no owner is near enough to deliver in time."
    stocked = [lane for lane in lanes if view.instance.spare[lane.offer] > 0 and lane.cap > 0]
    if not stocked:
        owners = _count(len(lanes), "offer is", "offers are")
        return Reason.OWNERS_AT_MINIMUM, f"{owners} in reach, and no owner has a unit above what it must keep itself."
    passable = [lane for lane in stocked if not view.moves.full(lane)]
    used = [(lane, view.moves.used_beside(lane.offer)) for lane in passable]
    if any(rival.request != receiver.request for _, rivals in used for rival, _ in rivals):
        return _lost(view, receiver, used)
    if len(passable) < len(stocked):
        full = _count(len(stocked) - len(passable), "lane", "lanes")
        return Reason.LANE_CAP, f"{full} to this request can carry no more in this run."
    return Reason.SUPPLY_EXHAUSTED, "every unit that owners in reach can spare goes to this request already."


def _lost(view: _View, receiver: Receiver, used: Used) -> tuple[Reason, str]:
    """Compare the claim with the claims that won the units in its reach: those `used` in place of each lane to it."""
    ours = view.claim(receiver, view.received(receiver) + 1)
    nearest, together = _leads(view, receiver, used)
    units = _units(together)
    above_floor: list[tuple[Claim, tuple[int, bool], Receiver]] = []
    for request, lead in nearest.items():
        other = view.instance.receiver[request]
        taken = view.received(other)
        if taken > view.floor_of[request][0]:
            above_floor.append((view.claim(other, taken), lead, other))
    free = [row for row in above_floor if not view.is_kept_for(row[2], receiver)]
    if above_floor and not free:
        return Reason.RESERVED, f"the {units} in reach are kept for categories that this request does not qualify for."
    if not free:
        _, value, over = view.floor_of[receiver.request]
        return Reason.OUTCOMPETED, (
            f"the {units} in reach bring other requests to the common floor of {value * 100 // over} % of their need."
        )
    weakest, (extra, kept), other = min(free, key=lambda row: (row[0], row[1]))
    if weakest > ours:
        return Reason.OUTCOMPETED, (
            f"the {units} in reach do more for requests with more need; the closest of them has urgency "
            f"{other.urgency} and is filled to {view.filled(other)} %, against urgency {receiver.urgency} and "
            f"{view.filled(receiver)} % here."
        )
    if extra > 0:
        return Reason.FARTHER, (
            f"a request with an equal claim (urgency {other.urgency}, filled to {view.filled(other)} %) is "
            f"{_kilometres(extra)} nearer to the last unit."
        )
    if kept:
        return Reason.IN_FORCE, (
            f"a request with an equal claim (urgency {other.urgency}, filled to {view.filled(other)} %) at no greater "
            "distance is where the plan in force moves the last unit already."
        )
    return Reason.LOTTERY, (
        f"a request with an equal claim (urgency {other.urgency}, filled to {view.filled(other)} %) at no greater "
        "distance won the last unit by the published seed."
    )


def _leads(view: _View, receiver: Receiver, used: Used) -> tuple[dict[str, tuple[int, bool]], int]:
    """To each rival request, over the lane that favours it least: metres more, and whether the plan in force is kept;
    and the units that rivals have together.
    """
    nearest: dict[str, tuple[int, bool]] = {}
    along: dict[tuple[str, str], int] = {}
    in_force = bool(view.instance.in_force)
    for lane, rivals in used:
        for rival, units in rivals:
            request = rival.request
            if request == receiver.request:
                continue
            lead = (lane.metres - rival.metres, in_force and _keeps(view, lane, rival))
            if request not in nearest or lead < nearest[request]:
                nearest[request] = lead
            along[rival.offer, request] = units
    return nearest, sum(along.values())


def _keeps(view: _View, lane: Lane, rival: Lane) -> bool:
    """Whether moving one unit from `rival` to `lane` would depart further from the plan in force."""
    before = view.instance.kept_lanes
    taken, added = (before.get((row.offer, row.request), 0) for row in (rival, lane))
    loses = 1 if view.moves.along(rival) <= taken else -1
    return loses + (-1 if view.moves.along(lane) < added else 1) > 0


def _floor_of(instance: Instance, floors: Sequence[tuple[int, int]]) -> dict[str, tuple[int, int, int]]:
    found = {row.request: (0, 0, 1) for row in instance.receivers}
    for part, (value, over) in zip(instance.parts, floors, strict=True):
        for row, units in zip(part.receivers, floor_units(instance, part, value, over), strict=True):
            found[row.request] = (units, value, over)
    return found


def _assignment_sentence(instance: Instance, lane: Lane, units: int, together: int) -> str:
    owner, receiver = instance.owner[lane.offer], instance.receiver[lane.request]
    whole = max(1, receiver.whole_need)
    before, after = receiver.held * 100 // whole, (receiver.held + together) * 100 // whole
    others = "" if together == units else f" together with {together - units} from elsewhere"
    return (
        f"{_units(units).capitalize()} over {_kilometres(lane.metres)}{others} lift this request of urgency "
        f"{receiver.urgency} from {before} % to {after} % of its need{KEEPS}the "
        f"{instance.kept[owner.institution]} it must and could spare {instance.spare[lane.offer]}."
        f"{_raised(receiver)}"
    )


def _units(count: int) -> str:
    return "1 unit" if count == 1 else f"{count or 'no'} units"


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _kilometres(metres: int) -> str:
    return f"{metres // 1000}.{metres % 1000 // 100} km"
