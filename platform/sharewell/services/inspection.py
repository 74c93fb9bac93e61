"""Look at recorded decisions as a regulator does: counted, as the story of one case, and by how long they are kept.

Each reading is a decision on record itself, permitted by the same policies as reading one decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sharewell.audit.periods import period_of
from sharewell.audit.proofs import read_checkpoint
from sharewell.domain.audit import Json, format_time
from sharewell.domain.errors import Invalid, NotFound
from sharewell.domain.period import Period
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.predicate import EVERYTHING
from sharewell.domain.principals import Caller
from sharewell.domain.retention import Keeping
from sharewell.domain.story import sentence
from sharewell.services.audit import asked_for, narrowed_to, reading
from sharewell.services.office import Office
from sharewell.store.audit import DecisionFilter, RecordedDecision
from sharewell.store.database import Transaction
from sharewell.store.inspection import FacetValue, Held, InspectionRepository
from sharewell.store.log import LogRepository

MOST_VALUES = 50  #: of one facet
MOST_STEPS = 500  #: of one case


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One decision of a case, in words."""

    recorded: RecordedDecision
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What became of a request."""

    requests: tuple[UUID, ...]
    allocations: tuple[UUID, ...]
    transfers: tuple[UUID, ...]
    steps: tuple[Step, ...]  #: in order of time
    complete: bool  #: whether these are all steps


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKind:
    """Decisions of one year and kind, and how long they must be kept."""

    held: Held
    years: int  #: they are kept at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What the log holds, and what it might let go."""

    at: datetime
    origin: str | None  #: name of the log; None before anything is sealed
    kinds: tuple[HeldKind, ...]
    prunable_below: int  #: entries with a lower index need not be kept any longer, none of them


class InspectionService:
    """Decisions as regulators look at them."""

    def __init__(self, office: Office, *, keep: Keeping | None = None) -> None:
        self._office = office
        self._keep = keep or Keeping()

    async def facets(self, caller: Caller, matching: DecisionFilter) -> list[FacetValue]:
        """The most frequent values among what matches, and how often they occur."""
        action = reading(matching.kind)
        seen, parts = self._office.part(caller, action, Target.list("decision", owner=matching.institution))
        async with self._office.act(caller, action, parts[0]) as act:
            read = {"counted": True, **asked_for(matching), **narrowed_to(parts)}
            await act.record("audit.read", "decision", MANY, read)
            return await InspectionRepository(act.tx.conn).facets(matching, MOST_VALUES, seen)

    async def case(self, caller: Caller, id: UUID, institution: UUID | None) -> Case:  # noqa: A002
        """The story of a request, a transfer or a run, as far as the caller reads of it; with `institution`, only the
        decisions about it.

        Raises `NotFound` where the id is none of those.
        """
        seen, parts = self._office.part(caller, Action.READ_AUDIT, Target.list("decision", owner=institution))
        async with self._office.act(caller, Action.READ_AUDIT, parts[0]) as act:
            await act.record("audit.read", "decision", MANY, {"case": str(id), **narrowed_to(parts)})
            found = InspectionRepository(act.tx.conn)
            things = await found.things(id)
            told = await found.story(id, institution, MOST_STEPS + 1, seen)
            if not told:
                raise NotFound(f"no request, transfer or run that you may read of has the id {id}.", field="id")
            names = await _names(act.tx, told)
        # What others were decided on, and that it was, is theirs to know.
        if institution is not None or seen != EVERYTHING:
            own = {row.decision.subject_id for row in told}
            things = [(kind, thing) for kind, thing in things if str(thing) in own]
        of = {kind: tuple(thing for other, thing in things if other == kind) for kind, _ in things}
        return Case(
            requests=of.get("request", ()), allocations=of.get("allocation", ()), transfers=of.get("transfer", ()),
            steps=tuple(Step(recorded=row, sentence=sentence(row.decision, names)) for row in told[:MOST_STEPS]),
            complete=len(told) <= MOST_STEPS,
        )  # fmt: skip

    async def retention(self, caller: Caller) -> Retention:
        """What is held by year and kind, and for how long it must be."""
        async with self._office.act(caller, Action.READ_AUDIT, Target.list("decision")) as act:
            await act.record("audit.read", "decision", MANY, {"retention": True})
            held = await InspectionRepository(act.tx.conn).held(self._keep.since(act.at))
            signed = await LogRepository(act.tx.conn).latest_checkpoint()
        size = 0 if signed is None else signed.size
        return Retention(
            at=act.at, origin=None if signed is None else read_checkpoint(signed.note).origin,
            kinds=tuple(HeldKind(held=row, years=self._keep.of(row.kind)) for row in held),
            prunable_below=min([size, *(row.first_kept for row in held if row.first_kept is not None)]),
        )  # fmt: skip

    async def period(self, caller: Caller, since: datetime, until: datetime, *, cosigned: bool = False) -> Period:
        """The entries of a period with their proof; see `period_of` for what it raises."""
        if since >= until:
            raise Invalid("the period must begin before it ends.", field="until")
        async with self._office.act(caller, Action.READ_DECISION_BUNDLE, Target.list("decision")) as act:
            period = await period_of(act.tx.conn, since, until, cosigned=cosigned)
            taken: dict[str, Json] = {
                "since": format_time(since), "until": format_time(until), "first": period.first,
                "end": period.first + len(period.entries),
            }  # fmt: skip
            await act.record("audit.period_read", "decision", MANY, taken)
            return period


async def _names(tx: Transaction, told: list[RecordedDecision]) -> dict[str, str]:
    """The names of all institutions that the decisions speak of."""
    found: set[UUID] = {row.decision.institution for row in told if row.decision.institution is not None}
    for row in told:
        for name in ("giver", "receiver"):
            if isinstance(who := row.decision.details.get(name), str):
                found.add(UUID(who))
    return {str(id): row.name for id, row in (await tx.institutions.by_ids(sorted(found))).items()}  # noqa: A001
