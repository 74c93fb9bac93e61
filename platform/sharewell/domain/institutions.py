"""Institutions: who takes part, where they are, and to which group an equity rule counts them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sharewell.domain import checks
from sharewell.domain.audit import UNDECIDED
from sharewell.domain.errors import Invalid


class InstitutionKind(StrEnum):
    """What sort of place it is."""

    HOSPITAL = "hospital"
    CLINIC = "clinic"
    PHARMACY = "pharmacy"
    STOCKPILE = "stockpile"
    REGION = "region"  #: an aggregate that reports for a whole area, as the German Laender do
    AGENCY = "agency"


class InstitutionStatus(StrEnum):
    """Whether it may act."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    OBSERVED = "observed"  #: known from a published feed only; nobody acts for it


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionDraft:
    """What an admin or a feed says of an institution before it is taken in."""

    code: str  #: stable outside identifier, such as a CCN or `us-nj-3100642`
    name: str
    kind: InstitutionKind
    region: str  #: region whose institutions are allocated together, such as `us-nj`
    latitude: float | None = None  #: degrees north, WGS 84
    longitude: float | None = None  #: degrees east, WGS 84
    equity_group: str = "general"
    status: InstitutionStatus = InstitutionStatus.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Institution:
    """One participant."""

    id: UUID
    code: str
    name: str
    kind: InstitutionKind
    region: str
    latitude: float | None
    longitude: float | None
    equity_group: str
    status: InstitutionStatus
    registered_at: datetime
    changed_by: UUID = UNDECIDED  #: the decision that took it in or changed its standing last

    @classmethod
    def register(cls, draft: InstitutionDraft, *, id: UUID, at: datetime) -> Institution:  # noqa: A002
        """Take `draft` in, or raise `Invalid` naming the field that is wrong."""
        for value, field, most in ((draft.latitude, "latitude", 90), (draft.longitude, "longitude", 180)):
            if value is not None and not -most <= value <= most:
                raise Invalid(f"{field} is {value}; it must be degrees from -{most} to {most}.", field=field)
        if (draft.latitude is None) != (draft.longitude is None):
            raise Invalid("send both latitude and longitude, or neither.", field="longitude")
        return cls(
            id=id,
            code=checks.code(draft.code, "code"),
            name=checks.text(draft.name, "name"),
            kind=InstitutionKind(draft.kind),
            region=checks.code(draft.region, "region"),
            latitude=draft.latitude,
            longitude=draft.longitude,
            equity_group=checks.code(draft.equity_group, "equityGroup"),
            status=InstitutionStatus(draft.status),
            registered_at=at,
        )
