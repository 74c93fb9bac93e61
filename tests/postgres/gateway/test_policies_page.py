"""docs/policies.md as two new admins go through it: each snippet run in the order of the page, once they are let in."""

from __future__ import annotations

import asyncio
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from tests.postgres.gateway.test_integrate import SNIPPET, run

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import OpenPlatform, Platform

PAGE = Path(__file__).parents[3] / "docs" / "policies.md"
SHIPPED = Path(str(files("sharewell_policies")))
#: What the page holds, in order; the text is a policy beside the condition that a list gets from it.
KINDS = ["cedar", "text", "bash", "bash", "bash", "bash", "bash", "bash", "bash"]
PLACEHOLDER = re.compile(r"\b[0-9a-f]{4}\.\.\.")
HASH = re.compile(r"^Version \d+, ([0-9a-f]{64}),", re.MULTILINE)
#: What the admin types into the editor.
EDIT = """#!/bin/sh
cat >> "$1" <<'END'
@id("admins-see-offers")
@sentence("An admin sees what is pledged.")
permit (principal is Sharewell::Caller in Sharewell::Role::"admin", action == Sharewell::Action::"viewOffer", resource);
END
"""


async def shell(platform: Platform, folder: Path, text: str) -> str:
    """What a snippet prints; where it names a hash, the admin reads it from what was printed before."""
    before, approve, rest = text.partition("sharewell policy approve")
    printed = await run(platform, folder, "bash", before) or ""
    if approve:
        (read,) = HASH.findall(printed)
        after, placeholders = PLACEHOLDER.subn(read, rest)
        assert placeholders == 1, text
        printed += await run(platform, folder, "bash", approve + after) or ""
    return printed


async def member(platform: Platform, home: Path, name: str) -> None:
    """An institution with a client of its own, whose credential and id are in files of its name."""
    text = f"""
sharewell client query -c admin.json 'mutation {{ registerInstitution(input: {{
  idempotencyKey: "{name}", code: "{name}", name: "{name}", kind: HOSPITAL, region: "north"
}}) {{ institution {{ id }} }} }}' | sed -n 's/.*"id": "\\(.*\\)".*/\\1/p' > {name}.txt
sharewell client register {name} -c admin.json --role institution --institution "$(cat {name}.txt)" --out {name}.json
"""
    await run(platform, home, "bash", text)


async def newest(platform: Platform, home: Path) -> str:
    return (await run(platform, home, "bash", "sharewell policy list -c admin.json") or "").splitlines()[0]


async def in_force(platform: Platform, home: Path, number: int) -> None:
    async with asyncio.timeout(60):
        while not (await newest(platform, home)).startswith(f"{number}  EFFECTIVE"):
            await asyncio.sleep(0.1)


async def test_two_new_admins_get_from_nothing_to_a_change_of_the_policies_and_back(
    open_platform: OpenPlatform, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(EDIT)
    editor.chmod(0o700)
    snippets = SNIPPET.findall(PAGE.read_text(encoding="utf-8"))
    assert [kind for kind, _ in snippets] == KINDS
    (cedar, _, agree, digest, simulate, change, admins, back, glass) = (text for _, text in snippets)
    assert cedar in (SHIPPED / "offers.cedar").read_text()
    async with open_platform(EDITOR=str(editor)) as platform:
        await shell(platform, tmp_path, admins)
        await member(platform, tmp_path, "giver")
        await member(platform, tmp_path, "receiver")
        assert "  IN FORCE  giver (" in await shell(platform, tmp_path, agree)

        named = (await shell(platform, SHIPPED, digest)).split()[0]
        told = await shell(platform, tmp_path, f"set +e\n{simulate}true")  # differences end with status 1
        assert "admins-see-offers" in (tmp_path / "draft" / "offers.cedar").read_text()
        assert "viewOffer: " in told.partition("kinds of request tried")[2]

        told = await shell(platform, tmp_path, change)
        assert "added    admins-see-offers" in told
        await in_force(platform, tmp_path, 2)
        await shell(platform, tmp_path, back)
        await in_force(platform, tmp_path, 3)
        await shell(platform, tmp_path, glass)
        first = json.loads(await platform.run("policy", "show", "1", "-c", tmp_path / "admin.json"))
        query = "{ brokenGlasses { nodes { version ending } } }"
        asked = await platform.run("client", "query", "-c", tmp_path / "admin.json", query)
    assert first["sha256"] == named
    assert json.loads(asked) == {"brokenGlasses": {"nodes": [{"version": 2, "ending": "ENDED"}]}}
