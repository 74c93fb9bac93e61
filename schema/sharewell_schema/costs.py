"""What fields cost, declared in the schema by `@cost` and `@listSize`: one source for all who count.

A field costs 1 for each object it may bring and nothing for a scalar, as in IBM's cost specification
(https://ibm.github.io/graphql-specs/cost-spec.html), whose directives Apollo Federation 2.9 has. Declared is what that
does not show: pages by their `first` or `last`, other lists by what is usual, and fields that work harder than to read
a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from strawberry.federation.schema_directives import Cost, ListSize
from strawberry.types.base import StrawberryContainer, StrawberryList, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.unset import UNSET

from sharewell_schema.stretch import FIRST, SIZES

WRITES = 10  #: a deed: policies, a transaction, an entry
COUNTS = 50  #: reads many rows for a short answer
SOLVES = 1_000  #: keeps a solver, or a replay of the policies, busy for seconds
USUAL = 10  #: items of a list that is no page


def of_field(weight: int | None, *, pages: bool) -> tuple[object, ...]:
    """The directives of a field: how long its page may be, where it answers with one, and what it costs beside."""
    size = _list_size(assumed_size=FIRST, slicing_arguments=list(SIZES), sized_fields=["edges", "nodes"])
    return (*((size,) if pages else ()), *(() if weight is None else (Cost(weight=weight),)))


def declare_lists(*roots: type) -> None:
    """Declare `USUAL` for every list of objects below the root types that is neither a page nor part of one."""
    for made in _fields(roots):
        if _lists_objects(made.type) and not any(isinstance(one, ListSize) for one in made.directives):
            made.directives = [*made.directives, _list_size(assumed_size=USUAL)]


def _list_size(**said: Any) -> ListSize:
    unsaid = dict.fromkeys(("assumed_size", "slicing_arguments", "sized_fields"), UNSET)
    return ListSize(**unsaid | said, require_one_slicing_argument=False)


def _fields(roots: Iterable[type]) -> Iterator[StrawberryField]:
    """Every field of every object type below `roots`, but those of pages and of what only gateways ask for."""
    ahead: list[Any] = list(roots)
    seen = set()
    while ahead:
        kind = ahead.pop()
        while isinstance(kind, StrawberryContainer):
            kind = kind.of_type
        definition = get_object_definition(kind)
        if definition is None or kind in seen:
            continue
        seen.add(kind)
        ahead += [made.type for made in definition.fields]
        if not {"edges", "page_info"} <= {made.python_name for made in definition.fields}:
            yield from (made for made in definition.fields if made.graphql_name != "_entities")


def _lists_objects(kind: Any) -> bool:
    listed = False
    while isinstance(kind, StrawberryContainer):
        listed = listed or isinstance(kind, StrawberryList)
        kind = kind.of_type
    return listed and get_object_definition(kind) is not None
