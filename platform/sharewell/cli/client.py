"""`sharewell client`: register a program, get a token for it, run a query as it."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from sharewell import logs
from sharewell.cli.asking import WHICH, ask, do, every, institution_id
from sharewell.cli.explained import explained
from sharewell.client import ApiClient, ApiError, Credential
from sharewell.domain.clients import PRIVATE_MEMBERS, USUAL_SCOPES, ClientDraft, Purpose, RateClass
from sharewell.domain.principals import Role
from sharewell.settings import DatabaseRole, Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Register, list and disable programs, get tokens for them, and run queries as them.",
)

ROLES = f"{', '.join(list(Role)[:-1])} or {list(Role)[-1]}"

CredentialFile = Annotated[
    Path, typer.Option("--credential", "-c", help="Credential file of the client to act as.", show_default=False)
]

ClientId = Annotated[str, typer.Argument(help="Its client id.", metavar="CLIENT", show_default=False)]


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="What people call the program.", show_default=False)],
    *,
    out: Annotated[Path | None, typer.Option(help="Where to write its credential file; it must not exist yet.")] = None,
    jwks: Annotated[
        Path | None, typer.Option(help="Instead of --out: file with the public key, or key set, that it has already.")
    ] = None,
    jwks_uri: Annotated[
        str | None, typer.Option("--jwks-uri", help="Instead of --out: the address where it publishes its keys.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Instead of --out: an app on people's own devices, which has no key.")
    ] = False,
    role: Annotated[
        list[Role], typer.Option(help=f"What it is to the platform: {ROLES}. May be repeated.", metavar="ROLE")
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Such as system/Offer.cruds; by default what its roles can use. May be repeated."),
    ] = None,
    institution: Annotated[str | None, typer.Option(help="Institution it acts for.", metavar=WHICH)] = None,
    client_id: Annotated[
        str | None, typer.Option("--id", help="Its client id; made from the name if not given.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Refuse it after so many days.")] = None,
    redirect: Annotated[
        list[str] | None, typer.Option(help="Of an app that people use: where they are sent back to, to the letter.")
    ] = None,
    rate: Annotated[RateClass, typer.Option(help="How many requests it may make.")] = RateClass.STANDARD,
    bound: Annotated[
        bool, typer.Option("--bound", help="Its tokens work only with a proof of a key it holds (DPoP).")
    ] = False,
    purpose: Annotated[
        list[Purpose] | None,
        typer.Option(
            help=f"What its tokens may be used for: {', '.join(Purpose)}. May be repeated.", metavar="PURPOSE"
        ),
    ] = None,
    jurisdiction: Annotated[
        list[str] | None, typer.Option(help="Of a regulator: a region it reads of; by default all. May be repeated.")
    ] = None,
    credential: Annotated[Path | None, typer.Option("--credential", "-c", help="Credential file of an admin.")] = None,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Let a first admin of a line in, on the machine of the platform itself.")
    ] = False,
) -> None:
    """Register a program, and write its credential file, which holds its private key, or take the key it has.

    With --out the key is made here and never leaves this machine; the platform gets its public half. With --jwks or
    --jwks-uri its owner made the key and keeps it; an app with --public has none. Then the client id is printed, which
    is all that its owner needs to hear. What is registered does not change: to give a program other scopes, another
    key or a later end, register it anew under another id and disable the old one.

    An admin registers over GraphQL (--credential). The very first admins are let in by the operator, with --bootstrap
    and the settings of `sharewell serve`; that works while no admin client can act, or no two of whom one could approve
    what the other wrote, and is recorded like every registration.
    """
    if bootstrap == (credential is not None):
        raise typer.BadParameter("give either --credential of an admin, or --bootstrap.", param_hint="--credential")
    if sum([out is not None, jwks is not None, jwks_uri is not None, public]) != 1:
        raise typer.BadParameter("give one of --out, --jwks, --jwks-uri and --public.", param_hint="--out")
    scopes = scope or sorted({each for one in role for each in USUAL_SCOPES[one]})
    draft = ClientDraft(
        name=name,
        roles=frozenset(role),
        scopes=scopes,
        jwks=None if jwks is None else _key_set(jwks),
        jwks_uri=jwks_uri,
        client_id=client_id or _id_from(name),
        expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
        redirect_uris=redirect or (),
        rate_class=rate,
        sender_constrained=bound,
        purposes=purpose or (),
        jurisdiction=jurisdiction or (),
    )
    with explained("client"):
        draft = replace(draft, institution=_institution(credential, institution))
        if out is None:
            _send(draft, credential)
        else:
            _make(draft, credential, out)
    typer.echo(f"{draft.client_id} is registered for {', '.join(draft.scopes)}.", err=True)
    typer.echo(draft.client_id) if out is None else typer.echo(f"Its credential is in {out}.", err=True)


@app.command()
def token(credential: CredentialFile) -> None:
    """Print an access token, good for minutes: `curl -H "Authorization: Bearer $(sharewell client token -c FILE)"`."""

    async def get() -> str:
        async with ApiClient.of(Credential.load(credential), patience=5.0) as client:
            return await client.token()

    with explained("client"):
        typer.echo(asyncio.run(get()))


@app.command()
def query(
    credential: CredentialFile,
    text: Annotated[str, typer.Argument(help="GraphQL text, @FILE, or - for standard input.", metavar="QUERY")] = "-",
    *,
    variables: Annotated[str, typer.Option("--variables", "-v", help="JSON object, or @FILE.")] = "{}",
    once: Annotated[
        bool, typer.Option("--once", help="Never send it again: for a mutation without an idempotency key.")
    ] = False,
) -> None:
    """Run one GraphQL operation and print its data as JSON.

    Errors are printed as JSON on standard error, and the exit status is then 1.
    """
    source, given = _text(text), _variables(variables)

    async def ask() -> dict[str, Any]:
        async with ApiClient.of(Credential.load(credential), patience=10.0) as client:
            return await client.graphql(source, given, idempotent=not once)

    with explained("client", as_json=True):
        typer.echo(json.dumps(asyncio.run(ask()), indent=2, ensure_ascii=False))


CLIENTS = """
query ($after: String) {
  clients(first: 200, after: $after) {
    nodes { clientId status roles name institution { code } expiresAt } pageInfo { hasNextPage endCursor }
  }
}"""
CLIENT = """
query ($id: String!) {
  client(clientId: $id) {
    clientId name status roles scopes institution { id code } jurisdiction purposes rateClass senderConstrained
    redirectUris jwksUri keys { kid } createdAt expiresAt
  }
}"""


@app.command("list")
def list_(credential: CredentialFile) -> None:
    """Print every client that has or had access: client id, status, roles, institution, end and name."""
    with explained("client"):
        found = every(credential, CLIENTS, "clients", {})
    for one in found:
        whose = (one["institution"] or {}).get("code", "-")
        end = one["expiresAt"] or "-"
        line = [one["clientId"], one["status"].lower(), ",".join(one["roles"]).lower(), whose, end, one["name"]]
        typer.echo("\t".join(line))


@app.command()
def show(client: ClientId, credential: CredentialFile) -> None:
    """Print how a client is registered, as JSON."""
    with explained("client"):
        typer.echo(json.dumps(ask(credential, CLIENT, {"id": client})["client"], indent=2, ensure_ascii=False))


@app.command()
def disable(client: ClientId, credential: CredentialFile) -> None:
    """Take a client's access away for good; tokens that it holds stop working within seconds."""
    with explained("client"):
        do(credential, "disableClient", {"clientId": client}, "client { clientId }")
    typer.echo(f"{client} is disabled.", err=True)


