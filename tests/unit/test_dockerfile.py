"""The Dockerfile, as far as it can be checked where no container engine runs."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """The instructions in order, comments left out and continued lines joined."""
    text = (ROOT / "k8s" / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps `path` out of the build; the last line that matches decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!").strip("/")
        if pattern and not pattern.startswith("#") and fnmatch.fnmatch(path, pattern):
            verdict = not line.startswith("!")
    return verdict


def test_every_instruction_is_one_that_docker_knows() -> None:
    known = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} <= known


def test_whatever_is_copied_is_in_the_checkout_and_not_ignored() -> None:
    copied = [rest.split()[:-1] for name, rest in stages()[0] if name == "COPY"]
    sources = [source for group in copied for source in group]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source.strip("/")), f"{source} never reaches the build"


def test_every_package_that_the_wheel_is_made_of_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = " ".join(rest for name, rest in stages()[0] if name == "COPY")
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert f"{package.split('/')[0]}/" in copied


def test_the_image_runs_as_a_user_with_a_number_and_the_manifests_use_the_same() -> None:
    final = stages()[-1]
    assert [rest for name, rest in final if name == "USER"] == ["10001:10001"]
    assert "runAsUser: 10001" in (ROOT / "k8s" / "base" / "gateway.yaml").read_text()


def test_the_final_stage_has_what_lightgbm_needs_and_none_of_the_sources() -> None:
    final = stages()[-1]
    assert any("libgomp1" in rest for name, rest in final if name == "RUN")
    assert [rest for name, rest in final if name == "COPY"] == ["--from=build /opt/sharewell /opt/sharewell"]


def test_base_images_are_named_with_a_tag_that_fits_the_project() -> None:
    for stage in stages():
        image = stage[0][1].split()[0]
        version = re.fullmatch(r"python:3\.(\d+)-slim-bookworm", image)
        assert version is not None
        assert int(version[1]) >= 11
        for name, rest in stage:
            if name == "RUN" and "site-packages" in rest:
                assert f"python3.{version[1]}/" in rest
