"""One urgent request answered at once, between two runs: the projected proportional rule.

The request gets the share that everybody would get if all needs expected before the next run were answered alike:
what is in reach, over this need and what is still expected, at most 1. The share is then projected on the limits that
bind a run too: what owners keep, what lanes carry, whole units.

Source of the rule: Manshadi, Niazadeh & Rodilitz, "Fair Dynamic Rationing", Management Science 69(11), 2023, 6818-6836
(EC '21; arXiv 2102.01240): projected proportional allocation. It rests on expectations alone, not on distributions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from sharewell.domain import canonical, explanation, fairness, strict
from sharewell.domain.allocation import PlanRefused
from sharewell.domain.errors import Invalid
from sharewell.domain.instance import MAX_ROWS, Instance, Lane, Receiver
from sharewell.domain.moves import group, total
from sharewell.domain.plan import Plan, Reason, SolverReport, Stage, Status, Unfilled
from sharewell.domain.strict import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from sharewell.domain.canonical import Json

FORMAT = "sharewell/urgent@1"
RULE = "projected_proportional"
VERSION = "1"  #: of the rule as it is published in docs/allocation.md, rounding included
_MEMBERS = ("format", "instance", "request", "next_run", "expected", "foreseen", "institutions")


@dataclass(frozen=True, kw_only=True)
class UrgentQuestion:
    """What the plan for one urgent request is made from. Building one checks it and raises `Invalid`."""

    instance: Instance  #: as a run would see it, narrowed; `held` is what urgent plans gave since the last run
    request: str  #: the one to answer
    next_run: datetime  #: until then needs are expected
    expected: tuple[str, ...] = ()  #: receivers that stand for what a forecast expects and nobody asked for yet
    foreseen: int = 0  #: institutions of the region of which a forecast is in force for that day
    institutions: int = 0  #: institutions of the region

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", tuple(sorted(self.expected)))
        if self.request not in self.instance.receiver:
            raise Invalid("request is no receiver of the instance.", field="request")
        for index, name in enumerate(self.expected):
            if name not in self.instance.receiver or name == self.request or name in self.expected[:index]:
                raise Invalid(
                    f"expected[{index}] must be another receiver of the instance, named once.",
                    field=f"expected[{index}]",
                )
        if self.next_run < self.instance.at:
            raise Invalid("next_run lies before the moment of the instance.", field="next_run")
        if self.foreseen > self.institutions:
            raise Invalid("foreseen is more than there are institutions.", field="foreseen")

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of the canonical JSON."""
        return hashlib.sha256(canonical.encode(self.to_json())).hexdigest()

    @property
    def receiver(self) -> Receiver:
        """The request to answer."""
        return self.instance.receiver[self.request]

    @cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """Lanes to the request, in the order in which they are used: the shortest first, ties by the seed."""
        seed = self.instance.seed
        mine = (lane for lane in self.instance.lanes if lane.request == self.request)
        return tuple(sorted(mine, key=lambda lane: (lane.metres, _ticket(f"{seed}|{lane.offer}|{lane.request}"))))

    @cached_property
    def reach(self) -> Mapping[str, Mapping[str, int]]:
        """By request, the units that each owning institution could bring to it, however many it needs."""
        lanes_to = group((lane.request, lane) for lane in self.instance.lanes if lane.cap > 0)
        return {request: self._units(lanes) for request, lanes in lanes_to.items()}

    @property
    def supply(self) -> int:
        """Units in reach of the request."""
        return sum(self.reach.get(self.request, {}).values())

    @cached_property
    def rivals(self) -> int:
        """Units that others in reach are expected to need of this supply until the next run, rounded down.

        A need that other owners can serve as well counts in the ratio in which it shares this supply.
        """
        ours = self.reach.get(self.request, {})
        expected = Fraction(0)
        for row in self.instance.receivers:
            theirs = self.reach.get(row.request, {})
            shared = sum(min(units, ours.get(name, 0)) for name, units in theirs.items())
            if row.request != self.request and shared:
                expected += Fraction(row.need * shared, sum(theirs.values()))
        return int(expected)

    @cached_property
    def alone(self) -> Instance:
        """The instance with this request only; who is short gives nothing, as in a run."""
        short = self.instance.short
        return replace(
            self.instance,
            owners=tuple(replace(row, stock=0) if row.institution in short else row for row in self.instance.owners),
            receivers=(self.receiver,),
            lanes=self.lanes,
            in_force=(),
        )

    def _units(self, lanes: Iterable[Lane]) -> dict[str, int]:
        spare, owner, sparable = self.instance.spare, self.instance.owner, self.instance.sparable
        offered = total((owner[lane.offer].institution, spare[lane.offer]) for lane in lanes)
        return {name: min(units, sparable[name]) for name, units in offered.items() if sparable[name]}

    def to_json(self) -> dict[str, Json]:
        """The document that is hashed, stored and given to whoever checks the plan."""
        return {
            "format": FORMAT,
            "instance": self.instance.to_json(),
            "request": self.request,
            "next_run": strict.moment_text(self.next_run),
            "expected": list(self.expected),
            "foreseen": self.foreseen,
            "institutions": self.institutions,
        }

    @classmethod
    def from_json(cls, value: object) -> UrgentQuestion:
        """Read what `to_json` wrote; raises `Invalid` naming the path of what is wrong."""
        record = Record.of(value, "", _MEMBERS)
        if record.members["format"] != FORMAT:
            raise Invalid(f"format must be {FORMAT}.", field="format")
        return cls(
            instance=Instance.from_json(record.members["instance"]), request=record.name("request"),
            next_run=record.moment("next_run"), expected=record.each("expected", strict.identifier, most=MAX_ROWS),
            foreseen=record.whole("foreseen", most=MAX_ROWS), institutions=record.whole("institutions", most=MAX_ROWS),
        )  # fmt: skip

    @classmethod
    def read(cls, data: bytes) -> UrgentQuestion:
        """Parse and read a document."""
        return cls.from_json(canonical.parse_loosely(data))


