"""How errors are told: a sentence, a code of one of four families, the class of error, and the field at fault.

INVALID, NOT_FOUND, CONFLICT and FORBIDDEN are for the caller to act on; UNAVAILABLE passes. All else is a crash: of it
only an id is told, under which the log has the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import structlog
from graphql import GraphQLEnumType, GraphQLError, GraphQLSchema, GraphQLSyntaxError
from uuid_utils.compat import uuid7

from sharewell.domain.errors import SharewellError, Unavailable

MOST_TOLD = 10  #: errors of one answer; who sends a thousand mistakes need not hear of all
INVALID = "INVALID"
INTERNAL = "INTERNAL"

MOST_VALUES = 20  #: of an enum that are told; the largest has fewer

_AT_VALUE = re.compile(r"(?:Variable '\$|Argument ')(\w+)' has invalid (?:default )?value(?: at ([^:]*))?: ?")
_OF_ENUM = re.compile(
    r"(?:Value .* does not exist in '(\w+)' enum|Enum '(\w+)' cannot represent non-\w+ value: .*)\.\Z", re.DOTALL
)
_OF_FIELD = re.compile(r"(?:to include required|not to include unknown) field '(\w+)'(, found: .*)\.$", re.DOTALL)

log = structlog.stdlib.get_logger("sharewell.graphql")


def tell(errors: Sequence[GraphQLError]) -> list[dict[str, Any]]:
    """The errors as a client sees them, at most `MOST_TOLD`; crashes are logged on the way.

    Those of whole fields come first, then by place: which are told is then no matter of which field failed first.
    """
    return [_tell(error) for error in sorted(errors, key=_place)[:MOST_TOLD]]


def unavailable(errors: Sequence[GraphQLError]) -> Unavailable | None:
    """The first error that will pass by itself, if there is one."""
    causes = (_cause(error) for error in errors)
    return next((cause for cause in causes if isinstance(cause, Unavailable)), None)


def about_enums(errors: Sequence[GraphQLError]) -> bool:
    """Whether one of the errors is about a value that an enum does not have."""
    return any(_of_enum(error) is not None for error in errors)


def with_values(errors: Sequence[GraphQLError], schema: GraphQLSchema) -> list[GraphQLError]:
    """The errors, each about a value that an enum does not have with those that it has.

    For whoever may ask what the schema offers, and nobody else: it is a part of that.
    """
    return [_with_values(error, schema) for error in errors]


def _of_enum(error: GraphQLError) -> str | None:
    """The enum; what somebody sent is quoted in the message, so that is read from its beginning alone."""
    if _cause(error) is not None:
        return None
    place = _AT_VALUE.match(error.message)
    found = _OF_ENUM.match(error.message, place.end() if place else 0)
    return None if found is None else found[1] or found[2]


def _with_values(error: GraphQLError, schema: GraphQLSchema) -> GraphQLError:
    name = _of_enum(error)
    kind = None if name is None else schema.get_type(name)
    if not isinstance(kind, GraphQLEnumType):
        return error
    names = list(kind.values)
    more = f" and {len(names) - MOST_VALUES} more" if len(names) > MOST_VALUES else ""
    message = f"{error.message} It must be one of {', '.join(names[:MOST_VALUES])}{more}."
    return GraphQLError(
        message, error.nodes, error.source, error.positions, error.path, error.original_error, error.extensions
    )


def _tell(error: GraphQLError) -> dict[str, Any]:
    cause = _cause(error)
    if isinstance(cause, SharewellError):
        if isinstance(cause, Unavailable):
            log.warning("unavailable", why=str(cause.__cause__ or cause))
        return _formatted(error, cause.message, cause.code, type(cause).__name__, _field(error, cause.field))
    if cause is None:
        kind, field = _request_error(error)
        return _formatted(error, _brief(error.message), INVALID, kind, field)
    crash_id = str(uuid7())
    log.error("crash", id=crash_id, path=error.path, exc_info=cause)
    told = _formatted(error, "Something went wrong here. Tell the operator this id.", INTERNAL, INTERNAL, None)
    told["extensions"]["id"] = crash_id
    return told


def _place(error: GraphQLError) -> tuple[int, list[str | int]]:
    path = error.path or []
    return len(path), path


def _formatted(error: GraphQLError, message: str, code: str, kind: str, field: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"message": message}
    if error.locations:
        told["locations"] = [location.formatted for location in error.locations]
    if error.path is not None:
        told["path"] = list(error.path)
    told["extensions"] = {"code": code, "type": kind} | ({"field": field} if field else {})
    return told


def _cause(error: GraphQLError) -> Exception | None:
    """What was raised, below the layers that say where; None where GraphQL itself found the fault."""
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _request_error(error: GraphQLError) -> tuple[str, str | None]:
    """What sort of mistake GraphQL found in the request, and in which argument or variable, and field of it."""
    if isinstance(error, GraphQLSyntaxError):
        return "SyntaxError", None
    if match := _AT_VALUE.match(error.message):
        name, path = match.groups()
        path = re.sub(r"\[(\d+)\]", r".\1", path or "")
        missing = _OF_FIELD.search(error.message)
        return "InputError", name + path + (f".{missing[1]}" if missing else "")
    return "RequestError", None


def _brief(message: str) -> str:
    """The same without all that was sent: whoever lacks a field need not hear the others."""
    found = _OF_FIELD.search(message)
    return message if found is None else f"{message[: found.start(2)]}."


def _field(error: GraphQLError, field: str | None) -> str | None:
    """The path of `field` as the client wrote it: in a mutation below `input`, in a query an argument."""
    node = error.nodes[0] if error.nodes else None
    names = [argument.name.value for argument in getattr(node, "arguments", None) or ()]
    if field is None or field.split(".")[0] in names:
        return field
    if "input" in names:
        return f"input.{field}"
    return "id" if "id" in names else field