def _send(draft: ClientDraft, admin_file: Path | None) -> None:
    """Register `draft` as it is, by an admin or by the machine's operator."""
    if admin_file is None:
        asyncio.run(_bootstrap(draft, Settings.from_environment()))
    else:
        _register(draft, admin_file)


def _make(draft: ClientDraft, admin_file: Path | None, out: Path) -> None:
    """Register `draft` with a new key; its credential is in `out` then, and nothing is left there otherwise."""
    base_url = Settings.from_environment().issuer if admin_file is None else Credential.load(admin_file).base_url
    made = _new_credential(base_url, draft, out)
    try:
        _send(replace(draft, jwks=made.public_jwks), admin_file)
    except BaseException:
        out.unlink()
        raise


def _institution(admin_file: Path | None, named: str | None) -> UUID | None:
    """The institution that a draft is for; with --bootstrap no platform is asked, so none is named by its code then."""
    found = named if admin_file is None else institution_id(admin_file, named)
    try:
        return None if found is None else UUID(found)
    except ValueError:
        raise typer.BadParameter(
            "with --bootstrap, give the id of the institution.", param_hint="--institution"
        ) from None


def _key_set(path: Path) -> dict[str, Any]:
    """The key set in a file; one key alone is taken as a set of one. A private key goes nowhere, not even to us."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}.", param_hint="--jwks") from None
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not JSON: {error}.", param_hint="--jwks") from None
    if not isinstance(found, dict) or not isinstance(found.get("keys", []), list):
        raise typer.BadParameter(f"{path} is neither a JWK nor a JWK set (RFC 7517).", param_hint="--jwks")
    keys = found.get("keys", [found])
    if "private_jwk" in found or any(isinstance(key, dict) and PRIVATE_MEMBERS & key.keys() for key in keys):
        raise typer.BadParameter(
            f"{path} holds a private key, which stays with its owner; nothing was sent. Give its public half.",
            param_hint="--jwks",
        )
    return {"keys": keys}


def _register(draft: ClientDraft, admin_file: Path) -> None:
    """Register over GraphQL, as the admin whose credential that is."""
    asked = {
        "name": draft.name,
        "clientId": draft.client_id,
        "roles": [role.name for role in sorted(draft.roles)],
        "scopes": list(draft.scopes),
        "institution": str(draft.institution) if draft.institution else None,
        "expiresAt": draft.expires_at.isoformat() if draft.expires_at else None,
        "jwks": draft.jwks,
        "jwksUri": draft.jwks_uri,
        "redirectUris": list(draft.redirect_uris),
        "rateClass": draft.rate_class.name,
        "senderConstrained": draft.sender_constrained,
        "purposes": [purpose.name for purpose in draft.purposes],
        "jurisdiction": sorted(draft.jurisdiction),
    }
    do(admin_file, "registerClient", asked, "client { clientId }")


async def _bootstrap(draft: ClientDraft, settings: Settings) -> None:
    """Register in the database itself, as the machine's operator."""
    # Only here, so that the commands for a program far from any database start quickly.
    from sharewell.cli.machine import platform_services  # noqa: PLC0415

    logs.configure("warning", settings.log_format)
    async with platform_services(settings, DatabaseRole.GATEWAY) as services:
        await services.clients.bootstrap_admin(draft, request_id=f"bootstrap-{secrets.token_hex(8)}")


def _new_credential(base_url: str, draft: ClientDraft, out: Path) -> Credential:
    """A new key, on disk before anybody hears of it: a key that is registered must never be lost."""
    assert draft.client_id is not None
    made = Credential.generate(base_url, draft.client_id, tuple(draft.scopes))
    try:
        made.save(out)
    except FileExistsError:
        raise ApiError(f"{out} exists already; nothing is written over.") from None
    except OSError as error:
        raise ApiError(f"{out} cannot be written: {error.strerror}.") from error
    return made


def _id_from(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
    return f"{words or 'client'}-{secrets.token_hex(3)}"


def _text(argument: str) -> str:
    if argument == "-":
        return sys.stdin.read()
    if not argument.startswith("@"):
        return argument
    try:
        return Path(argument[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{argument[1:]} cannot be read: {error}.") from None


def _variables(argument: str) -> dict[str, Any]:
    try:
        given = json.loads(_text(argument))
    except ValueError as error:
        raise typer.BadParameter(f"that is not JSON: {error}.", param_hint="--variables") from None
    if not isinstance(given, dict):
        raise typer.BadParameter('a JSON object is wanted, such as {"first": 3}.', param_hint="--variables")
    return given
