"""Entities of a federated graph: things of ours that another subgraph names by key, and a gateway asks us for.

Of a representation nothing counts but `__typename` and one key: what else a gateway or a client puts into it is never
looked at. Each thing is permitted and put on record as its query by id would be, all of one kind in one batch.
See https://www.apollographql.com/docs/graphos/schema-design/federated-schemas/reference/subgraph-spec.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from graphql import GraphQLError
from strawberry.annotation import StrawberryAnnotation
from strawberry.federation.schema import FederationAny
from strawberry.printer import print_schema
from strawberry.types.union import StrawberryUnion

from sharewell.domain import checks, institutions, offers, requests, resources, transfers
from sharewell.domain.errors import Invalid, NotFound, SharewellError
from sharewell.store import allocations
from sharewell_schema import allocations as runs
from sharewell_schema import requests as needs
from sharewell_schema import transfers as moves
from sharewell_schema.context import Info
from sharewell_schema.describe import Resolver, argument, field
from sharewell_schema.institutions import Institution
from sharewell_schema.loaders import Edges, fetch_edges
from sharewell_schema.offers import EDGES as OFFER_EDGES
from sharewell_schema.offers import Offer
from sharewell_schema.resources import Resource
from sharewell_schema.scalars import read_uuid

if TYPE_CHECKING:
    from sharewell.domain.principals import Caller
    from sharewell.wiring import Services

MOST = 500  #: representations of one `_entities`; a gateway asks for a page of another's list at once

Find = Callable[["Services", "Caller", list[Any]], Awaitable[Mapping[Any, Any]]]


@dataclass(frozen=True, slots=True)
class Key:
    """A field by which others may name a thing."""

    field: str
    read: Callable[[object], Any]  #: raises `Invalid` or GraphQLError for what cannot be a key
    find: Find  #: things by key, a refusal in place of what the caller may not see


@dataclass(frozen=True, slots=True)
class Entity:
    """A type of ours that others may name."""

    shown: type  #: the GraphQL type; its `@key` directives name the same fields
    noun: type  #: the domain's class that stands in for it
    keys: tuple[Key, ...]
    edges: Edges


def _code(value: object) -> str:
    if isinstance(value, str):
        return checks.code(value, "code")
    raise Invalid("code must be a text.", field="code")


ENTITIES: Mapping[str, Entity] = {
    "Institution": Entity(
        Institution, institutions.Institution,
        (Key("id", read_uuid, lambda s, caller, ids: s.institutions.named(caller, ids)),
         Key("code", _code, lambda s, caller, codes: s.institutions.named_by_code(caller, codes))), {},
    ),
    "Resource": Entity(
        Resource, resources.Resource,
        (Key("code", _code, lambda s, caller, codes: s.resources.named(caller, codes)),), {},
    ),
    "Offer": Entity(
        Offer, offers.Offer, (Key("id", read_uuid, lambda s, caller, ids: s.offers.named(caller, ids)),), OFFER_EDGES
    ),
    "Request": Entity(
        needs.Request, requests.Request,
        (Key("id", read_uuid, lambda s, caller, ids: s.requests.named(caller, ids)),), needs.EDGES,
    ),
    "Transfer": Entity(
        moves.Transfer, transfers.Transfer,
        (Key("id", read_uuid, lambda s, caller, ids: s.transfers.named(caller, ids)),), moves.EDGES,
    ),
    "Allocation": Entity(
        runs.Allocation, allocations.Allocation,
        (Key("id", read_uuid, lambda s, caller, ids: s.allocations.named(caller, ids)),), runs.EDGES,
    ),
}  # fmt: skip
_NAMES = {entity.noun: name for name, entity in ENTITIES.items()} | {allocations.VeiledAllocation: "Allocation"}


class AnyEntity(StrawberryUnion):
    """The union of all of them. What stands in for a type is known by its class."""

    def get_type_resolver(self, type_map: Any) -> Any:  # noqa: ARG002 - strawberry's signature
        return lambda thing, _info, _type: _NAMES[type(thing)]


ANY_ENTITY = AnyEntity(
    "_Entity", tuple(StrawberryAnnotation(entity.shown) for entity in ENTITIES.values()),
    description="Whatever other subgraphs may name by key.",
)  # fmt: skip


ANY: dict[object, Any] = {
    FederationAny: strawberry.scalar(
        name="_Any", serialize=lambda value: value,
        description="Type and key of a thing, as one object: `__typename` and the fields of a `@key`.",
    )
}  # fmt: skip


@lru_cache(maxsize=1)
def subgraph_sdl(schema: strawberry.federation.Schema) -> str:
    """The schema with its federation directives, for composers."""
    return print_schema(schema) + "\n"


@strawberry.type(name="_Service", description="This subgraph, as a composer needs it.")
class Service:
    sdl: str = field("Its schema with the directives of Apollo Federation.")


def _asked_by_others(name: str, sentence: str, **more: Any) -> Callable[[Resolver], Resolver]:
    """A field of `Query` that Apollo Federation names; it has no cost of its own."""
    made: Any = strawberry.field(name=name, description=sentence, **more)
    return made  # type: ignore[no-any-return]


@strawberry.type
class EntityQueries:
    @_asked_by_others("_service", "For composers: the schema of this subgraph.")
    def service(self, info: Info) -> Service:
        return Service(sdl=subgraph_sdl(info.schema))

    @_asked_by_others(
        "_entities", "For gateways: things of ours that another subgraph names by key. Each is permitted and recorded "
        "as its own query would be; where one is not, its place is null and an error says why.",
        graphql_type=list[ANY_ENTITY | None],  # type: ignore[valid-type]
    )  # fmt: skip
    async def entities(
        self, info: Info,
        representations: Annotated[
            list[FederationAny], argument(f"Type and key of each, at most {MOST}; anything beside the key is ignored.")
        ],
    ) -> Any:  # fmt: skip
        if len(representations) > MOST:
            raise Invalid(f"{len(representations)} are more than {MOST} at once.", field="representations")
        return await _found(info, [_reference(*numbered) for numbered in enumerate(representations)])


@dataclass(frozen=True, slots=True)
class Reference:
    """What a representation names."""

    entity: Entity
    key: Key
    value: Any
    field: str  #: where in the request the key stands


def _reference(index: int, representation: Any) -> Reference | Invalid:
    """What a representation names, or what is wrong with it."""
    at = f"representations.{index}"
    if not isinstance(representation, dict):
        return Invalid("a representation is an object with __typename and a key.", field=at)
    name = representation.get("__typename")
    entity = ENTITIES.get(name) if isinstance(name, str) else None
    if entity is None:
        return Invalid(f"__typename must be one of {', '.join(ENTITIES)}.", field=f"{at}.__typename")
    key = next((key for key in entity.keys if key.field in representation), None)
    if key is None:
        named = " or ".join(key.field for key in entity.keys)
        return Invalid(f"a representation of {name} names it by {named}.", field=at)
    try:
        return Reference(entity, key, key.read(representation[key.field]), f"{at}.{key.field}")
    except (Invalid, GraphQLError) as error:
        return Invalid(error.message, field=f"{at}.{key.field}")


async def _found(info: Info, references: Sequence[Reference | Invalid]) -> list[Any]:
    """The things in the order asked, an error in the place of each that is not to be had."""
    wanted: dict[tuple[type, str], list[Reference]] = {}
    for each in references:
        if isinstance(each, Reference):
            wanted.setdefault((each.entity.noun, each.key.field), []).append(each)
    things: dict[tuple[type, str, Any], Any] = {}
    for name, group in wanted.items():
        entity, find = group[0].entity, group[0].key.find
        values = list(dict.fromkeys(each.value for each in group))
        found = await find(info.context.services, info.context.caller, values)
        await fetch_edges(info, [thing for thing in found.values() if type(thing) in _NAMES], entity.edges)
        things |= {(*name, value): thing for value, thing in found.items()}
    return [each if isinstance(each, Invalid) else _told(each, things) for each in references]


def _told(reference: Reference, things: Mapping[tuple[type, str, Any], Any]) -> Any:
    """The thing, or why it is not told, said of the very representation."""
    thing = things.get((reference.entity.noun, reference.key.field, reference.value))
    if thing is None:
        return NotFound(f"there is no such {reference.entity.noun.__name__.lower()}.", field=reference.field)
    if isinstance(thing, SharewellError):
        thing = copy(thing)
        thing.field = reference.field
    return thing
