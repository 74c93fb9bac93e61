"""`sharewell schema`: print the API's schema, or the subgraph's, which composers of a federated graph take."""

from __future__ import annotations

from typing import Annotated

import typer

from sharewell_schema.entities import subgraph_sdl
from sharewell_schema.schema import build_schema, sdl


def schema(
    subgraph: Annotated[
        bool, typer.Option("--subgraph", help="With the directives of Apollo Federation, for a composer.")
    ] = False,
) -> None:
    """Print the schema that the gateway answers by, in GraphQL's schema definition language."""
    print(subgraph_sdl(build_schema()) if subgraph else sdl(), end="")
