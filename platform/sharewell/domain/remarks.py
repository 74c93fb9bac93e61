"""Remarks: free text beside a coded reason, never instead of one, and never in the log.

People write names into free text. So the log holds a salted hash of a remark, and the text stays where it can be
removed; once text and salt are gone, the hash tells nobody what was written, however few words it may have been.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from sharewell.domain import checks
from sharewell.domain.errors import Invalid

MOST_CHARACTERS: Final = 500

_SALT: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What somebody wrote about a decision of theirs."""

    salt: str  #: 16 random bytes in hex
    body: str = field(repr=False)  #: not shown by accident, as in a message or a log line

    @classmethod
    def write(cls, body: str | None, *, salt: str) -> Remark | None:
        """The remark, or None where nothing was written. Raises `Invalid` for what is too long or no plain text."""
        if body is None or not body.strip():
            return None
        if not _SALT.fullmatch(salt):
            raise Invalid("salt must be 32 hex digits.", field="salt")
        return cls(salt=salt, body=checks.text(body, "remark", most=MOST_CHARACTERS))

    @property
    def sha256(self) -> str:
        """What the entry holds: SHA-256, in hex, of the salt's 16 bytes and the text in UTF-8."""
        return hashlib.sha256(bytes.fromhex(self.salt) + self.body.encode()).hexdigest()
