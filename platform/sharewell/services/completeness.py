"""Prove every night that the log is complete, and put the result on record; show the results to who may read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sharewell.audit.reconcile import Reconciliation, reconcile
from sharewell.domain.audit import Decision
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.office import Office
from sharewell.store.paging import Page

LOG = Target(kind="log", id=MANY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """One comparison as it stands in the log."""

    id: UUID  #: of the decision
    at: datetime
    decisions: int
    rows: int
    tables: list[str]
    problems: dict[str, int]  #: every number that should be zero and is not
    missing: dict[str, list[str]]


class CompletenessService:
    """Whether anything is missing in the log."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def reconcile(self, caller: Caller) -> Reconciliation:
        """Compare, and record what was found. Raises `LogDamaged` where an entry cannot even be read."""
        await self._office.allow(caller, Action.RECONCILE_LOG, LOG)
        # The comparison has a transaction of its own: one moment, and nothing written while it lasts.
        async with self._office.database.pool.acquire(timeout=10) as conn:
            found = await reconcile(conn)  # type: ignore[arg-type]  # the proxy has every method of a connection
        async with self._office.act(caller, Action.RECONCILE_LOG, LOG) as act:
            await act.record("audit.reconciled", "log", MANY, found.as_details() | {"problems": found.problems})
        return found

    async def page(self, caller: Caller, *, before: UUID, first: int) -> Page[Reconciled]:
        """Comparisons, newest first. The reading is on record, as of every decision."""
        target = Target.list("decision")
        async with self._office.act(caller, Action.READ_AUDIT, target) as act:
            await act.record("audit.read", "decision", MANY, {"kind": "audit.reconciled"})
            page = await act.tx.audit.reconciled(before=before, first=first)
            return page.told(_reconciled(each.decision) for each in page.items)


def _reconciled(decision: Decision) -> Reconciled:
    details: Any = decision.details
    return Reconciled(
        id=decision.id, at=decision.at, decisions=details["decisions"], rows=details["rows"],
        tables=list(details["tables"]), problems=dict(details["problems"]),
        missing={name: list(what) for name, what in details["missing"].items()},
    )  # fmt: skip
