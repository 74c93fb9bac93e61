"""`sharewell agreement`: who shows whom which numbers, until when. An institution's work, over GraphQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from sharewell.cli.asking import WHICH, do, every, institution_id
from sharewell.cli.client import CredentialFile
from sharewell.cli.explained import explained
from sharewell.client import ApiError
from sharewell.domain.agreements import LONGEST, SharedDetail

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Propose, accept and end sharing agreements.")

_ONE = "id giverId receiverId resource detail startsAt until proposedAt acceptedAt endedAt changedById"
AGREEMENTS = f"""
query ($party: UUID, $onlyInForce: Boolean!, $after: String) {{
  agreements(party: $party, onlyInForce: $onlyInForce, first: 200, after: $after) {{
    nodes {{ {_ONE} giver {{ name }} receiver {{ name }} }} pageInfo {{ hasNextPage endCursor }}
  }}
}}"""
Id = Annotated[UUID, typer.Argument(help="Id of the agreement.", metavar="AGREEMENT", show_default=False)]
Seen = Annotated[
    UUID | None, typer.Option("--if-changed-by", help="Only if this decision (changedById) changed it last.")
]


@app.command("list")
def list_(
    credential: CredentialFile, *,
    party: Annotated[
        str | None,
        typer.Option(help="Only those of this institution; by default of the one the client acts for.", metavar=WHICH),
    ] = None,
    in_force: Annotated[bool, typer.Option("--in-force", help="Only those by which something is shown now.")] = False,
) -> None:  # fmt: skip
    """Print the agreements, newest first: id, how it stands, who shows whom what, until when."""
    with explained("agreement"):
        found = _all(credential, party=party, in_force=in_force)
    for one in found:
        typer.echo(_line(one, datetime.now(UTC)))


@app.command()
def show(agreement: Id, credential: CredentialFile) -> None:
    """Print an agreement as JSON."""
    with explained("agreement"):
        found = next((one for one in _all(credential) if one["id"] == str(agreement)), None)
        if found is None:
            raise ApiError(f"you see no agreement {agreement}; `sharewell agreement list` prints those you see.")
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


@app.command()
def propose(
    receiver: Annotated[
        str, typer.Argument(help="Institution that is to see more, by id or code.", show_default=False)
    ],
    credential: CredentialFile, *,
    until: Annotated[
        str | None, typer.Option(help=f"RFC 3339 time at which it ends; at most {LONGEST.days} days ahead.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(help="Instead of --until: it ends after so many days.", min=1, max=LONGEST.days)
    ] = None,
    detail: Annotated[SharedDetail, typer.Option(help="What it sees.")] = SharedDetail.COUNTS,
    resource: Annotated[str | None, typer.Option(help="Code of the resource; by default all.")] = None,
    starts: Annotated[str | None, typer.Option("--from", help="RFC 3339 time of its start; by default now.")] = None,
    institution: Annotated[
        str | None, typer.Option(help="Whose numbers; by default of the one the client acts for.", metavar=WHICH)
    ] = None,
) -> None:  # fmt: skip
    """Offer RECEIVER to see more of one's numbers, and print the agreement's id. It shows nothing until accepted."""
    if (until is None) == (days is None):
        raise typer.BadParameter("give either --until or --days.", param_hint="--until")
    ends = until if days is None else (datetime.now(UTC) + timedelta(days=days)).isoformat()
    asked = {"resource": resource, "detail": detail.name, "startsAt": starts, "until": ends}
    with explained("agreement"):
        asked["institution"] = institution_id(credential, institution)
        asked["receiver"] = institution_id(credential, receiver)
        done = do(credential, "proposeAgreement", asked, f"agreement {{ {_ONE} }}")["agreement"]
    typer.echo(f"Proposed until {done['until']}; it shows nothing until {receiver} accepts.", err=True)
    typer.echo(done["id"])


@app.command()
def accept(agreement: Id, credential: CredentialFile, *, seen: Seen = None) -> None:
    """Accept to see what is offered, to use it for planning and care, and to pass it to nobody."""
    _step(credential, "acceptAgreement", agreement, seen)
    typer.echo(f"{agreement} is accepted.", err=True)


@app.command()
def end(agreement: Id, credential: CredentialFile, *, seen: Seen = None) -> None:
    """End an agreement, take it back or decline it, from now on and for ever."""
    _step(credential, "endAgreement", agreement, seen)
    typer.echo(f"{agreement} is over.", err=True)


def _all(credential: Any, *, party: str | None = None, in_force: bool = False) -> list[dict[str, Any]]:
    asked = {"party": institution_id(credential, party), "onlyInForce": in_force}
    return every(credential, AGREEMENTS, "agreements", asked)


def _step(credential: Any, name: str, agreement: UUID, seen: UUID | None) -> None:
    asked = {"agreement": str(agreement), "ifChangedBy": str(seen) if seen else None}
    with explained("agreement"):
        do(credential, name, asked, "agreement { id }")


def _line(one: dict[str, Any], at: datetime) -> str:
    parties = [f"{(one[side] or {}).get('name', '')} ({one[f'{side}Id']})".strip() for side in ("giver", "receiver")]
    what = f"{one['detail'].lower()} of {one['resource'] or 'all resources'}"
    return f"{one['id']}  {_standing(one, at)}  {parties[0]} shows {parties[1]} {what} until {one['until']}"


def _standing(one: dict[str, Any], at: datetime) -> str:
    """In a word, where the agreement is in its life at `at`."""
    if one["endedAt"] is not None or datetime.fromisoformat(one["until"]) <= at:
        return "OVER"
    if one["acceptedAt"] is None:
        return "PROPOSED"
    return "IN FORCE" if datetime.fromisoformat(one["startsAt"]) <= at else "ACCEPTED"
