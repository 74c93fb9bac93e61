"""docs/integrate.md as a new integrator goes through it: each snippet run in the order of the page."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import OpenPlatform, Platform

PAGE = Path(__file__).parents[3] / "docs" / "integrate.md"
PEERS = Path(__file__).parents[2] / "peers"
NODE = shutil.which("node") if (PEERS / "node_modules").is_dir() else None
SNIPPET = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What the page holds, in order; `graphql` is the subgraph that tests/peers runs.
KINDS = ["python", "bash", "python", "javascript", "bash", "python", "graphql"]
RELIABLY = 5  #: the snippet that goes behind the Python before it
#: What each snippet that reports reads back last: resource, staffed, free.
READ_BACK = {2: ("bed.adult", 120, 20), 3: ("ventilator", 30, 18), 4: ("icu.adult", 16, 5)}


async def run(platform: Platform, folder: Path, kind: str, text: str) -> str | None:
    """What the snippet prints; None where this machine lacks what it is for."""
    if kind == "python":
        return await platform.program(sys.executable, "-c", text, folder=folder)
    if kind == "javascript" and NODE is not None:
        (folder / "snippet.mjs").write_text(text)
        return await platform.program(NODE, "snippet.mjs", folder=folder)
    if kind == "bash" and ("curl" not in text or shutil.which("curl") is not None):
        return await platform.program("bash", "-euo", "pipefail", "-c", text, folder=folder)
    return None


async def test_a_new_integrator_gets_from_nothing_to_a_report_that_is_read_back(
    open_platform: OpenPlatform, tmp_path: Path
) -> None:
    snippets = SNIPPET.findall(PAGE.read_text(encoding="utf-8"))
    assert [kind for kind, _ in snippets] == KINDS
    (tmp_path / "node_modules").symlink_to(PEERS / "node_modules")
    async with open_platform() as platform:
        admin = tmp_path / "admin.json"
        await platform.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
        for place, (kind, text) in enumerate(snippets):
            whole = snippets[2][1] + text if place == RELIABLY else text
            printed = await run(platform, tmp_path, kind, whole)
            if place == RELIABLY and printed is not None:
                same, resources, client, code = printed.split()[-4:]
                assert (same, client, code) == ("True", "north-clinic", "FORBIDDEN")
                assert int(resources) > 0
            if place in READ_BACK and printed is not None:
                read = printed.strip().splitlines()[-1]
                code, staffed, free = READ_BACK[place]
                for said in (f"{code}", f"{staffed}", f"{free}"):
                    assert re.search(rf"\b{re.escape(said)}\b", read), (place, read)
        assert "PRIVATE" not in (tmp_path / "public.json").read_text()
        assert "d" not in json.loads((tmp_path / "public.json").read_text())


async def test_apps_without_a_key_and_keys_at_an_address_are_registered_by_the_command(
    open_platform: OpenPlatform, tmp_path: Path
) -> None:
    async with open_platform(SHAREWELL_EGRESS="https://keys.example") as platform:
        admin = tmp_path / "admin.json"
        await platform.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
        common = ("-c", admin, "--role", "regulator")
        app = await platform.run(
            "client", "register", "Board", *common, "--public", "--scope", "user/Offer.rs",
            "--redirect", "https://app.example/back",
        )  # fmt: skip
        far = await platform.run(
            "client", "register", "Far", *common, "--id", "far", "--jwks-uri", "https://keys.example/jwks",
            "--scope", "system/Offer.rs",
        )  # fmt: skip
        query = "query ($id: String!) { client(clientId: $id) { jwksUri redirectUris scopes } }"
        asked = {name.strip(): json.loads(
            await platform.run("client", "query", "-c", admin, query, "-v", json.dumps({"id": name.strip()}))
        )["client"] for name in (app, far)}  # fmt: skip
        private = tmp_path / "private.json"
        private.write_text(json.dumps(json.loads(admin.read_text())["private_jwk"]))
        refused = await _refusal(platform, "client", "register", "X", *map(str, common), "--jwks", str(private))
        neither = await _refusal(platform, "client", "register", "X", *map(str, common))
    assert asked[app.strip()] == {
        "jwksUri": None, "redirectUris": ["https://app.example/back"], "scopes": ["user/Offer.rs"],
    }  # fmt: skip
    assert (far.strip(), asked["far"]["jwksUri"]) == ("far", "https://keys.example/jwks")
    assert "holds a private key" in refused
    assert "nothing was sent" in " ".join(refused.split())
    assert "give one of --out" in " ".join(neither.split())


async def test_a_client_is_listed_shown_and_disabled_and_its_institution_named_by_code(
    open_platform: OpenPlatform, tmp_path: Path
) -> None:
    admin, bot = tmp_path / "admin.json", tmp_path / "bot.json"
    north = """mutation { registerInstitution(input: {
      idempotencyKey: "north", code: "north", name: "North", kind: HOSPITAL, region: "north"
    }) { institution { id } } }"""
    register = ("client", "register", "Bot", "--id", "bot", "-c", str(admin), "--role", "institution")
    async with open_platform() as platform:
        await platform.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
        await platform.run("client", "query", "-c", admin, north)
        await platform.run(*register, "--institution", "north", "--out", bot)
        unknown = await _refusal(platform, *register, "--institution", "nort", "--out", str(tmp_path / "no.json"))
        taken = await _refusal(platform, *register, "--institution", "north", "--out", str(tmp_path / "no.json"))
        able = await platform.run("access", "who-can", "publishOffer", "--owner", "north", "-c", admin)
        shown = json.loads(await platform.run("client", "show", "bot", "-c", admin))
        await platform.run("client", "disable", "bot", "-c", admin)
        listed = (await platform.run("client", "list", "-c", admin)).splitlines()
        await _refusal(platform, "client", "token", "-c", str(bot))
    assert "no institution has the code 'nort'" in unknown
    assert "a client bot is registered already" in taken
    assert not (tmp_path / "no.json").exists()
    assert able.startswith("client bot (Bot): ")
    assert (shown["institution"]["code"], shown["status"]) == ("north", "ACTIVE")
    assert "bot\tdisabled\tinstitution\tnorth\t-\tBot" in listed


async def _refusal(platform: Platform, *arguments: str) -> str:
    """What a command says that does not end well."""
    try:
        await platform.run(*arguments)
    except AssertionError as error:
        return str(error)
    raise AssertionError("it went well")
