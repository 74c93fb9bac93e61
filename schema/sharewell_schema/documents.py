"""Queries, parsed and checked once and kept: for a small query that is nine tenths of the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from graphql import DocumentNode, GraphQLError, GraphQLSchema, GraphQLSyntaxError, parse, validate

from sharewell_schema.limits import MOST_CHARACTERS, MOST_TOKENS, over_budget

KEPT = 256  #: documents in memory
MOST_ERRORS = 10  #: that validation looks for

Prepared = DocumentNode | Sequence[GraphQLError]


def preparer(schema: GraphQLSchema) -> Callable[[str], Prepared]:
    """A function that gives the document of a query text, or what is wrong with it."""

    def prepare(query: str) -> Prepared:
        try:
            document = parse(query, max_tokens=MOST_TOKENS)
        except GraphQLSyntaxError as error:
            return [error]
        except RecursionError:
            return [GraphQLError("The query is nested too deeply.")]
        if (told := over_budget(document)) is not None:
            return [GraphQLError(told)]
        # Names of fields are no secret to whoever may introspect, but guessing them for others is no help either.
        return validate(schema, document, max_errors=MOST_ERRORS, hide_suggestions=True) or document

    kept = lru_cache(maxsize=KEPT)(prepare)

    def limited(query: str) -> Prepared:
        if len(query) > MOST_CHARACTERS:
            return [GraphQLError(f"The query has more than {MOST_CHARACTERS} characters; send data as variables.")]
        return kept(query)

    return limited
