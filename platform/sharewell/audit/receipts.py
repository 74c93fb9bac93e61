"""Signs log receipts: at once, before the entry has a place, and in no transaction of anybody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sharewell.domain.log_receipt import LogReceipt, sign_log_receipt

if TYPE_CHECKING:
    from sharewell.audit.keys import LogKey
    from sharewell.domain.merkle import Hash

#: What is promised. A sequencer that starts anew reads the whole log first, and outages are mended by people.
MERGE_WITHIN: Final = timedelta(hours=4)


class ReceiptSigner:
    """Promises, for one log, that entries will be in its tree by a given time."""

    def __init__(self, origin: str, key: Callable[[], LogKey]) -> None:
        """`key` is fetched when the first receipt is asked for."""
        self._origin = origin
        self._fetch_key = key

    @cached_property
    def key(self) -> LogKey:
        return self._fetch_key()

    def sign(self, leaf_hash: Hash, staged_at: datetime) -> bytes:
        """The log receipt of an entry; the same one however often it is asked for."""
        receipt = LogReceipt(
            origin=self._origin, leaf_hash=leaf_hash, staged_at=int(staged_at.timestamp()),
            merge_by=int((staged_at + MERGE_WITHIN).timestamp()),
        )  # fmt: skip
        return sign_log_receipt(receipt, self.key)
