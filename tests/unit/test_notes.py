"""Signed notes and checkpoints are read as strictly as their specifications ask, and signed by `cryptography`."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.audit.keys import LogKey
from sharewell.domain import ed25519, notes
from sharewell.domain.checkpoint import (
    Checkpoint,
    InclusionProof,
    MalformedCheckpoint,
    MalformedProof,
    format_tlog_proof,
    parse_checkpoint,
    parse_inclusion_proof,
    parse_tlog_proof,
)
from sharewell.domain.errors import Invalid
from sharewell.domain.notes import BadSignature, MalformedNote, NoKnownSignature, open_note, parse_vkey, sign_note

KEY = LogKey.from_seed("log.example/2026", bytes(range(32)))
TEXT = Checkpoint(origin="log.example/2026", size=3, root=bytes(32)).text()


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511), st.integers(0, 255))
def test_a_signature_holds_for_its_message_and_no_longer_with_a_bit_flipped(
    seed: bytes, message: bytes, bit: int, key_bit: int
) -> None:
    secret = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = secret.public_key().public_bytes_raw(), secret.sign(message)
    assert ed25519.verify(public, message, signature)
    assert not ed25519.verify(public, message + b"\0", signature)
    assert not ed25519.verify(public, message, flipped(signature, bit))
    assert not ed25519.verify(flipped(public, key_bit), message, signature)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_is_none(size: int) -> None:
    assert not ed25519.verify(bytes(32), b"", bytes(size))


def test_a_note_is_opened_with_the_key_that_signed_it() -> None:
    text, signed_by = open_note(sign_note(TEXT, [KEY]), [parse_vkey(KEY.vkey)])
    assert (text, signed_by) == (TEXT, [KEY.key])


def test_a_note_signed_by_strangers_only_is_not_opened() -> None:
    with pytest.raises(NoKnownSignature):
        open_note(sign_note(TEXT, [KEY]), [LogKey.generate("log.example/2026").key])


def test_one_bad_signature_of_a_known_key_spoils_the_note() -> None:
    good = sign_note(TEXT, [KEY])
    bad = notes.Signature(name=KEY.key.name, id=KEY.key.id, blob=bytes(64)).line().encode()
    with pytest.raises(BadSignature):
        open_note(good.replace(b"\n\n", b"\n\n" + bad, 1), [KEY.key])


@pytest.mark.parametrize("text", ["no line end", "tab\there\n", "bell\a\n"])
def test_a_text_that_cannot_be_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(MalformedNote):
        sign_note(text, [KEY])


@pytest.mark.parametrize("encoded", ["AA", "AA=", "AB==", "AAA=\n", " AAAA", "AA==AA==", "AA-_", "ÀAAA"])
def test_base64_has_one_way_to_be_written(encoded: str) -> None:
    with pytest.raises(MalformedNote):
        notes.b64decode(encoded)


def test_a_checkpoint_is_read_back() -> None:
    checkpoint = Checkpoint(origin="a.example", size=2**40, root=bytes(range(32)), extensions=("more",))
    assert parse_checkpoint(checkpoint.text()) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        TEXT.removesuffix("\n"),
        TEXT.replace("\n3\n", "\n03\n"),
        TEXT.replace("\n3\n", "\n+3\n"),
        TEXT.replace("\n3\n", "\n³\n"),
        TEXT.replace("\n3\n", "\n-3\n"),
        TEXT.replace("\n3\n", "\n9999999999999999999\n"),
        TEXT.replace("log.example/2026", "log example"),
        TEXT.replace("AAA=", "AAB="),
        TEXT + "\n",
        "\n" + TEXT,
    ],
)
def test_a_text_that_is_not_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises((MalformedCheckpoint, MalformedNote)):
        parse_checkpoint(text)


PROOF = InclusionProof(index=5, path=(bytes(32), bytes(range(32))))


def test_a_proof_file_is_read_back() -> None:
    assert parse_tlog_proof(format_tlog_proof(PROOF, b"signed\n")) == (PROOF, b"signed\n")


@pytest.mark.parametrize(
    "text",
    [
        PROOF.text().replace("index 5", "index 05"),
        PROOF.text().replace("index 5", "index  5"),
        PROOF.text().replace("index 5\n", ""),
        PROOF.text().replace("@v1", "@v2"),
        PROOF.text() + "\n",
        PROOF.text() + "AAAA\n",
        PROOF.text().removesuffix("\n"),
        PROOF.text().replace("\n", "\r\n"),
    ],
)
def test_a_text_that_is_not_a_proof_is_refused(text: str) -> None:
    with pytest.raises((MalformedProof, MalformedCheckpoint, MalformedNote)):
        parse_inclusion_proof(text)


def test_every_refusal_is_of_the_family_of_bad_input() -> None:
    assert all(issubclass(error, Invalid) for error in (MalformedNote, BadSignature, NoKnownSignature, MalformedProof))
