"""The command line: which commands there are. Each lives in the file of its name and is loaded when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from sharewell.domain.errors import SharewellError
from sharewell.settings import SettingsError

#: Command -> its module and what it is for. Help lists these without loading a solver, a server or a database driver.
COMMANDS: Final = {
    "demo": ("sharewell.cli.demo", "See the whole journey in a made-up region; needs no data and no server."),
    "serve": ("sharewell.cli.serve", "Serve the GraphQL gateway, with its workers."),
    "worker": ("sharewell.cli.worker", "Run jobs from the queue and seal the audit log."),
    "migrate": ("sharewell.cli.migrate", "Bring the database up to this release."),
    "ingest": ("sharewell.cli.ingest", "Take in a published file."),
    "replay": ("sharewell.cli.replay", "Play real history, with and without sharing."),
    "verify": ("sharewell.cli.verify", "Check a decision, a promise or a whole log, without account or database."),
    "log": ("sharewell.cli.log", "Take the audit log or parts of it away, read it for damage, rotate its keys."),
    "replay-decision": ("sharewell.cli.replay_decision", "Make a decision once more from its inputs, and compare."),
    "client": ("sharewell.cli.client", "Register a client, get a token, run a query."),
    "watch": ("sharewell.cli.watch", "Follow what happens, one JSON object a line."),
    "erasure": ("sharewell.cli.erasure", "Erase persons whose details are sealed in the audit log."),
    "access": ("sharewell.cli.access", "See who can do what, why somebody was refused, and review all access."),
    "schema": ("sharewell.cli.schema", "Print the schema of the API, or of our part of a federated graph."),
    "person": ("sharewell.cli.person", "Invite people to sign in, and take their access away."),
    "policy": ("sharewell.cli.policy", "Draft, try, approve and roll back policies; break the glass."),
    "agreement": ("sharewell.cli.agreement", "Show a partner more of one's numbers: propose, accept, end."),
    "document": ("sharewell.cli.document", "Say which GraphQL documents a client may send, and no other."),
    "key": ("sharewell.cli.key", "Bring a new key for access tokens into use."),
    "ide": ("sharewell.cli.ide", "Put a page to ask the API from beside the gateway."),
    "allocate": ("sharewell.cli.allocate", "Check a plan against its instance, without a solver."),
    "forecast": ("sharewell.cli.forecast", "Fit, predict, look back on and report forecasts, from files."),
}


class Commands(TyperGroup):
    """Loads the module of a command when the command is used."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  likewise
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        found = getattr(module, "app", None) or getattr(module, cmd_name.replace("-", "_"))
        if isinstance(found, typer.Typer):
            return _flowing(get_command(found))
        single = typer.Typer(add_completion=False)
        single.command(cmd_name)(found)
        return _flowing(get_command(single))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  likewise
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


def _flowing(command: Any) -> Any:
    """The command, its help in paragraphs that fit any terminal: the lines of a docstring are those of the code."""
    if command.help:
        command.help = "\n\n".join(" ".join(each.split()) for each in command.help.split("\n\n"))
    for inner in getattr(command, "commands", {}).values():
        _flowing(inner)
    return command


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def main() -> None:
    """Let health institutions share what they have, fairly, with every decision open to check by a stranger.

    Start with `sharewell demo`. Settings are SHAREWELL_* variables; docs/operating.md lists them.
    """


def run() -> None:
    """The entry point: an error that a user can act on is one sentence, never a traceback."""
    try:
        app(prog_name="sharewell")
    except Exception as error:
        found = list(causes(error))
        if not all(isinstance(why, (SharewellError, SettingsError)) for why in found):
            raise
        for sentence in dict.fromkeys(map(str, found)):
            print(f"sharewell: {sentence}", file=sys.stderr)
        sys.exit(2)


def causes(error: BaseException) -> Iterator[BaseException]:
    """What really went wrong, out of the groups that concurrent work wraps it in."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from causes(inner)
