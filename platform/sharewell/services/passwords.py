"""Passwords, kept as argon2id; and how often somebody may try one."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
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


async def count_try(tx: Transaction, tried: bytes, *, at: datetime) -> int | None:
    """Count a try under a login or passkey, by its hash: how many there were in a row; None while that is locked."""
    failures = await tx.people.try_once(tried, at=at, forget_at=at + FORGET)
    if failures is not None and (pause := locked_for(failures)):
        await tx.people.lock_out(tried, at + pause)
    return failures


@dataclass(frozen=True, slots=True)
class OwnTry:
    """A try of somebody who is signed in already, counted under the login as any other.

    There is one count, so whoever found an open page gains no further tries by it. But strangers can lock a login, and
    must keep nobody who is in from getting rid of what they know: under a lock one try may still be made, as long as
    the person failed at none in the last `FORGET`.
    """

    own: bytes  #: hash for what this person tried
    tried: bytes  #: hash of the login
    at: datetime
    counted: int | None  #: tries in a row under the login, this one among them; None while it is locked
    allowed: bool  #: whether the password may be looked at

    @classmethod
    async def count(cls, tx: Transaction, own: bytes, tried: bytes, *, at: datetime) -> OwnTry:
        """Count one more, before the password is looked at."""
        first = await tx.people.try_once(own, at=at, forget_at=at + FORGET) == 1
        counted = await count_try(tx, tried, at=at)
        return cls(own, tried, at, counted, allowed=first or counted is not None)

    async def take_back(self, tx: Transaction) -> None:
        """It went well, and is no failure. Others still count: a password is but half of what signs somebody in."""
        await tx.people.forget(self.own)
        if self.counted is not None:
            await tx.people.take_back(self.tried, self.at + locked_for(self.counted), at=self.at)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerifyMismatchError, VerificationError, UnicodeEncodeError):
        return False
