"""From offers, requests and standings to an instance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sharewell.domain.allocation import Instance, OfferRow, Reach, RequestRow, Standing, build_instance
from sharewell.domain.errors import Invalid
from sharewell.domain.resources import ResourceKind

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)

OFFER = OfferRow(
    id="o", institution="giver", quantity=4, minimum_kept=1, available_from=NOON, available_until=NOON + DAY
)
REQUEST = RequestRow(
    id="r", institution="taker", quantity=3, urgency=4, needed_by=NOON + DAY / 2, needed_until=NOON + DAY
)
GIVER = Standing(institution="giver", latitude=40.7, longitude=-74.0, stock=9, own_need=2)
TAKER = Standing(institution="taker", latitude=40.8, longitude=-74.1, stock=0, own_need=3)


def draw(
    offers: tuple[OfferRow, ...] = (OFFER,),
    requests: tuple[RequestRow, ...] = (REQUEST,),
    standings: tuple[Standing, ...] = (GIVER, TAKER),
    **more: Reach,
) -> Instance:
    return build_instance(
        resource="ventilator", kind=ResourceKind.DEVICE, at=NOON, offers=offers, requests=requests,
        standings=standings, seed="spip", **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_an_offer_and_a_request_in_reach_are_joined() -> None:
    instance = draw()
    (lane,) = instance.lanes
    assert (lane.offer, lane.request, lane.cap, lane.metres, lane.hours) == ("o", "r", 3, 13_950, 2)
    assert instance.spare == {"o": 4}
    assert instance.kept == {"giver": 2}


def test_a_request_beyond_the_audited_need_is_cut_most_urgent_first() -> None:
    calm = replace(REQUEST, id="calm", urgency=1)
    receivers = draw(requests=(calm, REQUEST), standings=(GIVER, replace(TAKER, need_cap=4))).receivers
    assert [(row.request, row.need, row.asked) for row in receivers] == [("calm", 1, 3), ("r", 3, 3)]


def test_asking_for_more_gains_nothing_once_the_need_is_capped() -> None:
    capped = (GIVER, replace(TAKER, need_cap=2))
    modest, greedy = draw(standings=capped), draw(requests=(replace(REQUEST, quantity=300),), standings=capped)
    assert modest.receivers[0].need == greedy.receivers[0].need == 2


@pytest.mark.parametrize(
    ("offer", "request_", "giver", "why"),
    [
        ({"available_until": NOON - DAY}, {}, {}, "the offer is over"),
        ({"available_from": NOON + DAY}, {}, {}, "the units leave when the need ends"),
        ({}, {"needed_until": NOON + timedelta(hours=1)}, {}, "the road takes two hours"),
        ({}, {}, {"latitude": -40.0}, "half the Earth lies between"),
        ({}, {}, {"latitude": None, "longitude": None}, "nobody knows where the giver is"),
        ({}, {}, {"own_need": 9}, "the giver needs all it has"),
    ],
)
def test_no_lane_is_drawn_that_could_not_be_driven(
    offer: dict[str, datetime], request_: dict[str, datetime], giver: dict[str, object], why: str
) -> None:
    drawn = draw(
        offers=(replace(OFFER, **offer),), requests=(replace(REQUEST, **request_),),  # type: ignore[arg-type]
        standings=(replace(GIVER, **giver), TAKER),  # type: ignore[arg-type]
    )  # fmt: skip
    assert drawn.lanes == (), why


def test_an_unknown_place_may_be_given_a_length() -> None:
    lost = replace(GIVER, latitude=None, longitude=None)
    (lane,) = draw(standings=(lost, TAKER), reach=Reach(unlocated_metres=200_000)).lanes
    assert lane.metres == 200_000


def test_an_institution_gives_nothing_to_itself() -> None:
    own = replace(REQUEST, institution="giver")
    assert draw(requests=(own,)).lanes == ()


def test_only_the_nearest_owners_are_joined() -> None:
    givers = tuple(
        Standing(institution=f"g{i}", latitude=40.0 + i / 100, longitude=-74.1, stock=5, own_need=0) for i in range(9)
    )
    offers = tuple(replace(OFFER, id=f"o{i}", institution=f"g{i}") for i in range(9))
    lanes = draw(offers=offers, standings=(*givers, TAKER), reach=Reach(nearest=3)).lanes
    assert {lane.offer for lane in lanes} == {"o6", "o7", "o8"}


def test_rows_without_standing_are_refused() -> None:
    with pytest.raises(Invalid, match="institution taker has no standing"):
        draw(standings=(GIVER,))
