"""The key that signs checkpoints: made at the first start, kept in the home folder, published as a vkey.

Signing is done by `cryptography`; what is signed, and how it is written down, is in `sharewell.domain.notes`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sharewell.audit.signers import Cosigner
from sharewell.domain.errors import Invalid
from sharewell.domain.handover import HANDOVER
from sharewell.domain.log_receipt import key_name
from sharewell.domain.notes import (
    COSIGNATURE,
    ED25519,
    MLDSA44,
    MalformedNote,
    VerifierKey,
    b64decode,
    b64encode,
    is_name,
    sign_note,
)

Key = TypeVar("Key")


SECRET_FILE = "audit-log.key"  # noqa: S105 - the name of a file
PUBLIC_FILE = "audit-log.vkey"
QUANTUM_FILE = "audit-log.mldsa.key"  #: signs the second line of each checkpoint, against quantum computers
QUANTUM_PUBLIC_FILE = "audit-log.mldsa.vkey"
RECEIPT_NAME = "audit-log-receipt"
RECEIPT_FILE = f"{RECEIPT_NAME}.key"
RECEIPT_PUBLIC_FILE = f"{RECEIPT_NAME}.vkey"  #: those of retired keys stand beside it
WITNESS_FILE = "witness.key"
WITNESS_PUBLIC_FILE = "witness.vkey"
HANDOVER_FILE = "audit-log.handover"  #: by which the key before names this one

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


@dataclass(frozen=True, slots=True)
class LogKeys:
    """What a log signs its checkpoints with: Ed25519, and beside it ML-DSA-44."""

    signer: LogKey
    quantum: Cosigner
    handover: bytes | None = None  #: the notes by which the keys before named each other and these; None for the first

    @property
    def vkeys(self) -> tuple[str, str]:
        """The public halves."""
        return self.signer.vkey, str(self.quantum.key)


def load_or_create_keys(home: Path, origin: str) -> LogKeys:
    """Both keys of the log `origin`, from `home`; see `load_or_create_key`."""
    signer = load_or_create_key(home, origin)
    quantum = _cosigner(home / QUANTUM_FILE, home / QUANTUM_PUBLIC_FILE, origin, MLDSA44)
    handover = home / HANDOVER_FILE
    return LogKeys(signer, quantum, handover.read_bytes() if handover.exists() else None)


def load_or_create_receipt_key(home: Path, origin: str) -> LogKey:
    """The key that signs the log receipts of the log `origin`. Raises `KeyProblem`."""
    name, path = key_name(origin), home / RECEIPT_FILE
    if not path.exists():
        _create(path, LogKey.generate(name).secret_text())
    key = _load(path)
    if key.key.name != name:
        raise KeyProblem(f"{path} signs for {key.key.name}, not {name}. Move it away, and a new one is made.")
    _write(home / RECEIPT_PUBLIC_FILE, key.vkey, 0o644)
    return key


def load_or_create_witness_key(home: Path, name: str) -> Cosigner:
    """The key with which this node cosigns other logs, under `name`. Raises `KeyProblem`."""
    return _cosigner(home / WITNESS_FILE, home / WITNESS_PUBLIC_FILE, name, COSIGNATURE)


def handover_text(before: LogKey, after: LogKeys) -> str:
    """What an earlier key signs to name those that come after it: its log, then the new keys, a line each."""
    return "\n".join((f"{before.key.name}{HANDOVER}", *after.vkeys)) + "\n"


def rotate_keys(home: Path, origin: str) -> LogKeys:
    """Put new keys in the place of those in `home`, for `origin`, which may be a new name; return them.

    The old key signs once more, the note that names its successors, and is put aside: it verifies nothing new and
    should be destroyed once the new ones have signed. Raises `KeyProblem` where there is no old key.
    """
    path = home / SECRET_FILE
    if not path.exists():
        raise KeyProblem("There is no key to hand over from; a first key is made when the sequencer starts.")
    before = _load(path)
    after = LogKeys(LogKey.generate(origin), Cosigner.generate(origin, MLDSA44))
    notes = sign_note(handover_text(before, after), [before])
    if (home / HANDOVER_FILE).exists():  # a database restored from before that needs the earlier ones, too
        notes = (home / HANDOVER_FILE).read_bytes() + b"\n" + notes
    retired = f"retired-{before.key.id:08x}"
    for name in (SECRET_FILE, QUANTUM_FILE):
        if (home / name).exists():
            os.link(home / name, home / f"{name}.{retired}")
    (home / f"{HANDOVER_FILE}.new").write_bytes(notes)
    (home / f"{HANDOVER_FILE}.new").replace(home / HANDOVER_FILE)
    if origin != before.key.name and (home / RECEIPT_FILE).exists():  # promises are made in the name of a log
        (home / RECEIPT_FILE).rename(home / f"{RECEIPT_FILE}.{retired}")
        (home / RECEIPT_PUBLIC_FILE).rename(home / f"{RECEIPT_NAME}.{retired}.vkey")
    _write(home / QUANTUM_FILE, after.quantum.secret_text(), 0o600)
    _write(path, after.signer.secret_text(), 0o600)
    return load_or_create_keys(home, origin)


def load_or_create_key(home: Path, origin: str) -> LogKey:
    """The key of the log `origin`, from `home`; made there at the first start, readable by its owner only.

    Raises `KeyProblem` if the file belongs to another log, is damaged, or may be read by everyone.
    """
    path = home / SECRET_FILE
    if not path.exists():
        _create(path, LogKey.generate(origin).secret_text())
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
    return _parsed(path, LogKey.parse)


def _cosigner(path: Path, public: Path, name: str, kind: int) -> Cosigner:
    if not path.exists():
        if not is_name(name):
            raise KeyProblem(f"{name!r} cannot name a key: it must not be empty nor hold blanks or a plus.")
        _create(path, Cosigner.generate(name, kind).secret_text())
    key = _parsed(path, Cosigner.parse)
    if (key.key.name, key.key.kind) != (name, kind):
        raise KeyProblem(f"{path} signs for {key.key.name}, not {name}. Set the name to its old value.")
    _write(public, str(key.key), 0o644)
    return key


def _parsed(path: Path, parse: Callable[[str], Key]) -> Key:
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise KeyProblem(f"{path} may be read or changed by everyone. Run chmod 600 on it, and consider it stolen.")
    try:
        return parse(path.read_text(encoding="ascii").strip())
    except (MalformedNote, UnicodeDecodeError):
        raise KeyProblem(f"{path} does not hold a signing key. Restore it from its backup.") from None


def _create(path: Path, secret: str) -> None:
    """Put the key in place, unless another process was first: then theirs is the key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    _write(draft, secret, 0o600)
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
