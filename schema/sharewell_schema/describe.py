"""Short ways to say what things are: the SDL is what integrators read, so nothing in it goes without a sentence."""

from __future__ import annotations

from collections.abc import Callable
from enum import EnumMeta
from typing import Any, TypeVar

import strawberry
from strawberry.federation.schema_directives import Cost

from sharewell_schema.costs import WRITES, of_field
from sharewell_schema.stretch import is_paged, paged

Kind = TypeVar("Kind", bound=EnumMeta)
Resolver = TypeVar("Resolver", bound=Callable[..., Any])


def field(sentence: str, *, name: str | None = None, default: Any = ...) -> Any:
    """A field that reads the attribute of its own name, or takes it from the input."""
    if default is ...:
        return strawberry.field(description=sentence, name=name)
    return strawberry.field(description=sentence, name=name, default=default)


def argument(sentence: str) -> object:
    """The annotation of an argument."""
    return strawberry.argument(description=sentence)


def query(sentence: str, *, weight: int | None = None) -> Callable[[Resolver], Resolver]:
    """A field of `Query` that its method answers; `weight` is what it costs, if more than its rows do.

    A method that takes a `stretch` answers with a page of a list.
    """

    def of(resolver: Resolver) -> Resolver:
        pages = is_paged(resolver)
        told = paged(resolver) if pages else resolver
        made: Any = strawberry.field(told, description=sentence, directives=of_field(weight, pages=pages))
        return made  # type: ignore[no-any-return]

    return of


def mutation(sentence: str) -> Callable[[Resolver], Resolver]:
    """A field of `Mutation` that its method answers."""
    made: Any = strawberry.mutation(description=sentence, directives=(Cost(weight=WRITES),))
    return made  # type: ignore[no-any-return]


def subscription(sentence: str) -> Callable[[Resolver], Resolver]:
    """A field of `Subscription` whose events its method yields."""
    made: Any = strawberry.subscription(description=sentence)
    return made  # type: ignore[no-any-return]


def described(kind: Kind, sentence: str, name: str | None = None, /, **values: str) -> Kind:
    """Put an enumeration of the domain into the API, under `name` if its own says too little outside of its module.

    `values`: by member in lower case, what it means; all of them.
    """
    enum = strawberry.enum(kind, name=name, description=sentence)
    definition = enum.__strawberry_definition__  # type: ignore[attr-defined]
    said = {member.upper(): meaning for member, meaning in values.items()}
    if said.keys() != {value.name for value in definition.values}:
        raise TypeError(f"{kind.__name__} has the values {', '.join(kind.__members__)}; describe these")
    for value in definition.values:
        value.description = said[value.name]
    return enum
