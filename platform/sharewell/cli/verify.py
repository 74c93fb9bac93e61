"""`sharewell verify`: check a bundle the way a stranger does, without account or database."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sharewell.cli.verify_period import say_period
from sharewell.domain.audit import format_time
from sharewell.domain.bundle import NotVerified, VerifiedDecision, read_key, report, verify_bundle
from sharewell.domain.errors import Invalid
from sharewell.domain.period import is_period


def verify(
    bundle: Annotated[
        Path, typer.Argument(help="File with the bundle, - for standard input; or of a period.", show_default=False)
    ],
    key: Annotated[str, typer.Option(help="The log's verifier key (name+1a2b3c4d+base64), or a file that holds it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")] = False,
) -> None:
    """Check that a bundle proves one decision of the audit log, or a file of a period all its entries.

    (1) the checkpoint is signed by the log's key, (2) the entry is in the log at its place, (3) its bytes are a
    decision in canonical form, (4) an adopted plan is worked out again from its inputs. The exit status is 0 if all
    of it holds, 1 if something does not, 2 if the bundle or the key cannot be read.

    Get the key from the log's operator once, by a way you trust, and not together with the bundle.
    """
    if is_period(bundle):
        raise typer.Exit(say_period(bundle, key, as_json=as_json))
    try:
        data = sys.stdin.buffer.read() if bundle == Path("-") else bundle.read_bytes()
        found: VerifiedDecision | NotVerified = verify_bundle(data, read_key(key))
    except NotVerified as why:
        found = why
    except OSError as why:
        raise typer.BadParameter(f"{why.filename} cannot be read: {why.strerror}.") from None
    except Invalid as why:
        raise typer.BadParameter(why.message, param_hint="--key") from None
    typer.echo(json.dumps(_as_json(found)) if as_json else "\n".join(report(found)))
    raise typer.Exit(int(isinstance(found, NotVerified)))


def _as_json(found: VerifiedDecision | NotVerified) -> dict[str, Any]:
    if isinstance(found, NotVerified):
        return {
            "verified": False,
            "failed_check": found.check,
            "error": type(found).__name__,
            "message": found.message,
            "passed": list(found.passed),
        }
    return {
        "verified": True,
        "checks": list(found.checks),
        "origin": found.checkpoint.origin,
        "size": found.checkpoint.size,
        "index": found.index,
        "at": format_time(found.decision.at),
        "entry": json.loads(found.entry),
    }
