"""`sharewell policy`: try a draft of the policies before it can bite; for versions see `policy_versions`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files as resource_files
from pathlib import Path
from typing import Annotated, Any

import typer

from sharewell.cli import policy_versions
from sharewell.cli.explained import explained
from sharewell.client import ApiClient, Credential

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Draft, try, approve and roll back the policies, and break the glass.",
)
for name, command in policy_versions.COMMANDS.items():
    app.command(name)(command)

SCHEMA = "sharewell.cedarschema"
SIMULATE = """
query ($files: [PolicyFileInput!]!, $since: DateTime!, $until: DateTime!) {
  policySimulation(files: $files, since: $since, until: $until) {
    decisionId draft moreChanged withheld questions
    total { decisions unchanged newlyAllowed newlyDenied notReplayable }
    notReplayed { reason decisions }
    groups {
      institutionId institution { code } action counts { decisions unchanged newlyAllowed newlyDenied notReplayable }
    }
    changed { id at actor action then { allowed policies } now { allowed policies } }
  }
}"""
COMPARE = """
query ($files: [PolicyFileInput!]!) {
  policyComparison(files: $files) {
    before draft relation exhaustive unclear cases
    actions { action newlyAllowed newlyDenied examples { sentence } }
  }
}"""
SAID = {
    "EQUIVALENT": "equivalent: both decide every request alike",
    "MORE_PERMISSIVE": "more permissive: the draft allows all that is allowed, and more",
    "LESS_PERMISSIVE": "less permissive: the draft allows nothing more, and less",
    "NEITHER": "neither: the draft allows some that is refused, and refuses some that is allowed",
}

Folder = Annotated[
    Path, typer.Argument(help="Folder of the draft: all .cedar files and the schema.", show_default=False)
]
CredentialFile = Annotated[
    Path | None, typer.Option("--credential", "-c", help="Credential file of an admin, auditor or regulator.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")]


@app.command()
def simulate(
    folder: Folder,
    *,
    credential: Annotated[
        Path, typer.Option("--credential", "-c", help="Credential file of an admin, auditor or regulator.")
    ],
    since: Annotated[
        datetime | None, typer.Option(help="Decisions from then on, in UTC; by default the last 30 days.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="Decisions before then, in UTC; by default until now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put a draft of the policies to the decisions of the past, and say what comes out otherwise.

    Each decision on record holds what was asked. The draft is asked the same;
    the answers are counted by institution and act, and the first decisions
    that change are listed, as far as you may read them. The exit status is 1 if any changes, else 0.
    """
    end = _utc(until) if until else datetime.now(UTC)
    begin = _utc(since) if since else end - timedelta(days=30)
    window = {"since": begin.isoformat(), "until": end.isoformat()}
    found = _ask(credential, SIMULATE, {"files": _draft(folder), **window})["policySimulation"]
    typer.echo(json.dumps(found) if as_json else "\n".join(_simulated(found)))
    raise typer.Exit(int(found["total"]["newlyAllowed"] + found["total"]["newlyDenied"] > 0))


