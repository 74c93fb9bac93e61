"""Who asks: a client of the gateway or a worker, with the roles its registration gives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What a caller is to the platform; the policies say what each may do."""

    INSTITUTION = "institution"
    DEVICE = "device"
    ALLOCATOR = "allocator"
    REGULATOR = "regulator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The authenticated origin of one request or job."""

    principal: str  #: OAuth client id, or the name of a worker
    roles: frozenset[Role]
    institution: UUID | None = None  #: the institution it acts for, where it acts for one
    scopes: frozenset[str] = frozenset()
    request_id: str = ""  #: follows the request from HTTP through jobs into the logs
    purpose: str | None = None  #: what its token is for, a code of HL7 PurposeOfUse
    sender_constrained: bool = False  #: it proved to hold the key its token is bound to (RFC 9449)
    proof_required: bool = False  #: its registration demands that

    @property
    def is_institution(self) -> bool:
        return self.institution is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Somebody who was let in by a token, for what lasts longer than a request."""

    caller: Caller
    left: Callable[[], timedelta]  #: until the token ends
    again: Callable[[], Awaitable[Caller]]  #: the caller as registered now; raises `NotAdmitted` or `Unavailable`
    pause: Callable[[], int]  #: take one more request out of the caller's rate: the seconds to wait first, mostly none
