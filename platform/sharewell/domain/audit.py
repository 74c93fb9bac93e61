"""A decision as the audit log keeps it: what was decided, by whom, under which policies, and its exact bytes.

`Decision.entry()` is the only way these bytes are made and `parse_entry` the only way they are read; each refuses
what the other would not understand. Staging, sealing and proving are left to the store and to `sharewell.audit`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final
from uuid import UUID

from sharewell.domain import canonical
from sharewell.domain.canonical import Json
from sharewell.domain.errors import Invalid, quoted

__all__ = [
    "ALLOWED", "FORMER_KINDS", "KINDS", "REFUSED", "UNDECIDED", "Decision", "EntryTooLarge", "Json", "NotADecision",
    "check_kind", "parse_entry",
]  # fmt: skip

VERSION: Final = 1  #: of the layout of an entry
LARGEST_ENTRY: Final = 65_535  #: bytes; tlog-tiles gives the length two bytes

ALLOWED: Final = "allowed"
REFUSED: Final = "refused"
#: Stands for the decision that changed a thing last until that one is on record.
UNDECIDED: Final = UUID(int=0)

#: Every kind of decision that is recorded, and what it means.
KINDS: Final[Mapping[str, str]] = {
    "institution.registered": "A new institution takes part.",
    "institution.updated": "What is known of an institution changed.",
    "institution.status_changed": "An institution was suspended, or let back in.",
    "resource.defined": "A resource was added to the catalogue.",
    "capacity.reported": "An institution said what it has, uses and can spare.",
    "capacity.corrected": "A later report takes the place of an earlier one, which stays.",
    "offer.published": "Units were pledged.",
    "offer.withdrawn": "A pledge stopped being promised further.",
    "request.opened": "Units were asked for.",
    "request.cancelled": "A request was taken back.",
    "request.expired": "A request ran out before it was filled.",
    "transfer.proposed": "A plan proposed to move units.",
    "transfer.held": "Units were held for a proposed transfer.",
    "transfer.confirmed": "The giver stands by its pledge.",
    "transfer.declined": "The giver took its pledge back, with a reason.",
    "transfer.dispatched": "The units left.",
    "transfer.received": "The units arrived.",
    "transfer.return_due": "A loan is due back.",
    "transfer.returned": "A loan is back with its giver.",
    "transfer.expired": "A hold ran out before it was confirmed.",
    "feed.ingested": "A published file was taken in.",
    "feed.refused": "A published file was refused, with row and column.",
    "forecast.adopted": "A forecast became the one that plans are built on.",
    "forecast.drifting": "What comes no longer lies inside what is forecast; a new plan is asked for.",
    "forecast.recovered": "What comes lies inside what is forecast again.",
    "forecast.rerun": "A forecast or a trial was made once more, and came out the same or not.",
    "model.adopted": "A new model came into force: on past days it was not worse than the one before.",
    "model.refused": "A new model was kept out; the one in force stays.",
    "model.failed": "A new model could not be trained; the one in force stays.",
    "plan.adopted": "A checked plan became binding.",
    "urgent_plan.adopted": "The plan for one urgent request became binding at once, between two runs.",
    "schedule.adopted": "A checked schedule for the days ahead came into force; its first day became binding.",
    "plan.answered": "An owner answered all that a plan held of its units.",
    "plan.overridden": "Somebody departed from a plan on purpose, by a code.",
    "deviation.detected": "What was done is not what was adopted, and nobody had said so.",
    "surge.declared": "A region was put into surge mode; in force once this entry is under a signed checkpoint.",
    "surge.ended": "Surge mode was ended before its time.",
    "surge.expired": "The time of surge mode was over.",
    "consent.given": "An owner lets its pledges be confirmed while surge mode is in force.",
    "consent.withdrawn": "An owner took such a consent back.",
    "agreement.proposed": "An institution offered to show another one more of its numbers.",
    "agreement.accepted": "The other one took that offer, with the duties that come with it.",
    "agreement.ended": "One of the two ended a sharing agreement, took it back or declined it.",
    "plan.refused": "A plan was not adopted: stale, infeasible or unfair.",
    "fairness.chosen": "A fairness rule came into force for a region and resource.",
    "access.refused": "Somebody asked for what the policies do not permit, or with credentials that do not hold.",
    "access.explained": "Somebody asked why a decision was refused.",
    "access.reviewed": "Somebody asked who can do what.",
    "audit.read": "Recorded decisions were read.",
    "audit.entries_read": "A run of 256 entries was taken away, as the log has them.",
    "audit.bundle_read": "The proof of one decision was taken away.",
    "audit.period_read": "The entries of a period, with their proof, were taken away.",
    "audit.reconciled": "The log was compared with every table of decisions.",
    "data.read": "A regulator read something, or an institution what is another's.",
    "data.followed": "Somebody began to follow what happens; of what it is told, readings are recorded as ever.",
    "subject.found": "Somebody looked up under which reference a person is sealed in entries.",
    "subject.opened": "Somebody read the sealed details of a person.",
    "subject.erased": "A person's key was deleted by a ground of law; its details are sealed for ever.",
    "remark.erased": "What was typed beside a decision was removed by a ground of law.",
    "client.registered": "A program was given access.",
    "client.disabled": "A program's access was taken away.",
    "documents.trusted": "It was said which GraphQL documents a program may send.",
    "person.registered": "A person was invited to sign in.",
    "person.invited_again": "A person was invited once more; password, second factor, passkeys and tokens are dead.",
    "person.authenticator_changed": "A person put another authenticator app in the place of the one before.",
    "person.enrolled": "A person set password and second factor, and can sign in.",
    "person.passkey_added": "A person added a passkey on the page for that; `passkeys` says how many there are then.",
    "person.passkey_removed": "A person removed the passkey that `added_by` added; `passkeys` says how many are left.",
    "person.password_changed": "A person set another password.",
    "person.disabled": "A person's access was taken away.",
    "person.erased": "Login and name of a person without access were erased by a ground of law; the id stays.",
    "token.granted": "A person let an app act for it; the family of tokens that came of it begins here.",
    "token.revoked": "An access token, or a whole family of tokens, was called back before its end.",
    "policy.published": "A set of policies came into force.",
    "policy.drafted": "A version of the policies was drafted; it is not in force.",
    "policy.edited": "Whoever drafted a version of the policies changed it; what was simulated before counts no more.",
    "policy.version_simulated": "What a simulation found was kept with a version; a second person may approve it.",
    "policy.approved": "A second person let a version of the policies come into force from a time.",
    "policy.withdrawn": "A version of the policies was taken back before it came into force.",
    "policy.passed_over": "An approved version of the policies cannot come into force: another is in its place.",
    "policy.rolled_back": "Somebody proposed that the policies of an earlier version return.",
    "policy.glass_broken": "An admin put policies into force at once and for hours, without a second person.",
    "policy.glass_ended": "A broken glass was ended before its time; the policies of before are in force again.",
    "policy.glass_expired": "The time of a broken glass was over; the policies of before are in force again.",
    "policy.simulated": "A draft of the policies was tried on decisions of the past.",
    "policy.compared": "A draft of the policies was compared with the set in force.",
    "key.rotated": "A signing key came into use.",
    "job.started": "A job was asked for out of turn.",
    "job.requeued": "A job that was set aside was given another chance.",
}

#: Kinds of earlier releases. Nothing is recorded under them any more, but logs have entries of them.
FORMER_KINDS: Final = frozenset({"answer.adopted", "offer.expired", "request.approved", "request.refused"})

_KIND = re.compile(r"[a-z_]{1,40}\.[a-z_]{1,40}")
_SHA256 = re.compile(r"(?:[0-9a-f]{64})?")
_NONCE = re.compile(r"[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def check_kind(kind: str) -> None:
    """Raises `Invalid`, with the kinds that are nearest, where no entry of any release is of `kind`."""
    known = sorted(KINDS.keys() | FORMER_KINDS)
    if kind not in known:
        near = get_close_matches(kind, known)
        meant = f"; did you mean {' or '.join(near)}?" if near else ", such as offer.published."
        raise Invalid(f"kind must be a kind of decision, and {quoted(kind)} is none{meant}", field="kind")


class EntryTooLarge(Invalid):
    """The entry has more than 65,535 bytes; store the input by its SHA-256 and put that into the details."""


class NotADecision(Invalid):
    """The bytes are not a decision in its canonical form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One audited act. Its fields are the entry's keys, in the same words."""

    id: UUID
    kind: str  #: noun and what happened to it, one of `KINDS`
    at: datetime  #: when it was decided
    actor: str  #: principal that asked
    institution: UUID | None  #: the one it acted for
    action: str  #: what it asked to do, in the words of the policies
    outcome: str  #: "allowed" or "refused"
    policy_set: str  #: hash of the policies in force, empty where refused before any were asked
    policies: tuple[str, ...]  #: ids of those that decided
    subject_kind: str  #: what it was done to, such as "offer"
    subject_id: str
    details: Mapping[str, Json] = field(default_factory=dict)  #: what else a checker needs, hashes of large inputs
    request_id: str  #: ties it to the technical logs
    nonce: str  #: 128 random bits in hex, so that a leaf hash cannot confirm a guess at the entry

    def __post_init__(self) -> None:
        # Made for every decision: what nearly all of them are comes first.
        if self.kind not in KINDS:
            _check(_KIND.fullmatch(self.kind), "kind", "a noun and a verb such as offer.published")
        if self.at.tzinfo is not UTC:
            _check(self.at.tzinfo and self.at.utcoffset() is not None, "at", "a time with its offset from UTC")
        _check(self.outcome in {ALLOWED, REFUSED}, "outcome", "allowed or refused")
        _check(_SHA256.fullmatch(self.policy_set), "policy_set", "a SHA-256 in hex, or empty")
        _check(_NONCE.fullmatch(self.nonce), "nonce", "16 random bytes in hex")
        if not (self.actor and self.action and self.subject_kind):
            for name in ("actor", "action", "subject_kind"):
                _check(getattr(self, name), name, "given")

    def entry(self, encode: Callable[[Json], bytes] = canonical.encode) -> bytes:
        """The canonical bytes that are hashed into the log. Raises `EntryTooLarge` or `NotCanonical`.

        `encode` may be another way to the bytes that `canonical.encode` writes.
        """
        data = encode(self._as_json())
        if len(data) > LARGEST_ENTRY:
            raise EntryTooLarge(field="details")
        return data

    def values(self) -> dict[str, Any]:
        """The entry's keys, each with its value as it is here: ids and time not written as text yet."""
        return {
            "v": VERSION,
            "id": self.id,
            "kind": self.kind,
            "at": self.at,
            "actor": self.actor,
            "institution": self.institution,
            "action": self.action,
            "outcome": self.outcome,
            "policy_set": self.policy_set,
            "policies": self.policies,
            "subject_kind": self.subject_kind,
            "subject_id": self.subject_id,
            "details": self.details,
            "request_id": self.request_id,
            "nonce": self.nonce,
        }

    def _as_json(self) -> dict[str, Json]:
        institution = str(self.institution) if self.institution else None
        return {**self.values(), "id": str(self.id), "at": format_time(self.at), "institution": institution}


