"""Releases bring policies of their own, and policies change while lists are read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres.graphql.conftest import text
from tests.postgres.graphql.policies.conftest import (
    NARROW,
    approved,
    drafted,
    in_force,
    may_report,
    simulated,
)

from sharewell.authz import Authorizer, shipped_policies
from sharewell.domain.errors import Unavailable
from sharewell.services.office import Office
from sharewell.vetting import findings
from sharewell.wiring import Services, operator

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

async def test_another_release_replaces_the_set_of_a_release_and_never_an_approved_one(
    office: Api, replica: Services
) -> None:
    next_release = Authorizer.load(shipped_policies() | {"next.cedar": NARROW.encode()})
    replica.office.rulebook.own = next_release
    assert await replica.policies.publish(operator())
    assert not await replica.policies.publish(operator())
    found = await office.ask("admin", "{ policyVersions { nodes { number state origin } } }")
    assert [tuple(node.values()) for node in found["policyVersions"]["nodes"]] == [
        (2, "EFFECTIVE", "SHIPPED"), (1, "SUPERSEDED", "SHIPPED"),
    ]  # fmt: skip
    await office.people.policies.refresh()
    await in_force(office)
    replica.office.rulebook.own = Authorizer.load(shipped_policies() | {"later.cedar": NARROW.encode()})
    assert not await replica.policies.publish(operator())  # the approved one stays
    found = await office.ask("admin", "{ policyVersions { nodes { number state origin } } }")
    assert [tuple(node.values()) for node in found["policyVersions"]["nodes"]][:2] == [
        (4, "VALIDATED", "SHIPPED"), (3, "EFFECTIVE", "DRAFTED"),
    ]  # fmt: skip
    assert await may_report(replica, office)


async def test_a_release_that_finds_fault_with_what_is_in_force_does_not_start(
    office: Api, replica: Services, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(findings._found.cache_clear)
    await in_force(office)
    findings._found.cache_clear()
    monkeypatch.setattr("sharewell.vetting.findings.PROTECTED", frozenset({"pledge-own-units", "seal-seals"}))
    assert not await replica.policies.publish(operator())
    findings._found.cache_clear()  # what it found is kept by the files alone, for a release does not change
    stricter = shipped_policies()
    stricter["offers.cedar"] = stricter["offers.cedar"].replace(b"resource.owner == principal.institution", b"true")
    monkeypatch.setattr("sharewell.vetting.findings.shipped_policies", lambda: stricter)
    with pytest.raises(Unavailable, match="finds fault with it: the policy pledge-own-units must stay"):
        await replica.policies.publish(operator())


OWN = "principal has institution && resource has owner && resource.owner == principal.institution"
NEIGHBOUR = f"""
@id("who-looks-at-offers")
@sentence("Institutions see their own offers and those of one neighbour.")
forbid (principal in Sharewell::Role::"institution", action == Sharewell::Action::"viewOffer", resource)
unless {{ resource has owner && resource.owner == Sharewell::Institution::"NEIGHBOUR" }}
unless {{ {OWN} }};
"""
NOBODY = f"""
@id("who-looks-at-offers")
@sentence("Nobody but regulators sees offers that are not their own.")
forbid (principal, action == Sharewell::Action::"viewOffer", resource)
unless {{ principal in Sharewell::Role::"regulator" }}
unless {{ {OWN} }};
"""


@pytest.mark.parametrize(
    ("who", "query"),
    [
        ("receiver", "{ offers { nodes { id } } }"),
        ("receiver", "{ offers { nodes { id changedById } } }"),
        ("planner", "{ transfers { nodes { offer { id } } } }"),
    ],
)
async def test_a_list_is_not_told_where_the_policies_change_between_its_reading_and_the_record_of_it(
    office: Api, monkeypatch: pytest.MonkeyPatch, who: str, query: str
) -> None:
    """By a version whose time comes in that very moment."""
    await office.held_transfer()
    await in_force(office, NEIGHBOUR.replace("NEIGHBOUR", str(office.callers["giver"].institution)))
    assert "'id'" in str((await office.send(who, query)).data)
    version, later = await drafted(office, NOBODY), office.at + timedelta(hours=1)
    await simulated(office, version)
    await approved(office, version, effectiveFrom=text(later))
    still = Office.still_seen

    async def as_its_time_comes(*asked: Any) -> None:
        office.at = later
        await still(*asked)

    monkeypatch.setattr(Office, "still_seen", as_its_time_comes)
    told = await office.send(who, query)
    assert (told.status, told.refusal[0], told.headers["Retry-After"]) == (503, "UNAVAILABLE", "1")
    assert told.error["message"] == "the policies changed while this was read, so it is not told; ask again."
