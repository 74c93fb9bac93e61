"""What a horizon is drawn from: the terms an allocator chooses, and what is on record of a region."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sharewell.domain import checks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from sharewell.domain.capacity import CapacityReport
    from sharewell.domain.forecast import Forecast
    from sharewell.domain.horizon_rows import Shipment
    from sharewell.domain.horizon_walk import Node
    from sharewell.domain.institutions import Institution
    from sharewell.domain.offers import Offer
    from sharewell.domain.requests import Request
    from sharewell.domain.resources import Resource
    from sharewell.domain.rule import Rule
    from sharewell.domain.transfers import TransferState

DAY = timedelta(days=1)
MOST_DAYS = 28  #: of a horizon that is drawn; nobody's forecast is worth more
MOST_RESOURCES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How far to look ahead, and how: what an allocator chooses. Raises `Invalid` naming the field out of range."""

    days: int = 7
    level: int = 500  #: per mille; the quantile of each forecast that counts as need, and that owners keep
    hold_days: int = 10  #: days for which consumables that were received are not shipped on

    def __post_init__(self) -> None:
        checks.units(self.days, "days", least=1, most=MOST_DAYS)
        checks.units(self.level, "level", least=25, most=975)
        checks.units(self.hold_days, "holdDays", most=MOST_DAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """Units, or people, that an earlier plan moves and that are not back."""

    giver: str
    receiver: str
    resource: str
    units: int
    state: TransferState
    needed_by: datetime
    needed_until: datetime
    return_due_at: datetime | None
    reported: bool  #: whether the receiver's newest report has them among its own
    counted: bool  #: whether they are taken off the giver's stock, see `promised`


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is on record of a region, all of one moment."""

    institutions: Sequence[Institution]  #: those that take part
    resources: Sequence[Resource]
    reports: Mapping[Node, CapacityReport]  #: newest by institution and resource
    forecasts: Mapping[Node, Mapping[date, Forecast]]
    offers: Sequence[Offer]  #: open
    requests: Sequence[Request]  #: open
    promised: Mapping[Node, int]  #: units taken off the stock a giver reported
    under_way: Sequence[UnderWay]
    in_force: Foreseen | None = None  #: what the last run foresaw
    rules: Mapping[str, Rule] = field(default_factory=dict)  #: chosen for a resource; else the usual one


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """Shipments that an adopted schedule foresees, and when its day 0 began."""

    start: datetime
    days: int
    shipments: Sequence[Shipment]


def due_today(request: Request, begins: datetime) -> bool:
    """Whether the units are needed on the day that begins then."""
    return request.needed_by < begins + DAY and request.needed_until > begins


def ends_on(offer: Offer, begins: datetime) -> bool:
    """Whether the window of `offer` ends on the day that begins then."""
    return begins <= offer.available_until < begins + DAY


def last_day(offer: Offer, start: datetime, days: int) -> int:
    """First day, of a horizon of so many from `start`, on which the units offered are of no use any more."""
    if offer.expires_on is None:
        return days
    return max(1, min(days, (offer.expires_on - start.date()).days + 1))
