"""People who sign in to the platform itself, for federations without an identity provider of their own.

A person is invited by an admin, sets password and second factor by the invitation, and can then sign in to apps.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sharewell.domain import checks, jurisdictions
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.principals import Role, check_apart
from sharewell.domain.subjects import ERASED

PERSONS = frozenset(Role) - {Role.DEVICE}
PREFIX = "person/"  #: of a person's principal; no client id can begin like this
INVITATION_LIFE = timedelta(days=3)
LEAST_PASSWORD, MOST_PASSWORD = 12, 128
MOST_PASSKEYS = 10  #: of one person
LONGEST_PASSKEY_NAME = 60
VISIT_LIFE = timedelta(minutes=5)  #: how long who has just signed in may change what signs in
TRIES = 5  #: failures that are free
LONGEST_LOCK = timedelta(hours=1)
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._+@-]{2,199}")


class PersonStatus(StrEnum):
    """Whether the person can sign in."""

    INVITED = "invited"
    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonDraft:
    """What an admin says of a person."""

    login: str
    name: str
    roles: frozenset[Role]
    institution: UUID | None = None
    jurisdiction: Collection[str] = ()  #: of a regulator: the regions the person reads of; none: all


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person who may sign in. The audit log knows it by `id` alone."""

    id: UUID
    login: str
    name: str
    roles: frozenset[Role]
    institution: UUID | None
    status: PersonStatus
    created_at: datetime
    jurisdiction: tuple[str, ...] = ()  #: of a regulator: the regions the person reads of; none: all
    invited_by: UUID | None = None  #: the decision by which the person was invited again, the latest if several
    passkeys: int = 0  #: how many the person has
    erased_by: UUID | None = None  #: the decision by which login and name were erased
    renewals: int = 0  #: how often something that signs the person in was replaced or taken away

    @classmethod
    def invite(cls, draft: PersonDraft, *, id: UUID, at: datetime) -> Person:  # noqa: A002
        """Take `draft` in, or raise `Invalid` naming the field that is wrong."""
        login = draft.login.strip().lower()
        if not _LOGIN.fullmatch(login):
            raise Invalid("login must have 3 to 200 of a-z, 0-9 and . _ + @ -.", field="login")
        if not draft.roles or not draft.roles <= PERSONS:
            raise Invalid(f"roles must be some of {', '.join(sorted(PERSONS))}.", field="roles")
        check_apart(draft.roles)
        if Role.INSTITUTION in draft.roles and draft.institution is None:
            raise Invalid("institution is missing; the role institution acts for one.", field="institution")
        return cls(
            id=id, login=login, name=checks.text(draft.name, "name"), roles=frozenset(draft.roles),
            institution=draft.institution, status=PersonStatus.INVITED, created_at=at,
            jurisdiction=jurisdictions.checked(draft.jurisdiction, draft.roles),
        )  # fmt: skip

    @property
    def principal(self) -> str:
        """How the person is called as a caller and in the audit log."""
        return f"{PREFIX}{self.id}"

    def usable(self, *, at: datetime) -> bool:  # noqa: ARG002 - as of clients, which end
        """Whether the person may act."""
        return self.status is PersonStatus.ACTIVE

    def invite_again(self) -> Person:
        """The same person, who has yet to set password and second factor; what there was of these is dead."""
        if self.status is PersonStatus.DISABLED:
            raise Conflict("this person is disabled; register whoever it is anew, under another login.", field="person")
        return replace(self, status=PersonStatus.INVITED, passkeys=0)

    def disable(self) -> Person:
        """The same person, refused from now on."""
        if self.status is PersonStatus.DISABLED:
            raise Conflict("this person is disabled already.", field="id")
        return replace(self, status=PersonStatus.DISABLED)

    def erase(self) -> Person:
        """The same person, of whom nothing is left but what entries need: id, roles and institution."""
        if self.status is not PersonStatus.DISABLED:
            raise Conflict("this person still has access; disable the person first.", field="person")
        if self.erased_by is not None:
            raise Conflict("this person is erased already.", field="person")
        return replace(self, login=ERASED, name=ERASED, passkeys=0)


def check_password(password: str, login: str) -> None:
    """NIST SP 800-63B, 5.1.1.2: long rather than odd, and not the login. Raises `Invalid`."""
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise Invalid(f"The password must have {LEAST_PASSWORD} to {MOST_PASSWORD} characters.", field="password")
    if login in password.lower() or len(set(password)) < 5:
        raise Invalid("The password must not hold your login, nor repeat a few characters.", field="password")


def locked_for(failures: int) -> timedelta:
    """How long nobody gets in under a login after so many failures in a row: doubling, up to an hour."""
    if failures < TRIES:
        return timedelta(0)
    doublings = min(failures - TRIES, 12)
    return min(timedelta(seconds=30 << doublings), LONGEST_LOCK)