def narrowed(instance: Instance, request: str) -> Instance:
    """Only what can matter to `request`: owners in its reach, whoever else they reach, and the ways between."""
    owner = instance.owner
    near = {owner[lane.offer].institution for lane in instance.lanes if lane.request == request}
    rivals = {lane.request for lane in instance.lanes if owner[lane.offer].institution in near} | {request}
    lanes = tuple(lane for lane in instance.lanes if lane.request in rivals)
    houses = {owner[lane.offer].institution for lane in lanes}
    return replace(
        instance,
        owners=tuple(row for row in instance.owners if row.institution in houses),
        # An owner that asks for units itself gives none, so its requests matter too.
        receivers=tuple(row for row in instance.receivers if row.request in rivals or row.institution in houses),
        lanes=lanes,
        in_force=(),
    )


def projected_share(supply: int | Fraction, demand: int | Fraction, expected: int | Fraction) -> Fraction:
    """Share of `demand` that is filled now when `expected` is still to come: supply / (demand + expected), at most 1.

    Source: Manshadi, Niazadeh & Rodilitz (2023), the projected proportional allocation policy.
    """
    return min(Fraction(1), Fraction(supply) / (demand + expected)) if demand + expected else Fraction(1)


def urgent_plan(question: UrgentQuestion, *, milliseconds: int = 0, peak_kilobytes: int = 0) -> Plan:
    """What the rule gives for `question`, with its explanations; what it cost is stated by whoever measured it."""
    share = _share(question)
    moved = dict(_moved(question, _entitled(question, share)))
    given = sum(moved.values())
    return Plan(
        instance_hash=question.hash,
        assignments=explanation.assignments(question.instance, moved),
        unfilled=tuple(_unfilled(question, moved, share)),
        stages=(Stage(part=0, name=RULE, value=share.numerator, over=share.denominator),),
        solver=SolverReport(
            name="projected proportional rule", version=VERSION, status=Status.OPTIMAL, bound=given, gap=0,
            seed=question.instance.seed, milliseconds=milliseconds, peak_kilobytes=peak_kilobytes,
        ),
    )  # fmt: skip


def check_urgent(question: UrgentQuestion, plan: Plan) -> None:
    """Raise `PlanRefused`, listing the violations, unless `plan` is what the rule gives for `question`.

    The limits are checked on the plan itself; then it must be, to the unit and the word, what the rule gives.
    """
    violations = list(_limits(question, plan))
    if not violations:
        right = urgent_plan(question)
        if plan.assignments != right.assignments:
            got, due = sum(plan.received.values()), sum(right.received.values())
            violations.append(f"the rule gives {due} units along the shortest lanes, not these {got}")
        if plan.stages != right.stages:
            violations.append("the share is not supply / (need + expected need)")
        if plan.unfilled != right.unfilled:
            violations.append("what stays open is not accounted for as the rule says")
        if (plan.solver.bound, plan.solver.gap, plan.solver.status) != (right.solver.bound, 0, Status.OPTIMAL):
            violations.append("the report speaks of another plan")
    if violations:
        raise PlanRefused(violations)


