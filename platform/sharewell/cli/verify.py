"""`sharewell verify`: check what the log gave away the way a stranger does, without account or database."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from sharewell.audit.page import offline_page
from sharewell.audit.signers import mldsa44_verify
from sharewell.domain.errors import Invalid
from sharewell.domain.verify import Answer, Asked, Status, read_policy, read_time
from sharewell.domain.verify import verify as answer_to

_STDIN = Path("-")


def _write_page(path: Path | None) -> None:
    if path is not None:
        path.write_text(offline_page(), encoding="utf-8")
        typer.echo(f"Open {path} in a browser; it needs no network.")
        raise typer.Exit


def verify(
    file: Annotated[
        Path,
        typer.Argument(
            help="Bundle, log receipt or proof, entries of a period, or folder of a log; - is standard input."
        ),
    ],
    policy: Annotated[Path | None, typer.Option(help="Trust policy; a folder's own is taken without it.")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="Instead: a verifier key of the log (name+1a2b3c4d+base64), or a file that holds it."),
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Folder of the log that should hold a log receipt's entry.")] = None,
    proof: Annotated[Path | None, typer.Option(help="Bundle or proof of a log receipt's entry.")] = None,
    entry: Annotated[Path | None, typer.Option(help="The bytes that a proof is for.")] = None,
    remembered: Annotated[
        list[Path] | None, typer.Option(help="Checkpoint seen before, which the log in the folder must extend.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="The time now, such as 2026-03-01T12:00:00Z; else the clock's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")] = False,
    page: Annotated[  # noqa: ARG001  acted on by its callback
        Path | None,
        typer.Option(
            help="Only write a web page to this file that verifies in a browser.", callback=_write_page, is_eager=True
        ),
    ] = None,
) -> None:
    """Check what the log gave away: that it is signed, in the tree, unchanged, and as promised.

    A bundle: one decision is in the log, and follows from its inputs. A log receipt: what it promised was kept. The
    entries of a period: none is left out. A folder: every entry, tile and signature of a whole log, and that it extends
    what you remember of it. Exit status: 0 if all of it holds, 1 if something does not, 2 if a file or key cannot be
    read, 3 if the log signed what is not so and the files are evidence of it.

    Get keys from the log's operator once, by a way you trust, and not together with what they check.
    """
    try:
        answer = _answer(file, policy, key or [], log, proof, entry, remembered or [], at)
    except OSError as why:
        raise typer.BadParameter(f"{why.filename} cannot be read: {why.strerror}.") from None
    except Invalid as why:
        raise typer.BadParameter(why.message) from None
    typer.echo(json.dumps(_as_json(answer)) if as_json else "\n".join(answer.lines()))
    raise typer.Exit(int(answer.status))


def _answer(
    file: Path,
    policy: Path | None,
    keys: list[str],
    log: Path | None,
    proof: Path | None,
    entry: Path | None,
    remembered: list[Path],
    at: str | None,
) -> Answer:
    with tempfile.NamedTemporaryFile() as copy:
        if file == _STDIN:
            copy.write(sys.stdin.buffer.read())
            copy.flush()
            file = Path(copy.name)
        asked = Asked(
            file=file,
            policy=read_policy(policy, keys),
            log=log,
            proof=proof,
            entry=entry,
            remembered=tuple(remembered),
            at=int(time.time()) if at is None else read_time(at),
            mldsa44=mldsa44_verify,
        )
        return answer_to(asked)


def _as_json(answer: Answer) -> dict[str, Any]:
    facts = dict(answer.facts)
    if "entry" in facts:
        facts["entry"] = json.loads(facts["entry"])
    if answer.status == Status.VERIFIED:
        return {"verified": True, "checks": answer.held, "notes": answer.remarks, **facts}
    return {
        "verified": False,
        "evidence": answer.status == Status.EVIDENCE,
        "message": answer.failed,
        "passed": answer.held,
        "notes": answer.remarks,
        **facts,
    }
