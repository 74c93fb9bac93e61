"""Sharing agreements and trusted documents by the command line, against a real gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from sharewell.cli import document
from sharewell.cli.asking import do
from sharewell.cli.main import app

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import OpenPlatform, Platform

REGISTER = "mutation ($input: RegisterInstitutionInput!) { registerInstitution(input: $input) { institution { id } } }"
REPORT = "mutation ($input: ReportCapacityInput!) { reportCapacity(input: $input) { reports { id } } }"
FREE = "query ($id: UUID) { capacityReports(institution: $id) { nodes { free } } }"
KINDS = "{ decisions(first: 100) { nodes { kind subjectId } } }"
TYPED = "{ __typename }"
TRUSTED = document._trusted


async def run(*arguments: object) -> Result:
    """`sharewell ARGUMENTS`, whose coroutine needs a thread of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, [str(each) for each in arguments])


async def said(*arguments: object) -> str:
    """What a command prints that ends well."""
    result = await run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


async def refused(*arguments: object) -> str:
    """What a command says that was not done."""
    result = await run(*arguments)
    assert result.exit_code == 1, result.output
    return result.output


async def asked(credential: Path, query: str, **variables: Any) -> Any:
    return json.loads(await said("client", "query", "-c", credential, query, "-v", json.dumps(variables)))


async def admin_of(platform: Platform, home: Path) -> Path:
    admin = home / "admin.json"
    await platform.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
    return admin


async def member(admin: Path, code: str) -> tuple[str, Path]:
    """A new institution and the credential of its client."""
    said_of_it = {"code": code, "name": code.title(), "kind": "HOSPITAL", "region": "us-nj", "idempotencyKey": code}
    made = await asked(admin, REGISTER, input=said_of_it)
    id, out = made["registerInstitution"]["institution"]["id"], admin.with_name(f"{code}.json")  # noqa: A001
    await said("client", "register", code, "--role", "institution", "--institution", id, "-c", admin, "--out", out)
    return id, out


async def test_an_agreement_is_proposed_accepted_seen_and_ended_at_the_command_line(
    open_platform: OpenPlatform, tmp_path: Path
) -> None:
    async with open_platform() as platform:
        admin = await admin_of(platform, tmp_path)
        (north_id, north), (south_id, south) = await member(admin, "north"), await member(admin, "south")
        beds = {"resource": "bed.adult", "asOf": "2026-03-01T12:00:00Z", "staffed": 20, "occupied": 17}
        await asked(north, REPORT, input={"idempotencyKey": "beds", "reports": [beds]})

        async def sees() -> Any:
            (report,) = (await asked(south, FREE, id=north_id))["capacityReports"]["nodes"]
            return report["free"]

        nobodys = await run("access", "who-can", "publishOffer", "-c", admin)
        assert "Nobody can do publishOffer to what belongs to no institution" in nobodys.output
        id = await said("agreement", "propose", "south", "-c", north, "--days", "9", "--resource", "bed.adult")  # noqa: A001
        (line,) = (await said("agreement", "list", "-c", south)).splitlines()
        parties = f"North ({north_id}) shows South ({south_id}) counts of bed.adult until "
        assert line.startswith(f"{id}  PROPOSED  {parties}")
        assert "FORBIDDEN" in await refused("agreement", "accept", id, "-c", north)
        assert await sees() is None
        await said("agreement", "accept", id, "-c", south)
        assert await sees() == 3
        assert (await said("agreement", "list", "--in-force", "-c", north)).startswith(f"{id}  IN FORCE  {parties}")

        found = json.loads(await said("agreement", "show", id, "-c", north))
        assert (found["detail"], found["endedAt"]) == ("COUNTS", None)
        assert "you see no agreement" in await refused("agreement", "show", north_id, "-c", north)
        assert "CONFLICT" in await refused("agreement", "end", id, "-c", north, "--if-changed-by", id)
        await said("agreement", "end", id, "-c", north, "--if-changed-by", found["changedById"])
        assert await sees() is None
        assert (await said("agreement", "list", "-c", north)).startswith(f"{id}  OVER  ")
        assert await said("agreement", "list", "--in-force", "-c", north) == ""
        itself = await refused("agreement", "propose", north_id, "-c", north, "--days", "9")
        assert "(INVALID, input.receiver)" in itself
        nodes = [one for one in (await asked(north, KINDS))["decisions"]["nodes"] if one["subjectId"] == id]
    kinds = [one["kind"] for one in nodes if one["kind"] != "access.refused"]
    assert kinds == ["agreement.ended", "agreement.accepted", "agreement.proposed"]


