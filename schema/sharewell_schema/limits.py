"""What one request may ask for, counted before anything else is looked at."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
)

MOST_CHARACTERS = 65_536  #: of a query; variables carry the data
MOST_TOKENS = 4_000
DEEPEST = 16  #: selections inside selections; the introspection query of common tools needs 13
MOST_FIELDS = 500  #: fragments counted each time they are spread
MOST_ALIASES = 50
MOST_DIRECTIVES = 50
MOST_STEPS = 4_000  #: of the count itself; fragments that spread each other could keep it busy for years
#: Of fields with one name in one place, fragments spread: validation compares each two, and all that is below them.
MOST_PAIRS = 5_000
_SPREAD: Final = "..."  #: what fragments count as that are spread in one place

Place = tuple[str, ...]  #: of a field in the answer


def over_budget(document: DocumentNode) -> str | None:
    """The first limit that an operation of `document` exceeds, in a sentence; None where all are kept.

    A fragment that no operation spreads is counted by none and checked all the same, so it is one too many.
    """
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    idle, pairs = set(fragments), 0
    for operation in document.definitions:
        if isinstance(operation, OperationDefinitionNode):
            told, met, more = _over(operation, fragments)
            idle, pairs = idle - met, pairs + more
            if told is None and pairs > MOST_PAIRS:
                told = "The document names the same fields in the same place too often; name each once."
            if told is not None:
                return told
    return f"Fragment '{min(idle)}' is never used." if idle else None


def _over(
    operation: OperationDefinitionNode, fragments: dict[str, FragmentDefinitionNode]
) -> tuple[str | None, set[str], int]:
    """The first limit that is exceeded; the fragments that were met, and how many pairs validation will compare."""
    fields = aliases = directives = steps = pairs = 0
    named = Counter[Place]()
    met: set[str] = set()
    ahead: list[tuple[Any, Place, frozenset[str]]] = [(operation, (), frozenset())]
    while ahead:
        node, place, spread = ahead.pop()
        steps += 1
        directives += len(node.directives or ())
        if isinstance(node, FieldNode):
            fields, aliases = fields + 1, aliases + (node.alias is not None)
            pairs += named[place := (*place, (node.alias or node.name).value)]
            named[place] += 1
        for count, most, what in (
            (fields, MOST_FIELDS, "fields"), (aliases, MOST_ALIASES, "aliases"), (len(place), DEEPEST, "levels"),
            (directives, MOST_DIRECTIVES, "directives"), (steps, MOST_STEPS, "fragments"),
        ):  # fmt: skip
            if count > most:
                told = f"The operation has more than {most} {what}, fragments spread out; ask for less at once."
                return told, met, pairs
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            pairs += named[*place, _SPREAD]
            named[*place, _SPREAD] += 1
            met.add(name)
            if name in fragments and name not in spread:  # unknown and circular ones are refused by other rules
                ahead.append((fragments[name], place, spread | {name}))
        elif node.selection_set is not None:
            ahead.extend((selection, place, spread) for selection in node.selection_set.selections)
    return None, met, pairs
