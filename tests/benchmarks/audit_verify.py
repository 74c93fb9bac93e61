"""How long both verifiers take over a whole log in a folder, and how much memory, as it grows."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import sharewell.audit
from sharewell.audit.keys import LogKey
from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.merkle import hash_leaf
from sharewell.domain.notes import sign_note
from sharewell.domain.tiles import ENTRIES, FULL, Edge, entry_bundle, tile_path
from sharewell.domain.trust import trust_keys

KEY = LogKey.from_seed("benchmark.example/log", bytes(32))
SIZES: Final = (10_000, 100_000, 1_000_000)
FOR_NODE: Final = 100_000  #: entries up to which the second verifier is asked, which is slower
ENTRY_BYTES: Final = 480

#: Verifies, then says the most memory it had: of this process alone, which `getrusage` would not.
PROGRAM = """
import sys
from sharewell.domain.verify import main
assert main(sys.argv[1:]) == 0
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def measure() -> list[dict[str, Any]]:
    """One record for each size and verifier."""
    records = []
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="sharewell-bench-") as folder:
            _write(Path(folder), size)
            command = [sys.executable, "-S", "-c", PROGRAM, folder]
            records.append(_record("sharewell.domain.verify", size, command))
            if size <= FOR_NODE and (node := shutil.which("node")):
                module = str(Path(sharewell.audit.__file__).with_name("verify.mjs"))
                records.append(_record("verify.mjs", size, [node, module, folder]))
    return records


def _record(verifier: str, size: int, command: list[str]) -> dict[str, Any]:
    start = time.perf_counter()
    place = Path(sharewell.audit.__file__).parents[2]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=place)
    seconds = time.perf_counter() - start
    last = done.stdout.splitlines()[-1]
    return {
        "benchmark": "audit-verify",
        "verifier": verifier,
        "entries": size,
        "seconds": round(seconds, 2),
        "entries_per_second": round(size / seconds),
    } | ({"megabytes": int(last) // 1024} if last.isdecimal() else {})


def _write(folder: Path, size: int) -> None:
    edge = Edge()
    for start in range(0, size, FULL):
        entries = [b"%0*d" % (ENTRY_BYTES, number) for number in range(start, min(size, start + FULL))]
        _put(folder / tile_path(ENTRIES, start // FULL, len(entries)), entry_bundle(entries))
        for tile, hashes in edge.extend(map(hash_leaf, entries)):
            _put(folder / tile_path(*tile), b"".join(hashes))
    for tile, hashes in edge.partial_tiles():
        _put(folder / tile_path(*tile), b"".join(hashes))
    _put(folder / "checkpoint", sign_note(Checkpoint(origin=KEY.key.name, size=size, root=edge.root()).text(), [KEY]))
    _put(folder / "policy", trust_keys([KEY.key]).text().encode())


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