def measures(question: UrgentQuestion, plan: Plan) -> dict[str, Json]:
    """What is stored and shown of it, as of a run; units kept back count as within reach."""
    found = fairness.measures(question.alone, plan)
    need = question.receiver.need
    return found | {"beyond_reach": need - min(need, _deliverable(question))}


def _share(question: UrgentQuestion) -> Fraction:
    # Of this need, what was filled since the last run counts on both sides: asking in pieces gains nothing.
    receiver = question.receiver
    return projected_share(question.supply + receiver.held, receiver.whole_need, question.rivals)


def _entitled(question: UrgentQuestion, share: Fraction) -> int:
    """Units beyond those held, rounded up: a need that is there goes before one that is only expected."""
    receiver = question.receiver
    return min(receiver.need, max(0, -(-share * receiver.whole_need // 1) - receiver.held))


def _moved(question: UrgentQuestion, entitled: int) -> Iterator[tuple[tuple[str, str], int]]:
    """Fill `entitled` from the nearest lanes on, as far as lanes and owners allow."""
    left = dict(question.instance.sparable)
    for lane in question.lanes:
        house = question.instance.owner[lane.offer].institution
        units = min(entitled, question.instance.room(lane), left[house])
        if units > 0:
            entitled, left[house] = entitled - units, left[house] - units
            yield (lane.offer, lane.request), units


def _deliverable(question: UrgentQuestion) -> int:
    """Units that owners and lanes could bring to the request, were it to get all."""
    return sum(units for _, units in _moved(question, question.receiver.need))


def _unfilled(question: UrgentQuestion, moved: Mapping[tuple[str, str], int], share: Fraction) -> Iterator[Unfilled]:
    given, need = sum(moved.values()), question.receiver.need
    rows = explanation.unfilled(question.alone, moved, [(0, 1)] * len(question.alone.parts))
    if given < min(need, _deliverable(question)):
        rows = tuple(replace(row, code=Reason.KEPT_BACK, reason=_kept_back(question, given, share)) for row in rows)
    yield from rows


def _kept_back(question: UrgentQuestion, given: int, share: Fraction) -> str:
    percent = share.numerator * 100 // share.denominator
    basis = f"Forecasts are in force for {question.foreseen} of the {question.institutions} institutions of the region"
    if not question.foreseen:
        basis = "No forecast is in force, so only open requests count as expected"
    return (
        f"{given} of the {question.receiver.need} needed: {question.supply} units are in reach, and others in reach "
        f"are expected to need {question.rivals} of them until the next run at "
        f"{strict.moment_text(question.next_run)}, so every need is filled to {percent} % until then. {basis}. "
        "The next run decides on the rest."
    )


def _limits(question: UrgentQuestion, plan: Plan) -> Iterator[str]:
    """Every limit that a plan can break, from the plan alone and not from how the rule is worked out."""
    instance = question.instance
    if plan.instance_hash != question.hash:
        yield f"the plan answers {plan.instance_hash[:12]}, not {question.hash[:12]}"
    keys = [(row.offer, row.request) for row in plan.assignments]
    if any(request != question.request or (offer, request) not in instance.lane for offer, request in keys):
        yield "a movement follows no lane to the request"
        return
    if len(set(keys)) < len(keys) or any(row.quantity < 1 for row in plan.assignments):
        yield "a lane is used in two rows, or for no unit"
    for row in plan.assignments:
        if row.quantity > min(instance.lane[row.offer, row.request].cap, instance.owner[row.offer].quantity):
            yield f"offer {row.offer}: {row.quantity} are more than the lane carries or the offer has"
    by_house = total((instance.owner[offer].institution, units) for offer, units in plan.given.items())
    for house, units in by_house.items():
        stock = next(row.stock for row in instance.owners if row.institution == house)
        if house in instance.short or stock - units < instance.kept[house]:
            yield f"institution {house} gives {units} and would be worse off"
    if sum(plan.received.values()) > question.receiver.need:
        yield "the request gets more than it needs"


def _ticket(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
