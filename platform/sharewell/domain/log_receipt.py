"""A log receipt: the log's signed promise that an entry will be in the tree by a given time.

Given at once, before the entry has a place. Once that time has passed and a log does not hold the entry, the log
receipt proves in its holder's hands that the log broke its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sharewell.domain.checkpoint import decimal
from sharewell.domain.errors import Invalid
from sharewell.domain.merkle import HASH_SIZE, Hash
from sharewell.domain.notes import Signer, VerifierKey, b64decode, b64encode, is_name, open_note, sign_note, split_note

SUFFIX: Final = "/receipt"  #: origin + SUFFIX names the key and is the first line


class MalformedLogReceipt(Invalid):
    """The note is not a log receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReceipt:
    """What the log promises."""

    origin: str  #: name of the log
    leaf_hash: Hash  #: of the entry
    staged_at: int  #: Unix seconds at which the entry was taken
    merge_by: int  #: Unix seconds by which a signed tree holds it

    def text(self) -> str:
        """The lines that are signed."""
        return f"{self.origin}{SUFFIX}\n{b64encode(self.leaf_hash)}\n{self.staged_at}\n{self.merge_by}\n"


def key_name(origin: str) -> str:
    """The name of the key that signs log receipts of the log `origin`. It signs nothing else."""
    return origin + SUFFIX


def is_receipt_key(key: VerifierKey) -> bool:
    """Whether a key is one for log receipts, by its name."""
    return key.name.endswith(SUFFIX)


def sign_log_receipt(receipt: LogReceipt, signer: Signer) -> bytes:
    """The note. Raises `MalformedLogReceipt` if the key has another name or the times are the wrong way round."""
    if signer.key.name != key_name(receipt.origin):
        raise MalformedLogReceipt(
            f"The key must be named {key_name(receipt.origin)}, not {signer.key.name}.", field="key"
        )
    return sign_note(parse_log_receipt(receipt.text()).text(), [signer])


def parse_log_receipt(text: str) -> LogReceipt:
    """Read the signed text. Raises `MalformedLogReceipt` (or what its numbers and base64 raise)."""
    lines = text.split("\n")
    if len(lines) != 5 or lines[4] or not lines[0].endswith(SUFFIX):
        raise MalformedLogReceipt("A log receipt is four lines: origin/receipt, leaf hash, staged at, merge by.")
    origin, leaf_hash = lines[0].removesuffix(SUFFIX), b64decode(lines[1])
    if not is_name(origin) or len(leaf_hash) != HASH_SIZE:
        raise MalformedLogReceipt(f"The origin has blanks or a plus, or the leaf hash has not {HASH_SIZE} bytes.")
    staged_at, merge_by = decimal(lines[2], "staged_at"), decimal(lines[3], "merge_by")
    if staged_at > merge_by:
        raise MalformedLogReceipt("The entry is promised for a time before it was taken.", field="merge_by")
    return LogReceipt(origin=origin, leaf_hash=leaf_hash, staged_at=staged_at, merge_by=merge_by)


def open_log_receipt(note: bytes, keys: Sequence[VerifierKey]) -> LogReceipt:
    """Check and read a log receipt: one signature line, by a key of `keys` that is named for its log.

    Raises `MalformedLogReceipt`, or what `open_note` raises. Further lines are refused: nothing would protect them.
    """
    text, signatures = split_note(note)
    receipt = parse_log_receipt(text)
    if len(signatures) != 1:
        raise MalformedLogReceipt(f"A log receipt carries one signature, not {len(signatures)}.")
    open_note(note, [key for key in keys if key.name == key_name(receipt.origin)])
    return receipt
