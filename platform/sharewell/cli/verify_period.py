"""Check the entries of a period the way a stranger does, for `sharewell verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from sharewell.domain.audit import format_time
from sharewell.domain.bundle import read_key
from sharewell.domain.errors import Invalid
from sharewell.domain.period import PeriodNotVerified, read_period, verify_period


def say_period(path: Path, key: str, *, as_json: bool) -> int:
    """Print what holds of the file, or does not; the exit status."""
    try:
        found = verify_period(read_period(path), read_key(key))
    except PeriodNotVerified as why:
        told: dict[str, Any] = {"verified": False, "error": "PeriodNotVerified", "message": why.message}
        typer.echo(json.dumps(told) if as_json else f"failed: {why.message}\nNOT VERIFIED")
        return 1
    except OSError as why:
        raise typer.BadParameter(f"{why.filename} cannot be read: {why.strerror}.") from None
    except Invalid as why:
        raise typer.BadParameter(why.message, param_hint="--key") from None
    period = found.period
    told = {
        "verified": True, "checks": list(found.checks), "origin": period.origin, "size": found.checkpoint.size,
        "first": period.first, "end": period.first + len(period.entries), "since": format_time(period.since),
        "until": format_time(period.until),
    }  # fmt: skip
    numbered = [f"({number}) {check}" for number, check in enumerate(found.checks, start=1)]
    typer.echo(json.dumps(told) if as_json else "\n".join([*numbered, "VERIFIED"]))
    return 0
