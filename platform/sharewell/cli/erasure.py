"""`sharewell erasure`: find and erase persons, remove remarks, and rotate the key that persons' keys are wrapped by."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from sharewell import logs
from sharewell.audit.erasure import KEY_FILE, KeyFile
from sharewell.cli.machine import platform_services
from sharewell.domain.principals import Caller
from sharewell.domain.subjects import Ground
from sharewell.settings import DatabaseRole, Settings
from sharewell.wiring import Services, operator

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Find and erase persons whose details are sealed in the audit log."
)

Result = TypeVar("Result")

GroundOption = Annotated[
    Ground, typer.Option(help="By which ground of law; docs/audit-log.md lists the articles.", show_default=False)
]


@app.command()
def find(
    identifier: Annotated[str, typer.Argument(help="What the integrator calls the person.", show_default=False)],
    *,
    institution: Annotated[UUID | None, typer.Option(help="Whose person it is.")] = None,
    client: Annotated[str | None, typer.Option(help="Instead, a client that acts for no institution.")] = None,
) -> None:
    """Print the reference of a person, and until when its key is kept. Exit status 1 where there is none."""
    found = _run(lambda services, caller: services.subjects.find(caller, institution, client, identifier))
    if found is None:
        typer.echo("There is no such person: nothing was done on its behalf, or it is erased.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{found.subject_ref} kept until {found.keep_until:%Y-%m-%d}")


@app.command()
def erase(
    subject: Annotated[UUID, typer.Argument(help="Reference of the person; see `find`.", show_default=False)],
    *,
    ground: GroundOption,
) -> None:
    """Delete a person's key: nobody reads its details in the log again, in no copy. This cannot be undone.

    Backups of the database hold the key until they are deleted themselves; see docs/operating.md.
    """
    done = _run(lambda services, caller: services.subjects.erase(caller, subject, ground))
    typer.echo(f"{subject} is erased; decision {done.decision}.")


@app.command()
def remark(
    decision: Annotated[UUID, typer.Argument(help="Beside which decision it was typed.", show_default=False)],
    *,
    ground: GroundOption,
) -> None:
    """Remove what somebody typed beside a decision. The log has its salted hash only."""
    made = _run(lambda services, caller: services.subjects.erase_remark(caller, decision, ground))
    typer.echo(f"The remark is removed; decision {made}.")


@app.command("rotate-key")
def rotate_key(
    *,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Then forget the keys that nothing is wrapped by.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Make no new key; go on with the current one.")
    ] = False,
) -> None:
    """Wrap every person's key by a new key-encryption key. No entry changes, and nobody has to stop.

    Every gateway must see the same file. Where they do not share a home, add the key on one machine, hand the file to
    all of them, and only then wrap: `--resume`.
    """
    file = KeyFile(Settings.from_environment().home / KEY_FILE)
    current = asyncio.run(file.current()) if resume else file.add()
    wrapped = _run(lambda services, caller: services.subjects.rewrap(caller))
    typer.echo(f"{current} is in use; {wrapped} keys were wrapped anew.")
    used = _run(lambda services, _: services.subjects.keks())
    for old in [each for each in file.ids() if each not in {*used, current}] if drop_old else []:
        file.drop(old)
        typer.echo(f"{old} is forgotten.")


def _run(do: Callable[[Services, Caller], Awaitable[Result]]) -> Result:
    """Do it with the rights of the gateway, on record as the operator's."""

    async def done() -> Result:
        settings = Settings.from_environment()
        logs.configure("warning", settings.log_format)
        async with platform_services(settings, DatabaseRole.GATEWAY) as services:
            return await do(services, operator(f"erasure-{secrets.token_hex(8)}"))

    return asyncio.run(done())
