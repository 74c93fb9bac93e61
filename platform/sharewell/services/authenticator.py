"""Authenticator apps: the key that one keeps, and the codes that it shows (RFC 6238)."""

from __future__ import annotations

import hmac
from datetime import datetime

import pyotp

STEP_SECONDS = 30  # RFC 6238, 4.1


def new_key() -> str:
    """A key for an app, 160 random bits in base32."""
    return pyotp.random_base32()


def step_of(key: str | None, code: str, last: int, *, at: datetime) -> int | None:
    """The 30 seconds whose code it is: now, or one to either side (RFC 6238, 5.2), and later than `last`."""
    if key is None:
        return None
    totp, now = pyotp.TOTP(key, interval=STEP_SECONDS), int(at.timestamp()) // STEP_SECONDS
    typed, found = code.replace(" ", "").encode("utf-8", "replace"), None
    for step in (now - 1, now, now + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), typed) and step > last:
            found = step
    return found
