"""Ports for servers that are started as processes of their own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that a server may take at any time during the block, and that nobody is given by chance meanwhile.

    It is bound and not listened at, which keeps off everybody but who asks for it by its number.
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind((host, 0))
        yield kept.getsockname()[1]
