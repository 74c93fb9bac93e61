"""A log receipt is a promise in one exact form, under a key of its own."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest

from sharewell.audit.keys import LogKey
from sharewell.domain.errors import Invalid
from sharewell.domain.log_receipt import (
    LogReceipt,
    MalformedLogReceipt,
    key_name,
    open_log_receipt,
    parse_log_receipt,
    sign_log_receipt,
)
from sharewell.domain.merkle import hash_leaf
from sharewell.domain.notes import BadSignature, NoKnownSignature, sign_note

ORIGIN = "log.example/2026"
KEY = LogKey.from_seed(key_name(ORIGIN), bytes(range(32)))
OTHER = LogKey.from_seed(key_name(ORIGIN), bytes(32))
RECEIPT = LogReceipt(origin=ORIGIN, leaf_hash=hash_leaf(b"entry"), staged_at=1_700_000_000, merge_by=1_700_000_060)


def test_a_log_receipt_is_signed_and_opened() -> None:
    note = sign_log_receipt(RECEIPT, KEY)
    assert note.decode().split("\n\n")[0].split("\n") == [
        "log.example/2026/receipt",
        base64.b64encode(hashlib.sha256(b"\0entry").digest()).decode(),
        "1700000000",
        "1700000060",
    ]
    assert open_log_receipt(note, [KEY.key, OTHER.key]) == RECEIPT


def test_the_log_receipt_of_another_key_or_log_is_refused() -> None:
    with pytest.raises(NoKnownSignature):
        open_log_receipt(sign_log_receipt(RECEIPT, OTHER), [KEY.key])
    elsewhere = LogKey.from_seed(key_name("log.example/2027"), bytes(range(32)))
    with pytest.raises(NoKnownSignature):  # a key may only speak for the log that it is named for
        open_log_receipt(sign_note(RECEIPT.text(), [elsewhere]), [elsewhere.key])
    with pytest.raises(MalformedLogReceipt, match=r"must be named log\.example/2026/receipt"):
        sign_log_receipt(RECEIPT, LogKey.from_seed(ORIGIN, bytes(range(32))))


def test_a_changed_time_or_a_further_line_is_refused() -> None:
    note = sign_log_receipt(RECEIPT, KEY)
    with pytest.raises(BadSignature):
        open_log_receipt(note.replace(b"\n1700000060\n", b"\n1700000061\n"), [KEY.key])
    with pytest.raises(MalformedLogReceipt, match="one signature, not 2"):
        open_log_receipt(sign_note(RECEIPT.text(), [KEY, OTHER]), [KEY.key])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log.example/2026\nAA==\n1\n2\n",
        RECEIPT.text() + "more\n",
        RECEIPT.text().replace("1700000060", "01700000060"),
        RECEIPT.text().replace("1700000060", "1600000000"),
        RECEIPT.text().replace("log.example/2026/", "/"),
        replace(RECEIPT, leaf_hash=bytes(31)).text(),
        replace(RECEIPT, origin="log example").text(),
    ],
)
def test_another_text_is_no_log_receipt(text: str) -> None:
    with pytest.raises(Invalid):
        parse_log_receipt(text)
