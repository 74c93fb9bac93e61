"""Who asks: a client of the gateway or a worker, with the roles its registration gives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sharewell.domain.errors import Invalid
from sharewell.domain.rates import Allowance


class Role(StrEnum):
    """What a caller is to the platform; the policies say what each may do."""

    INSTITUTION = "institution"
    DEVICE = "device"
    ALLOCATOR = "allocator"
    REGULATOR = "regulator"
    ADMIN = "admin"
    AUDITOR = "auditor"


#: The platform's own processes, as they are called where they act; the operator is the machine's command line.
WORKERS: Final = ("ingest", "forecast", "allocate", "expire", "seal", "reconcile", "retain")
OPERATOR: Final = "operator"
ANONYMOUS: Final = "anonymous"  #: the actor of an entry where nothing was proven


def check_apart(roles: Iterable[Role]) -> None:
    """Whoever is audited does not audit. Raises `Invalid` for roles that hold both admin and auditor."""
    if {Role.ADMIN, Role.AUDITOR} <= {*roles}:
        raise Invalid(
            "roles holds admin and auditor; an auditor looks at what admins do, so it is no admin.", field="roles"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The authenticated origin of one request or job."""

    principal: str  #: OAuth client id, or the name of a worker
    roles: frozenset[Role]
    institution: UUID | None = None  #: the institution it acts for, where it acts for one
    jurisdiction: frozenset[str] = frozenset()  #: as a regulator: the regions it reads of; empty: all
    scopes: frozenset[str] = frozenset()
    request_id: str = ""  #: follows the request from HTTP through jobs into the logs
    purpose: str | None = None  #: what its token is for, a code of HL7 PurposeOfUse
    sender_constrained: bool = False  #: it proved to hold the key its token is bound to (RFC 9449)
    proof_required: bool = False  #: its registration demands that
    client_id: str | None = None  #: the registered client through which a program or a person asks

    @property
    def app(self) -> str | None:
        """The app through which a person asks; None of a program, which asks for itself."""
        return self.client_id if self.client_id != self.principal else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Somebody who was let in by a token, for what lasts longer than a request."""

    caller: Caller
    left: Callable[[], timedelta]  #: until the token ends
    again: Callable[[], Awaitable[Caller]]  #: the caller as registered now; raises `NotAdmitted` or `Unavailable`
    take: Callable[[], Allowance]  #: take one more request out of the caller's rate
    counted_as: str  #: whose turns, rate and streams these are: its own, or those of the program of an external issuer
