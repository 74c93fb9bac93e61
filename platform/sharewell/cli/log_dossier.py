"""`sharewell log dossier`: everything one decision was made from, in a file that makes it once more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from sharewell.cli.explained import explained
from sharewell.client import ApiClient, Credential

DOSSIER = "query ($id: UUID!) { decision(id: $id) { dossier } }"


def dossier(
    decision: Annotated[UUID, typer.Argument(help="Identifier of the decision.", show_default=False)],
    *,
    credential: Annotated[Path, typer.Option("--credential", "-c", help="Credential file of who may read it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to put the file.", show_default=False)],
) -> None:
    """Take the dossier of a decision away: its bundle, and every input that is held.

    `sharewell replay-decision` makes the decision once more from it.
    """

    async def fetch() -> str:
        async with ApiClient.of(Credential.load(credential), patience=10.0, timeout=120.0) as client:
            found = await client.graphql(DOSSIER, {"id": str(decision)})
            text: str = found["decision"]["dossier"]
            return text

    with explained():
        data = asyncio.run(fetch()).encode()
        try:
            output.write_bytes(data)
        except OSError as why:
            raise typer.BadParameter(f"{output} cannot be written: {why.strerror}.") from None
    typer.echo(f"{len(data)} bytes written to {output}.")
