"""Read the audit log. Each reading is a decision on record itself, and nothing is shown that could not be recorded."""

from __future__ import annotations

from uuid import UUID

from sharewell.audit.proofs import bundle_of
from sharewell.domain.audit import Json
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.office import Office
from sharewell.store.audit import DecisionFilter, DecisionHeader, RecordedDecision
from sharewell.store.log import LogRepository
from sharewell.store.paging import Page

#: Kinds of decision that speak of who may do what.
ABOUT_ACCESS = ("access.", "client.", "key.", "person.", "policy.", "token.")


class AuditService:
    """What was decided, by whom, and the proof of it."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def page(
        self, caller: Caller, *, before: UUID, matching: DecisionFilter, first: int
    ) -> Page[DecisionHeader]:
        """Newest first. Recorded with what was asked for."""
        target = Target(kind="decision", id=MANY, owner=matching.institution)
        async with self._office.act(caller, _reading(matching.kind), target) as act:
            await act.record("audit.read", "decision", MANY, _asked(matching))
            return await act.tx.audit.page(before=before, matching=matching, first=first)

    async def get(self, caller: Caller, id: UUID) -> RecordedDecision:  # noqa: A002
        recorded = await self._find(id)
        async with self._office.act(caller, _reading(recorded.decision.kind), _target(recorded)) as act:
            await act.record("audit.read", "decision", id, {})
            return recorded

    async def bundle(self, caller: Caller, id: UUID) -> bytes:  # noqa: A002
        """The file that proves one decision to a stranger. Raises `NotFound` or `NotSealedYet`."""
        target = _target(await self._find(id))
        async with self._office.act(caller, Action.READ_DECISION_BUNDLE, target) as act:
            bundle = await bundle_of(act.tx.conn, id)
            await act.record("audit.bundle_read", "decision", id, {})
            return bundle

    async def checkpoint(self) -> bytes | None:
        """The newest signed tree head; public, as every log's is."""
        async with self._office.database.transaction(read_only=True) as tx:
            signed = await LogRepository(tx.conn).latest_checkpoint()
            return None if signed is None else signed.note

    async def _find(self, id: UUID) -> RecordedDecision:  # noqa: A002
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.audit.get(id)


def _target(recorded: RecordedDecision) -> Target:
    return Target(kind="decision", id=str(recorded.decision.id), owner=recorded.decision.institution)


def _reading(kind: str | None) -> Action:
    """Decisions about access are read by those who manage it, under a permission of its own."""
    return Action.READ_ACCESS_AUDIT if kind is not None and kind.startswith(ABOUT_ACCESS) else Action.READ_AUDIT


def _asked(matching: DecisionFilter) -> dict[str, Json]:
    names = ("institution", "actor", "kind", "outcome", "subject_kind", "subject_id", "since", "until")
    return {name: str(value) for name in names if (value := getattr(matching, name)) is not None}
