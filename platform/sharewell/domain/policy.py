"""The vocabulary of permission: which acts exist, what each is done to, and what the policies answer.

Whether a caller may is written in the Cedar policies and asked by `sharewell.authz`; nothing is decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

if TYPE_CHECKING:
    from sharewell.domain.inquiry import Inquiry

MANY: Final = "*"  #: the id of a target that is a list rather than one thing


class Action(StrEnum):
    """Everything a caller can ask for: `name, kind of target, letter of the scope it needs, sentence`.

    The letters are those of SMART scopes: c create, r read, u update, d delete; a list needs s, see `scope_of`.
    """

    kind: str  #: what it is done to, as in `Target.kind`
    letter: str  #: the permission letter a scope must hold
    sentence: str  #: what it means, for people

    def __new__(cls, name: str, kind: str = "", letter: str = "", sentence: str = "") -> Self:
        action = str.__new__(cls, name)
        action._value_ = name
        action.kind, action.letter, action.sentence = kind, letter, sentence
        return action

    REGISTER_INSTITUTION = "registerInstitution", "institution", "c", "Take a new institution in."
    UPDATE_INSTITUTION = "updateInstitution", "institution", "u", "Change an institution or suspend it."
    VIEW_INSTITUTION = "viewInstitution", "institution", "r", "See who takes part."

    DEFINE_RESOURCE = "defineResource", "resource", "c", "Add a kind of resource to the catalogue."
    VIEW_RESOURCE = "viewResource", "resource", "r", "Read the catalogue of resources."

    REPORT_CAPACITY = "reportCapacity", "capacity", "c", "Say what an institution has, uses and can spare."
    VIEW_CAPACITY = "viewCapacity", "capacity", "r", "See what institutions have reported."
    VIEW_EXACT_CAPACITY = "viewExactCapacity", "capacity", "r", "See exact counts, those from 1 to 10 too."

    PUBLISH_OFFER = "publishOffer", "offer", "c", "Pledge units of an institution to others."
    WITHDRAW_OFFER = "withdrawOffer", "offer", "u", "Stop a pledge from being promised further."
    VIEW_OFFER = "viewOffer", "offer", "r", "See what is pledged."

    OPEN_REQUEST = "openRequest", "request", "c", "Ask for units an institution lacks."
    CANCEL_REQUEST = "cancelRequest", "request", "u", "Take back a request that nothing has answered yet."
    VIEW_REQUEST = "viewRequest", "request", "r", "See what is asked for, and how urgently."

    CONFIRM_TRANSFER = "confirmTransfer", "transfer", "u", "Stand by the pledge that a transfer draws on."
    DECLINE_TRANSFER = "declineTransfer", "transfer", "u", "Take a pledge back before anything has left."
    DISPATCH_TRANSFER = "dispatchTransfer", "transfer", "u", "Record that the units have left."
    RECEIVE_TRANSFER = "receiveTransfer", "transfer", "u", "Record that the units have arrived."
    RETURN_TRANSFER = "returnTransfer", "transfer", "u", "Record that a loan is back with its giver."
    ANSWER_PLAN = "answerPlan", "transfer", "u", "Answer all that a plan holds of one's units, in one go."
    CONFIRM_BY_CONSENT = (
        "confirmByConsent", "transfer", "u", "Confirm for an owner that consented to it, in surge mode."
    )  # fmt: skip
    EXPIRE_HOLDS = "expireHolds", "transfer", "u", "End unanswered holds, and call in loans that are due."
    VIEW_TRANSFER = "viewTransfer", "transfer", "r", "See a transfer, its parties and its reason."

    OVERRIDE_PLAN = "overridePlan", "override", "c", "Take a transfer out of its plan or reassign it, by a code."
    MOVE_UNCONFIRMED = "moveUnconfirmed", "override", "c", "Send units before the pledge is confirmed, by a code."
    VIEW_OVERRIDE = "viewOverride", "override", "r", "See who departed from which plan on purpose, and why."

    DETECT_DEVIATION = "detectDeviation", "deviation", "c", "Find what was confirmed and never left."
    REPORT_UNPLANNED = "reportUnplanned", "deviation", "c", "Tell of units that moved outside of any plan."
    VIEW_DEVIATION = "viewDeviation", "deviation", "r", "See what was done otherwise than planned, and how often."

    DECLARE_SURGE = "declareSurge", "surge", "c", "Put a region into surge mode, or renew it."
    END_SURGE = "endSurge", "surge", "u", "End surge mode before its time."
    EXPIRE_SURGE = "expireSurge", "surge", "u", "Record that the time of surge mode is over."
    VIEW_SURGE = "viewSurge", "surge", "r", "See which surge modes are and were in force."

    GIVE_CONSENT = "giveConsent", "consent", "c", "Let one's pledges be confirmed in surge mode, until further notice."
    WITHDRAW_CONSENT = "withdrawConsent", "consent", "u", "Take such a consent back."
    VIEW_CONSENT = "viewConsent", "consent", "r", "See which consents stand."

    PROPOSE_AGREEMENT = "proposeAgreement", "agreement", "c", "Offer to show another institution more of one's numbers."
    ACCEPT_AGREEMENT = "acceptAgreement", "agreement", "u", "Take such an offer, and the duties that come with it."
    END_AGREEMENT = "endAgreement", "agreement", "u", "End a sharing agreement, take it back or decline it."
    VIEW_AGREEMENT = "viewAgreement", "agreement", "r", "See who shows whom what, until when."

    INGEST_FEED = "ingestFeed", "feed", "c", "Take in a published file."
    VIEW_FEED = "viewFeed", "feed", "r", "See which files were taken in, and how good they were."

    ADOPT_FORECAST = "adoptForecast", "forecast", "c", "Make a tried model and its forecasts what plans are built on."
    WATCH_FORECAST = "watchForecast", "forecast", "u", "Mark a forecast that what comes no longer bears out."
    RERUN_FORECAST = "rerunForecast", "forecast", "u", "Make a forecast or a model once more, and say how it came out."
    VIEW_FORECAST = "viewForecast", "forecast", "r", "See expected need and how sure the model is."

    ADOPT_PLAN = "adoptPlan", "allocation", "c", "Bind a checked plan: grant requests, propose transfers."
    PLAN_HORIZON = "planHorizon", "allocation", "c", "Ask for a schedule of a region for the days ahead."
    VIEW_ALLOCATION = "viewAllocation", "allocation", "r", "See a run, and how fair it was."
    VIEW_RUN_DOCUMENTS = "viewRunDocuments", "allocation", "r", "Read a run's whole input and plan, of everybody."
    COMPARE_RULES = "compareRules", "allocation", "r", "Solve a run again under other rules, to see what each costs."
    ASK_WHAT_IF = "askWhatIf", "allocation", "r", "Solve a run again, one thing changed, for a request left short."

    CHOOSE_FAIRNESS = "chooseFairness", "choice", "c", "Put a fairness rule into force for a region and resource."
    VIEW_CHOICE = "viewChoice", "choice", "r", "See by which rule is allocated."

    VIEW_RECEIPT = "viewReceipt", "receipt", "r", "See what runs meant to an institution, and what it gave and got."

    SEAL_LOG = "sealLog", "log", "u", "Fold recorded decisions into the log and sign its head."
    RECONCILE_LOG = "reconcileLog", "log", "u", "Compare the log with every table of decisions, and record the result."
    READ_AUDIT = "readAudit", "decision", "r", "Read recorded decisions."
    READ_ACCESS_AUDIT = (
        "readAccessAudit", "decision", "r", "Read of refusals, clients, people, tokens, keys and policies.",
    )  # fmt: skip
    READ_DECISION_BUNDLE = "readDecisionBundle", "decision", "r", "Take away the proof of one decision."
    EXPLAIN_ACCESS = "explainAccess", "decision", "r", "Ask why somebody was refused, and what would change that."
    EXPLAIN_OWN_REFUSAL = "explainOwnRefusal", "decision", "r", "Ask why oneself was refused."

    FIND_SUBJECT = "findSubject", "subject", "r", "Find the reference under which a person is sealed in entries."
    VIEW_SUBJECT = "viewSubject", "subject", "r", "Open the sealed details of the person for whom something was done."
    ERASE_SUBJECT = "eraseSubject", "subject", "d", "Delete a person's key, so that nobody reads its details again."

    REGISTER_CLIENT = "registerClient", "client", "c", "Give a program access, with roles, scopes and an end."
    DISABLE_CLIENT = "disableClient", "client", "u", "Take a program's access away."
    TRUST_DOCUMENTS = "trustDocuments", "client", "u", "Say which GraphQL documents a client may send, and no other."
    VIEW_CLIENT = "viewClient", "client", "r", "See which programs have access."
    REVIEW_ACCESS = "reviewAccess", "client", "r", "See who can do what, and take a review of all access away."

    REGISTER_PERSON = "registerPerson", "person", "c", "Invite a person to sign in, with roles and institution."
    DISABLE_PERSON = "disablePerson", "person", "u", "Take a person's access away."
    ERASE_PERSON = "erasePerson", "person", "d", "Erase login and name of a person whose access was taken away."
    VIEW_PERSON = "viewPerson", "person", "r", "See who may sign in."

    PUBLISH_POLICY = "publishPolicy", "policy", "c", "Put a set of policies into force at its time, on record."
    DRAFT_POLICY = "draftPolicy", "policy", "c", "Draft a version of the policies, edit one's own, keep a simulation."
    APPROVE_POLICY = "approvePolicy", "policy", "u", "Let a version that somebody else wrote come into force."
    WITHDRAW_POLICY = "withdrawPolicy", "policy", "u", "Take a version back that is not in force yet."
    ROLL_BACK_POLICY = "rollBackPolicy", "policy", "c", "Propose that the policies of an earlier version return."
    BREAK_GLASS = "breakGlass", "policy", "c", "Put a version into force at once and for hours, for a reason."
    END_BREAK_GLASS = "endBreakGlass", "policy", "u", "End a broken glass before its time."
    VIEW_POLICY_VERSION = "viewPolicyVersion", "policy", "r", "Read drafts and versions of the policies, and compare."
    VIEW_POLICY = "viewPolicy", "policy", "r", "Read the policies in force."
    SIMULATE_POLICY = "simulatePolicy", "policy", "r", "Try a draft of the policies on past decisions, or compare it."
    ROTATE_KEY = "rotateKey", "key", "c", "Bring a new signing key into use."

    INTROSPECT = "introspect", "schema", "r", "Ask the API what it offers, as tools and generators of code do."

    START_JOB = "startJob", "job", "c", "Ask for a forecast or an allocation now rather than at night."
    REQUEUE_JOB = "requeueJob", "job", "u", "Give a job that was set aside another chance."
    VIEW_JOB = "viewJob", "job", "r", "See work that waits, runs or was set aside."

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.letter != "r"


#: What acts are done to; the word is the noun's own, as in file and table names.
KINDS: Final = tuple(dict.fromkeys(action.kind for action in Action))

#: Of these, what lies between two institutions.
BETWEEN: Final = ("transfer", "agreement")
#: Of these, what an institution shows others by agreement.
SHARED: Final = ("capacity", "forecast")


#: What policies can ask of a thing, by the name it has there, and the type of a column that holds it.
ATTRIBUTES: Final = {
    "owner": "uuid", "region": "text", "giver": "uuid", "receiver": "uuid", "giverRegion": "text",
    "receiverRegion": "text", "author": "text",
}  # fmt: skip
_OF_BOTH: Final = frozenset({"giver", "receiver", "giverRegion", "receiverRegion"})


def attributes_of(kind: str) -> frozenset[str]:
    """The attributes that a thing of `kind` can have."""
    if kind in BETWEEN:
        return _OF_BOTH
    return frozenset({"owner", "region", "author"} if kind == "policy" else {"owner", "region"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the act is done to, as far as the policies care.

    A list is asked for as its filter: `Target.list("request", owner=x)` is "the requests of x", and a list
    without a filter is everybody's. Whoever asks then reads no wider than what was permitted.
    """

    kind: str  #: one of `KINDS`
    id: str  #: the thing's own id, or `MANY`
    owner: UUID | None = None  #: the institution it belongs to or speaks of
    giver: UUID | None = None  #: of a transfer: who gives; of an agreement: whose numbers are shown
    receiver: UUID | None = None  #: of a transfer: who receives; of an agreement: who sees them
    shared_with: frozenset[UUID] = frozenset()  #: whom the owner shows it, by agreements in force, as far as known
    author: str | None = None  #: of a version of the policies: the principal that wrote it
    region: str | None = None  #: where its owner is, or what it is of; said where it matters to who asks
    giver_region: str | None = None  #: of what lies between two: where the giver is
    receiver_region: str | None = None  #: of what lies between two: where the receiver is

    def __post_init__(self) -> None:
        # A target that the policies cannot read is a mistake in the program, found here and not as a refusal.
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no kind of target; the kinds are {', '.join(KINDS)}")
        if self.kind in BETWEEN and (self.owner or self.region):
            raise ValueError(f"this {self.kind} has a giver and a receiver, no owner")
        between = self.giver or self.receiver or self.giver_region or self.receiver_region
        if self.kind not in BETWEEN and between:
            raise ValueError(f"only {' and '.join(BETWEEN)} have a giver and a receiver; this is a {self.kind}")
        if self.kind not in SHARED and self.shared_with:
            raise ValueError(f"agreements are about {' and '.join(SHARED)}; this is a {self.kind}")
        if self.kind != "policy" and self.author:
            raise ValueError(f"only policies have an author; this is a {self.kind}")

    @classmethod
    def list(
        cls, kind: str, *, owner: UUID | None = None, giver: UUID | None = None, receiver: UUID | None = None,
        shared_with: frozenset[UUID] = frozenset(),
    ) -> Target:  # fmt: skip
        """All things of `kind`, narrowed to the owner, giver or receiver given, and to what is shared so."""
        return cls(kind=kind, id=MANY, owner=owner, giver=giver, receiver=receiver, shared_with=shared_with)

    @classmethod
    def of_region(cls, kind: str, region: str) -> Target:
        """All things of `kind` in a region; of those between two institutions, what is given from there."""
        if kind in BETWEEN:
            return cls(kind=kind, id=MANY, giver_region=region)
        return cls(kind=kind, id=MANY, region=region)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What Cedar answered. Without any deciding policy the answer is no."""

    allowed: bool
    policies: tuple[str, ...]  #: ids of the policies that decided, sorted
    policy_set: str  #: hash of all policies in force, see `policy_set_hash`
    inquiry: Inquiry | None = field(default=None, compare=False)  #: what was asked


def scope_of(action: Action, target: Target) -> str:
    """The permission a scope must grant for `action` on `target`, such as `Offer.c`; see `domain.scopes`."""
    letter = "s" if target.id == MANY and not action.writes else action.letter
    return f"{action.kind.capitalize()}.{letter}"


def policy_set_hash(files: Mapping[str, bytes]) -> str:
    """Name a set of policy files (schema included) by its bytes: 64 hex digits.

    It is what `LC_ALL=C sha256sum *.cedar *.cedarschema | LC_ALL=C sort -k2 | sha256sum` prints in their
    folder, so nothing of ours is needed to check which policies were in force.
    """
    return hashlib.sha256(policy_set_list(files)).hexdigest()


def policy_set_list(files: Mapping[str, bytes]) -> bytes:
    """The list that a policy set is named by: a line for each file, its SHA-256 and its name."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return "".join(lines).encode()


def read_policy_set_list(data: bytes) -> dict[str, str]:
    """By file name, the SHA-256 that `policy_set_list` wrote of it. Raises ValueError if `data` is no such list."""
    found = {}
    for line in data.decode().splitlines():
        sha256, _, name = line.partition("  ")
        if len(sha256) != 64 or not name:
            raise ValueError(f"{line[:80]!r} is no line of a list of policy files")
        found[name] = sha256
    return found
