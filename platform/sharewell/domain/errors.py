"""Everything that can go wrong, in four families that the edge maps; an error is a name and a sentence.

Whatever is not one of these families is a crash: masked at the edge, logged there with an id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from sharewell.domain.policy import Ruling


LONGEST_QUOTE: Final = 100  #: characters of what somebody called a thing, in a sentence about it


def quoted(name: str) -> str:
    """What a thing was called, as a sentence can say it: a longer name is cut."""
    return name if len(name) <= LONGEST_QUOTE else f"{name[:LONGEST_QUOTE]}…"


class SharewellError(Exception):
    """Something the caller can understand and act on."""

    code: ClassVar[str] = "ERROR"

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.field = field  #: dotted path of the input at fault, where one is

    @property
    def message(self) -> str:
        return str(self.args[0])


class Invalid(SharewellError):
    """The input breaks a rule; `field` names it and the message says what would be right."""

    code = "INVALID"


class NotFound(SharewellError):
    """No such thing, or none that this caller may see."""

    code = "NOT_FOUND"


class Conflict(SharewellError):
    """The input is well-formed, but the world has moved on or already holds something else."""

    code = "CONFLICT"


class Forbidden(SharewellError):
    """The policies do not permit this caller to do this."""

    code = "FORBIDDEN"

    def __init__(
        self, message: str | None = None, *, ruling: Ruling | None = None, field: str | None = None
    ) -> None:
        super().__init__(message, field=field)
        self.ruling = ruling  #: what Cedar answered, to be recorded


class Unavailable(SharewellError):
    """The platform cannot answer just now; the same call may be repeated after a pause."""

    code = "UNAVAILABLE"

    def __init__(self, message: str | None = None, *, retry_after_seconds: int = 2) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotAdmitted(SharewellError):
    """The token does not open this any more; get a new one, and go on from the last cursor you have."""

    code = "UNAUTHENTICATED"


class OfferExhausted(Conflict):
    """The offer has fewer units left than asked for."""


class StaleSnapshot(Conflict):
    """The offers or requests changed after the plan's snapshot was taken."""


class IdempotencyConflict(Conflict):
    """The idempotency key was used before with another input; use a new key for a new wish."""


class ChangedSince(Conflict):
    """Another decision has changed it since you read it, or it never was as you say; read it again, then decide."""


class WrongStep(Conflict):
    """The transfer is not in a state from which this step can be taken."""


class HoldExpired(WrongStep):
    """The hold on the units ran out before the giver confirmed; the units are free again."""
