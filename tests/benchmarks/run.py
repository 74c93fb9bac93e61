"""Measure everything, or what is named: `python tests/benchmarks/run.py [NAME ...]`. Prints one JSON object a line.

Compare ratios, which are taken within one run; seconds tell more of the machine than of the code. Each benchmark has a
process of its own, so none works in the litter of another. One that fails is a line too, and the exit status is then 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import uvloop

from sharewell.cli.machine import apply_migrations
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.server import open_database_server

Records = list[dict[str, Any]]

#: Name -> module of this folder, its function, and whether it works on a database, which is then made for it alone.
BENCHMARKS: Final[Mapping[str, tuple[str, str, bool]]] = {
    "authz": ("authz", "measure", False),
    "authz-lists": ("authz", "measure_lists", True),
    "policies": ("policies", "measure", True),
    "ingest": ("ingest", "measure", False),
    "ingest-stored": ("ingest", "measure_stored", True),
    "forecasting": ("forecasting", "measure", False),
    "allocation": ("allocation", "measure", False),
    "allocation-scale": ("allocation_scale", "measure", False),
    "allocation-queue": ("allocation_queue", "measure", True),
    "allocation-inflation": ("fairness", "measure_inflation", False),
    "allocation-credit": ("fairness", "measure_credit", False),
    "allocation-horizon": ("horizon", "measure", False),
    "allocation-horizon-live": ("horizon_live", "measure", True),
    "audit": ("audit", "measure", True),
    "erasure": ("erasure", "measure", True),
    "audit-search": ("audit_search", "measure", True),
    "audit-verify": ("audit_verify", "measure", False),
    "api": ("api", "measure", True),
    "load": ("load", "measure", True),
    "api-side-by-side": ("side_by_side", "measure", True),
    "token": ("token_issue", "measure", True),
    "following": ("following", "measure", True),
}


async def on_database(measure: Any) -> Records:
    """Run `measure` on a fresh database that is as durable as in production."""
    with tempfile.TemporaryDirectory(prefix="sharewell-bench-") as folder:
        Path(folder).chmod(0o711)  # the server's own account must be able to enter where we are root
        async with open_database_server(Settings(home=Path(folder))) as server:
            await apply_migrations(server)
            records: Records = await measure({role: server.url(role) for role in DatabaseRole})
            return records


def run(name: str) -> Records:
    """The records of one benchmark; one that says what went wrong, if it fails."""
    module, function, needs_database = BENCHMARKS[name]
    try:
        measure = getattr(import_module(module), function)
        records: Records = uvloop.run(on_database(measure)) if needs_database else measure()
    except Exception as why:  # noqa: BLE001  whatever it is, the others are still measured
        return [{"benchmark": name, "error": f"{type(why).__name__}: {why}"}]
    return records


def main(names: list[str]) -> int:
    """Run `names`, or all; return the exit status."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    return max(alone(names[0]) if len(names) == 1 else apart(name) for name in names or BENCHMARKS)


def alone(name: str) -> int:
    """Run one benchmark here and print its records; 1 if it failed."""
    records = run(name)
    for record in records:
        print(json.dumps(record), flush=True)
    return int(any("error" in record for record in records))


def apart(name: str) -> int:
    """Run one benchmark in a process of its own; 1 if it failed, or died before it could say so."""
    status = subprocess.run([sys.executable, __file__, name], check=False).returncode
    if status not in {0, 1}:
        print(json.dumps({"benchmark": name, "error": f"its process ended with status {status}"}), flush=True)
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
