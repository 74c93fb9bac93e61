"""`sharewell watch` as its users run it, and the page that tells how to follow, tried as its readers would."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from tests.postgres.following.conftest import OFFERS

from sharewell.client import ApiClient, Credential, GraphQLErrors

if TYPE_CHECKING:
    from tests.postgres.following.conftest import Open, Region

PAGE = Path(__file__).parents[3] / "docs" / "following.md"
PEERS = Path(__file__).parents[2] / "peers"
NODE = shutil.which("node")


@asynccontextmanager
async def running(
    *command: str | Path, folder: Path, stderr: IO[bytes] | None = None, **environment: str
) -> AsyncIterator[asyncio.StreamReader]:
    """What a program prints, for as long as it is needed."""
    places = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env={"PATH": places, "PYTHONPATH": ":".join(sys.path), **environment},
        stdout=asyncio.subprocess.PIPE, stderr=stderr,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_watch_prints_what_happens_and_goes_on_by_itself_when_the_gateway_is_replaced(
    region: Region, open_gateway: Open, tmp_path: Path
) -> None:
    await region.institution("clinic")
    async with open_gateway(is_issuer=True) as one:
        port = int(one.url.rpartition(":")[2])
        path = await region.credential(one.url, "clinic", tmp_path / "clinic.json")
        async with ApiClient.of(Credential.load(path)) as client:
            start = (await client.graphql("{ followFrom }"))["followFrom"]
        first = await region.pledge("clinic", 2)
        watch = [sys.executable, "-m", "sharewell.cli", "watch", "offers", "-c", path, "--after", start]
        said_so = tmp_path / "said"
        watch += ["--resource", "bed.adult"]
        with said_so.open("wb") as err:
            async with running(*watch, folder=tmp_path, stderr=err) as out:
                said: dict[str, Any] = json.loads(await out.readline())
                assert said["kind"] == "offer.published"
                assert (said["offer"]["id"], said["offer"]["quantity"]) == (str(first.id), 2)
                await one.end()
                second = await region.pledge("clinic", 3)
                async with open_gateway(port, is_issuer=True):
                    said = json.loads(await out.readline())
                    assert (said["offer"]["id"], said["offer"]["quantity"]) == (str(second.id), 3)
        begun, *again = re.findall(r"Following offers after (\S+); ", said_so.read_text())
        assert begun == start
        assert again
        assert start not in again


async def test_a_follower_hears_why_it_is_refused(region: Region, open_gateway: Open, tmp_path: Path) -> None:
    await region.institution("clinic")
    async with open_gateway(is_issuer=True) as gateway:
        path = await region.credential(gateway.url, "clinic", tmp_path / "clinic.json")
        async with ApiClient.of(Credential.load(path)) as client:
            for query, after, code in ((OFFERS, "!", "INVALID"), ("subscription { nothing }", None, "INVALID")):
                with pytest.raises(GraphQLErrors) as refused:
                    await anext(client.follow(query, after=after))
                assert refused.value.codes == [code]


async def test_every_snippet_of_the_page_hears_of_an_offer(
    region: Region, open_gateway: Open, tmp_path: Path
) -> None:
    await region.institution("clinic")
    blocks = dict(re.findall(r"^```(python|javascript|bash)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    commands: dict[str, list[str]] = {"python": [sys.executable, "-c"], "bash": ["bash", "-euc"]}
    if NODE is not None and (PEERS / "node_modules" / "graphql-ws").is_dir():
        (tmp_path / "node_modules").symlink_to(PEERS / "node_modules")
        commands["javascript"] = [NODE, "--input-type=module", "-e"]
    async with open_gateway(is_issuer=True) as gateway:
        await region.credential(gateway.url, "clinic", tmp_path / "clinic.json")
        for kind, command in commands.items():
            async with running(*command, blocks[kind], folder=tmp_path, SHAREWELL=gateway.url) as out:
                heard = b""
                while b"offer.published" not in heard:
                    await region.pledge("clinic")
                    try:
                        heard += await asyncio.wait_for(out.read(65_536), 0.5)
                    except TimeoutError:
                        continue
                    assert not out.at_eof() or b"offer.published" in heard, f"{kind}: {heard!r}"
