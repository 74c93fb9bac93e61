"""Entries in the words of other systems have what those systems require, and say what the entry says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from sharewell.domain.audit import KINDS, Decision
from sharewell.domain.policy import Action
from sharewell.domain.views import Shown, View, view

OFFERED = Decision(
    id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"), kind="offer.published",
    at=datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC), actor="clinic-bot", institution=UUID(int=7),
    action="publishOffer", outcome="allowed", policy_set="ab" * 32, policies=("publish-own-offer",),
    subject_kind="offer", subject_id="01890a5d-ac96-774b-bcce-b302099a8058", details={"resource": "ventilator"},
    request_id="r-1", nonce="0" * 32,
)  # fmt: skip
DECISIONS = {
    "allowed": OFFERED,
    "refused": replace(OFFERED, kind="access.refused", outcome="refused"),
    "before any policy": replace(
        OFFERED, kind="access.refused", outcome="refused", policy_set="", policies=(), institution=None,
        action="authenticate", subject_kind="client", subject_id="", request_id="", details={},
    ),
    "of an entity": replace(OFFERED, kind="client.registered", action="registerClient", subject_kind="client"),
    "a reading": replace(OFFERED, kind="audit.read", action="readAudit", subject_kind="decision", subject_id="*"),
}  # fmt: skip

#: HL7 FHIR R4 (4.0.1), AuditEvent: elements that must be there, by the element they stand in ("": the resource).
FHIR_REQUIRED = {
    "": ("resourceType", "type", "recorded", "agent", "source"), "agent": ("requestor",), "source": ("observer",),
    "entity.detail": ("type", "valueString"),
}  # fmt: skip
#: OCSF 1.3.0: attributes that are required of every event, and of a class.
OCSF_REQUIRED = ("activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid")
OCSF_OF_CLASS = {6003: ("actor", "api", "src_endpoint"), 3004: ("entity",)}
#: CloudEvents 1.0.2, section 3.1: names of attributes.
NAME = re.compile(r"[a-z0-9]+")


def shown(decision: Decision, words: View, index: int | None = 4_000_000_000) -> dict[str, Any]:
    found = view(Shown(decision, decision.entry(), index, "log.example/2026"), words)
    assert json.loads(json.dumps(found)) == found
    return found


@pytest.mark.parametrize("decision", DECISIONS.values(), ids=DECISIONS)
def test_fhir_has_what_an_audit_event_must_have(decision: Decision) -> None:
    event = shown(decision, View.FHIR)
    for path, names in FHIR_REQUIRED.items():
        found = [event]
        for step in path.split(".") if path else ():
            steps = [each[step] for each in found]
            found = [inner for each in steps for inner in (each if isinstance(each, list) else [each])]
        assert all(each.get(name) not in (None, "", []) for each in found for name in names), path
    assert event["action"] in {"C", "R", "U", "D", "E"}
    assert event["outcome"] == ("8" if decision.outcome == "refused" else "0")
    # BALP: an authorization decision that refuses is a security alert.
    assert event["type"]["code"] == ("110113" if decision.outcome == "refused" else "110100")
    assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", event["id"])
    assert sum(agent["requestor"] for agent in event["agent"]) == 1
    assert not _empty(event), "FHIR forbids empty values"


def _empty(value: object) -> bool:
    if isinstance(value, dict):
        return not value or any(map(_empty, value.values()))
    if isinstance(value, list):
        return not value or any(map(_empty, value))
    return value is None or value == ""


@pytest.mark.parametrize("decision", DECISIONS.values(), ids=DECISIONS)
def test_cloudevents_has_the_attributes_of_its_first_version(decision: Decision) -> None:
    event = shown(decision, View.CLOUDEVENTS)
    assert event["specversion"] == "1.0"
    assert all(event[name] for name in ("id", "source", "type"))
    attributes = {name: value for name, value in event.items() if name != "data"}
    assert all(NAME.fullmatch(name) and isinstance(value, str) and value for name, value in attributes.items())
    assert datetime.fromisoformat(event["time"]) == decision.at
    assert event["type"] == f"sharewell.{decision.kind}.v1"


@pytest.mark.parametrize("decision", DECISIONS.values(), ids=DECISIONS)
def test_ocsf_has_what_its_class_requires(decision: Decision) -> None:
    event = shown(decision, View.OCSF)
    kind = event["class_uid"]
    assert all(event.get(name) is not None for name in (*OCSF_REQUIRED, *OCSF_OF_CLASS[kind]))
    assert (event["category_uid"], event["type_uid"]) == (kind // 1000, kind * 100 + event["activity_id"])
    assert event["metadata"]["product"]["vendor_name"]
    assert event["metadata"]["version"] == "1.3.0"
    assert event["time"] == round(decision.at.timestamp() * 1000)
    assert event["activity_id"] in {1, 2, 3} or (event["activity_id"], event["activity_name"]) == (99, decision.action)
    if kind == 6003:
        assert event["api"]["operation"] == decision.action
    assert event["status_id"] == (2 if decision.outcome == "refused" else 1)


def test_what_is_managed_is_of_the_class_for_it() -> None:
    assert shown(DECISIONS["of an entity"], View.OCSF)["class_uid"] == 3004
    assert shown(DECISIONS["allowed"], View.OCSF)["class_uid"] == 6003
    assert shown(DECISIONS["refused"], View.OCSF)["class_uid"] == 6003


@pytest.mark.parametrize("words", View)
def test_every_act_and_kind_can_be_shown_before_and_after_it_is_sealed(words: View) -> None:
    for action in Action:
        shown(replace(OFFERED, action=action, subject_kind=action.kind), words)
    for kind in KINDS:
        text = json.dumps(shown(replace(OFFERED, kind=kind), words, index=None))
        assert kind in text
        assert "4000000000" not in text
