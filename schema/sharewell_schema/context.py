"""What a resolver knows of the request it answers: who asks, the use cases, and what was found already."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias, TypeVar, cast
from uuid import UUID

import strawberry

from sharewell.domain.errors import Invalid
from sharewell.domain.principals import Admission, Caller
from sharewell.wiring import Services
from sharewell_schema.loaders import Loaders

Kind = TypeVar("Kind")
#: What fields of a document select, by the ids of their nodes, see `plain`; kept with the document, which has those.
Selections: TypeAlias = dict[tuple[int, ...], object]


@dataclass(kw_only=True)
class Progress:
    """How far a stream has come; its resolver says so, its transport tells the client."""

    admission: Admission
    resume: str | None  #: the cursor that the transport brought, which counts before that of the operation
    cursor: str | None = None  #: all up to here was delivered


@dataclass(frozen=True, kw_only=True)
class Context:
    """One GraphQL request, or one batch of events of a stream."""

    caller: Caller
    services: Services
    progress: Progress | None = None  #: of a stream
    selections: Selections = field(default_factory=dict)  #: of the document that is answered
    writes: bool = False  #: a resolver may answer with finished JSON; whoever executes can take it

    def anew(self, caller: Caller) -> Context:
        """The same with nothing found yet, for `caller` as registered now."""
        return replace(self, caller=caller)

    @cached_property
    def loaders(self) -> Loaders:
        """Things that lists name, each found at most once in this request."""
        return Loaders(self.caller, self.services)

    def acting_for(self, institution: UUID | None) -> UUID:
        """The institution an act is for: the one named, else the caller's own."""
        if (found := institution or self.caller.institution) is not None:
            return found
        raise Invalid("name the institution; this client acts for none of its own.", field="institution")


Info: TypeAlias = strawberry.Info[Context, None]


def shown(kind: type[Kind], thing: object) -> Kind:  # noqa: ARG001 - said for the reader and for mypy
    """The domain's noun stands in for its GraphQL type, whose fields are its attributes; nothing is copied."""
    return cast("Kind", thing)
