"""Entries of the log made of a ruling: decisions, readings that leave a trace, and refusals."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sharewell.domain.audit import ALLOWED, REFUSED, Decision, Json
from sharewell.domain.code import code_version
from sharewell.domain.inquiry import ASKED, Inquiry
from sharewell.domain.policy import Action, Ruling, Target
from sharewell.domain.principals import Caller, Role
from sharewell.services.ids import new_id, new_salt

MOST_NAMED = 1000  #: ids in the entry of one reading
LONGEST_NAME = 300  #: of a thing; what is longer is called by its digest

#: Kinds of target that are some institution's own; the catalogue, the members, the rules and the jobs are nobody's.
OWNED = frozenset({
    "capacity", "offer", "request", "transfer", "override", "deviation", "consent", "forecast", "allocation", "receipt",
    "client", "agreement",
})  # fmt: skip


def readings(
    at: datetime, caller: Caller, action: Action, read: list[tuple[Target, Ruling, list[str]]]
) -> list[Decision]:
    """Whoever is read of finds the reading among the decisions about itself."""
    return [
        decided(
            kind="data.read", outcome=ALLOWED, at=at, caller=caller, action=action, ruling=ruling,
            institution=target.owner or target.giver or caller.institution, subject=(target.kind, target.id),
            details={**_told_of(target), **_named(ids)},
        )
        for target, ruling, ids in read if _leaves_a_trace(caller, action, target)
    ]  # fmt: skip


def refusals(
    at: datetime, caller: Caller, action: Action, barred: list[tuple[Target, Ruling, list[str]]]
) -> list[Decision]:
    return [
        decided(
            kind="access.refused", outcome=REFUSED, at=at, caller=caller, action=action, ruling=ruling,
            institution=caller.institution, subject=(target.kind, target.id), details=_named(ids),
        )
        for target, ruling, ids in barred
    ]  # fmt: skip


def _named(ids: list[str]) -> dict[str, Json]:
    return {"ids": ids[:MOST_NAMED], "count": len(ids)} if ids else {}


def _leaves_a_trace(caller: Caller, action: Action, target: Target) -> bool:
    """Whether a reading is recorded: all of regulators and auditors, and an institution's of what is not its own."""
    if action.writes:
        return False
    if not caller.roles.isdisjoint({Role.REGULATOR, Role.AUDITOR}):
        return True
    return caller.institution is not None and target.kind in OWNED and caller.institution not in parties(target)


def parties(target: Target) -> set[UUID | None]:
    return {target.owner, target.giver, target.receiver}


def _told_of(target: Target) -> dict[str, Json]:
    told = {
        "owner": target.owner, "giver": target.giver, "receiver": target.receiver,
        "region": target.region or target.giver_region,
    }  # fmt: skip
    return {name: _name(str(party)) for name, party in told.items() if party is not None}


def decided(
    *, kind: str, outcome: str, at: datetime, caller: Caller, action: Action, ruling: Ruling | None,
    institution: UUID | None, subject: tuple[str, str], details: Mapping[str, Json], id: UUID | None = None,  # noqa: A002
) -> Decision:  # fmt: skip
    if ruling is not None and ruling.inquiry is not None:
        details = {**details, ASKED: {**_asked(ruling.inquiry), "code": code_version()}}
    if caller.app is not None:
        details = {**details, "through": caller.app}
    return Decision(
        id=id or new_id(), kind=kind, at=at, actor=caller.principal, institution=institution, action=action,
        outcome=outcome, policy_set=ruling.policy_set if ruling else "", policies=ruling.policies if ruling else (),
        subject_kind=subject[0], subject_id=_name(subject[1]), details=details, request_id=caller.request_id,
        nonce=new_salt(),
    )  # fmt: skip


def _asked(inquiry: Inquiry) -> dict[str, Json]:
    """The inquiry, as an entry can hold it."""
    asked = inquiry.to_json()
    target: Mapping[str, Json] = asked["target"]  # type: ignore[assignment]  # it is an object
    return {**asked, "target": {part: _name(what) if isinstance(what, str) else what for part, what in target.items()}}


def _name(said: str) -> str:
    """What a thing is called in an entry: as it was said or, where no thing of ours is called so, by its SHA-256.

    An entry takes only text that every reader writes alike, and a refusal must be on record whatever was asked for.
    """
    if len(said) <= LONGEST_NAME and said.isprintable() and unicodedata.is_normalized("NFC", said):
        return said
    return "sha256:" + hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
