"""There is one way to write a decision as bytes, and nothing else is read."""

from __future__ import annotations

import json
import unicodedata
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain import canonical
from sharewell.domain.canonical import LARGEST_NUMBER, NotCanonical

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(
    lambda text: unicodedata.normalize("NFC", text)
)
keys = st.text(st.characters(max_codepoint=127, exclude_characters="\0"))
scalars = st.none() | st.booleans() | st.integers(-LARGEST_NUMBER, LARGEST_NUMBER) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=30)


@given(values)
def test_what_is_written_is_what_rfc_8785_prescribes(value: Any) -> None:
    assert canonical.encode(value) == rfc8785.dumps(value)


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert canonical.parse(canonical.encode(value)) == value


@given(values, st.data())
def test_one_more_blank_anywhere_is_refused(value: Any, data: st.DataObject) -> None:
    written = canonical.encode(value)
    at = data.draw(st.integers(0, len(written)))
    changed = written[:at] + b" " + written[at:]
    try:
        read = canonical.parse(changed)
    except NotCanonical:
        return
    assert read != value, "two ways to write one value"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" 1",
        b"1\n",
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"9007199254740992",
        b"-9007199254740992",
        b"1" * 5000,
        b"NaN",
        b"Infinity",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a": 1}',
        b'{"\xc3\xa9":1}',
        b'"\\u0041"',
        b'"\\/"',
        b'"\\u001F"',
        b'"\\ud800"',
        b'"\\u0000"',
        b'"\xed\xa0\x80"',
        b"'a'",
        b"\xef\xbb\xbf1",
        b"[1,]",
        b"[" * 5000 + b"]" * 5000,
        '"e\u0301"'.encode(),
    ],
)
def test_bytes_that_are_not_the_one_way_to_write_something_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        canonical.parse(data)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"a": [1, {"b": 0.5}]}, "a.1.b"),
        ({"a": 2**53}, "a"),
        ({"a": "e\u0301"}, "a"),
        ({"a": "\ud800"}, "a"),
        ({"a": "x\0y"}, "a"),
        ({"é": 1}, "'é'"),
        ({1: 1}, "1"),
        ({"a": b"bytes"}, "a"),
        (float("nan"), "value"),
    ],
)
def test_a_value_outside_the_profile_is_refused_by_its_path(value: Any, field: str) -> None:
    with pytest.raises(NotCanonical) as refused:
        canonical.encode(value)
    assert refused.value.field == field
    assert refused.value.message.startswith(field)


def test_nesting_without_end_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotCanonical, match="nested deeper"):
        canonical.encode(loop)


def test_a_word_of_a_vocabulary_is_written_as_its_text() -> None:
    class Colour(StrEnum):
        RED = "red"

    assert canonical.encode({"colour": Colour.RED, "many": (Colour.RED,)}) == b'{"colour":"red","many":["red"]}'


@given(values)
def test_any_json_reader_reads_it(value: Any) -> None:
    assert json.loads(canonical.encode(value)) == value


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_value_is_written_as_another_library_writes_it(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(NotCanonical):
            canonical.write(value)
    else:
        assert canonical.write(value) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, b"", {1: 2}, "\ud800", {"\ud800": 1}, Decimal(1)])
def test_what_json_cannot_hold_is_not_written(value: Any) -> None:
    with pytest.raises(NotCanonical):
        canonical.write(value)
