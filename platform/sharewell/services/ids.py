"""Names and salts for what is made."""

from __future__ import annotations

import hashlib
import secrets
from uuid import UUID

from uuid_utils.compat import uuid7


def new_salt() -> str:
    """16 random bytes in hex, for a hash from which nobody can guess what was hashed."""
    return secrets.token_hex(16)


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562): ids made later sort later, so keyset pages follow time."""
    return uuid7()


def hashed(secret: str) -> bytes:
    """SHA-256 of a secret with entropy of its own, for storing; or of a login, for counting."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
