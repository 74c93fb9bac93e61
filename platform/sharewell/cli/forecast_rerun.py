"""`sharewell forecast rerun`: make a forecast, or a model's trial, once more and say whether it comes out the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from sharewell.domain.errors import Invalid, NotFound

if TYPE_CHECKING:
    from sharewell_workers.rerun import Evidence


def rerun(
    what: Annotated[
        str,
        typer.Argument(
            help="A file of evidence; or the id of a forecast run, a trial, or a decision on one.", metavar="FILE|ID"
        ),
    ],
    *,
    save: Annotated[
        Path | None, typer.Option(help="Write the evidence into this file, to be re-run elsewhere.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")] = False,
) -> None:
    """Make a forecast, or a model's trial, once more and compare.

    With an id, it is read from the database by whoever runs the platform: the
    entry of the log, and the history as it was known then. With a file, no
    database is needed. The data, the model, its backtest and verdict, or the
    forecasts are held against the hashes in the entry; that the entry is in
    the log is proven by `sharewell verify`. The exit status is 0 if all is
    identical, 1 if something differs, 2 if there is nothing to be re-run.
    """
    from sharewell_workers.rerun import rerun as once_more  # noqa: PLC0415  loads database and services: only here

    try:
        evidence = _evidence(what)
        decision = evidence.decision
        if save is not None:
            save.write_bytes(evidence.to_bytes())
        found = list(once_more(evidence))
    except OSError as why:
        raise typer.BadParameter(f"{why.filename} cannot be used: {why.strerror}.") from None
    except (Invalid, NotFound) as why:
        raise typer.BadParameter(why.message) from None
    same = all(finding.same is not False for finding in found)
    if as_json:
        rows = [{"same": finding.same, "said": finding.said.strip()} for finding in found]
        typer.echo(json.dumps({"decision": str(decision.id), "kind": decision.kind, "identical": same, "found": rows}))
    else:
        typer.echo(f"{decision.kind} of {decision.at:%Y-%m-%d %H:%M} UTC, decision {decision.id}")
        for finding in found:
            typer.echo(f"{'DIFFERS  ' if finding.same is False else '         '}{finding.said}")
        typer.echo("IDENTICAL: made once more, it is the same." if same else "DIFFERENT: it comes out another way.")
    raise typer.Exit(int(not same))


def _evidence(what: str) -> Evidence:
    from sharewell_workers.rerun import Evidence  # noqa: PLC0415

    if Path(what).is_file():
        return Evidence.from_bytes(Path(what).read_bytes())
    try:
        id = UUID(what)  # noqa: A001
    except ValueError:
        raise Invalid(f"{what[:80]!r} is neither a file nor the id of a forecast, a trial or a decision.") from None
    return asyncio.run(_from_database(id))


async def _from_database(id: UUID) -> Evidence:  # noqa: A002
    from sharewell.settings import DatabaseRole, Settings  # noqa: PLC0415
    from sharewell.store.server import open_database_server  # noqa: PLC0415
    from sharewell.wiring import open_services  # noqa: PLC0415
    from sharewell_workers.rerun import collect  # noqa: PLC0415

    settings = Settings.from_environment()
    async with (
        open_database_server(settings) as server,
        open_services(settings, server, DatabaseRole.WORKER, most=2) as services,
    ):
        return await collect(services, id)
