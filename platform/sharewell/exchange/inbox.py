"""Files that wait to be taken in, kept under the SHA-256 of their bytes: the queue carries the hash, never a path."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final

from sharewell.exchange.feed import FeedRefused
from sharewell.exchange.table import MAX_BYTES

_NAME: Final = re.compile(r"[0-9a-f]{64}")


class Inbox:
    """The folder `inbox` below the data folder, which those who hand in and those who take in share.

    Nothing is deleted here: whoever doubts a number can go back to the file whose hash its decision names.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "inbox"

    def put(self, data: bytes) -> str:
        """Keep `data` and return its SHA-256; a file is there whole or not at all."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sha256 = hashlib.sha256(data).hexdigest()
        draft = self._folder / f"{sha256}.{os.getpid()}.part"
        draft.write_bytes(data)
        draft.replace(self._folder / sha256)
        return sha256

    def read(self, sha256: str) -> bytes:
        """Return the bytes kept under `sha256`. Raises `FeedRefused` where they are gone or changed."""
        if not _NAME.fullmatch(sha256):
            raise FeedRefused("a file in the inbox is named by its SHA-256 in hex.")
        try:
            data = read_file(self._folder / sha256)
        except FileNotFoundError as error:
            raise FeedRefused(f"the inbox has no file {sha256}; hand it in again.") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise FeedRefused(f"the file {sha256} in the inbox was changed; hand it in again.")
        return data


def read_file(path: Path, most: int = MAX_BYTES) -> bytes:
    """Return the bytes of `path`, reading no more than `most`. Raises `FeedRefused` for more, or for no plain file."""
    if path.exists() and not path.is_file():
        raise FeedRefused(f"{path.name} is not a file.")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise FeedRefused(f"{path.name} has more than {most} bytes; split it by period.")
    return data
