"""`sharewell document`: the GraphQL documents that a client may send. An admin's work, over GraphQL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sharewell.cli.asking import ask, do
from sharewell.cli.client import ClientId, CredentialFile
from sharewell.cli.explained import explained
from sharewell.client import ApiError
from sharewell.domain.trusted_documents import document_name

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Say which GraphQL documents a client may send, and no other."
)

TRUSTED = """
query ($client: String!) {
  client(clientId: $client) { clientId }
  trustedDocuments(clientId: $client) { documents { name text } trustedAt changedById }
}"""


@app.command("list")
def list_(client: ClientId, credential: CredentialFile) -> None:
    """Print the name (SHA-256) and the first words of each document that a client may send."""
    with explained("document"):
        trusted = _trusted(credential, client)
    for name, text in trusted["texts"].items():
        typer.echo(f"{name}  {_short(text)}")
    if not trusted["texts"]:
        typer.echo(f"{client} may send any document.", err=True)


@app.command()
def show(
    client: ClientId,
    name: Annotated[str, typer.Argument(help="SHA-256 of the document, or how it begins.", show_default=False)],
    credential: CredentialFile,
) -> None:
    """Print the text of one document, byte for byte."""
    with explained("document"):
        texts = _trusted(credential, client)["texts"]
        typer.echo(texts[_named(name, texts)], nl=False)


@app.command()
def register(
    client: ClientId,
    files: Annotated[
        list[Path], typer.Argument(help="Files with one GraphQL document each.", exists=True, dir_okay=False)
    ],
    credential: CredentialFile, *,
    only: Annotated[bool, typer.Option("--only", help="Withdraw all others.")] = False,
) -> None:  # fmt: skip
    """Let a client send these documents, beside those registered before, and no other; print their names."""
    texts = [_read(file) for file in files]
    with explained("document"):
        before = _trusted(credential, client)
        kept = {} if only else before["texts"]
        given = {document_name(text): text for text in texts}
        _trust(credential, client, before, kept | given)
    typer.echo(f"{client} may send {len(kept | given)} documents, and no other.", err=True)
    for name in given:
        typer.echo(name)


@app.command()
def withdraw(
    client: ClientId,
    credential: CredentialFile,
    names: Annotated[
        list[str] | None, typer.Argument(help="SHA-256 of each document, or how it begins.", show_default=False)
    ] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Withdraw all of them: the client may send anything again.")
    ] = False,
) -> None:
    """Take documents out of the list of what a client may send. Only --all empties it, for that opens everything."""
    if everything == bool(names):
        raise typer.BadParameter("name documents, or give --all.", param_hint="--all")
    with explained("document"):
        before = _trusted(credential, client)
        gone = {_named(name, before["texts"]) for name in names or before["texts"]}
        left = {name: text for name, text in before["texts"].items() if name not in gone}
        if not left and not everything:
            raise ApiError(f"{client} could send any document then; say so with --all, or disable the client.")
        if gone:
            _trust(credential, client, before, left)
    what = f"{len(left)} documents, and no other" if left else "any document"
    typer.echo(f"{client} may send {what}.", err=True)


def _trusted(credential: Path, client: str) -> dict[str, Any]:
    """The list in force: its texts by name, and the decision that gave it (None where there never was one)."""
    trusted = ask(credential, TRUSTED, {"client": client})["trustedDocuments"] or {"documents": [], "changedById": None}
    texts = {each["name"]: each["text"] for each in trusted["documents"]}
    return {"texts": texts, "changed_by": trusted["changedById"]}


def _trust(credential: Path, client: str, before: dict[str, Any], texts: dict[str, str]) -> None:
    """Give the client this list, unless somebody else gave it another, or its first, since `before` was read."""
    asked = {"clientId": client, "documents": list(texts.values())}
    read = {"ifNone": True} if before["changed_by"] is None else {"ifChangedBy": before["changed_by"]}
    do(credential, "trustDocuments", asked | read, "trusted { trustedAt }")


def _named(beginning: str, texts: dict[str, str]) -> str:
    wanted = beginning.removeprefix("sha256:").lower()
    found = [name for name in texts if wanted and name.startswith(wanted)]
    if len(found) != 1:
        how = "no document has" if not found else f"{len(found)} documents have"
        raise ApiError(f"{how} a name that begins with {beginning!r}.")
    return found[0]


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}.", param_hint="FILES") from None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
