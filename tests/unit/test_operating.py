"""The operator's page says what is so: every setting, every metric, every warning."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from sharewell.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text()


def test_the_page_lists_every_setting_and_no_other() -> None:
    asked: set[str] = set()

    class Watched(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    Settings.from_environment(Watched())
    assert set(re.findall(r"^\| `(SHAREWELL_\w+)`", PAGE, re.MULTILINE)) == asked


def test_the_page_tells_what_each_warning_of_the_log_means() -> None:
    warned = set()
    for file in (file for folder in ("platform", "schema", "workers") for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name("log"), attr="warning" | "error" | "exception"),
                    args=[ast.Constant(str(line)), *_],
                ):
                    warned.add(line)
    assert "list cannot be filtered" in warned
    assert {line for line in warned if f"`{line}`" not in PAGE} == set()


def test_the_page_speaks_of_every_metric_and_of_no_other() -> None:
    named = set()
    for file in [*(ROOT / "platform").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]:
        for kind, name in re.findall(r"\b(Counter|Gauge|Histogram)\(\s*\"(sharewell_\w+)\"", file.read_text()):
            # The client library itself ends the name of a counter in _total.
            named.add(f"{name.removesuffix('_total')}_total" if kind == "Counter" else name)
    assert named
    told = re.findall(r"`(sharewell_(?:http|job|jobs|log|ingest|forecast|allocate|refusals|policies)_\w+)`", PAGE)
    assert set(told) == named
