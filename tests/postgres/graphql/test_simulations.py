"""A draft of the policies, tried on what was really decided."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.postgres.graphql.conftest import NOON, Api, text

from sharewell.authz import shipped_policies
from sharewell.domain.errors import Forbidden, Invalid
from sharewell.domain.simulation import Unplayed

CLOSED = b"""
@id("no-offers-on-trial")
@sentence("Nobody pledges anything while this is tried.")
forbid (principal, action == Sharewell::Action::"publishOffer", resource);
"""
WIDER = b"""
@id("institutions-see-all-requests")
@sentence("Institutions see every request on trial.")
permit (
  principal is Sharewell::Caller in Sharewell::Role::"institution",
  action == Sharewell::Action::"viewRequest",
  resource
);
"""
LATER = NOON + timedelta(days=1)


def draft(*more: bytes) -> dict[str, bytes]:
    return shipped_policies() | {"trial.cedar": b"".join(more)}


async def lived(api: Api) -> None:
    """Two institutions, two offers, and a request that a neighbour may not see."""
    await api.institution("north")
    south = await api.institution("south")
    for who in ("north", "south"):
        await api.report(who, staffed=20, occupied=5)
        await api.done(who, "publishOffer", **api.pledge_of(3))
    for _ in range(3):
        refused = await api.send("north", "query ($i: UUID) { requests(institution: $i) { nodes { id } } }", {"i": south})
        assert refused.refusal[0] == "FORBIDDEN"


async def test_a_draft_is_asked_what_was_really_asked(api: Api) -> None:
    await lived(api)
    service, regulator = api.people.simulations, api.callers["regulator"]
    same = await service.simulate(regulator, shipped_policies(), since=NOON, until=LATER)
    assert same.tally.total.newly_allowed == same.tally.total.newly_denied == 0
    assert same.tally.total.unchanged > 10
    other = await service.simulate(regulator, draft(CLOSED, WIDER), since=NOON, until=LATER)
    assert (other.tally.total.newly_allowed, other.tally.total.newly_denied) == (3, 2)
    assert other.questions < other.tally.total.decisions
