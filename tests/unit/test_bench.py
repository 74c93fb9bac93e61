"""The command that measures: each benchmark by its name, and one that fails or dies is told, never passed over."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
#: What the issue asks to be measured, and the benchmarks that do.
WANTED = {"audit", "api", "ingest", "forecasting", "allocation", "allocation-inflation", "allocation-credit"}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = util.spec_from_file_location("bench", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.syspath_prepend(str(FOLDER))
    return module


def test_everything_that_must_be_measured_has_a_benchmark_and_every_benchmark_a_function(bench: ModuleType) -> None:
    assert set(bench.BENCHMARKS) >= WANTED
    for module, function, _ in bench.BENCHMARKS.values():
        assert f"def {function}(" in (FOLDER / f"{module}.py").read_text()


def test_an_unknown_name_is_refused_with_those_there_are(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["speed"]) == 2
    assert "there is no benchmark 'speed'; there are authz, " in capsys.readouterr().err


def test_a_benchmark_that_fails_is_a_line_and_a_status(
    bench: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "BENCHMARKS", {"gone": ("no_such_module", "measure", False)})
    assert bench.main(["gone"]) == 1
    line = json.loads(capsys.readouterr().out)
    assert line["benchmark"] == "gone"
    assert line["error"].startswith("ModuleNotFoundError")


@pytest.mark.parametrize(("status", "failed"), [(0, 0), (1, 1), (-11, 1)])
def test_a_benchmark_whose_process_dies_is_told(
    bench: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, status: int, failed: int
) -> None:
    def end(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command == [sys.executable, str(FOLDER / "run.py"), command[-1]]
        return subprocess.CompletedProcess(command, status if command[-1] == "audit" else 0)

    monkeypatch.setattr(subprocess, "run", end)
    assert bench.main(["authz", "audit"]) == failed
    assert ("ended with status -11" in capsys.readouterr().out) == (status == -11)