@app.command()
def compare(
    folder: Folder,
    other: Annotated[
        Path | None, typer.Argument(help="Folder to compare with; by default the policies in force.")
    ] = None,
    *,
    credential: CredentialFile = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a draft permits more, less, the same or neither, over every request that can be told apart.

    With a credential it is compared with the policies in force; with a second
    folder, with that one, and no platform is asked. The exit status is 0 if
    both are shown to be equivalent, else 1.
    """
    if (other is None) == (credential is None):
        raise typer.BadParameter("give a second folder, or --credential to compare with what is in force.")
    if credential is not None:
        found = _ask(credential, COMPARE, {"files": _draft(folder)})["policyComparison"]
    else:
        assert other is not None
        found = _compared(_files(other), _files(folder))
    typer.echo(json.dumps(found) if as_json else "\n".join(_told(found)))
    raise typer.Exit(int(found["relation"] != "EQUIVALENT" or not found["exhaustive"]))


def _compared(before: Mapping[str, bytes], draft: Mapping[str, bytes]) -> dict[str, Any]:
    """What the platform would answer, found on this machine."""
    # Only here, so that the other commands start quickly.
    from sharewell.services.comparisons import compare as compare_sets  # noqa: PLC0415
    from sharewell.services.simulations import read_draft  # noqa: PLC0415

    with explained("policy"):
        found = compare_sets(read_draft(before), read_draft(draft))
    return {
        "before": found.before, "draft": found.draft, "relation": found.relation.name, "exhaustive": found.exhaustive,
        "unclear": list(found.unclear), "cases": found.cases,
        "actions": [
            {
                "action": str(each.action), "newlyAllowed": each.newly_allowed, "newlyDenied": each.newly_denied,
                "examples": [{"sentence": one.sentence} for one in each.examples],
            }
            for each in found.actions
        ],
    }  # fmt: skip


def _ask(credential: Path, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with ApiClient.of(Credential.load(credential), patience=10.0, timeout=60.0) as client:
            return await client.graphql(query, variables)

    with explained("policy"):
        return asyncio.run(ask())


def _draft(folder: Path) -> list[dict[str, str]]:
    return [{"name": name, "text": data.decode()} for name, data in _files(folder).items()]


def _files(folder: Path) -> dict[str, bytes]:
    """The policy files and the schema of a folder, by name."""
    try:
        found = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if _is_policy(path.name)}
        for data in found.values():
            data.decode()
    except (OSError, UnicodeDecodeError) as why:
        raise typer.BadParameter(f"{folder} cannot be read: {why}.") from None
    if not found:
        raise typer.BadParameter(f"{folder} holds no policy; its files end in .cedar and .cedarschema.")
    # A version of the policies comes without a schema, which belongs to the release.
    return {SCHEMA: resource_files("sharewell_policies").joinpath(SCHEMA).read_bytes()} | found


def _is_policy(name: str) -> bool:
    return name.endswith((".cedar", ".cedarschema"))


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _simulated(found: Mapping[str, Any]) -> Iterator[str]:
    total = found["total"]
    yield f"draft {found['draft'][:12]} on {total['decisions']} decisions, by {found['questions']} distinct questions"
    yield _line("in all", total)
    for each in found["notReplayed"]:
        yield f"  not replayable: {each['decisions']} {each['reason'].lower()}"
    for group in found["groups"]:
        counts = group["counts"]
        if counts["newlyAllowed"] or counts["newlyDenied"]:
            where = group["institution"] or {"code": group["institutionId"] or "nobody's"}
            yield _line(f"{where['code']} {group['action']}", counts)
    for one in found["changed"]:
        yield (
            f"{one['at']} {one['actor']} {one['action']}: {_verdict(one['then'])} then, {_verdict(one['now'])} now; "
            f"decision {one['id']}"
        )
    if found["moreChanged"]:
        yield "and more; a shorter window lists them"
    if found["withheld"]:
        yield f"and {found['withheld']} that change, which you may not read"
    yield f"on record as decision {found['decisionId']}"


def _line(name: str, counts: Mapping[str, int]) -> str:
    return (
        f"{name}: {counts['unchanged']} unchanged, {counts['newlyAllowed']} newly allowed, "
        f"{counts['newlyDenied']} newly denied, {counts['notReplayable']} not replayable"
    )


def _verdict(found: Mapping[str, Any]) -> str:
    return f"{'allowed' if found['allowed'] else 'refused'} by {', '.join(found['policies']) or 'no policy'}"


def _told(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{SAID[found['relation']]} ({found['cases']} kinds of request tried)"
    if found["exhaustive"]:
        yield "exhaustive: every kind of request that either set can tell apart was tried"
    for why in found["unclear"]:
        yield f"NOT EXHAUSTIVE  {why}"
    for each in found["actions"]:
        counts = f"{each['newlyAllowed']} kinds newly allowed, {each['newlyDenied']} newly denied"
        yield f"{each['action']}: {counts}, such as"
        yield from (f"  {one['sentence']}" for one in each["examples"])
