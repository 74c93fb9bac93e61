"""Schemathesis fuzzes the running gateway, queries and mutations, and finds no fault."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.conftest import HERE, program, staged, token_of, unpacked

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import OpenPlatform

SECONDS = int(os.environ.get("SHAREWELL_FUZZ_SECONDS", "30"))
ROLES = ("institution", "allocator", "regulator", "admin")
#: A request may fit the schema and still ask for what is not there: no schema says which ids exist.
BEYOND_A_SCHEMA = "positive_data_acceptance"


async def test_schemathesis_finds_no_fault(open_platform: OpenPlatform, tmp_path: Path) -> None:
    path = os.pathsep.join([str(unpacked("schemathesis")), os.environ.get("PYTHONPATH", "")])
    client = tmp_path / "fuzzer.json"
    async with open_platform(SHAREWELL_TOKEN_SECONDS="3600") as platform:
        stage = await staged(platform, tmp_path)
        await platform.run(
            "client", "register", "Fuzzer", "-c", tmp_path / "admin.json", "--rate", "high", "--out", client,
            *(word for role in ROLES for word in ("--role", role)), "--institution", stage.north,
        )  # fmt: skip
        said = await program(
            sys.executable, "-W", "ignore", "-m", "schemathesis.cli", "run", f"{platform.url}/graphql",
            "-H", f"Authorization: Bearer {await token_of(client)}", "--phases", "fuzzing", "--max-time", str(SECONDS),
            "--exclude-checks", BEYOND_A_SCHEMA, "--no-color", folder=tmp_path, PYTHONPATH=path,
            SCHEMATHESIS_HOOKS=str(HERE / "families.py"),
        )  # fmt: skip
    sys.stdout.write(said)
    generated = re.search(r"(\d+) generated", said)
    assert generated is not None, said
    assert int(generated[1]) > 100
