"""Admins who change the policies, and how a version goes its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from joserfc.jwk import ECKey
from tests.postgres.graphql.conftest import EVERYTHING, text

from sharewell.authz import Authorizer
from sharewell.domain.principals import Caller, Role
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

EXTRA = """
@id("planners-report-capacity")
@sentence("An allocator says for an institution what it has.")
permit (
  principal is Sharewell::Caller in Sharewell::Role::"allocator",
  action == Sharewell::Action::"reportCapacity",
  resource
);
"""
CLOSED = """
@id("no-reports-on-trial")
@sentence("Nobody reports anything while this is tried.")
forbid (principal, action == Sharewell::Action::"reportCapacity", resource);
"""
WORDY = EXTRA.replace("planners-report-capacity", "planners-report-it-all")
NARROW = """
@id("planner-opens-requests")
@sentence("The planner of the night opens requests for any institution.")
permit (
  principal == Sharewell::Caller::"planner",
  action in [Sharewell::Action::"openRequest", Sharewell::Action::"cancelRequest"],
  resource
);
"""
VERSION = """version {
  number state origin author base returnsTo sha256 why approvedBy effectiveFrom effectiveAt
  findings { code weight policy } steps { state client }
}"""
GLASS = "glass { id version reason remark until inForce ending client }"


@pytest.fixture
async def office(api: Api) -> Api:
    """Three admins, and the release's policies on record as version 1."""
    for name in ("author", "second"):
        api.callers[name] = Caller(
            principal=name, roles=frozenset({Role.ADMIN}), scopes=EVERYTHING, request_id="r-1"
        )
    await api.people.policies.publish(operator())
    return api


@pytest.fixture
async def replica(
    office: Api, database_urls: Mapping[DatabaseRole, str], tmp_path: Path
) -> AsyncIterator[Services]:
    """Another gateway over the same database."""
    async with open_pool(database_urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as pool:
        services = build_services(Settings(home=tmp_path, allocate_after=None), Database(pool), Authorizer.load())
        services.office.now = lambda: office.at
        yield services


def file(name: str, text: str | None) -> dict[str, str | None]:
    return {"name": name, "text": text}


async def drafted(api: Api, text: str = EXTRA, who: str = "author", **more: Any) -> dict[str, Any]:
    files = [file("extra.cedar", text)]
    made = await api.done(who, "draftPolicies", VERSION, **({"files": files, "why": "Because."} | more))
    return dict(made["version"])


async def simulated(api: Api, version: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"version": version["number"], "since": text(api.at - timedelta(days=7)),
             "until": text(api.at + timedelta(seconds=1))}  # fmt: skip
    done = await api.done("author", "simulatePolicies", "version { simulation }", **asked)
    return dict(done["version"]["simulation"])


async def approved(api: Api, version: Mapping[str, Any], who: str = "second", **more: Any) -> dict[str, Any]:
    asked = {"version": version["number"], "sha256": version["sha256"], **more}
    return dict((await api.done(who, "approvePolicies", VERSION, **asked))["version"])


async def in_force(api: Api, text: str = EXTRA) -> dict[str, Any]:
    """A version of the office's own that came into force just now."""
    version = await drafted(api, text)
    await simulated(api, version)
    await approved(api, version)
    await api.people.policies.catch_up(operator())
    return version


async def may_report(services: Services, api: Api) -> bool:
    """Whether a planner may do what only the draft permits."""
    from sharewell.domain.policy import Action, Target  # noqa: PLC0415

    return services.office.may(api.callers["planner"], Action.REPORT_CAPACITY, Target(kind="capacity", id="1"))


CLIENT = """mutation ($input: RegisterClientInput!) { registerClient(input: $input) { client { clientId } } }"""


async def admin_by(api: Api, who: str, client_id: str) -> None:
    """`who` registers one more admin, who may then call, too."""
    key = ECKey.generate_key("P-384", {"kid": client_id}).as_dict(private=False)
    asked = {
        "idempotencyKey": client_id, "clientId": client_id, "name": client_id, "roles": ["ADMIN"],
        "scopes": ["system/*.cruds"], "jwks": {"keys": [key]},
    }  # fmt: skip
    await api.ask(who, CLIENT, input=asked)
    api.callers[client_id] = replace(api.callers[who], principal=client_id)


async def coming(api: Api, policies: str, hours: int, **more: Any) -> dict[str, Any]:
    """A version that is approved for some hours ahead."""
    version = await drafted(api, policies, **more)
    await simulated(api, version)
    await approved(api, version, effectiveFrom=text(api.at + timedelta(hours=hours)))
    return version


async def states(api: Api) -> dict[int, str]:
    found = await api.ask("admin", "{ policyVersions { nodes { number state } } }")
    return {node["number"]: node["state"] for node in found["policyVersions"]["nodes"]}


def judges_by(services: Services, policy: str) -> bool:
    return policy in services.office.authz.policies


async def broken(api: Api, version: int, who: str = "author", hours: float = 2) -> Any:
    asked = {"version": version, "reason": "WRONG_RULE", "remark": "Nurses are locked out.",
             "until": text(api.at + timedelta(hours=hours))}  # fmt: skip
    return await api.do(who, "breakGlass", GLASS, **asked)
