"""What a client asks for, in a request or in a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Refused(Exception):
    """The request is none that GraphQL could answer."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for."""

    query: str
    variables: Mapping[str, Any] | None
    operation_name: str | None


def read_asked(values: Any) -> Asked:
    """What the members of a request, or of a message, ask for. Raises `Refused`."""
    if not isinstance(values, dict):
        raise Refused(400, 'Send one object such as {"query": "{ me { clientId } }"}; batches are not taken.')
    query, variables, name = values.get("query"), values.get("variables"), values.get("operationName")
    if not isinstance(query, str) or not query:
        raise Refused(400, "query must be a text.")
    if variables is not None and not isinstance(variables, dict):
        raise Refused(400, "variables must be an object.")
    if name is not None and not isinstance(name, str):
        raise Refused(400, "operationName must be a text.")
    if values.get("extensions") is not None and not isinstance(values["extensions"], dict):
        raise Refused(400, "extensions must be an object.")
    return Asked(query, variables, name or None)
