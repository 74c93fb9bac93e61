"""What one request may ask for, counted before anything else is looked at."""

from __future__ import annotations

from typing import Any

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


def over_budget(document: DocumentNode) -> str | None:
    """The first limit that an operation of `document` exceeds, in a sentence; None where all are kept."""
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    operations = (d for d in document.definitions if isinstance(d, OperationDefinitionNode))
    return next((told for one in operations if (told := _over(one, fragments)) is not None), None)


def _over(operation: OperationDefinitionNode, fragments: dict[str, FragmentDefinitionNode]) -> str | None:
    fields = aliases = directives = steps = 0
    ahead: list[tuple[Any, int, frozenset[str]]] = [(operation, 0, frozenset())]
    while ahead:
        node, depth, spread = ahead.pop()
        steps += 1
        directives += len(node.directives or ())
        if isinstance(node, FieldNode):
            depth, fields, aliases = depth + 1, fields + 1, aliases + (node.alias is not None)
        for count, most, name in (
            (fields, MOST_FIELDS, "fields"), (aliases, MOST_ALIASES, "aliases"), (depth, DEEPEST, "levels"),
            (directives, MOST_DIRECTIVES, "directives"), (steps, MOST_STEPS, "fragments"),
        ):  # fmt: skip
            if count > most:
                return f"The operation has more than {most} {name}, fragments spread out; ask for less at once."
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name in fragments and name not in spread:  # unknown and circular ones are refused by other rules
                ahead.append((fragments[name], depth, spread | {name}))
        elif node.selection_set is not None:
            ahead.extend((selection, depth, spread) for selection in node.selection_set.selections)
    return None
