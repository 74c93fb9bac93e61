"""`sharewell replay-decision`: make a decision once more from everything it was made from, and compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sharewell.domain.bundle import NotVerified, read_key, verify_bundle
from sharewell.domain.dossier import Dossier, read_dossier
from sharewell.domain.errors import Invalid


def replay_decision(
    file: Annotated[
        Path, typer.Argument(help="A dossier, or a plain bundle for what can be told from it.", show_default=False)
    ],
    *,
    key: Annotated[
        str, typer.Option(help="The log's verifier key, or a file with it: check first that the entry is in the log.")
    ] = "",
    seconds: Annotated[float, typer.Option(min=0, help="Time for finding a plan anew.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")] = False,
) -> None:
    """Make a decision once more, and say whether it comes out the same.

    The policies of then are asked again what they were asked then; a plan is
    checked by its certificate and searched for anew; forecasts are made anew
    from the data they name. No database is needed. The exit status is 0 if
    all that could be made again is identical, 1 if something differs, 2 if
    there is nothing to be read.
    """
    from sharewell_workers.made_again import make_again  # noqa: PLC0415  loads solver and models: only here

    try:
        dossier = read_dossier(file.read_bytes())
        said = _in_the_log(dossier, key) if key else ["NOT CHECKED  that the entry is in the log: give --key"]
        decision, found = dossier.decision, list(make_again(dossier, seconds=seconds))
    except NotVerified as why:
        typer.echo(f"({why.check}) failed: {why.message}\nNOT VERIFIED")
        raise typer.Exit(1) from None
    except OSError as why:
        raise typer.BadParameter(f"{why.filename} cannot be read: {why.strerror}.") from None
    except Invalid as why:
        raise typer.BadParameter(why.message) from None
    same = all(finding.same is not False for finding in found)
    if as_json:
        rows = [{"same": finding.same, "said": finding.said.strip()} for finding in found]
        told = {"decision": str(decision.id), "kind": decision.kind, "in_log": bool(key), "identical": same}
        typer.echo(json.dumps({**told, "found": rows}))
        raise typer.Exit(int(not same))
    typer.echo(f"{decision.kind} of {decision.at:%Y-%m-%d %H:%M} UTC, decision {decision.id}")
    for line in said:
        typer.echo(line)
    for finding in found:
        typer.echo(f"{'DIFFERS  ' if finding.same is False else '         '}{finding.said}")
    typer.echo("IDENTICAL: made once more, it is the same." if same else "DIFFERENT: it comes out another way.")
    raise typer.Exit(int(not same))


def _in_the_log(dossier: Dossier, key: str) -> list[str]:
    return [f"         {check}" for check in verify_bundle(dossier.bundle, read_key(key)).checks]
