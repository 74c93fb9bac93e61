"""The cases beside the policies: each is four lines, and its folder is the expected answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sharewell.authz import Authorizer
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.principals import Caller, Role

CASES = Path(str(files("sharewell_policies").joinpath("cases")))
WORLD: Mapping[str, Mapping[str, Any]] = json.loads((CASES / "world.json").read_text())

REGIONS = {"region": "region", "giver_region": "giverRegion", "receiver_region": "receiverRegion"}


def named(folder: str) -> list[Path]:
    return sorted((CASES / folder).glob("*.json"))


def read(case: Path) -> tuple[Caller, Action, Target, Mapping[str, str]]:
    lines = json.loads(case.read_text())
    assert list(lines) == ["principal", "action", "resource", "context"]
    return caller(lines["principal"]), Action(lines["action"]), target(lines["resource"]), lines["context"]


def institution(name: str | None) -> UUID | None:
    return UUID(WORLD["institutions"][name]) if name else None


def caller(name: str) -> Caller:
    said = WORLD["principals"][name]
    return Caller(
        principal=said["principal"],
        roles=frozenset(Role(role) for role in said["roles"]),
        institution=institution(said.get("institution")),
        scopes=frozenset(said["scopes"]),
        jurisdiction=frozenset(said.get("jurisdiction", ())),
        purpose=said.get("purposeOfUse"),
        sender_constrained=said.get("senderConstrained", False),
        proof_required=said.get("proofRequired", False),
    )


def target(name: str) -> Target:
    said = WORLD["resources"][name]
    related: dict[str, Any] = {key: institution(said.get(key)) for key in ("owner", "giver", "receiver")}
    regions: dict[str, Any] = {name: said.get(key) for name, key in REGIONS.items()}
    return Target(kind=said["kind"], id=MANY if said.get("list") else "018f-a-thing", **related, **regions)


@pytest.mark.parametrize("case", named("allow"), ids=lambda case: case.stem)
def test_it_is_allowed_that(case: Path, authorizer: Authorizer) -> None:
    ruling = authorizer.ask(*read(case))
    assert ruling.allowed, ruling
    assert ruling.policies


@pytest.mark.parametrize("case", named("deny"), ids=lambda case: case.stem)
def test_it_is_denied_that(case: Path, authorizer: Authorizer) -> None:
    assert not authorizer.ask(*read(case)).allowed


@pytest.mark.parametrize("folder", ["allow", "deny"])
def test_every_action_has_a_case(folder: str) -> None:
    assert {read(case)[1] for case in named(folder)} == set(Action)


def test_every_policy_decides_some_case(authorizer: Authorizer) -> None:
    cases = named("allow") + named("deny")
    deciding = {policy for case in cases for policy in authorizer.ask(*read(case)).policies}
    assert deciding == set(authorizer.policies)
