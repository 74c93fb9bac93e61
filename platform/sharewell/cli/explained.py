"""What a command says when something fails that was foreseen: a sentence, and exit status 1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from sharewell.cli.main import causes
from sharewell.client import ApiError, GraphQLErrors
from sharewell.domain.errors import SharewellError
from sharewell.settings import SettingsError
from sharewell.store.embedded import ServerError

FORESEEN: Final = (ApiError, ServerError, SettingsError, SharewellError)


@contextmanager
def explained(command: str = "", *, as_json: bool = False) -> Iterator[None]:
    """Whatever goes wrong is said in a sentence, or with `as_json` as GraphQL said it, and ends with status 1.

    Out of concurrent work each is said once; what nobody foresaw, alone or among others, stays what it is. Behind a
    sentence of the platform stand its code and field, which docs/api.md explains, and the id of a crash.
    """
    try:
        yield
    except Exception as error:
        found = list(causes(error))
        if not all(isinstance(cause, FORESEEN) for cause in found):
            raise
        for said in dict.fromkeys(line for cause in found for line in _said(cause, command, as_json=as_json)):
            typer.echo(said, err=True)
        raise typer.Exit(1) from None


def _said(error: BaseException, command: str, *, as_json: bool) -> Iterator[str]:
    name = f"sharewell {command}".rstrip()
    if not isinstance(error, GraphQLErrors):
        yield f"{name}: {error}"
    elif as_json:
        yield json.dumps({"errors": list(error.errors), "data": error.data}, indent=2)
    else:
        for each in error.errors:
            more = each.get("extensions") or {}
            told = ", ".join(str(more[name]) for name in ("code", "field", "id") if more.get(name))
            yield f"{name}: {each.get('message')}{told and f' ({told})'}"
