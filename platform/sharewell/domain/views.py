"""Entries in the words of other systems: FHIR AuditEvent, CloudEvents, OCSF. Computed on the way out, never hashed.

Sources: HL7 FHIR R4 (4.0.1) AuditEvent, with the codes that IHE's Basic Audit Log Patterns (BALP) give an authorization
decision; CloudEvents 1.0.2, JSON format; OCSF 1.3.0, classes API Activity (6003) and Entity Management (3004).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sharewell.domain.audit import KINDS, REFUSED, Decision, format_time
from sharewell.domain.merkle import hash_leaf
from sharewell.domain.policy import Action

DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"
BALP: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
OCSF_VERSION: Final = "1.3.0"
MANAGED: Final = frozenset({"client", "policy", "key", "institution", "resource"})  #: what Entity Management is about
_LETTERS: Final = {"c": 1, "r": 2, "u": 3}  #: of a scope, as OCSF numbers activities
_OF_ACTION: Final = {str(action): action.letter for action in Action}
_DAY_ONE: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry, and where it stands."""

    decision: Decision
    entry: bytes
    index: int | None  #: None until it is sealed
    origin: str  #: of the log

    @property
    def leaf(self) -> str:
        """Its leaf hash in hex, by which it is found in the log again."""
        return hash_leaf(self.entry).hex()


class View(StrEnum):
    """Whose words."""

    FHIR = "fhir"
    CLOUDEVENTS = "cloudevents"
    OCSF = "ocsf"


def view(shown: Shown, words: View) -> dict[str, Any]:
    """The entry in those words, as a JSON object."""
    return _VIEWS[words](shown)


def fhir(shown: Shown) -> dict[str, Any]:
    """An AuditEvent of FHIR R4. No patient is in an entry, so BALP's patterns that need one do not apply."""
    d, refused = shown.decision, shown.decision.outcome == REFUSED
    kind = ("110113", "Security Alert") if refused else ("110100", "Application Activity")
    subtypes = [_coding(f"https://{shown.origin}/kind", d.kind)]
    if d.policy_set:
        subtypes.append(_coding(BALP, "AuthZ-Role", "Authorization Decision using only Roles"))
    return {
        "resourceType": "AuditEvent",
        "id": str(d.id),
        "type": _coding(DCM, *kind),
        "subtype": subtypes,
        "action": _fhir_action(d.action),
        "recorded": format_time(d.at),
        "outcome": "8" if refused else "0",
        "outcomeDesc": _meaning(d),
        "agent": _agents(shown),
        "source": {
            "site": shown.origin,
            "observer": {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"https://{shown.origin}"}},
            "type": [_coding(f"{TERMINOLOGY}/security-source-type", "4", "Application Server")],
        },
        "entity": [_entity(shown)],
    }


def cloudevents(shown: Shown) -> dict[str, Any]:
    """A CloudEvent; `data` is the entry itself."""
    d = shown.decision
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(d.id),
        "source": f"//{shown.origin}",
        "type": f"sharewell.{d.kind}.v1",
        "time": format_time(d.at),
        "datacontenttype": "application/json",
        "data": {**_said(d), "leaf_sha256": shown.leaf},
    }
    if d.subject_id:
        event["subject"] = f"{d.subject_kind}/{d.subject_id}"
    if shown.index is not None:
        event["tlogindex"] = str(shown.index)  # an Integer of CloudEvents ends at 2^31
    return event


