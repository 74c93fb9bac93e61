"""How an instance is drawn from what is on record: offers, requests and how each institution stands.

A pure function of rows: the caller reads them in one database snapshot and says which version it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sharewell.domain.credit import spread
from sharewell.domain.errors import Invalid
from sharewell.domain.instance import Fairness, Instance, Lane, Movement, Owner, Receiver
from sharewell.domain.lanes import Reach, Spot, nearest_lanes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sharewell.domain.requests import RaiseReason
    from sharewell.domain.reserves import Reserve
    from sharewell.domain.resources import ResourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRow:
    """An open offer of the resource."""

    id: str
    institution: str
    quantity: int  #: units that may still be promised
    minimum_kept: int
    available_from: datetime
    available_until: datetime  #: the last instant at which a transfer may leave the building


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """An open request for the resource."""

    id: str
    institution: str
    quantity: int  #: units asked for and not approved yet
    urgency: int
    needed_by: datetime
    needed_until: datetime
    held: int = 0  #: units the same need received in earlier runs
    raised: int = 0  #: units that count as needed on the institution's word, where forecast and census fall short
    raise_reason: RaiseReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one institution stands with the resource."""

    institution: str
    latitude: float | None
    longitude: float | None
    stock: int  #: units on hand, not promised to anyone
    own_need: int  #: units it is expected to need itself
    need_cap: int | None = None  #: units it may lack by forecast or audited census; None caps nothing
    weight: int = 1000  #: per mille; equity weight
    credit: int = 0  #: thousandths of a unit by which it came off worse than others in earlier runs
    categories: tuple[str, ...] = ()  #: reserve categories it qualifies for


def build_instance(
    *,
    resource: str,
    kind: ResourceKind,
    at: datetime,
    offers: Iterable[OfferRow],
    requests: Iterable[RequestRow],
    standings: Iterable[Standing],
    seed: str,
    reach: Reach | None = None,
    fairness: Fairness | None = None,
    snapshot: str = "0",
    stale_after: datetime | None = None,
    forecasts: Sequence[str] = (),
    reserves: Sequence[Reserve] = (),
    in_force: Sequence[Movement] = (),
) -> Instance:
    """Draw the instance of one resource at one moment.

    An institution's `need_cap` is spread over its requests, most urgent first: asking for more than the forecast
    bears out gains nothing, unless units are raised above it for a coded reason. What of `in_force` speaks of other
    offers or requests is left out. A lane is drawn where the two are within `reach` and the units, leaving within the
    offer's window, arrive before the need ends. Raises `Invalid` for an institution without standing.
    """
    reach = reach or Reach()
    standing = {row.institution: row for row in standings}
    offers = sorted(offers, key=lambda row: row.id)
    requests = sorted(requests, key=lambda row: row.id)
    for name in {*(row.institution for row in offers), *(row.institution for row in requests)}:
        if name not in standing:
            raise Invalid(f"institution {name} has no standing for {resource}.", field="standings")
    receivers = tuple(_receivers(requests, standing))
    giving = [row for row in offers if row.available_until >= at]
    names = {row.id for row in giving}, {row.id for row in requests}
    return Instance(
        resource=resource, kind=kind, at=at, seed=seed, fairness=fairness or Fairness(), snapshot=snapshot,
        stale_after=stale_after, forecasts=tuple(forecasts),
        owners=tuple(_owner(row, standing[row.institution]) for row in giving),
        receivers=receivers,
        lanes=tuple(_lanes(giving, requests, {row.request: row.need for row in receivers}, standing, reach, at=at)),
        reserves=tuple(reserves),
        in_force=tuple(row for row in in_force if row.offer in names[0] and row.request in names[1]),
    )  # fmt: skip


def moved_before(
    lapsed: Iterable[tuple[str, str, int]], remainders: Sequence[tuple[str, str, int]]
) -> list[Movement]:
    """What the plan in force moves and must be decided anew.

    `lapsed` are its movements whose holds ran out (offer, request, units); `remainders` the requests that ask for what
    it left open again (request, the one whose remainder it is, units). Each movement goes on to the remainders of its
    request, in their order, as far as they have room.
    """
    left = {request: units for request, _, units in remainders}
    heirs: dict[str, list[str]] = {}
    for request, parent, _ in remainders:
        heirs.setdefault(parent, []).append(request)
    moves: dict[tuple[str, str], int] = {}
    for offer, request, units in lapsed:
        rest = units
        for heir in heirs.get(request, ()):
            taken = min(rest, left[heir])
            if taken:
                moves[offer, heir] = moves.get((offer, heir), 0) + taken
                left[heir] -= taken
                rest -= taken
    return [Movement(offer=offer, request=request, quantity=units) for (offer, request), units in moves.items()]


