"""Following what happens, over server-sent events: from where, how far, for whom, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.postgres.following.conftest import OFFERS, follow_from, told

if TYPE_CHECKING:
    from tests.postgres.following.conftest import Gateway, Region


async def test_first(region: Region, gateway: Gateway) -> None:
    clinic = await region.institution("clinic")
    token = region.token("clinic")
    start = await follow_from(gateway.url, token)
    offer = await region.pledge("clinic")
    (event,) = await told(gateway.url, token, OFFERS, {"after": start}, most=1)
    assert event["offer"] == {"id": str(offer.id), "institutionId": str(clinic)}
    assert event["kind"] == "offer.published"
