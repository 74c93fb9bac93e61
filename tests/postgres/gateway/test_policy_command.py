"""A change of the policies by the command line: two admins' OAuth clients, a real gateway and a replica of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from sharewell.authz import SCHEMA, shipped_policies
from sharewell.cli.main import app

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import OpenPlatform, Platform

ADMINS_SEE_OFFERS = """
@id("admins-see-offers")
@sentence("An admin sees what is pledged.")
permit (
  principal is Sharewell::Caller in Sharewell::Role::"admin",
  action == Sharewell::Action::"viewOffer",
  resource
);
"""
OFFERS = "{ offers { nodes { id } } }"
GLASSES = "{ brokenGlasses { nodes { version reason remark ending client } } }"


async def run(*arguments: str | Path) -> Result:
    """`sharewell ARGUMENTS`, whose coroutine needs a thread of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, [str(each) for each in arguments])


async def said(*arguments: str | Path) -> str:
    """What a command prints that ends well."""
    result = await run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


async def sees_offers(credential: Path) -> bool:
    result = await run("client", "query", "-c", credential, OFFERS)
    assert result.exit_code == 0 or "FORBIDDEN" in result.output, result.output
    return result.exit_code == 0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.2)


async def test_a_change_of_the_policies_from_a_folder_to_two_replicas_and_back(
    open_platform: OpenPlatform, tmp_path: Path
) -> None:
    async with open_platform() as platform, open_platform() as replica:
        await _change(platform, replica, tmp_path)


async def _change(platform: Platform, replica: Platform, home: Path) -> None:
    names = ("author.json", "second.json", "puppet.json", "there.json", "regulator.json", "policies")
    author, second, puppet, elsewhere, regulator, folder = (home / name for name in names)
    await platform.run("client", "register", "Author", "--role", "admin", "--bootstrap", "--out", author)
    await said("client", "register", "Puppet", "--role", "admin", "-c", author, "--out", puppet)
    await said("client", "register", "Regulator", "--role", "regulator", "-c", author, "--out", regulator)
    elsewhere.write_text(json.dumps(json.loads(author.read_text()) | {"base_url": replica.url}))
    elsewhere.chmod(0o600)

    assert await said("policy", "list", "-c", author) == "1  EFFECTIVE  by operator, from " + await _since(author)
    await said("policy", "show", "1", "-c", author, "--out", folder)
    assert {path.name for path in folder.iterdir()} == shipped_policies().keys() - {SCHEMA}
    (folder / "extra.cedar").write_text(ADMINS_SEE_OFFERS)
    found = await said("policy", "validate", folder)
    assert "warning  case_differs: admin lists offers: allowed by admins-see-offers" in found
    assert await said("policy", "draft", folder, "-c", author, "--why", "Admins answer the telephone.") == "2"
    told = await said("policy", "diff", "2", "-c", author)
    read = await _hash(author, 2)
    assert told.startswith(f"Version 2, {read}, against version 1:")
    assert "added    admins-see-offers\n       + An admin sees what is pledged." in told
    assert "+++ b/extra.cedar" in told

    assert not await sees_offers(author)
    assert "1 newly allowed" in await said("policy", "try", "2", "-c", author)
    trier = home / "trier.json"
    scopes = [part for name in ("Policy", "Decision") for part in ("--scope", f"system/{name}.cruds")]
    await said("client", "register", "Trier", "--role", "admin", *scopes, "-c", author, "--out", trier)
    assert "1 newly allowed" in await said("policy", "try", "2", "-c", trier)
    own = await run("policy", "approve", "2", read, "-c", author)
    assert (own.exit_code, "Whoever wrote a version" in own.output) == (1, True)
    alone = await run("policy", "approve", "2", read, "-c", puppet)
    assert (alone.exit_code, "there is no second person" in alone.output) == (1, True)
    await platform.run("client", "register", "Second", "--role", "admin", "--bootstrap", "--out", second)
    made = await run("policy", "approve", "2", read, "-c", puppet)
    assert (made.exit_code, "an admin of another line approves" in made.output) == (1, True)
    edited = await run("policy", "approve", "2", "0" * 64, "-c", second)
    assert (edited.exit_code, "was edited since; read it again" in edited.output) == (1, True)
    await said("policy", "approve", "2", read, "-c", second)
    for credential in (author, elsewhere):
        await until(lambda who=credential: sees_offers(who))  # type: ignore[misc]
    await until(lambda: _listed(second, "2  EFFECTIVE  by author-"))

    assert await said("policy", "roll-back", "1", "-c", second, "--why", "They should not.") == "3"
    await said("policy", "approve", "3", await _hash(author, 3), "-c", author)
    for credential in (author, elsewhere):
        await until(lambda who=credential: _not(sees_offers(who)))  # type: ignore[misc]

    glass = await said("policy", "break-glass", "2", "-c", author, "--reason", "care_blocked", "--remark", "A fire.")
    for credential in (author, elsewhere):
        await until(lambda who=credential: sees_offers(who))  # type: ignore[misc]
    assert f"end it with {glass}\n3  EFFECTIVE" in await said("policy", "list", "-c", second)
    await said("policy", "end-break-glass", glass, "-c", second)
    for credential in (author, elsewhere):
        await until(lambda who=credential: _not(sees_offers(who)))  # type: ignore[misc]
    (alert,) = json.loads(await said("client", "query", "-c", regulator, GLASSES))["brokenGlasses"]["nodes"]
    assert alert.pop("client").startswith("author-")
    assert alert == {"version": 2, "reason": "CARE_BLOCKED", "remark": "A fire.", "ending": "ENDED"}


async def _not(found: Awaitable[bool]) -> bool:
    return not await found


async def _listed(credential: Path, beginning: str) -> bool:
    return any(line.startswith(beginning) for line in (await said("policy", "list", "-c", credential)).splitlines())


async def _hash(credential: Path, number: int) -> str:
    return str(json.loads(await said("policy", "show", str(number), "-c", credential))["sha256"])


async def _since(credential: Path) -> str:
    found = json.loads(await said("policy", "show", "1", "-c", credential))
    return str(found["effectiveFrom"])


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ('@id("all") @sentence("Everything to all.") permit (principal, action, resource);', 1, "unconditional_permit"),
        (ADMINS_SEE_OFFERS, 0, "No faults."),
    ],
)  # fmt: skip
def test_a_folder_is_validated_without_any_platform(tmp_path: Path, text: str, status: int, told: str) -> None:
    for name, data in shipped_policies().items():
        if name != SCHEMA:
            (tmp_path / name).write_bytes(data)
    (tmp_path / "extra.cedar").write_text(text)
    result = CliRunner().invoke(app, ["policy", "validate", str(tmp_path)])
    assert (result.exit_code, told in result.stdout) == (status, True), result.output


def test_a_folder_without_policies_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["policy", "validate", str(tmp_path)])
    assert (result.exit_code, "has no policy files" in result.output) == (2, True)
