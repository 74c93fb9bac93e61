"""Sealed details open with their key and for their entry alone, and tell nothing without it."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.audit.erasure import KEY_FILE, KeyFile, Opened, Wrapped
from sharewell.domain.errors import Conflict, Invalid, Unavailable
from sharewell.domain.subjects import BLOCK, Ground, Person, Sealed, found_by

ENTRY, SUBJECT = UUID(int=1), UUID(int=2)
KEY = Opened(SUBJECT, bytes(range(32)))
NURSE = Person.named("staff-4711", "Ayşe Ünal", "a.unal@clinic.example")
words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Co")), min_size=1, max_size=200)


@given(words, words)
def test_what_is_sealed_comes_out_as_it_went_in(identifier: str, name: str) -> None:
    try:
        person = Person.named(identifier, name)
    except Invalid:
        return
    sealed = KEY.seal(person, ENTRY)
    assert KEY.open(sealed, ENTRY) == person
    assert Sealed.of({"on_behalf_of": sealed.to_json()}) == sealed


def test_a_seal_can_be_opened_with_nothing_but_what_the_page_says() -> None:
    """The bytes of docs/audit-log.md, spelled out anew."""
    field = KEY.seal(NURSE, ENTRY).to_json()
    aad = f"sharewell-sealed/v1\n{ENTRY}\non_behalf_of\n{field['subject_ref']}\n".encode()
    plain = AESGCM(KEY.key).decrypt(bytes.fromhex(str(field["iv"])), base64.b64decode(str(field["sealed"])), aad)
    assert len(plain) % 256 == 0
    assert json.loads(plain) == {
        "email": "a.unal@clinic.example", "identifier": "staff-4711", "name": "Ayşe Ünal",
    }  # fmt: skip


@pytest.mark.parametrize("moved", ["entry", "subject", "key", "iv"])
def test_a_seal_that_was_moved_does_not_open(moved: str) -> None:
    sealed, entry, key = KEY.seal(NURSE, ENTRY), ENTRY, KEY
    match moved:
        case "entry":
            entry = UUID(int=3)
        case "subject":
            key = Opened(UUID(int=3), KEY.key)
        case "key":
            key = Opened(SUBJECT, bytes(32))
        case _:
            sealed = replace(sealed, iv=bytes(12))
    with pytest.raises(Invalid, match="does not belong"):
        key.open(sealed, entry)


@settings(max_examples=50)
@given(st.integers(0, 8 * (BLOCK + 16) - 1))
def test_a_seal_with_any_bit_flipped_does_not_open(bit: int) -> None:
    sealed = KEY.seal(NURSE, ENTRY)
    data = bytearray(sealed.sealed)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Invalid, match="was changed"):
        KEY.open(replace(sealed, sealed=bytes(data)), ENTRY)


def test_the_length_of_a_seal_tells_no_name() -> None:
    lengths = {len(KEY.seal(Person.named("x", "n" * n), ENTRY).sealed) for n in range(180)}
    assert lengths == {BLOCK + 16}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"identifier": ""}, "onBehalfOf.identifier"),
        ({"identifier": "x" * 201}, "onBehalfOf.identifier"),
        ({"identifier": "x", "name": "a\nb"}, "onBehalfOf.name"),
        ({"identifier": "x", "email": "nobody"}, "onBehalfOf.email"),
    ],
)
def test_details_that_cannot_be_are_refused_by_name(asked: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        Person.named(**asked)
    assert refused.value.field == field


def test_details_do_not_show_by_accident() -> None:
    assert "Ünal" not in repr(NURSE)
    assert "4711" not in repr(NURSE)
    assert KEY.key.hex() not in repr(KEY)
    assert "b'" not in repr(KEY)


@pytest.mark.parametrize(
    "change", [{"alg": "A128GCM"}, {"iv": "00"}, {"sealed": "!"}, {"subject_ref": "x"}, {"more": 1}]
)
def test_what_is_no_sealed_field_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="no sealed field"):
        Sealed.of({"on_behalf_of": {**KEY.seal(NURSE, ENTRY).to_json(), **change}})


def test_the_same_name_in_two_institutions_is_two_persons() -> None:
    one, other = uuid4(), uuid4()
    told = {found_by(one, "c", "7"), found_by(other, "c", "7"), found_by(None, "c", "7"), found_by(None, "d", "7")}
    assert len(told) == 4
    assert found_by(one, "c", "7") == found_by(one, "another program of it", "7")


def test_each_ground_names_its_article() -> None:
    assert len({ground.article for ground in Ground}) == len(Ground)
    assert Ground("objection").article == "17(1)(c)"


# --- the key file -------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "home" / KEY_FILE)


async def test_the_file_is_made_at_the_first_use_and_read_by_its_owner_only(file: KeyFile) -> None:
    wrapped = await file.wrap(b"k" * 32, b"context")
    assert wrapped.kek_id == await file.current()
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert await file.unwrap(wrapped, b"context") == b"k" * 32
    assert (b"k" * 32) not in wrapped.data


async def test_a_wrapped_key_opens_in_its_own_context_only(file: KeyFile) -> None:
    wrapped = await file.wrap(b"k" * 32, b"one subject")
    with pytest.raises(Unavailable, match="belongs elsewhere"):
        await file.unwrap(wrapped, b"another")


async def test_after_a_rotation_old_keys_unwrap_and_new_ones_wrap(file: KeyFile) -> None:
    old = await file.wrap(b"k" * 32, b"c")
    name = file.add()
    assert (await file.wrap(b"k" * 32, b"c")).kek_id == name == await file.current() != old.kek_id
    assert await file.unwrap(old, b"c") == b"k" * 32
    file.drop(old.kek_id)
    with pytest.raises(Unavailable, match=old.kek_id):
        await file.unwrap(old, b"c")
    with pytest.raises(Conflict):
        file.drop(name)


@pytest.mark.parametrize("text", ["", "kek-0000000000000000 AAAA\n", "rubbish\n"])
async def test_a_damaged_file_is_said_to_be_so(file: KeyFile, text: str) -> None:
    file.path.parent.mkdir()
    file.path.write_text(text)
    file.path.chmod(0o600)
    with pytest.raises(Unavailable, match="restore"):
        await file.wrap(os.urandom(32), b"c")


async def test_a_file_that_everyone_can_read_is_not_used(file: KeyFile) -> None:
    await file.current()
    file.path.chmod(0o644)
    with pytest.raises(Unavailable, match="stolen"):
        await file.unwrap(Wrapped("x", b""), b"c")
