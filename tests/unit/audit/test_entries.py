"""What is recorded is what the domain writes, to the byte, whichever library writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain import canonical
from sharewell.domain.audit import Decision
from sharewell.domain.canonical import LARGEST_NUMBER, NotCanonical
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


def test_an_entry_is_the_domains() -> None:
    decision = Decision(
        id=UUID(int=1), kind="offer.published", at=datetime(2026, 3, 1, tzinfo=UTC), actor="clinic", institution=None,
        action=Word.OFFER, outcome="allowed", policy_set="", policies=("a", "b"), subject_kind="offer",
        subject_id="Bettenhaus Süd", details={"reports": ({"resource": "bed.adult"},), "n": -1}, request_id="",
        nonce="0" * 32,
    )  # fmt: skip
    assert entry_of(decision) == decision.entry()
