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
from sharewell.cli.explained import explained
from sharewell.client import ApiClient, ApiError, Credential
from sharewell.domain.clients import USUAL_SCOPES, ClientDraft, Purpose, RateClass
from sharewell.domain.principals import Role
from sharewell.settings import DatabaseRole, Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Register programs, get tokens for them, and run queries as them."
)

REGISTER_CLIENT = """
mutation Register($input: RegisterClientInput!) { registerClient(input: $input) { client { clientId scopes } } }
"""

CredentialFile = Annotated[
    Path, typer.Option("--credential", "-c", help="Credential file of the client to act as.", show_default=False)
]


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="What people call the program.", show_default=False)],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Where to write its credential file; it must not exist yet.")
    ] = None,
    jwks: Annotated[
        Path | None, typer.Option(help="Instead of --out: file with the public key, or key set, that it has already.")
    ] = None,
    jwks_uri: Annotated[
        str | None, typer.Option("--jwks-uri", help="Instead of --out: the address where it publishes its keys.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Instead of --out: an app on people's own devices, which has no key.")
    ] = False,
    role: Annotated[list[Role], typer.Option(help="What it is to the platform; may be given several times.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="Such as system/Offer.cruds; by default what its roles can use.")
    ] = None,
    institution: Annotated[UUID | None, typer.Option(help="Id of the institution it acts for.")] = None,
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
    purpose: Annotated[list[Purpose] | None, typer.Option(help="What its tokens may be used for.")] = None,
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
    is all that its owner needs to hear. An admin registers over
    GraphQL (--credential). The very first admins are let in by the operator, with --bootstrap and the settings of
    `sharewell serve`; that works while no admin client can act, or no two of whom one could approve what the other
    wrote, and is recorded like every registration.
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
        institution=institution,
        client_id=client_id or _id_from(name),
        expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
        redirect_uris=redirect or (),
        rate_class=rate,
        sender_constrained=bound,
        purposes=purpose or (),
        jurisdiction=jurisdiction or (),
    )
    with explained("client"):
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


def _send(draft: ClientDraft, admin_file: Path | None) -> None:
    """Register `draft` as it is, by an admin or by the machine's operator."""
    if admin_file is None:
        asyncio.run(_bootstrap(draft, Settings.from_environment()))
    else:
        asyncio.run(_register(draft, Credential.load(admin_file)))


def _make(draft: ClientDraft, admin_file: Path | None, out: Path) -> None:
    """Register `draft` with a new key; its credential is in `out` then, and nothing is left there otherwise."""
    base_url = Settings.from_environment().issuer if admin_file is None else Credential.load(admin_file).base_url
    made = _new_credential(base_url, draft, out)
    try:
        _send(replace(draft, jwks=made.public_jwks), admin_file)
    except BaseException:
        out.unlink()
        raise


def _key_set(path: Path) -> dict[str, Any]:
    """The key set in a file; one key alone is taken as a set of one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path} cannot be read as JSON: {error}.", param_hint="--jwks") from None
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{path} is neither a JWK nor a JWK set (RFC 7517).", param_hint="--jwks")
    return found if "keys" in found else {"keys": [found]}


async def _register(draft: ClientDraft, admin: Credential) -> None:
    """Register over GraphQL, as `admin`."""
    asked = {
        "idempotencyKey": f"client {draft.client_id}",
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
    async with ApiClient.of(admin, patience=10.0) as client:
        await client.graphql(REGISTER_CLIENT, {"input": asked})


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
