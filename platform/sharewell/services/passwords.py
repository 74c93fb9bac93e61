"""Passwords, kept as argon2id; and how often somebody may try one."""

from __future__ import annotations

import asyncio
import secrets
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError, VerifyMismatchError

from sharewell.domain.people import locked_for
from sharewell.store.database import Transaction

FORGET = timedelta(days=1)

#: OWASP's second recommended setting of argon2id: 19 MiB, two passes; some 30 ms.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = _HASHER.hash(secrets.token_hex(16))
#: Hashing is made to be costly; strangers must not be able to fill the machine with it.
_AT_ONCE = 2


class Passwords:
    """Hashes passwords, a few at a time."""

    def __init__(self) -> None:
        self._hashing = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(_HASHER.hash, password)

    async def holds(self, password_hash: str | None, password: str) -> bool:
        """Whether it is that password. It takes as long where there is none to compare with."""
        async with self._hashing:
            return await asyncio.to_thread(_matches, password_hash or _NOBODY, password)


async def count_try(tx: Transaction, tried: bytes, *, at: datetime) -> bool:
    """Count a try under a login or passkey, by its hash; False while that is locked."""
    failures = await tx.people.try_once(tried, at=at, forget_at=at + FORGET)
    if failures is not None and (pause := locked_for(failures)):
        await tx.people.lock_out(tried, at + pause)
    return failures is not None


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerifyMismatchError, VerificationError, UnicodeEncodeError):
        return False
