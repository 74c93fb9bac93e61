"""The page to ask the API from: whole and from this server only, or not there."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from sharewell_schema.ide import NAMES, PACKAGES, NotAsPinned, ide_routes, unpack


def browser(folder: Path) -> httpx2.AsyncClient:
    app = Starlette(routes=ide_routes(folder))
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1")


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_text(f"/* {name} */")
    return tmp_path


async def test_all_that_the_page_names_is_served_from_here(fetched: Path) -> None:
    async with browser(fetched) as http:
        page = await http.get("/ide")
        named = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text)
        parts = [await http.get(f"/{path}") for path in named]
    assert len(parts) == len(NAMES) + 2
    assert {part.status_code for part in parts} == {200}
    assert "//" not in "".join(named)


async def test_the_page_runs_no_script_but_those_files(fetched: Path) -> None:
    async with browser(fetched) as http:
        page = await http.get("/ide")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    assert re.findall(r"<script(?![^>]*src=)|<style| style=| on[a-z]+=", page.text) == []


async def test_there_is_no_page_where_a_part_is_missing_and_no_other_file_is_served(fetched: Path) -> None:
    (fetched / "secret.txt").write_text("x")
    async with browser(fetched) as http:
        assert (await http.get("/ide/secret.txt")).status_code == 404
    (fetched / NAMES[0]).unlink()
    async with browser(fetched) as http:
        assert (await http.get("/ide")).status_code == 404


def test_an_archive_that_is_not_as_pinned_is_not_unpacked() -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz"):
        pass
    with pytest.raises(NotAsPinned, match="is pinned"):
        unpack(PACKAGES[0], archive.getvalue())
    assert replace(PACKAGES[-1], sha512="").path == "@graphiql/plugin-explorer/-/plugin-explorer-3.2.3.tgz"
