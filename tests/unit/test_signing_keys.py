"""The signing keys of the platform: made once, private, in an order that allows rotation."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from sharewell.gateway.oauth.keys import (
    KEPT,
    LEAD,
    LOOK,
    KeyFile,
    KeyFileError,
    SigningKeys,
    load,
    load_or_create,
    replace,
    rotated,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "oauth" / "keys.json"


def add_key(path: Path, key: ECKey, *, made: datetime) -> None:
    held = json.loads(path.read_text())["keys"]
    path.write_text(json.dumps({"keys": [*held, key.as_dict(private=True, iat=int(made.timestamp()))]}))


def test_the_first_start_makes_a_key_that_later_starts_find(path: Path) -> None:
    first = load_or_create(path, at=NOON)
    assert load_or_create(path, at=NOON + timedelta(days=1)).kid == first.kid
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_kid_is_the_thumbprint_of_rfc_7638(path: Path) -> None:
    (public,) = load_or_create(path, at=NOON).public()["keys"]
    assert public["kid"] == ECKey.import_key(public).thumbprint()
    assert "d" not in public


def test_eight_processes_that_start_at_once_share_one_key(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: load_or_create(path, at=NOON).kid, range(8))
    assert len(set(found)) == 1


async def test_after_a_rotation_the_newest_signs_and_the_older_still_verify(path: Path) -> None:
    older = load_or_create(path, at=NOON)
    token = older.sign({"n": 1}, type="at+jwt")
    newer = ECKey.generate_key("P-256")
    add_key(path, newer, made=NOON + timedelta(days=30))
    rotated = load(path)
    assert rotated.kid == newer.thumbprint() != older.kid
    assert [key["kid"] for key in rotated.public()["keys"]] == [newer.thumbprint(), older.kid]
    key = await rotated.find(older.kid)
    assert key is not None
    assert jwt.decode(token, key, algorithms=["ES256"]).claims == {"n": 1}


async def test_a_new_key_is_published_before_it_signs_and_an_old_one_is_kept_for_a_day(path: Path) -> None:
    now = [NOON]
    first = load_or_create(path, at=NOON - timedelta(days=1)).kid
    running = KeyFile(path, lambda: now[0])
    keys = rotated(path, at=NOON)
    replace(path, keys)
    now[0] = NOON + LOOK
    assert ([key["kid"] for key in running.public()["keys"]], running.kid) == ([keys.kid, first], first)
    now[0] = NOON + LEAD
    assert running.kid == keys.kid
    assert await running.find(first) is not None
    third = rotated(path, at=NOON + KEPT)
    assert [key.thumbprint() for key in third.private] == [third.kid, keys.kid]
    assert rotated(path, at=NOON + KEPT - timedelta(seconds=1)).private[-1].thumbprint() == first


async def test_a_file_that_broke_while_running_changes_nothing(path: Path) -> None:
    now = [NOON]
    load_or_create(path, at=NOON)
    running = KeyFile(path, lambda: now[0])
    kid = running.kid
    path.write_text("broken")
    now[0] += LOOK
    assert (running.kid, len(running.public()["keys"])) == (kid, 1)


async def test_a_signature_names_its_type_and_key(path: Path) -> None:
    made = load_or_create(path, at=NOON)
    key = await made.find(made.kid)
    assert key is not None
    header = jwt.decode(made.sign({}, type="at+jwt"), key, algorithms=["ES256"]).header
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": made.kid}
    assert await made.find("another") is None


def test_a_file_that_everybody_can_read_is_refused(path: Path) -> None:
    load_or_create(path, at=NOON)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"keys": [1]}',
        '{"keys": []}',
        json.dumps({"keys": [ECKey.generate_key("P-384").as_dict(private=True)]}),
        json.dumps({"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}),
        json.dumps({"keys": [RSAKey.generate_key(2048).as_dict(private=True)]}),
    ],
)
def test_a_file_of_something_else_is_refused_without_showing_it(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError) as refused:
        load(path)
    assert text == "" or text not in str(refused.value)


def test_without_any_key_nothing_can_be_signed() -> None:
    with pytest.raises(KeyFileError):
        SigningKeys([])


def test_a_write_that_fails_leaves_no_file_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(PermissionError):
        load_or_create(path, at=NOON)
    assert list(path.parent.iterdir()) == []
