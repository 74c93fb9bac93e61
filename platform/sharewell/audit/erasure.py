"""Seals details of persons in entries, under a key for each; deleting the key erases and leaves the log as it is.

Keys are wrapped by a key-encryption key behind `KeyWrapper`: wrap, unwrap, an id for each key, and so the shape of a
key management service. `KeyFile` is the one that needs no service. What is sealed is in `sharewell.domain.subjects`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sharewell.domain.errors import Conflict, Invalid, Unavailable
from sharewell.domain.notes import MalformedNote, b64decode, b64encode
from sharewell.domain.subjects import IV_BYTES, Person, Sealed, bound_to, found_by
from sharewell.store.subjects import SubjectKey, SubjectRepository

KEY_FILE = "personal-data.keys"
KEY_BYTES = 32
TOUCH = timedelta(days=1)  #: a key's time is carried forward in steps of this, not with each act
LOOKUP = b"lookup"  #: the context that the lookup key is wrapped in


class Wrapped(NamedTuple):
    """A key that only the key-encryption key `kek_id` opens."""

    kek_id: str
    data: bytes


class KeyWrapper(Protocol):
    """Keeps key-encryption keys, and never shows them. `context` must be the same for wrapping and unwrapping."""

    async def current(self) -> str:
        """Id of the key that new keys are wrapped by."""

    async def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Wrap `key` by the current key. Raises `Unavailable`."""

    async def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """The key again. Raises `Unavailable` where the key-encryption key is not at hand."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Key-encryption keys in a file, a line each: id, blank, 32 bytes in base64; the last one is current.

    Wrapping is AES-256-GCM with a random IV in front, and the context as associated data. The file is read at each
    use, so that a key added by an operator is in use at once; it is made at the first use.
    """

    path: Path

    async def current(self) -> str:
        return list(self._keys(make=True))[-1]

    async def wrap(self, key: bytes, context: bytes) -> Wrapped:
        kek_id, kek = list(self._keys(make=True).items())[-1]
        iv = os.urandom(IV_BYTES)
        return Wrapped(kek_id, iv + AESGCM(kek).encrypt(iv, key, context))

    async def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        kek = self._keys().get(wrapped.kek_id)
        if kek is None:
            raise Unavailable(f"the key-encryption key {wrapped.kek_id} is not in {self.path.name}; restore it.")
        try:
            return AESGCM(kek).decrypt(wrapped.data[:IV_BYTES], wrapped.data[IV_BYTES:], context)
        except InvalidTag:
            raise Unavailable("a wrapped key does not open: it was changed, or belongs elsewhere.") from None

    def add(self) -> str:
        """Make a new current key; return its id. The older ones still unwrap."""
        keys = self._keys() if self.path.exists() else {}
        kek = os.urandom(KEY_BYTES)
        self._write(keys | {_name(kek): kek})
        return _name(kek)

    def drop(self, kek_id: str) -> None:
        """Forget a key that nothing is wrapped by any more. Raises `Conflict` for the current one."""
        keys = self._keys()
        if list(keys)[-1] == kek_id:
            raise Conflict("the current key is not dropped; make a new one first.")
        self._write({name: kek for name, kek in keys.items() if name != kek_id})

    def ids(self) -> list[str]:
        """Of all keys in the file, oldest first."""
        return list(self._keys())

    def _keys(self, *, make: bool = False) -> dict[str, bytes]:
        try:
            if make and not self.path.exists():
                self.add()
            if self.path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise Unavailable(f"{self.path.name} may be read by everyone; run chmod 600, and consider it stolen.")
            return _parse(self.path.read_text(encoding="ascii"))
        except (OSError, MalformedNote, ValueError) as why:
            raise Unavailable(
                f"{self.path.name}, which personal details are sealed with, cannot be used: {why}."
            ) from why

    def _write(self, keys: dict[str, bytes]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        lines = "".join(f"{name} {b64encode(kek)}\n" for name, kek in keys.items())
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:
            out.write(lines)
            out.flush()
            os.fsync(out.fileno())
        if self.path.exists():
            draft.replace(self.path)
            return
        try:
            os.link(draft, self.path)  # of two that make the first key, one is first, and the other's is thrown away
        except FileExistsError:
            pass
        finally:
            draft.unlink()


@dataclass(frozen=True, slots=True)
class Opened:
    """A data subject's key, unwrapped for the length of one act."""

    subject: UUID
    key: bytes = field(repr=False)

    def seal(self, person: Person, entry: UUID) -> Sealed:
        """`person` sealed for the entry with this id, and for no other."""
        iv = os.urandom(IV_BYTES)
        sealed = AESGCM(self.key).encrypt(iv, person.plaintext(), bound_to(entry, self.subject))
        return Sealed(subject=self.subject, iv=iv, sealed=sealed)

    def open(self, sealed: Sealed, entry: UUID) -> Person:
        """What was sealed. Raises `Invalid` where it was sealed for another entry, or was changed."""
        try:
            return Person.read(AESGCM(self.key).decrypt(sealed.iv, sealed.sealed, bound_to(entry, self.subject)))
        except InvalidTag:
            raise Invalid("the sealed field does not belong to this entry, or was changed.") from None


class Vault:
    """Data subjects and their keys."""

    def __init__(self, wrapper: KeyWrapper, keep: timedelta) -> None:
        self.wrapper = wrapper
        self._keep = keep
        self._lookup_key: bytes | None = None

    async def hold(
        self, subjects: SubjectRepository, person: Person, institution: UUID | None, principal: str, at: datetime
    ) -> Opened:  # fmt: skip
        """The key of `person`, made at the first act; its time is carried forward."""
        lookup = await self._lookup(subjects, institution, principal, person.identifier)
        found = await subjects.find(lookup, hold=True)
        if found is None:
            await subjects.add(await self._new(institution, at), lookup)
            found = await subjects.find(lookup, hold=True)
        if found is None:
            raise Unavailable("the person was erased at this very moment; try again.")
        if found.keep_until < at + self._keep - TOUCH:
            await subjects.keep(found.subject_ref, at + self._keep)
        return await self.open(found)

    async def find(
        self, subjects: SubjectRepository, institution: UUID | None, principal: str, identifier: str
    ) -> SubjectKey | None:
        """The row of a person, by what the integrator calls it; None where there is none."""
        if await subjects.lookup_key() is None:
            return None
        return await subjects.find(await self._lookup(subjects, institution, principal, identifier))

    async def open(self, key: SubjectKey) -> Opened:
        wrapped = Wrapped(key.kek_id, key.wrapped)
        return Opened(key.subject_ref, await self.wrapper.unwrap(wrapped, key.subject_ref.bytes))

    async def rewrap(self, key: SubjectKey) -> SubjectKey:
        """The same key wrapped by the current key-encryption key. No entry changes."""
        opened = await self.open(key)
        again = await self.wrapper.wrap(opened.key, key.subject_ref.bytes)
        return replace(key, kek_id=again.kek_id, wrapped=again.data)

    async def rewrap_lookup_key(self, subjects: SubjectRepository) -> None:
        """Likewise for the key by which persons are found again."""
        if (kept := await subjects.lookup_key()) is not None:
            again = await self.wrapper.wrap(await self.wrapper.unwrap(Wrapped(*kept), LOOKUP), LOOKUP)
            await subjects.rewrap_lookup_key(*again)

    async def _new(self, institution: UUID | None, at: datetime) -> SubjectKey:
        subject = uuid4()
        kek_id, wrapped = await self.wrapper.wrap(os.urandom(KEY_BYTES), subject.bytes)
        return SubjectKey(
            subject_ref=subject, institution=institution, kek_id=kek_id, wrapped=wrapped, made_at=at,
            keep_until=at + self._keep,
        )  # fmt: skip

    async def _lookup(
        self, subjects: SubjectRepository, institution: UUID | None, principal: str, identifier: str
    ) -> bytes:
        """HMAC-SHA-256 of who it is: rows say nothing to whoever has the table alone."""
        key = self._lookup_key
        if key is None:
            kept = await subjects.lookup_key()
            key = await self.wrapper.unwrap(Wrapped(*(kept or await self._new_lookup_key(subjects))), LOOKUP)
            # One that was made just now may yet be rolled back, so it is not remembered.
            self._lookup_key = key if kept else None
        return hmac.digest(key, found_by(institution, principal, identifier), "sha256")

    async def _new_lookup_key(self, subjects: SubjectRepository) -> tuple[str, bytes]:
        await subjects.add_lookup_key(*await self.wrapper.wrap(os.urandom(KEY_BYTES), LOOKUP))
        if (kept := await subjects.lookup_key()) is None:
            raise Unavailable("the key by which persons are found is not to be seen yet; try again.")
        return kept


def _name(kek: bytes) -> str:
    return f"kek-{hashlib.sha256(b'sharewell-kek' + kek).hexdigest()[:16]}"


def _parse(text: str) -> dict[str, bytes]:
    keys = {}
    for line in text.splitlines():
        name, _, encoded = line.partition(" ")
        kek = b64decode(encoded)
        if len(kek) != KEY_BYTES or name != _name(kek):
            raise ValueError("a line is damaged; restore the file from its backup")
        keys[name] = kek
    if not keys:
        raise ValueError("it holds no key; restore it from its backup")
    return keys
