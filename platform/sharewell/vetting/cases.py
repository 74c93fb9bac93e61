"""The cases beside the policies of this release: who does what to which thing, and whether that is expected."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

from sharewell.authz import Authorizer
from sharewell.domain.policy import MANY, Action, Ruling, Target
from sharewell.domain.principals import Caller, Role

FOLDERS: Final = {"allow": True, "deny": False}
REGIONS: Final = {"region": "region", "giver_region": "giverRegion", "receiver_region": "receiverRegion"}
KEYS: Final = ["principal", "action", "resource", "context"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case: its name says what happens, its folder what is expected."""

    name: str
    allowed: bool
    caller: Caller
    action: Action
    target: Target
    context: Mapping[str, str]

    def ask(self, authorizer: Authorizer) -> Ruling:
        return authorizer.ask(self.caller, self.action, self.target, self.context)


@cache
def shipped_cases() -> tuple[Case, ...]:
    """Every case of this release. Raises `ValueError` or `KeyError` for a file that is none."""
    return tuple(_read())


def _read() -> Iterator[Case]:
    folder = files("sharewell_policies").joinpath("cases")
    world = json.loads(folder.joinpath("world.json").read_text())
    for name, allowed in FOLDERS.items():
        for entry in sorted(folder.joinpath(name).iterdir(), key=lambda entry: entry.name):
            lines = json.loads(entry.read_text())
            if list(lines) != KEYS:
                raise ValueError(f"{name}/{entry.name} must have the four members {', '.join(KEYS)}, in this order")
            yield Case(
                name=entry.name.removesuffix(".json"), allowed=allowed, caller=_caller(world, lines["principal"]),
                action=Action(lines["action"]), target=_target(world, lines["resource"]), context=lines["context"],
            )  # fmt: skip


def _caller(world: Mapping[str, Any], name: str) -> Caller:
    said = world["principals"][name]
    return Caller(
        principal=said["principal"], roles=frozenset(Role(role) for role in said["roles"]),
        institution=_institution(world, said.get("institution")), scopes=frozenset(said["scopes"]),
        jurisdiction=frozenset(said.get("jurisdiction", ())), purpose=said.get("purposeOfUse"),
        sender_constrained=said.get("senderConstrained", False), proof_required=said.get("proofRequired", False),
    )  # fmt: skip


def _target(world: Mapping[str, Any], name: str) -> Target:
    said = world["resources"][name]
    related: dict[str, Any] = {key: _institution(world, said.get(key)) for key in ("owner", "giver", "receiver")}
    regions = {name: said.get(key) for name, key in REGIONS.items()}
    return Target(
        kind=said["kind"], id=MANY if said.get("list") else "018f-a-thing", author=said.get("author"), **regions,
        shared_with=frozenset(UUID(world["institutions"][name]) for name in said.get("sharedWith", ())), **related,
    )  # fmt: skip


def _institution(world: Mapping[str, Any], name: str | None) -> UUID | None:
    return UUID(world["institutions"][name]) if name else None
