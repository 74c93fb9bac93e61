"""Puts the domain's own enumerations into the API, with a sentence for each value."""

from __future__ import annotations

from enum import EnumMeta
from typing import TypeVar

import strawberry

Kind = TypeVar("Kind", bound=EnumMeta)


def described(kind: Kind, description: str, **values: str) -> Kind:
    """`kind` as a GraphQL enumeration. `values`: by the value in lower case, what it means; none may be missing."""
    enum = strawberry.enum(kind, description=description)
    definition = enum.__strawberry_definition__  # type: ignore[attr-defined]
    said = {name.upper(): sentence for name, sentence in values.items()}
    if said.keys() != {value.name for value in definition.values}:
        raise TypeError(f"{kind.__name__} has the values {', '.join(kind.__members__)}; describe these")
    for value in definition.values:
        value.description = said[value.name]
    return enum