def ocsf(shown: Shown) -> dict[str, Any]:
    """An event of OCSF: of an entity that is managed, or of the use of the API."""
    d, refused = shown.decision, shown.decision.outcome == REFUSED
    activity = _LETTERS.get(_letter(d.action), 99)
    category, kind = (3, 3004) if d.subject_kind in MANAGED and activity != 2 and not refused else (6, 6003)
    event: dict[str, Any] = {
        "activity_id": activity,
        "category_uid": category,
        "class_uid": kind,
        "type_uid": kind * 100 + activity,
        "severity_id": 2 if refused else 1,
        "status_id": 2 if refused else 1,
        "time": (d.at - _DAY_ONE) // timedelta(milliseconds=1),
        "message": _meaning(d),
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Sharewell", "vendor_name": "Sharewell"},
            "uid": str(d.id),
            "event_code": d.kind,
            "log_name": shown.origin,
            "original_time": format_time(d.at),
        },
        "actor": {"user": {"uid": d.actor, "name": d.actor, "type_id": 99, "type": "Program"}},
        "unmapped": {**_said(d), "leaf_sha256": shown.leaf},
    }
    if activity == 99:
        event["activity_name"] = d.action
    if shown.index is not None:
        event["metadata"]["sequence"] = shown.index
    if kind == 3004:
        event["entity"] = {"type": d.subject_kind, "uid": d.subject_id, "name": d.subject_id}
        return event
    request = {"request": {"uid": d.request_id}} if d.request_id else {}
    event["api"] = {"operation": d.action, **request}
    event["src_endpoint"] = {"svc_name": d.actor}
    event["resources"] = [{"type": d.subject_kind, "uid": d.subject_id}]
    return event


_VIEWS: Final[Mapping[View, Callable[[Shown], dict[str, Any]]]] = {
    View.FHIR: fhir, View.CLOUDEVENTS: cloudevents, View.OCSF: ocsf,
}  # fmt: skip


def _agents(shown: Shown) -> list[dict[str, Any]]:
    d = shown.decision
    agents: list[dict[str, Any]] = [
        {
            "type": {"coding": [_coding(DCM, "110150", "Application")]},
            "who": {"identifier": {"system": f"https://{shown.origin}/client", "value": d.actor}},
            "requestor": True,
        }
    ]
    if d.institution is not None:
        agents.append(
            {
                "type": {"coding": [_coding(f"{TERMINOLOGY}/v3-RoleClass", "PROV", "healthcare provider")]},
                "who": {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{d.institution}"}},
                "requestor": False,
            }
        )
    if d.policy_set:
        agents.append(
            {
                "type": {"coding": [_coding(f"{TERMINOLOGY}/extra-security-role-type", "authserver",
                                            "authorization server")]},
                "who": {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"https://{shown.origin}"}},
                "requestor": False,
                "policy": [_named(d.policy_set), *(f"https://{shown.origin}/policy/{name}" for name in d.policies)],
            }
        )  # fmt: skip
    return agents


def _entity(shown: Shown) -> dict[str, Any]:
    d = shown.decision
    told = {"kind": d.kind, "action": d.action, "request_id": d.request_id, "leaf_sha256": shown.leaf}
    told |= {} if shown.index is None else {"tlog_index": str(shown.index)}
    told |= {name: value for name, value in d.details.items() if isinstance(value, str)}
    return {
        "what": {"identifier": {"system": f"https://{shown.origin}/{d.subject_kind}", "value": d.subject_id or "*"}},
        "type": _coding(f"{TERMINOLOGY}/audit-entity-type", "2", "System Object"),
        "detail": [{"type": name, "valueString": value} for name, value in told.items() if value.strip()],
    }


def _said(d: Decision) -> dict[str, Any]:
    """What an entry says beyond what all these forms have a place for."""
    return {
        "kind": d.kind, "actor": d.actor, "action": d.action, "outcome": d.outcome,
        "institution": str(d.institution) if d.institution else None, "policies": list(d.policies),
        "policy_set": d.policy_set, "subject_kind": d.subject_kind, "subject_id": d.subject_id,
        "request_id": d.request_id, "details": dict(d.details),
    }  # fmt: skip


def _coding(system: str, code: str, display: str | None = None) -> dict[str, str]:
    return {"system": system, "code": code} | ({"display": display} if display else {})


def _meaning(d: Decision) -> str:
    return KINDS.get(d.kind, d.kind)


def _letter(action: str) -> str:
    return _OF_ACTION.get(action, "")


def _fhir_action(action: str) -> str:
    return {"c": "C", "r": "R", "u": "U"}.get(_letter(action), "E")


def _named(sha256: str) -> str:
    """A name for what has this SHA-256 (RFC 6920)."""
    return f"ni:///sha-256;{base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip('=')}"
