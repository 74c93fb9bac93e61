"""`sharewell log`: take the audit log, or parts of it, away."""

from __future__ import annotations

import typer

from sharewell.cli import log_dossier, log_period

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.command("period")(log_period.period)
app.command("dossier")(log_dossier.dossier)


@app.callback()
def log() -> None:
    """Take the audit log, or parts of it, away."""
