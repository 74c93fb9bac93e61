"""Others' code, unchanged, verifies a log of ten thousand entries as we make it, and refuses a changed one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.audit.conftest import LOG, ONE, QUANTUM, TWO, a_log

HERE = Path(__file__).parent
UNPACKED = HERE / "unpacked"
GO_PATH = Path("/usr/share/gocode")
SIZE = 10_000
OLDER = (1, 255, 256, 4_000, 9_999)

Run = Callable[[Path, list[Path]], "subprocess.CompletedProcess[str]"]


def python(script: str, package: str, *keys: str) -> Run:
    def run(folder: Path, older: list[Path]) -> subprocess.CompletedProcess[str]:
        if not (UNPACKED / package).is_dir():
            pytest.skip(f"{package} is not here; fetch it with: python tests/peers/fetch.py")
        command = [sys.executable, "-W", "ignore", str(HERE / script), str(folder), *keys, "--", *map(str, older)]
        environment = os.environ | {"PYTHONPATH": str(UNPACKED)}
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)

    return run


def go(folder: Path, older: list[Path]) -> subprocess.CompletedProcess[str]:
    if shutil.which("go") is None or not (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("Go is not here; install it with: apt-get install golang-go golang-golang-x-mod-dev")
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": str(GO_PATH),
    }
    command = ["go", "run", str(HERE / "verify.go"), str(folder), LOG.vkey, *map(str, older)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


PEERS: dict[str, Run] = {
    "Go's sumdb/note and tlog": go,
    "aics-tlog": python("aics_tlog_verifies.py", "aics_tlog", LOG.vkey, str(ONE.key), str(TWO.key)),
    "tlog-scales": python(
        "tlog_scales_verifies.py", "tlog_scales", LOG.vkey, str(QUANTUM.key), str(ONE.key), str(TWO.key)
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_log(SIZE).write(tmp_path_factory.mktemp("peers") / "log")


@pytest.mark.parametrize("name", PEERS)
def test_others_verify_every_entry_and_that_the_log_only_grew(folder: Path, tmp_path: Path, name: str) -> None:
    older = [tmp_path / f"{size}" for size in OLDER]
    for size, path in zip(OLDER, older, strict=True):
        path.write_bytes(a_log(size).checkpoint)
    done = PEERS[name](folder, older)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"verified {SIZE} entries")


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("path", ["checkpoint", "tile/entries/000"])
def test_others_refuse_what_was_changed(tmp_path: Path, name: str, path: str) -> None:
    log = a_log(300)
    data = log.files[path]
    changed = log.write(tmp_path / "log", **{path: data[:25] + bytes([data[25] ^ 1]) + data[26:]})
    assert PEERS[name](changed, []).returncode != 0
