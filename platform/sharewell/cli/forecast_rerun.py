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
    from sharewell_workers.rerun import Evidence, Finding


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
    entry of the log, and the history as it was known then; that it was re-run,
    and how it came out, is recorded in the log. With a file, no database is
    needed and nothing is recorded. The data, the model, its backtest and verdict, or the
    forecasts are held against the hashes in the entry; that the entry is in
    the log is proven by `sharewell verify`. The exit status is 0 if all is
    identical, 1 if something differs, 2 if there is nothing to be re-run.
    """
    try:
        evidence, found, recorded = _once_more(what, save)
    except OSError as why:
        raise typer.BadParameter(f"{why.filename} cannot be used: {why.strerror}.") from None
    except (Invalid, NotFound) as why:
        raise typer.BadParameter(why.message) from None
    decision, same = evidence.decision, all(finding.same is not False for finding in found)
    if as_json:
        rows = [{"same": finding.same, "said": finding.said.strip()} for finding in found]
        told = {"decision": str(decision.id), "kind": decision.kind, "identical": same, "found": rows}
        typer.echo(json.dumps(told | ({"recorded": str(recorded)} if recorded else {})))
    else:
        typer.echo(f"{decision.kind} of {decision.at:%Y-%m-%d %H:%M} UTC, decision {decision.id}")
        for finding in found:
            typer.echo(f"{'DIFFERS  ' if finding.same is False else '         '}{finding.said}")
        if recorded:
            typer.echo(f"         on record: decision {recorded}")
        typer.echo("IDENTICAL: made once more, it is the same." if same else "DIFFERENT: it comes out another way.")
    raise typer.Exit(int(not same))


def _once_more(what: str, save: Path | None) -> tuple[Evidence, list[Finding], UUID | None]:
    """What was re-run, what was found, and the decision that says so: of an id alone, a file belongs to no log."""
    from sharewell_workers.rerun import Evidence, rerun  # noqa: PLC0415  loads database and services: only here

    if Path(what).is_file():
        evidence = Evidence.from_bytes(Path(what).read_bytes())
        return _kept(evidence, save), list(rerun(evidence)), None
    try:
        id = UUID(what)  # noqa: A001
    except ValueError:
        raise Invalid(f"{what[:80]!r} is neither a file nor the id of a forecast, a trial or a decision.") from None
    return asyncio.run(_from_database(id, save))


def _kept(evidence: Evidence, save: Path | None) -> Evidence:
    """The evidence, once it is in the file it was to be saved in."""
    if save is not None:
        save.write_bytes(evidence.to_bytes())
    return evidence


async def _from_database(id: UUID, save: Path | None) -> tuple[Evidence, list[Finding], UUID]:  # noqa: A002
    from sharewell.cli.machine import platform_services  # noqa: PLC0415
    from sharewell.settings import DatabaseRole, Settings  # noqa: PLC0415
    from sharewell_workers.rerun import collect, put_on_record, rerun  # noqa: PLC0415

    settings = Settings.from_environment()
    async with platform_services(settings, DatabaseRole.WORKER) as services:
        evidence = _kept(await collect(services, id), save)
        found = await asyncio.to_thread(lambda: list(rerun(evidence)))
        return evidence, found, await put_on_record(services, evidence, found)
