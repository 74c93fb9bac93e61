"""Names and salts for what is made."""

from __future__ import annotations

import secrets
from uuid import UUID

from uuid_utils.compat import uuid7


def new_salt() -> str:
    """16 random bytes in hex, for a hash from which nobody can guess what was hashed."""
    return secrets.token_hex(16)


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562): ids made later sort later, so keyset pages follow time."""
    return uuid7()
