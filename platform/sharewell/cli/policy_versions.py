"""`sharewell policy`: versions of the policies, an admin's work over GraphQL; checking a folder needs no platform."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from sharewell.cli.asking import ask, do, every
from sharewell.cli.client import CredentialFile
from sharewell.cli.explained import explained
from sharewell.client import GraphQLErrors
from sharewell.domain.break_glass import GlassReason

_LINE = "number state origin author approvedBy effectiveFrom why"
LIST = f"""
query ($first: Int!) {{
  brokenGlasses(onlyCurrent: true) {{ nodes {{ id version client until }} }}
  policyVersions(first: $first) {{ nodes {{ {_LINE} }} }}
}}
"""
SHOW = f"""
query ($number: Int!) {{
  policyVersion(number: $number) {{
    {_LINE} sha256 base returnsTo simulation findings {{ code weight message }} steps {{ state at client }}
    files {{ name text }}
  }}
}}
"""
DIFF = """
query ($number: Int!, $base: Int) {
  policyVersion(number: $number) {
    sha256 changes(base: $base) {
      base policies { policy kind sentence sentenceBefore } files { file diff }
    }
  }
}
"""
IN_FORCE = """
query { policyVersions(first: 1, state: EFFECTIVE) { nodes { number files { name text } } } }
"""
FILES = "query ($number: Int!) { policyVersion(number: $number) { number sha256 files { name text } } }"
_AFTER = "version { number state origin sha256 effectiveFrom findings { code weight message } }"

CODES = """
query ($after: String) {
  institutions(first: 1000, after: $after) { nodes { id code } pageInfo { hasNextPage endCursor } }
}
"""
#: What an author does after a version is in this state and of this origin.
NEXT: Final = {
    ("DRAFT", "DRAFTED"): "mend the faults, then `sharewell policy draft FOLDER --edit {}`",
    ("VALIDATED", "DRAFTED"): "`sharewell policy try {}`, without which nobody can approve it",
    ("VALIDATED", "ROLLED_BACK"): "a second person reads `sharewell policy diff {}`, and approves",
}
MOST_OF_A_CODE = 10  #: findings that are told of one code

Number = Annotated[int, typer.Argument(help="Number of the version.", show_default=False)]
Folder = Annotated[
    Path, typer.Argument(help="Folder with all policy files.", exists=True, file_okay=False, show_default=False)
]
Why = Annotated[str, typer.Option(help="Why, in a sentence, for whoever is to approve it.")]


def list_(
    credential: CredentialFile, *, first: Annotated[int, typer.Option(help="How many.", min=1, max=1000)] = 20
) -> None:
    """Print the versions, newest first: number, state, author, who approved it, from when, why.

    Where the glass is broken, that comes first: it is what is in force.
    """
    with explained("policy"):
        found = ask(credential, LIST, {"first": first})
        for glass in found["brokenGlasses"]["nodes"]:
            typer.echo(f"GLASS BROKEN by {glass['client']}: version {glass['version']} is in force until "
                       f"{glass['until']}; end it with {glass['id']}")  # fmt: skip
        for node in found["policyVersions"]["nodes"]:
            approved = f", approved by {node['approvedBy']}" if node["approvedBy"] else ""
            since = f", from {node['effectiveFrom']}" if node["effectiveFrom"] else ""
            line = f"{node['number']}  {node['state']}  by {node['author']}{approved}{since}  {node['why'] or ''}"
            typer.echo(line.rstrip())


def show(
    number: Number, credential: CredentialFile, *,
    out: Annotated[Path | None, typer.Option(help="Write its files into this folder, which is made.")] = None,
) -> None:  # fmt: skip
    """Print a version as JSON, or write its files into a folder to edit them there."""
    with explained("policy"):
        found = ask(credential, SHOW, {"number": number})["policyVersion"]
        files = found.pop("files")
        if out is not None:
            _write(out, files)
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def diff(
    number: Number, credential: CredentialFile, *,
    base: Annotated[int | None, typer.Option(help="The version to compare with; by default the one in force.")] = None,
) -> None:  # fmt: skip
    """Print what a version changes: its hash, each policy with its sentences, and a unified diff of each file."""
    with explained("policy"):
        version = ask(credential, DIFF, {"number": number, "base": base})["policyVersion"]
    found = version["changes"]
    typer.echo(f"Version {number}, {version['sha256']}, against version {found['base']}:")
    for change in found["policies"] or ():
        typer.echo(f"{change['kind'].lower():8} {change['policy']}")
        for mark, sentence in (("-", change["sentenceBefore"]), ("+", change["sentence"])):
            if sentence is not None:
                typer.echo(f"       {mark} {sentence}")
    for file in found["files"]:
        typer.echo(f"\n{file['diff']}", nl=False)


def validate(folder: Folder) -> None:
    """Check a folder of policies with nothing but this program; the exit status is 1 where it has faults."""
    # Only here, so that the commands for a program far from any policies start quickly.
    from sharewell.domain.policy_versions import Finding, Weight  # noqa: PLC0415
    from sharewell.vetting.findings import findings_of  # noqa: PLC0415

    found: tuple[Finding, ...] = findings_of({name: text.encode() for name, text in _read(folder).items()})
    for line in _lines((finding.weight, finding.code, finding.message) for finding in found):
        typer.echo(line)
    if any(finding.weight is Weight.FAULT for finding in found):
        raise typer.Exit(1)
    typer.echo("No faults.")


def draft(
    folder: Folder, credential: CredentialFile, *, why: Why = "",
    base: Annotated[int | None, typer.Option(help="The version that is changed; by default the one in force.")] = None,
    edit: Annotated[int | None, typer.Option(help="Change this version of your own instead of drafting one.")] = None,
) -> None:  # fmt: skip
    """Draft a version whose files are those of FOLDER, and print its number; what was found goes to standard error."""
    if (edit is None) == (not why) or (edit is not None and base is not None):
        raise typer.BadParameter("give either --why, with --base or not, or --edit.", param_hint="--why")
    with explained("policy"):
        before = _before(credential, edit if edit is not None else base)
        files = _changed({file["name"]: file["text"] for file in before["files"]}, _read(folder))
        if edit is None:
            done = _do(credential, "draftPolicies", {"files": files, "base": before["number"], "why": why})
        else:
            done = _do(credential, "editPolicies", {"files": files, "version": edit})
    _tell(done)
    typer.echo(done["number"])


def try_version(
    number: Number, credential: CredentialFile, *,
    days: Annotated[float, typer.Option(help="On the decisions of so many days until now.", min=0.001)] = 7,
) -> None:  # fmt: skip
    """Try a version on the decisions of the past; print how many stay and how many would come out otherwise."""
    since = datetime.now(UTC) - timedelta(days=days)
    with explained("policy"):
        asked = {"version": number, "since": since.isoformat()}
        found = _do(credential, "simulatePolicies", asked, "version { simulation }")["simulation"]
        codes = _codes(credential)
    for name, count in found["total"].items():
        typer.echo(f"{count:9} {name.replace('_', ' ')}")
    for row in found["by"]:
        if row["newly_allowed"] or row["newly_denied"]:
            whose = codes.get(row["institution"], row["institution"]) or "nobody in particular"
            typer.echo(f"{row['action']} of {whose}: "
                       f"{row['newly_allowed']} newly allowed, {row['newly_denied']} newly denied")  # fmt: skip
    for each in found["changed"]:
        typer.echo(f"{each['id']} {each['action']} would be {'allowed' if each['allowed'] else 'denied'}")
    if found["withheld"]:
        typer.echo(f"{found['withheld']} of the first hundred that change are not listed, since you may not read them")
    typer.echo(f"Next: a second person reads `sharewell policy diff {number}`, and approves.", err=True)


def _codes(credential: Path) -> dict[str, str]:
    """Codes of institutions by id; of none where this credential reads no institutions."""
    try:
        return {each["id"]: each["code"] for each in every(credential, CODES, "institutions", {})}
    except GraphQLErrors:
        return {}


def approve(
    number: Number,
    sha256: Annotated[str, typer.Argument(help="Whole hash of what you read, as in `diff`.", show_default=False)],
    credential: CredentialFile, *,
    effective_from: Annotated[
        str | None, typer.Option("--from", help="RFC 3339 time from which it is in force; by default at once.")
    ] = None,
) -> None:  # fmt: skip
    """Let a version that somebody else wrote come into force; refused if it was edited since you read it."""
    with explained("policy"):
        asked = {"version": number, "sha256": sha256, "effectiveFrom": effective_from}
        done = _do(credential, "approvePolicies", asked)
    typer.echo(f"Version {done['number']} is {done['state'].lower()}, in force from {done['effectiveFrom']}.", err=True)


def withdraw(number: Number, credential: CredentialFile) -> None:
    """Take a version back before it comes into force."""
    with explained("policy"):
        _do(credential, "withdrawPolicyVersion", {"version": number})
    typer.echo(f"Version {number} is withdrawn.", err=True)


def roll_back(number: Number, credential: CredentialFile, *, why: Why) -> None:
    """Make a version with the policies of NUMBER, which was in force; print its number. A second person approves it."""
    with explained("policy"):
        done = _do(credential, "rollBackPolicies", {"to": number, "why": why})
    _tell(done)
    typer.echo(done["number"])


def break_glass(
    number: Number, credential: CredentialFile, *,
    reason: Annotated[GlassReason, typer.Option(help="Why.")],
    remark: Annotated[str, typer.Option(help="What is going on, in a sentence; name nobody.")],
    hours: Annotated[float, typer.Option(help="After how many hours it ends by itself.", min=0.1, max=24)] = 1,
) -> None:  # fmt: skip
    """Put a version into force at once and for hours, without a second person; print the id to end it by.

    The regulator sees it. It must have been in force before, or only add permits that name one caller and its acts.
    """
    until = datetime.now(UTC) + timedelta(hours=hours)
    asked = {"version": number, "reason": reason.name, "remark": remark, "until": until.isoformat()}
    with explained("policy"):
        done = _do(credential, "breakGlass", asked, "glass { id until }", "glass")
    typer.echo(f"Version {number} is in force until {done['until']}.", err=True)
    typer.echo(done["id"])


def end_break_glass(
    glass: Annotated[UUID, typer.Argument(help="Id of the broken glass.", show_default=False)],
    credential: CredentialFile,
) -> None:  # fmt: skip
    """End a broken glass before its time; what was in force before returns."""
    with explained("policy"):
        _do(credential, "endBreakGlass", {"glass": str(glass)}, "glass { id }", "glass")
    typer.echo("It is over.", err=True)


def _do(
    credential: Path, name: str, asked: dict[str, Any], select: str = _AFTER, noun: str = "version"
) -> dict[str, Any]:
    done: dict[str, Any] = do(credential, name, asked, select)[noun]
    return done


def _before(credential: Path, number: int | None) -> dict[str, Any]:
    """The version whose files are changed: the one in force, where none is named."""
    if number is not None:
        found: dict[str, Any] = ask(credential, FILES, {"number": number})["policyVersion"]
        return found
    (in_force,) = ask(credential, IN_FORCE, {})["policyVersions"]["nodes"]
    return dict(in_force)


def _changed(before: dict[str, str], after: dict[str, str]) -> list[dict[str, str | None]]:
    names = sorted(before.keys() | after.keys())
    return [{"name": name, "text": after.get(name)} for name in names if before.get(name) != after.get(name)]


def _read(folder: Path) -> dict[str, str]:
    try:
        found = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.cedar"))}
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{folder} cannot be read: {error}.", param_hint="FOLDER") from None
    if not found:
        raise typer.BadParameter(f"{folder} has no policy files (*.cedar).", param_hint="FOLDER")
    return found


def _write(folder: Path, files: list[dict[str, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file["name"]).write_text(file["text"], encoding="utf-8")


def _tell(version: dict[str, Any]) -> None:
    number, state = version["number"], version["state"]
    typer.echo(f"Version {number} is {state.lower()}.", err=True)
    for line in _lines((each["weight"].lower(), each["code"], each["message"]) for each in version["findings"]):
        typer.echo(line, err=True)
    if (after := NEXT.get((state, version["origin"]))) is not None:
        typer.echo(f"Next: {after.format(number)}", err=True)


def _lines(findings: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """A line for each weight, code and message. At most `MOST_OF_A_CODE` of a code: one fault can change every case."""
    count: Counter[str] = Counter()
    for weight, code, message in findings:
        count[code] += 1
        if count[code] <= MOST_OF_A_CODE:
            yield f"{weight:8} {code}: {message}"
    for code, found in count.items():
        if found > MOST_OF_A_CODE:
            yield f"and {found - MOST_OF_A_CODE} more of {code}"


#: By name, the commands of `sharewell policy` that are about versions.
COMMANDS: Mapping[str, Callable[..., None]] = {
    "list": list_, "show": show, "diff": diff, "validate": validate, "draft": draft, "try": try_version,
    "approve": approve, "withdraw": withdraw, "roll-back": roll_back, "break-glass": break_glass,
    "end-break-glass": end_break_glass,
}  # fmt: skip
