"""Keeps the embedded PostgreSQL running while somebody uses it, and stops it when the last user is gone.

Every process that uses the server holds a shared lock on a file beside the data folder. This script, a process of
its own, waits for the exclusive lock, which the kernel grants once the last user has closed the file or was killed.
It needs the standard library only and runs as a plain file, so that it starts quickly and imports nothing of ours:
`python -I embedded_guard.py FOLDER POSTGRES [UID GID]`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE_SECONDS = 30.0
POLL_SECONDS = 0.02
WATCH_SECONDS = 0.2
RETRY_SECONDS = 1.0  # after a start that failed, as when a killed server's children still hold its memory


def users_lock(folder: Path) -> Path:
    """Shared by every process that uses the server in `folder`; exclusive for whoever stops it."""
    return folder.with_name(folder.name + ".users.lock")


def guard_lock(folder: Path) -> Path:
    """Held by the one guard of the server in `folder`."""
    return folder.with_name(folder.name + ".guard.lock")


def hold(path: Path, how: int) -> int:
    """Lock the file at `path` (`fcntl.LOCK_EX` or `LOCK_SH`, perhaps with `LOCK_NB`); closing the handle frees it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
    except BaseException:
        os.close(handle)
        raise
    return handle


@contextmanager
def holding(path: Path, how: int) -> Iterator[None]:
    """Hold a lock for the length of a `with` block."""
    handle = hold(path, how)
    try:
        yield
    finally:
        os.close(handle)


def postmaster_pid(folder: Path) -> int | None:
    """Return the process id of the server that runs on `folder`; None where there is none.

    A postmaster.pid file outlives a killed server, and its number may by now belong to some other process.
    """
    try:
        pid = int((folder / "postmaster.pid").read_text().split("\n", 1)[0])
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if arguments[0].endswith(b"/postgres") and os.fsencode(folder) in arguments else None


def stop(folder: Path) -> None:
    """Shut the server down: fast first (open transactions roll back), harder where that takes too long."""
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        pid = postmaster_pid(folder)
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, how)
        if _gone(folder, within=GRACE_SECONDS):
            return


def _gone(folder: Path, *, within: float) -> bool:
    deadline = time.monotonic() + within
    while postmaster_pid(folder) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class Guard:
    """Watches over the server in one data folder."""

    def __init__(self, folder: Path, postgres: Path, account: tuple[int, int] | None) -> None:
        self.folder = folder
        self.postgres = postgres
        self.account = account  #: user and group to run as, where we are root
        self._unused = threading.Event()
        self._users: int | None = None

    def run(self) -> None:
        """Keep the server running until nobody uses it, then stop it. Returns at once if another guard is there."""
        try:
            watching = hold(guard_lock(self.folder), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        threading.Thread(target=self._await_no_users, daemon=True).start()
        child: subprocess.Popen[bytes] | None = None
        pause = 0.0
        while not self._unused.wait(pause):
            pause = WATCH_SECONDS
            if postmaster_pid(self.folder) is None and (child is None or child.poll() is not None):
                pause = WATCH_SECONDS if child is None else RETRY_SECONDS
                child = self._start()
        stop(self.folder)
        if child is not None:
            child.wait()
        # In this order: whoever waits for the users' lock will want a guard of its own. That lock is left to the end
        # of this process, so that whoever has waited for it finds nothing of us left.
        os.close(watching)
        os._exit(0)

    def _await_no_users(self) -> None:
        self._users = hold(users_lock(self.folder), fcntl.LOCK_EX)
        self._unused.set()

    def _start(self) -> subprocess.Popen[bytes] | None:
        try:
            with holding(users_lock(self.folder), fcntl.LOCK_SH | fcntl.LOCK_NB):
                return self._spawn()
        except BlockingIOError:
            return None  # the last user is stopping it just now

    def _spawn(self) -> subprocess.Popen[bytes]:
        # No server runs here, so a postmaster.pid is a leftover. Removing it is safe: PostgreSQL also refuses to
        # start while the shared memory made for this folder is still attached to a child of a killed server.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        user, group = self.account or (None, None)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own program and arguments
                [self.postgres, "-D", self.folder],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env={"LC_ALL": "C", "TZ": "UTC"},
                user=user, group=group, extra_groups=None if user is None else [], start_new_session=True,
            )  # fmt: skip


def main(folder: str, postgres: str, *account: str) -> None:
    """Leave the caller's session, so that neither its Ctrl-C nor its end reaches us, and watch."""
    if os.fork():
        os._exit(0)
    os.setsid()
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    ids = (int(account[0]), int(account[1])) if account else None
    Guard(Path(folder), Path(postgres), ids).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
