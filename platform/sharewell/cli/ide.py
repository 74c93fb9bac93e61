"""`sharewell ide`: the page to ask the API from, fetched once and then served without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from sharewell.domain.errors import Unavailable
from sharewell.settings import Settings
from sharewell_schema.ide import FOLDER, PACKAGES, NotAsPinned, unpack

SECONDS = 120.0

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Put a page to ask the API from beside the gateway.")


@app.callback()
def group() -> None:
    """A page to ask the API from, at /ide of the gateway."""


@app.command()
def fetch(
    registry: Annotated[str, typer.Option(help="An npm registry.")] = "https://registry.npmjs.org",
) -> None:
    """Fetch GraphiQL, pinned by hash, into the gateway's home; a gateway that starts then has the page at /ide."""
    folder = Settings.from_environment().home / FOLDER
    with httpx2.Client(follow_redirects=True, timeout=SECONDS) as http:
        for package in PACKAGES:
            try:
                archive = http.get(f"{registry.rstrip('/')}/{package.path}").raise_for_status().content
                _put(folder, unpack(package, archive))
            except (httpx2.HTTPError, NotAsPinned) as why:
                raise Unavailable(f"{package.name} could not be fetched: {why}") from None
    typer.echo(f"The gateway has the page at /ide once it starts again; its parts are in {folder}.", err=True)


def _put(folder: Path, found: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        (folder / name).write_bytes(content)
