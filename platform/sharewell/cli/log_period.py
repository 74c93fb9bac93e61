"""`sharewell log period`: the entries of a period in a file that proves them, or in the words of another system."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sharewell.cli.explained import explained
from sharewell.client import ApiClient, Credential
from sharewell.domain.views import View

PATH = "/log/period"


def period(
    *,
    credential: Annotated[Path, typer.Option("--credential", "-c", help="Credential file of a regulator.")],
    since: Annotated[str, typer.Option("--from", help="First day or moment, such as 2026-03-01; UTC unless it says.")],
    until: Annotated[str, typer.Option("--to", help="Day or moment that it ends before, such as 2026-04-01.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to put the file.", show_default=False)],
    cosigned: Annotated[
        bool, typer.Option("--cosigned", help="With every signature under the head, to check with a trust policy.")
    ] = False,
    view: Annotated[
        View | None, typer.Option(help="One line a decision in these words, without proof.", show_default=False)
    ] = None,
) -> None:
    """Take the entries of a period away.

    The file is a ZIP with the entries line by line, the proof that none is
    left out, the signed head of the log, its keys and a README; check it with
    `sharewell verify`, anywhere. A file has at most 100,000 entries: of a busy
    log take shorter periods. The reading is put on record.
    """
    asked = {"since": _moment(since, "--from"), "until": _moment(until, "--to")}
    if cosigned:
        asked["cosigned"] = "true"
    if view is not None:
        asked["view"] = view.value

    async def fetch() -> bytes:
        async with ApiClient.of(Credential.load(credential), patience=10.0, timeout=120.0) as client:
            return await client.download(PATH, asked)

    with explained():
        data = asyncio.run(fetch())
        try:
            output.write_bytes(data)
        except OSError as why:
            raise typer.BadParameter(f"{output} cannot be written: {why.strerror}.") from None
    typer.echo(f"{len(data)} bytes written to {output}.")


def _moment(text: str, option: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no day or time; write 2026-03-01 or 2026-03-01T12:00:00Z.", param_hint=option
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
