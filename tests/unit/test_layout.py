"""The house: what lies at the top, what may import what, and that a wheel carries all of it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELVES = {"platform": "sharewell", "schema": "sharewell_schema", "workers": "sharewell_workers",
           "policies": "sharewell_policies"}  # fmt: skip
CODE = [path for shelf, package in SHELVES.items() for path in sorted((ROOT / shelf / package).rglob("*.py"))]
DOMAIN = sorted((ROOT / "platform/sharewell/domain").rglob("*.py"))


def tracked() -> list[str]:
    """Every file under version control; a checkout without git counts as it lies."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.splitlines()


def test_the_folders_at_the_top_are_the_seven_of_the_house() -> None:
    folders = {path.split("/")[0] for path in tracked() if "/" in path}
    assert {folder for folder in folders if not folder.startswith(".")} == {*SHELVES, "tests", "k8s", "docs"}


def test_a_shelf_is_no_package_and_carries_one() -> None:
    # `platform/__init__.py` would shadow the standard library's module, and `import uuid` would die of it.
    for shelf, package in SHELVES.items():
        assert not (ROOT / shelf / "__init__.py").exists()
        assert [path.parent.name for path in (ROOT / shelf).glob("*/__init__.py")] == [package]
    fetched = ROOT / "tests" / "peers" / "unpacked"  # others' packages, which are no part of the tree
    assert not [path for path in (ROOT / "tests").rglob("__init__.py") if not path.is_relative_to(fetched)]


def test_the_standard_library_is_found_from_the_top_folder() -> None:
    code = "import platform, uuid; print(platform.system())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "Linux\n"


def test_imports_point_down() -> None:
    # In a process of its own: it sets up logging anew, and loggers that other tests look at would fall silent.
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_domain_imports_the_standard_library_and_itself() -> None:
    allowed = (sys.stdlib_module_names | {"sharewell"}) - {"asyncio", "socket", "subprocess", "threading", "time"}
    for path in DOMAIN:
        for name in imported(path):
            assert name.split(".")[0] in allowed, f"{path.name} imports {name}"
            assert f"{name}.".startswith("sharewell.domain.") or not name.startswith("sharewell"), (
                f"{path.name}: {name}"
            )


def test_the_domain_looks_at_no_clock() -> None:
    for path in DOMAIN:
        used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert not used & {"now", "utcnow", "today"}, f"{path.name} asks what time it is; pass the time in"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_every_module_opens_by_saying_what_it_does() -> None:
    assert [path for path in CODE if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_make_help_lists_what_can_be_made() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = [line.split()[1] for line in shown.splitlines()]
    assert set(listed) >= {"help", "install", "demo", "serve", "test", "lint", "bench"}


def test_a_python_that_is_too_old_is_told_what_to_install(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.10.12" || exit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci/python"], env={"PATH": f"{tmp_path}:/nowhere"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, and this machine has Python 3.10.12" in done.stderr
    assert "sudo apt-get install" in done.stderr


@pytest.mark.parametrize(
    ("lacking", "package"), [("import ensurepip", "python3-venv"), ("libgomp", "libgomp1")], ids=["venv", "libgomp"]
)
def test_a_machine_that_lacks_something_is_told_its_package(tmp_path: Path, lacking: str, package: str) -> None:
    lame = tmp_path / "python3"
    lame.write_text(f'#!/bin/sh\ncase "$2" in *"{lacking}"*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    lame.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHON": "python3"}
    done = subprocess.run([ROOT / ".ci/python"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"sudo apt-get install {package}" in done.stderr


def test_a_wheel_carries_the_four_packages_and_their_files(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {
        str(Path(path).relative_to(shelf))
        for path in tracked()
        for shelf, package in SHELVES.items()
        if path.startswith(f"{shelf}/{package}/")
    }
    assert expected <= names
    assert {Path(name).suffix for name in expected} >= {".py", ".sql", ".cedar", ".cedarschema", ".graphql"}
    assert not {name.split("/")[0] for name in names} - {*SHELVES.values(), "sharewell-0.1.0.dist-info"}


def test_constraints_pin_exactly_what_pyproject_asks_for() -> None:
    lines = (ROOT / ".ci/constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    shown = subprocess.run(
        [sys.executable, "-m", "pip", "inspect"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    (ours,) = [each for each in json.loads(shown)["installed"] if each["metadata"]["name"] == "sharewell"]
    for requirement in ours["metadata"]["requires_dist"]:
        name = requirement.split(";")[0].strip().split("[")[0].split(">")[0].split("=")[0].split("<")[0].strip()
        assert name.lower().replace("_", "-") in pinned, f"{requirement} is not pinned; run `make constraints`"
