"""What a client asks for, in a request or in a message."""

from __future__ import annotations

import re
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

    query: str | None
    name: str | None  #: SHA-256 of the query, by which it may be sent; one of the two is there
    variables: Mapping[str, Any] | None
    operation_name: str | None


def read_asked(values: Any) -> Asked:
    """What the members of a request, or of a message, ask for. Raises `Refused`."""
    if not isinstance(values, dict):
        raise Refused(400, 'Send one object such as {"query": "{ me { clientId } }"}; batches are not taken.')
    query, variables, name = values.get("query"), values.get("variables"), values.get("operationName")
    if variables is not None and not isinstance(variables, dict):
        raise Refused(400, "variables must be an object.")
    if name is not None and not isinstance(name, str):
        raise Refused(400, "operationName must be a text.")
    if values.get("extensions") is not None and not isinstance(values["extensions"], dict):
        raise Refused(400, "extensions must be an object.")
    sha256 = _sha256(values)
    if (query is not None or sha256 is None) and (not isinstance(query, str) or not query):
        raise Refused(400, 'query must be a GraphQL document as text, such as "{ me { clientId } }".')
    return Asked(query, sha256, variables, name or None)


def _sha256(values: Mapping[str, Any]) -> str | None:
    """The name a query is sent by: `documentId` of GraphQL over HTTP, or `persistedQuery` of Apollo's clients."""
    extensions: Mapping[str, Any] = values.get("extensions") or {}
    given, persisted = values.get("documentId"), extensions.get("persistedQuery")
    if given is None and persisted is None:
        return None
    if not isinstance(persisted, dict | None):
        raise Refused(400, "extensions.persistedQuery must be an object.")
    name = str(given).removeprefix("sha256:") if given is not None else str((persisted or {}).get("sha256Hash"))
    if not re.fullmatch("[0-9a-f]{64}", name):
        field = "documentId" if given is not None else "extensions.persistedQuery.sha256Hash"
        raise Refused(400, f"{field} must be the SHA-256 of the query, 64 hex digits in lower case.")
    return name
