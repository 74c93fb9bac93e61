"""The key that signs checkpoints: made at the first start, kept in the home folder, published as a vkey.

Signing is done by `cryptography`; what is signed, and how it is written down, is in `sharewell.domain.notes`.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sharewell.domain.errors import Invalid
from sharewell.domain.notes import ED25519, MalformedNote, VerifierKey, b64decode, b64encode, is_name

SECRET_FILE = "audit-log.key"  # noqa: S105 - the name of a file
PUBLIC_FILE = "audit-log.vkey"

_PREFIX = "PRIVATE+KEY+"


class KeyProblem(Invalid):
    """The key of the log cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LogKey:
    """An Ed25519 key with the name of the log that it signs for."""

    key: VerifierKey
    secret: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> LogKey:
        secret = Ed25519PrivateKey.from_private_bytes(seed)
        public = secret.public_key().public_bytes_raw()
        return cls(VerifierKey(name=name, kind=ED25519, public=public), secret)

    @classmethod
    def generate(cls, name: str) -> LogKey:
        if not is_name(name):
            raise KeyProblem(f"{name!r} cannot name a key: it must not be empty nor hold blanks or a plus.")
        return cls.from_seed(name, os.urandom(32))

    @classmethod
    def parse(cls, text: str) -> LogKey:
        """Read the form in which Go's note package keeps keys: PRIVATE+KEY+name+id+base64."""
        name, _, rest = text.removeprefix(_PREFIX).partition("+")
        id_hex, _, encoded = rest.partition("+")
        data = b64decode(encoded)
        if not text.startswith(_PREFIX) or not is_name(name) or len(data) != 33 or data[0] != ED25519:
            raise MalformedNote("A signing key must look like PRIVATE+KEY+name+1a2b3c4d+base64.")
        key = cls.from_seed(name, data[1:])
        if id_hex != f"{key.key.id:08x}":
            raise MalformedNote("The id of the signing key does not fit it; a character is wrong.")
        return key

    def secret_text(self) -> str:
        """What `parse` reads. Never log or show it."""
        data = bytes([ED25519]) + self.secret.private_bytes_raw()
        return f"{_PREFIX}{self.key.name}+{self.key.id:08x}+{b64encode(data)}"

    def sign(self, text: bytes) -> bytes:
        return self.secret.sign(text)

    @property
    def vkey(self) -> str:
        """The public half as it is published and given to verifiers."""
        return str(self.key)


def load_or_create_key(home: Path, origin: str) -> LogKey:
    """The key of the log `origin`, from `home`; made there at the first start, readable by its owner only.

    Raises `KeyProblem` if the file belongs to another log, is damaged, or may be read by everyone.
    """
    path = home / SECRET_FILE
    if not path.exists():
        _create(path, LogKey.generate(origin))
    key = _load(path)
    if key.key.name != origin:
        raise KeyProblem(f"{path} signs for {key.key.name}, not {origin}. Set SHAREWELL_LOG_ORIGIN to its old value.")
    _write(home / PUBLIC_FILE, key.vkey, 0o644)
    return key


def load_vkey(home: Path) -> str:
    """The published key, for those who only hand it out. Raises `KeyProblem` if no key was made yet."""
    try:
        return (home / PUBLIC_FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise KeyProblem("The log has no key yet; start the sequencer once.") from None


def _load(path: Path) -> LogKey:
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise KeyProblem(f"{path} may be read or changed by everyone. Run chmod 600 on it, and consider it stolen.")
    try:
        return LogKey.parse(path.read_text(encoding="ascii").strip())
    except (MalformedNote, UnicodeDecodeError):
        raise KeyProblem(f"{path} does not hold a signing key. Restore it from its backup.") from None


def _create(path: Path, key: LogKey) -> None:
    """Put the key in place, unless another process was first: then theirs is the key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    _write(draft, key.secret_text(), 0o600)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _write(path: Path, text: str, mode: int) -> None:
    if path.exists() and path.read_text(encoding="ascii") == text + "\n":
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="ascii") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
