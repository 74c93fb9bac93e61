"""`sharewell access`: who can do what, why somebody was refused, and a review of all access to take away."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from sharewell.cli.asking import WHICH, ask, every, institution_id
from sharewell.cli.client import ClientId, CredentialFile
from sharewell.cli.explained import explained

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="See who can do what, why somebody was refused, and review all access.",
)

WHY = """
query ($id: UUID!) {
  whyRefused(decision: $id) {
    action scope allowedNow policies { id sentence } permitting { id sentence } wouldChange { facts }
  }
}"""
WHO = """
query ($action: String!, $owner: UUID, $giver: UUID, $receiver: UUID, $after: String) {
  whoCan(action: $action, owner: $owner, giver: $giver, receiver: $receiver, first: 200, after: $after) {
    nodes { holder id name institutionId through policies } pageInfo { hasNextPage endCursor }
  }
}"""
WHAT = "query ($client: String!) { whatCan(clientId: $client) { action reach policies } }"
REVIEW = """
query ($at: DateTime, $days: Int!, $after: String) {
  accessReview(at: $at, dormantDays: $days, first: 100, after: $after) {
    nodes {
      holder id name roles scopes jurisdiction institutionId state dormant createdAt createdBy expiresAt disabledAt
      lastEntry permitted { action reach policies }
    }
    pageInfo { hasNextPage endCursor }
  }
}"""
#: A cell that begins so is a formula to spreadsheets (OWASP, CSV Injection).
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
COLUMNS: Final = (
    "holder", "id", "name", "roles", "scopes", "jurisdiction", "institutionId", "state", "dormant", "createdAt",
    "createdBy", "expiresAt", "disabledAt", "lastEntry", "permitted",
)  # fmt: skip


class Form(StrEnum):
    """How a review is written."""

    CSV = "csv"
    JSON = "json"


@app.command("why")
def why(
    decision: Annotated[UUID, typer.Argument(help="Identifier of the decision that refused.", show_default=False)],
    credential: CredentialFile,
) -> None:
    """Say why something was refused, and what would change that.

    The policies in force are asked again with one fact changed, or with two
    where none alone helps; nothing is guessed.
    """
    found = _ask(credential, WHY, {"id": str(decision)})["whyRefused"]
    typer.echo(f"{found['action']} was refused")
    for policy in found["policies"]:
        typer.echo(f"  forbidden by {policy['id']}: {policy['sentence']}")
    if not found["policies"]:
        typer.echo("  no policy permitted it")
        for policy in found["permitting"]:
            typer.echo(f"  what is permitted, {policy['id']}: {policy['sentence']}")
    if found["scope"]:
        typer.echo(f"the token must grant {found['scope']}")
    if found["allowedNow"]:
        typer.echo("the policies in force would permit it now")
    for change in found["wouldChange"]:
        typer.echo(f"it would be permitted with {', and '.join(change['facts'])}")


@app.command("who-can")
def who_can(
    action: Annotated[str, typer.Argument(help="The act, such as publishOffer.", show_default=False)],
    credential: CredentialFile,
    *,
    owner: Annotated[str | None, typer.Option(help="On a thing of this institution.", metavar=WHICH)] = None,
    giver: Annotated[str | None, typer.Option(help="On a transfer that this institution gives.", metavar=WHICH)] = None,
    receiver: Annotated[
        str | None, typer.Option(help="On a transfer that this institution receives.", metavar=WHICH)
    ] = None,
) -> None:
    """List who can do an act now, with the policies that permit it.

    Without --owner, --giver or --receiver it is asked of a thing that belongs to nobody; most things belong to an
    institution.
    """
    asked = {"owner": owner, "giver": giver, "receiver": receiver}
    with explained("access"):
        found = {name: institution_id(credential, each) for name, each in asked.items() if each is not None}
    variables = {"action": action, **found}
    able = _all(credential, WHO, "whoCan", variables)
    if not able:
        typer.echo(f"Nobody can do {action} {_on(found)}.", err=True)
    for one in able:
        through = f" through {one['through']}" if one["through"] else ""
        typer.echo(f"{one['holder'].lower()} {one['id']} ({one['name']}){through}: {', '.join(one['policies'])}")


def _on(named: dict[str, str | None]) -> str:
    if not named:
        return "to what belongs to no institution; name one with --owner, or --giver and --receiver"
    return "where the " + " and the ".join(f"{party} is {id_}" for party, id_ in named.items())


@app.command("what-can")
def what_can(client: ClientId, credential: CredentialFile) -> None:
    """List what a client can do, on whose things, with the policies that permit it."""
    for act in _ask(credential, WHAT, {"client": client})["whatCan"]:
        typer.echo(f"{act['action']} {act['reach'].lower()}: {', '.join(act['policies'])}")


@app.command("review")
def review(
    out: Annotated[Path, typer.Argument(help="Where to write it.", show_default=False)],
    credential: CredentialFile,
    *,
    form: Annotated[Form, typer.Option("--format", help="CSV for people, JSON for programs.")] = Form.CSV,
    at: Annotated[datetime | None, typer.Option(help="As of when, in UTC; by default now.")] = None,
    dormant_days: Annotated[
        int, typer.Option(min=1, max=3650, help="Days without anything on record after which one is dormant.")
    ] = 90,
) -> None:
    """Write down everybody with access, and what each can do. That it was taken is on record."""
    moment = datetime.now(UTC) if at is None else at.replace(tzinfo=at.tzinfo or UTC)
    variables: dict[str, Any] = {"at": None if at is None else moment.isoformat(), "days": dormant_days}
    rows = _all(credential, REVIEW, "accessReview", variables)
    text = _csv(rows) if form is Form.CSV else json.dumps({"at": moment.isoformat(), "access": rows}, indent=2) + "\n"
    try:
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written: {error.strerror}.") from None
    dormant = sum(row["dormant"] for row in rows)
    typer.echo(f"{len(rows)} with access or without any more, {dormant} dormant, written to {out}.", err=True)


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, quoting=csv.QUOTE_ALL)
    table.writerow(COLUMNS)
    for row in rows:
        acts = " ".join(f"{act['action']}:{act['reach'].lower()}" for act in row["permitted"])
        table.writerow([_cell(acts if name == "permitted" else row[name]) for name in COLUMNS])
    return text.getvalue()


def _cell(value: Any) -> str:
    """A value as text that no spreadsheet takes for a formula."""
    text = " ".join(value) if isinstance(value, list) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _all(credential: Path, query: str, name: str, variables: dict[str, Any]) -> list[dict[str, Any]]:
    with explained("access"):
        return every(credential, query, name, variables)


def _ask(credential: Path, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    with explained("access"):
        return ask(credential, query, variables)
