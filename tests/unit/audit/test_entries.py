"""What is recorded is what the domain writes, to the byte, whichever library writes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain import canonical
from sharewell.domain.audit import KINDS, Decision
from sharewell.domain.canonical import DEEPEST, LARGEST_NUMBER, NotCanonical
from sharewell.domain.errors import Invalid
from sharewell.store.entries import encode, entry_of

Word = StrEnum("Word", {"OFFER": "publishOffer"})
Size = IntEnum("Size", {"SOME": 3})

#: Also what the profile does not admit: text not in form C, half surrogates, NUL, other keys, numbers beyond.
texts = st.text()
scalars = st.none() | st.booleans() | st.integers(-LARGEST_NUMBER - 1, LARGEST_NUMBER + 1) | texts | st.just(Word.OFFER)
keys = st.text(st.characters(max_codepoint=127)) | texts | st.just(Word.OFFER)
strangers = st.floats() | st.binary() | st.sampled_from([Size.SOME, UUID(int=1), datetime(2026, 3, 1, tzinfo=UTC)])


def grown(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists, tuples and mappings of all kinds over `leaves`."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner)
        | st.dictionaries(keys, inner).map(MappingProxyType),
        max_leaves=20,
    )  # fmt: skip


def outcome(write: Callable[[Any], bytes], value: Any) -> bytes | tuple[str, str | None]:
    """The bytes, or why there are none."""
    try:
        return write(value)
    except NotCanonical as why:
        return str(why), why.field


@given(grown(scalars) | grown(scalars | strangers))
def test_every_value_has_the_bytes_that_the_domain_writes_or_is_refused_by_the_same_words(value: Any) -> None:
    assert outcome(encode, value) == outcome(canonical.encode, value)


@given(st.dictionaries(st.text(st.characters(max_codepoint=127, exclude_characters="\0")), st.integers(0, 9)))
def test_keys_are_sorted_alike(value: Mapping[str, int]) -> None:
    assert encode(value) == canonical.encode(value)


@pytest.mark.parametrize("character", [*map(chr, range(1, 0xA1)), "\u2028", "\ufffd", "\U0001f6cf"])
def test_every_character_that_could_be_escaped_is_written_alike(character: str) -> None:
    assert encode({"said": character}) == canonical.encode({"said": character})


def a_decision(**said: Any) -> Decision:
    given: dict[str, Any] = {
        "id": UUID(int=1), "kind": "offer.published", "at": datetime(2026, 3, 1, 12, 0, 0, 7, tzinfo=UTC),
        "actor": "clinic", "institution": UUID(int=2), "action": Word.OFFER, "outcome": "allowed", "policy_set": "",
        "policies": ("a", "b"), "subject_kind": "offer", "subject_id": "x", "request_id": "", "nonce": "0" * 32,
        "details": {"reports": ({"resource": "bed.adult"},), "n": -1},
    }  # fmt: skip
    return Decision(**{**given, **said})


times = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3.5)), ZoneInfo("Europe/Vienna")]))
more = st.integers() | st.floats() | st.none() | st.sampled_from([UUID(int=1), Size.SOME, b"x"])
fields = st.fixed_dictionaries({}, optional={
    "id": st.uuids(), "at": times | times.map(lambda at: at.replace(microsecond=0)),
    "institution": st.none() | st.uuids(), "policies": st.lists(texts | more).map(tuple) | st.lists(texts),
    "details": st.dictionaries(keys, grown(scalars)) | st.dictionaries(keys, grown(scalars | strangers)) | more,
    "subject_id": texts | more, "request_id": texts | st.just("x" * 65_535) | more,
    "actor": st.text(min_size=1) | st.just(Word.OFFER) | st.just(1.5), "subject_kind": st.text(min_size=1),
})  # fmt: skip


@given(fields)
def test_every_decision_has_the_entry_that_the_domain_writes_or_is_refused_by_the_same_words(
    said: Mapping[str, Any],
) -> None:
    decision = a_decision(**said)
    assert entry_or_why(entry_of, decision) == entry_or_why(Decision.entry, decision)


def test_details_may_be_as_deep_as_the_domain_admits_and_no_deeper() -> None:
    nested: Any = {}
    for _ in range(DEEPEST - 2):
        nested = {"in": nested}
    assert entry_of(a_decision(details=nested)) == a_decision(details=nested).entry()
    with pytest.raises(NotCanonical, match="deeper"):
        entry_of(a_decision(details={"in": nested}))


@pytest.mark.parametrize("name", ["actor", "action", "subject_kind", "subject_id", "request_id", "policies"])
@pytest.mark.parametrize("text", ["a\0", "\ud800", "u\u0308"])
def test_no_field_holds_text_outside_the_profile(name: str, text: str) -> None:
    with pytest.raises(NotCanonical, match=name):
        entry_of(a_decision(**{name: (text,) if name == "policies" else text}))


def entry_or_why(write: Callable[[Decision], bytes], decision: Decision) -> bytes | tuple[str, str | None]:
    try:
        return write(decision)
    except Invalid as why:
        return str(why), why.field


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_is_described_reads_as_a_noun_and_what_happened_to_it(kind: str) -> None:
    assert re.fullmatch(r"[a-z_]{1,40}\.[a-z_]{1,40}", kind)
