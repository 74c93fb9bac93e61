"""Nonces for proofs of possession (RFC 9449, 8 and 9): a proof was made just now, not kept from earlier.

Nothing is stored. A nonce is the number of a span of time and a MAC over it; the secret comes from the signing keys,
which all gateways share, and goes with them: it lives as long as the key that it was derived from.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

SPAN_SECONDS: Final = 120  #: a nonce is good in the span it was made in, and in the next
PURPOSE: Final = "dpop-nonce"
HEADER: Final = "DPoP-Nonce"
_NUMBER, _MAC = 8, 16  # bytes; together they need no padding
_SHAPE = re.compile(r"[A-Za-z0-9_-]{32}")


class Nonces:
    """Makes nonces and knows them again."""

    def __init__(self, secrets: Callable[[str], Sequence[bytes]], now: Callable[[], datetime]) -> None:
        """`secrets` gives those for a purpose, newest first; the first makes nonces, all are known again."""
        self._secrets, self._now = secrets, now

    def fresh(self) -> str:
        """One to use from now on."""
        return _nonce(self._secrets(PURPOSE)[0], self._span())

    def holds(self, nonce: object) -> bool:
        """Whether it is one of ours, and young."""
        return self.was_ours(nonce) and self._span() - _said(nonce) in (0, 1)

    def was_ours(self, nonce: object) -> bool:
        """Whether it is one of ours, however old: then it is not made up."""
        try:
            made = [_nonce(secret, _said(nonce)) for secret in self._secrets(PURPOSE)]
        except ValueError:
            return False
        return any(hmac.compare_digest(each, str(nonce)) for each in made)

    def _span(self) -> int:
        return int(self._now().timestamp()) // SPAN_SECONDS


def _nonce(secret: bytes, span: int) -> str:
    said = span.to_bytes(_NUMBER, "big")
    mac = hmac.digest(secret, said, hashlib.sha256)[:_MAC]
    return base64.urlsafe_b64encode(said + mac).decode()


def _said(nonce: object) -> int:
    """The span that a nonce says it was made in. Raises ValueError for what is none."""
    if not isinstance(nonce, str) or not _SHAPE.fullmatch(nonce):
        raise ValueError("not a nonce of ours")
    return int.from_bytes(base64.urlsafe_b64decode(nonce)[:_NUMBER], "big")