async def test_an_agreement_needs_one_end(tmp_path: Path) -> None:
    receiver = "00000000-0000-4000-8000-000000000000"
    result = await run("agreement", "propose", receiver, "-c", tmp_path / "north.json")
    assert (result.exit_code, "give either --until or --days" in result.output) == (2, True)


def read_before_another(credential: Path, client: str) -> dict[str, Any]:
    """What a command reads, just before somebody else gives the client its first list."""
    before = TRUSTED(credential, client)
    do(credential, "trustDocuments", {"clientId": client, "documents": [TYPED]}, "trusted { trustedAt }")
    return before


async def test_documents_of_a_client_are_registered_shown_and_withdrawn_at_the_command_line(
    open_platform: OpenPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, offers, wrong = (tmp_path / name for name in ("me.graphql", "offers.graphql", "wrong.graphql"))
    me.write_text("query Me {\n  me { roles }\n}\n")
    offers.write_text("{ offers { nodes { id } } }")
    wrong.write_text("{ nothing }")
    async with open_platform() as platform:
        admin = await admin_of(platform, tmp_path)
        _, board = await member(admin, "north")
        id = json.loads(board.read_text())["client_id"]  # noqa: A001
        assert "no client has the id" in await refused("document", "list", "nobody", "-c", admin)
        assert await said("document", "list", id, "-c", admin) == ""
        assert "cannot be answered" in await refused("document", "register", id, wrong, "-c", admin)

        with monkeypatch.context() as patched:
            patched.setattr(document, "_trusted", read_before_another)
            assert "somebody else was the first" in await refused("document", "register", id, me, "-c", admin)
        assert (await said("document", "list", id, "-c", admin)).endswith(TYPED)
        await said("document", "withdraw", id, "--all", "-c", admin)

        name = await said("document", "register", id, me, "-c", admin)
        assert await said("document", "list", id, "-c", admin) == f"{name}  query Me {{ me {{ roles }} }}"
        shown = await run("document", "show", id, name[:12], "-c", admin)
        assert shown.stdout == me.read_text()
        assert await asked(board, me.read_text()) == {"me": {"roles": ["INSTITUTION"]}}
        assert "sends registered documents only" in await refused("client", "query", "-c", board, TYPED)

        other = await said("document", "register", id, offers, "-c", admin)
        names = [line.split()[0] for line in (await said("document", "list", id, "-c", admin)).splitlines()]
        assert names == sorted([name, other])
        assert "FORBIDDEN" in await refused("document", "withdraw", id, "--all", "-c", board)
        assert "no document has a name" in await refused("document", "withdraw", id, "beds", "-c", admin)
        await said("document", "withdraw", id, name, "-c", admin)
        assert "say so with --all" in await refused("document", "withdraw", id, other, "-c", admin)
        assert (await said("document", "register", id, me, "--only", "-c", admin)) == name
        assert (await said("document", "list", id, "-c", admin)).startswith(name)
        await said("document", "withdraw", id, "--all", "-c", admin)
        assert await said("document", "list", id, "-c", admin) == ""
        log = '{ decisions(first: 100, kind: "documents.trusted") { nodes { subjectId } } }'
        assert len((await asked(admin, log))["decisions"]["nodes"]) == 7


async def test_withdrawing_names_documents_or_says_all(tmp_path: Path) -> None:
    result = await run("document", "withdraw", "board", "-c", tmp_path / "admin.json")
    assert (result.exit_code, "name documents, or give --all" in result.output) == (2, True)
