"""What every answer must be like, whatever was asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_named_type,
)
from tests.postgres.fuzz.cases import WHOSE, Case, Selection

FAMILIES = frozenset({"INVALID", "NOT_FOUND", "CONFLICT", "FORBIDDEN"})
#: What a client must never read: our insides.
INSIDES = re.compile(
    r"Traceback|\.py\b|asyncpg|psycopg|postgres|SQLSTATE|constraint \"|relation \"|column \"|object at 0x|"
    r"select .* from|insert into|update .* set|/platform/|/schema/|NoneType|<class|Cannot return null|"
    r"Expected Iterable|unexpected keyword|not subscriptable|has no attribute", re.IGNORECASE,
)  # fmt: skip
#: None is so short that keys, signatures and cursors have it in them by chance.
SECRETS = re.compile(r"PRIVATE KEY|\"d\":|argon2|password_hash|otpauth|\btotp(?:_|\b)", re.IGNORECASE)
_SHAPES = {
    "UUID": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "DateTime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
    "Date": re.compile(r"\d{4}-\d\d-\d\d"),
}
#: Nothing of these is for an institution or its devices.
NOT_THEIRS = frozenset({"Person", "PolicyVersion", "JobUnderway", "JobSetAside"})


def faults(schema: GraphQLSchema, case: Case, status: int, body: Any, own: str | None, codes: set[str]) -> list[str]:
    """What is wrong with an answer; `own` is the institution of whoever asked, if it is one's.

    `codes` collects the codes of its errors.
    """
    if not isinstance(body, dict):
        return [f"status {status}, and not JSON of an object"]
    found = [] if status == 200 or 400 <= status < 500 else [f"status {status}"]
    for error in body.get("errors", ()):
        codes.add(str(error.get("extensions", {}).get("code")))
        found += _of_error(error)
    if "errors" not in body and "data" not in body:
        found.append("neither data nor errors")
    root = schema.mutation_type if case.kind == "mutation" else schema.query_type
    assert root is not None
    data = body.get("data")
    if data is not None:
        if [*data] != [case.field]:
            found.append(f"data has {[*data]}")
        else:
            kind = root.fields[case.field].type
            found += _of_value(kind, data[case.field], case.selection, case.field)
            if own is not None:
                found += _of_others(kind, data[case.field], own)
    return found


def _of_error(error: dict[str, Any]) -> list[str]:
    message, told = error.get("message"), error.get("extensions", {})
    found = []
    if told.get("code") not in FAMILIES:
        found.append(f"code {told.get('code')}: {message}")
    ours = told.get("type") not in {"InputError", "RequestError", "SyntaxError"}  # those are graphql-core's words
    if not isinstance(message, str) or len(message) < 8 or (ours and message[-1] not in ".?!"):
        found.append(f"message is no sentence: {message!r}")
    elif told.get("type") == "RequestError" and "path" in error:
        found.append(f"an error of ours is told as one of the request: {message!r}")
    elif len(message) > 1000:
        found.append(f"message is {len(message)} long: {message[:200]!r}")
    elif INSIDES.search(message):
        found.append(f"message tells of our inside: {message!r}")
    return found


def _of_value(kind: GraphQLOutputType, value: Any, selection: Selection, path: str) -> Iterator[str]:
    """Where a value does not have its type."""
    if isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
        if value is None:
            yield f"{path} is null"
    if value is None:
        return
    if isinstance(kind, GraphQLList):
        if not isinstance(value, list):
            yield f"{path} is no list"
            return
        for place, inner in enumerate(value):
            yield from _of_value(kind.of_type, inner, selection, f"{path}.{place}")
    elif isinstance(kind, GraphQLObjectType):
        if not isinstance(value, dict) or value.keys() != selection.keys():
            yield f"{path} does not have what was selected"
            return
        for name, inner in value.items():
            if name != "__typename":
                yield from _of_value(kind.fields[name].type, inner, selection[name] or {}, f"{path}.{name}")
    elif not _is_leaf(kind, value):
        yield f"{path} is {value!r:.80}, no {kind}"


def _is_leaf(kind: Any, value: Any) -> bool:
    if isinstance(kind, GraphQLEnumType):
        return value in kind.values
    name = kind.name
    if name in _SHAPES:
        return isinstance(value, str) and _SHAPES[name].fullmatch(value) is not None
    if name == "Int":
        return type(value) is int and -(2**31) <= value < 2**31
    if name == "Float":
        return type(value) in {int, float}
    if name == "Boolean":
        return type(value) is bool
    return name == "JSON" or isinstance(value, str)


def _of_others(kind: GraphQLOutputType, value: Any, own: str) -> Iterator[str]:
    """What an institution was shown that is another's, or nobody's of its kind."""
    named = get_named_type(kind)
    if isinstance(value, list):
        for inner in value:
            yield from _of_others(kind, inner, own)
    if not isinstance(value, dict) or not isinstance(named, GraphQLObjectType):
        return
    if named.name in NOT_THEIRS:
        yield f"an institution was shown a {named.name}"
    if named.name in WHOSE and own not in [value.get(side) for side in WHOSE[named.name]]:
        yield f"{own} was shown another's {named.name}: {value}"
    for name, inner in value.items():
        if name != "__typename":
            yield from _of_others(named.fields[name].type, inner, own)
