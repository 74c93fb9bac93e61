"""`sharewell person`: the people who sign in to the platform itself. An admin's work, over GraphQL."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from sharewell.cli.asking import WHICH, do, every, institution_id
from sharewell.cli.client import ROLES, CredentialFile
from sharewell.cli.explained import explained
from sharewell.domain.principals import Role
from sharewell.domain.subjects import Ground

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Invite people to sign in, and take their access away."
)

PEOPLE = """
query ($after: String) {
  people(first: 200, after: $after) {
    nodes { id login name roles status passkeys } pageInfo { hasNextPage endCursor }
  }
}"""


@app.command("list")
def list_(credential: CredentialFile) -> None:
    """Print everybody who may or might sign in: id, status, roles, passkeys, login and name."""
    with explained("person"):
        found = every(credential, PEOPLE, "people", {})
    if not found:
        typer.echo("Nobody is invited yet.", err=True)
    for one in found:
        roles, keys = ",".join(one["roles"]).lower(), f"passkeys={one['passkeys']}"
        typer.echo("\t".join([one["id"], one["status"].lower(), roles, keys, one["login"], one["name"]]))


@app.command()
def invite(
    login: Annotated[str, typer.Argument(help="What the person will type to sign in.", show_default=False)],
    name: Annotated[str, typer.Argument(help="The person's name.", show_default=False)],
    credential: CredentialFile,
    *,
    role: Annotated[
        list[Role], typer.Option(help=f"What the person is to the platform: {ROLES}. May be repeated.", metavar="ROLE")
    ],
    institution: Annotated[str | None, typer.Option(help="Institution the person acts for.", metavar=WHICH)] = None,
    jurisdiction: Annotated[
        list[str] | None,
        typer.Option(help="Of a regulator: a region the person reads of; by default all. May be repeated."),
    ] = None,
) -> None:
    """Invite a person, and print the invitation: it is told once and holds for three days.

    Hand it over by a way that others do not see. The person types it at /oauth/enrol, and sets password and second
    factor there.
    """
    asked: dict[str, Any] = {
        "login": login, "name": name, "roles": [each.name for each in role],
        "jurisdiction": sorted(jurisdiction or ()),
    }  # fmt: skip
    with explained("person"):
        asked["institution"] = institution_id(credential, institution)
        done = do(credential, "registerPerson", asked, "person { id } invitation")
    typer.echo(f"{done['person']['id']} is invited. The invitation:", err=True)
    typer.echo(done["invitation"])


@app.command("invite-again")
def invite_again(
    person: Annotated[UUID, typer.Argument(help="Id of the person.", show_default=False)], credential: CredentialFile
) -> None:
    """Invite a person again who lost the invitation or the second factor, and print the new invitation.

    Password, second factor, passkeys and tokens of the person are dead at once.
    """
    with explained("person"):
        done = do(credential, "invitePersonAgain", {"person": str(person)}, "person { id } invitation")
    typer.echo(f"{person} is invited again. The invitation:", err=True)
    typer.echo(done["invitation"])


@app.command()
def disable(
    person: Annotated[UUID, typer.Argument(help="Id of the person.", show_default=False)], credential: CredentialFile
) -> None:
    """Take a person's access away; tokens that apps hold for it stop working within seconds."""
    with explained("person"):
        do(credential, "disablePerson", {"person": str(person)}, "person { id }")
    typer.echo(f"{person} is disabled.", err=True)


@app.command()
def erase(
    person: Annotated[UUID, typer.Argument(help="Id of the person.", show_default=False)],
    credential: CredentialFile, *,
    ground: Annotated[
        Ground, typer.Option(help="By which ground of law; docs/audit-log.md lists the articles.", show_default=False)
    ],
) -> None:  # fmt: skip
    """Erase login, name and passkeys of a person who is disabled; entries still name the id. This cannot be undone.

    Backups of the database hold them until they are deleted themselves.
    """
    with explained("person"):
        asked = {"person": str(person), "ground": ground.name}
        do(credential, "erasePerson", asked, "person { id }")
    typer.echo(f"{person} is erased.", err=True)
