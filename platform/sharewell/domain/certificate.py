"""Proof that a plan is best, checked in whole numbers without a solver.

Each stage of each part is a linear program (`network`). Its proof is one multiplier per row: weak duality turns them
into a bound that no plan can pass, and the plan meets it exactly. What the multipliers pin down (complementary
slackness) is the face on which the next stage is decided, so the stages are checked in the order they were decided.
The floor's proof is a set of requests that cannot all go higher, because the units in their reach do not suffice.

Left to others: that the plan is valid at all (`allocation.check_plan`, which runs first).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import gt, mul
from typing import TYPE_CHECKING

from sharewell.domain import strict
from sharewell.domain.checks import MAX_UNITS
from sharewell.domain.errors import Invalid
from sharewell.domain.face import Face
from sharewell.domain.instance import MAX_LANES, MAX_ROWS, Instance, Part, Rule
from sharewell.domain.network import MOST_STAGES, network
from sharewell.domain.strict import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sharewell.domain.canonical import Json
    from sharewell.domain.plan import Plan, Stage


class NotProven(Invalid):
    """The certificate does not prove that the plan is the best one; the message says at which stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartProof:
    """Proof for one part."""

    part: int
    blocking: tuple[str, ...] = ()  #: requests whose fills cannot all pass the floor; empty where all are filled
    witness: tuple[int, ...] = ()  #: units per lane that reach the largest floor; only where less is guaranteed
    multipliers: tuple[tuple[str, tuple[int, ...]], ...] = ()  #: (stage, one multiplier per row), in stage order

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a plan."""
        return {
            "part": self.part,
            "blocking": list(self.blocking),
            "witness": list(self.witness),
            "multipliers": [{"stage": stage, "rows": list(rows)} for stage, rows in self.multipliers],
        }

    @classmethod
    def from_json(cls, value: object, path: str) -> PartProof:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("part", "blocking", "witness", "multipliers"))
        return cls(
            part=record.whole("part", most=MAX_ROWS),
            blocking=record.each("blocking", strict.identifier, most=MAX_ROWS),
            witness=record.each("witness", _units, most=MAX_LANES),
            multipliers=record.each("multipliers", _multipliers, most=MOST_STAGES),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Proofs of all parts; where the solver was cut off, of the stages it had decided."""

    parts: tuple[PartProof, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in a plan."""
        return {"parts": [part.to_json() for part in self.parts]}

    @classmethod
    def from_json(cls, value: object, path: str = "certificate") -> Certificate:
        """Read what `to_json` wrote."""
        return cls(parts=Record.of(value, path, ("parts",)).each("parts", PartProof.from_json, most=MAX_ROWS))


def check_certificate(instance: Instance, plan: Plan) -> None:
    """Raise `NotProven` unless the certificate proves each stage of a valid `plan` to be the best possible."""
    proofs = {proof.part: proof for proof in plan.certificate.parts}
    if len(proofs) != len(plan.certificate.parts) or set(proofs) != set(range(len(instance.parts))):
        raise NotProven("the certificate does not speak of every part once.", field="certificate.parts")
    reached = {(stage.part, stage.name): stage for stage in plan.stages}
    moved = {(row.offer, row.request): row.quantity for row in plan.assignments}
    for part in instance.parts:
        units = [moved.get((lane.offer, lane.request), 0) for lane in part.lanes]
        _check_part(instance, part, units, proofs[part.index], reached)


def _check_part(
    instance: Instance,
    part: Part,
    moved: Sequence[int],
    proof: PartProof,
    reached: Mapping[tuple[int, str], Stage],
) -> None:
    floors = [0] * len(part.receivers)
    if instance.fairness.rule is Rule.FLOOR:
        floor = reached[part.index, "floor"]
        check_floor(instance, part, floor, moved, proof)
        floors = floor_units(instance, part, floor.value, floor.over)
    program = network(instance, part)
    if tuple(stage for stage, _ in proof.multipliers) != program.stages:
        raise NotProven(f"part {part.index}: the certificate does not have every stage in order.")
    face = Face(program, floors, moved)
    if not face.holds:
        raise NotProven(f"part {part.index}: the plan does not keep its floors and limits.")
    for stage, rows in proof.multipliers:
        if len(rows) != len(program.row_upper):
            raise NotProven(f"part {part.index}, {stage}: {len(program.row_upper)} multipliers are needed.")
        missed = face.decide(stage, rows)
        if missed:
            worth = program.worth(moved)[stage]
            raise NotProven(
                f"part {part.index}, {stage}: the plan reaches {worth}, the multipliers allow {worth + missed}."
            )


def floor_units(instance: Instance, part: Part, value: int, over: int) -> list[int]:
    """Units each receiver is guaranteed when the floor is `value / over` of its whole need."""
    theta = instance.fairness.theta
    return [max(0, -(-theta * value * row.whole_need // (1000 * over)) - row.held) for row in part.receivers]


def within_reach(instance: Instance, part: Part, requests: set[str]) -> int:
    """Units that can reach `requests` together, whatever others get."""
    chosen = [row.request in requests for row in part.receivers]
    sums = list(accumulate(map(mul, part.room, map(chosen.__getitem__, part.lane_receiver)), initial=0))
    from_institution: dict[str, int] = {}
    for row, (start, end) in zip(part.owners, pairwise(part.lane_starts), strict=True):
        units = min(instance.spare[row.offer], sums[end] - sums[start])
        from_institution[row.institution] = from_institution.get(row.institution, 0) + units
    return sum(min(instance.sparable[name], units) for name, units in from_institution.items())


def check_floor(instance: Instance, part: Part, floor: Stage, moved: Sequence[int], proof: PartProof) -> None:
    """Raise `NotProven` unless `moved` (per lane) reaches the floor, or the witness where less is guaranteed, and none
    can pass it: what the blocking requests want beyond it is more than can reach them.
    """
    where = f"part {part.index}, floor"
    units = moved
    if instance.fairness.theta < 1000:
        units = proof.witness
        _check_witness(instance, part, units, where)
    received = part.received(units)
    for row, came in zip(part.receivers, received, strict=True):
        if (row.held + came) * floor.over < floor.value * row.whole_need:
            raise NotProven(f"{where}: request {row.request} stays below {floor.value}/{floor.over}.")
    if floor.value >= floor.over:
        return
    blocking = set(proof.blocking)
    wanted = sum(
        max(0, floor.value * row.whole_need // floor.over + 1 - row.held)
        for row in part.receivers
        if row.request in blocking
    )
    if wanted <= within_reach(instance, part, blocking):
        raise NotProven(f"{where}: the blocking requests could all go above {floor.value}/{floor.over}.")


def _check_witness(instance: Instance, part: Part, units: Sequence[int], where: str) -> None:
    if len(units) != len(part.lanes):
        raise NotProven(f"{where}: the witness needs one number per lane.")
    if any(map(gt, units, part.room)):
        raise NotProven(f"{where}: the witness overloads a lane.")
    program = network(instance, part)
    limits = program.row_upper[len(part.receivers) : program.supply_end]
    if any(map(gt, program.given(units), limits)):
        raise NotProven(f"{where}: the witness takes more from an owner than it can spare.")


def _units(value: object, path: str) -> int:
    return strict.whole(value, path, most=MAX_UNITS)


def _multipliers(value: object, path: str) -> tuple[str, tuple[int, ...]]:
    record = Record.of(value, path, ("stage", "rows"))
    return record.text("stage", most=40), record.each("rows", _signed, most=MAX_LANES)


def _signed(value: object, path: str) -> int:
    return strict.whole(value, path, least=-(2**53) + 1)