_NAMES: Final = frozenset(f.name for f in fields(Decision)) | {"v"}


def parse_entry(data: bytes) -> Decision:
    """The decision of these bytes. Raises `NotADecision` unless they are exactly what its `entry()` writes."""
    if len(data) > LARGEST_ENTRY:
        raise NotADecision(f"An entry has at most {LARGEST_ENTRY} bytes; this one has {len(data)}.")
    try:
        decision = _decision(canonical.parse(data))
    except NotADecision:
        raise
    except (Invalid, TypeError, ValueError, AttributeError) as why:
        raise NotADecision(f"The bytes are not a decision in its canonical form: {why}") from None
    if decision.entry() != data:
        raise NotADecision
    return decision


def _decision(value: Any) -> Decision:
    if not isinstance(value, Mapping):
        raise NotADecision("An entry is a JSON object.")
    if value.keys() != _NAMES or value["v"] != VERSION or value["v"] is True:
        odd = sorted(value.keys() ^ _NAMES) or ["v"]
        raise NotADecision(f"The entry has the wrong keys: {', '.join(odd)[:200]}.", field=odd[0])
    texts = _NAMES - {"v", "institution", "policies", "details"}
    if not all(isinstance(value[name], str) for name in texts) or not isinstance(value["details"], Mapping):
        raise NotADecision("A field of the entry has the wrong type.")
    if not all(isinstance(name, str) for name in value["policies"]):
        raise NotADecision("policies must be a list of texts.", field="policies")
    institution = value["institution"]
    return Decision(
        **{name: value[name] for name in texts - {"id", "at"}},
        id=UUID(value["id"]),
        at=parse_time(value["at"]),
        institution=None if institution is None else UUID(institution),
        policies=tuple(value["policies"]),
        details=value["details"],
    )


def format_time(at: datetime) -> str:
    """RFC 3339 in UTC, always with microseconds: 2026-03-01T12:00:00.000000Z."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_time(text: str) -> datetime:
    """Read what `format_time` writes, and nothing else."""
    if not _TIME.fullmatch(text):
        raise NotADecision(f"{text[:40]!r} is not a time such as 2026-03-01T12:00:00.000000Z.", field="at")
    return datetime.fromisoformat(text)


def _check(holds: object, name: str, wanted: str) -> None:
    if not holds:
        raise Invalid(f"{name} of a decision must be {wanted}.", field=name)
