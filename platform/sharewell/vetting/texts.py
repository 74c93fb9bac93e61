"""Policies as Cedar reads them: each one's parts as JSON, so that two can be compared whatever their layout."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cedarpy

from sharewell.authz import SCHEMA


@dataclass(frozen=True, slots=True)
class Text:
    """One policy of a set, taken apart."""

    id: str
    sentence: str
    file: str
    parts: Mapping[str, Any]  #: effect, principal, action, resource and conditions, in Cedar's JSON

    @property
    def permits(self) -> bool:
        return bool(self.parts["effect"] == "permit")

    def named(self) -> Iterator[tuple[str, str]]:
        """Type and id of every entity that it names, without the namespace."""
        yield from _entities(self.parts)


def texts_of(files: Mapping[str, bytes]) -> dict[str, Text]:
    """Every policy by its id; `files` must be a set that `Authorizer.load` takes."""
    found = {}
    for name, data in sorted(files.items()):
        if name == SCHEMA:
            continue
        for policy in json.loads(cedarpy.policies_to_json_str(data.decode()))["staticPolicies"].values():
            notes = policy.pop("annotations")
            found[notes["id"]] = Text(notes["id"], notes["sentence"], name, policy)
    return found


def _entities(part: Any) -> Iterator[tuple[str, str]]:
    if isinstance(part, Mapping):
        if part.keys() == {"type", "id"}:
            yield part["type"].rpartition("::")[2], part["id"]
        for inner in part.values():
            yield from _entities(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _entities(inner)