def _owner(row: OfferRow, standing: Standing) -> Owner:
    return Owner(
        offer=row.id, institution=row.institution, quantity=row.quantity, stock=standing.stock,
        minimum_kept=row.minimum_kept, own_need=standing.own_need,
    )  # fmt: skip


def _receivers(requests: Sequence[RequestRow], standing: Mapping[str, Standing]) -> Iterator[Receiver]:
    found = list(_needs(requests, {name: row.need_cap for name, row in standing.items()}))
    needs: dict[str, list[int]] = {}
    for row, need, _ in found:
        needs.setdefault(row.institution, []).append(need)
    shares = {name: iter(spread(standing[name].credit, rows)) for name, rows in needs.items()}
    for row, need, raised in found:
        yield Receiver(
            request=row.id, institution=row.institution, need=need, asked=row.quantity, urgency=row.urgency,
            held=row.held, weight=standing[row.institution].weight, credit=next(shares[row.institution]),
            categories=standing[row.institution].categories, raised=raised,
            raise_reason=row.raise_reason if raised else None,
        )  # fmt: skip


def _needs(
    requests: Sequence[RequestRow], left: dict[str, int | None]
) -> Iterator[tuple[RequestRow, int, int]]:
    """Each request with its need and what of that is raised; `left` of an institution is what is still borne out."""
    for row in sorted(requests, key=lambda row: (-row.urgency, row.needed_by, row.id)):
        cap = left[row.institution]
        borne_out = row.quantity if cap is None else min(row.quantity, cap)
        if cap is not None:
            left[row.institution] = cap - borne_out
        raised = 0 if row.raise_reason is None else min(row.raised, row.quantity - borne_out)
        yield row, borne_out + raised, raised


def _lanes(
    offers: Sequence[OfferRow],
    requests: Sequence[RequestRow],
    needs: Mapping[str, int],
    standing: Mapping[str, Standing],
    reach: Reach,
    *,
    at: datetime,
) -> Iterator[Lane]:
    """Join sites first, so that the nearest owners are counted as institutions, then their offers and requests."""
    offers_of: dict[str, list[OfferRow]] = {}
    for offer in offers:
        offers_of.setdefault(offer.institution, []).append(offer)
    requests_of: dict[str, list[RequestRow]] = {}
    for request in requests:
        requests_of.setdefault(request.institution, []).append(request)
    for giver, taker, metres in _site_lanes(sorted(offers_of), sorted(requests_of), standing, reach):
        hours = reach.hours(metres)
        for offer in offers_of[giver]:
            for request in requests_of[taker]:
                need = needs[request.id]
                if need > 0 and _in_time(offer, request, at, hours):
                    yield Lane(
                        offer=offer.id, request=request.id, cap=min(need, offer.quantity), metres=metres, hours=hours
                    )


def _site_lanes(
    givers: Sequence[str], takers: Sequence[str], standing: Mapping[str, Standing], reach: Reach
) -> Iterator[tuple[str, str, int]]:
    spots = {name: spot for name in {*givers, *takers} if (spot := _spot(standing[name])) is not None}
    spare = [name for name in givers if standing[name].stock > standing[name].own_need]
    located = [spots[name] for name in spare if name in spots]
    for giver, taker, metres in nearest_lanes(located, [spots[name] for name in takers if name in spots], reach):
        if giver != taker:
            yield giver, taker, metres
    if reach.unlocated_metres is not None:
        for giver in spare:
            for taker in takers:
                if giver != taker and (giver not in spots or taker not in spots):
                    yield giver, taker, reach.unlocated_metres


def _spot(standing: Standing) -> Spot | None:
    if standing.latitude is None or standing.longitude is None:
        return None
    return Spot(id=standing.institution, latitude=standing.latitude, longitude=standing.longitude)


def _in_time(offer: OfferRow, request: RequestRow, at: datetime, hours: int) -> bool:
    leaves = max(at, offer.available_from)
    return leaves <= offer.available_until and leaves + timedelta(hours=hours) <= request.needed_until
