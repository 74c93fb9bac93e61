"""An entry is enough to ask the policies again; a decision is a sentence; years are kept as they are set."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain.audit import KINDS, Decision, parse_entry
from sharewell.domain.errors import Invalid
from sharewell.domain.inquiry import ASKED, Inquiry
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller, Role
from sharewell.domain.retention import Keeping
from sharewell.domain.story import SENTENCES, sentence

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_decision(details: Any, **said: Any) -> Decision:
    usual: dict[str, Any] = {
        "id": UUID(int=1), "kind": "offer.published", "at": NOON, "actor": "clinic", "institution": UUID(int=7),
        "action": "publishOffer", "outcome": "allowed", "policy_set": "ab" * 32, "policies": ("own",),
        "subject_kind": "offer", "subject_id": "o", "request_id": "r", "nonce": "0" * 32,
    }  # fmt: skip
    return Decision(details=details, **(usual | said))


@st.composite
def inquiries(draw: st.DrawFn) -> Inquiry:
    action, someone = draw(st.sampled_from(list(Action))), st.none() | st.uuids()
    parties = ("giver", "receiver") if action.kind == "transfer" else ("owner",)
    caller = Caller(
        principal="clinic", roles=draw(st.frozensets(st.sampled_from(list(Role)))), institution=draw(someone),
        scopes=draw(st.frozensets(st.sampled_from(["system/*.rs", "system/Offer.cruds", "internal/*.cruds"]))),
        purpose=draw(st.sampled_from([None, "TREAT"])), sender_constrained=draw(st.booleans()),
        proof_required=draw(st.booleans()),
    )  # fmt: skip
    target = Target(kind=action.kind, id=draw(st.sampled_from(["*", "new", "o-1"])),
                    **{party: draw(someone) for party in parties})  # type: ignore[arg-type]  # fmt: skip
    context = draw(st.sampled_from([{}, {"callerStatus": "active"}]))
    return Inquiry(caller=caller, action=action, target=target, context=context)


@settings(max_examples=60)
@given(inquiries())
def test_an_inquiry_comes_out_of_an_entry_as_it_was_made(inquiry: Inquiry) -> None:
    made = a_decision({ASKED: {**inquiry.to_json(), "code": "0.1.0"}}, action=str(inquiry.action))
    assert Inquiry.of(parse_entry(made.entry())) == inquiry


@pytest.mark.parametrize(
    "asked",
    [
        1, [], {}, {"roles": ["king"]},
        {"roles": [], "scopes": [], "institution": None, "context": {}, "target": {"kind": "moon", "id": "*"}},
        {"roles": [], "scopes": [], "institution": "x", "context": {}, "target": {"kind": "offer", "id": "*"}},
    ],
)  # fmt: skip
def test_what_is_no_inquiry_is_told(asked: Any) -> None:
    with pytest.raises(Invalid, match="does not hold an inquiry"):
        Inquiry.of(a_decision({ASKED: asked}))
    assert Inquiry.of(a_decision({})) is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_sentence_and_one_whose_entry_tells_little_does_too(kind: str) -> None:
    said = sentence(a_decision({}, kind=kind), {str(UUID(int=7)): "Clinic"})
    assert said.endswith(".")
    assert "{" not in said


def test_sentences_are_of_kinds_that_there_are_and_of_nothing_a_person_typed() -> None:
    assert SENTENCES.keys() <= KINDS.keys()
    named = {name for form in SENTENCES.values() for _, name, _, _ in string.Formatter().parse(form) if name}
    assert not any("remark" in name for name in named)
    told = sentence(a_decision({"resource": "{who}", "quantity": 3}), {})
    assert told == f"{UUID(int=7)} pledged 3 units of {{who}}.", "what an entry says is never read as a form"


def test_decisions_are_kept_by_the_years_of_their_noun() -> None:
    keep = Keeping({"": 10, "access": 2})
    assert (keep.of("access.refused"), keep.of("plan.adopted"), Keeping().of("plan.adopted")) == (2, 10, 10)
    since = keep.since(datetime(2028, 2, 29, tzinfo=UTC))
    assert since["access.refused"] == datetime(2026, 2, 28, tzinfo=UTC)
    assert since.keys() == KINDS.keys()
    with pytest.raises(Invalid, match="'moon' begins no kind"):
        Keeping({"moon": 2})
