from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sharewell.exchange.feed import FeedRefused
from sharewell.exchange.inbox import Inbox, read_file


def test_a_file_is_found_again_under_its_hash(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    sha256 = inbox.put(b"a,b\n1,2\n")
    assert sha256 == hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert inbox.put(b"a,b\n1,2\n") == sha256
    assert Inbox(tmp_path).read(sha256) == b"a,b\n1,2\n"
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == [sha256]


@pytest.mark.parametrize("name", ["", "..", "../settings", "A" * 64, "a" * 63, f"{'a' * 64}\n"])
def test_nothing_but_a_hash_names_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FeedRefused, match="SHA-256"):
        Inbox(tmp_path).read(name)


def test_a_file_that_is_gone_is_asked_for_again(tmp_path: Path) -> None:
    with pytest.raises(FeedRefused, match="hand it in again"):
        Inbox(tmp_path).read("a" * 64)


def test_a_file_that_was_changed_is_not_taken(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    sha256 = inbox.put(b"true")
    (tmp_path / "inbox" / sha256).write_bytes(b"false")
    with pytest.raises(FeedRefused, match="was changed"):
        inbox.read(sha256)


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "big.csv").write_bytes(b"x" * 11)
    with pytest.raises(FeedRefused, match=r"big\.csv has more than 10 bytes"):
        read_file(tmp_path / "big.csv", most=10)
    assert read_file(tmp_path / "big.csv", most=11) == b"x" * 11


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FeedRefused, match="is not a file"):
        read_file(tmp_path)
