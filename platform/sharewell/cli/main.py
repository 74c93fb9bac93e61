"""The command line."""

from __future__ import annotations

import typer

from sharewell.cli.verify import verify

app = typer.Typer(no_args_is_help=True)


@app.callback()
def main() -> None:
    """Share health capacity fairly."""


app.command()(verify)
