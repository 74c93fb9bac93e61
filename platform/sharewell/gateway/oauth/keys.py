"""The platform's own signing keys for access tokens: made at first start, kept in a private file.

The file is a JWK set of private keys, each with the second of its making (`iat`). The newest signs; every one
is published, so that tokens signed before a rotation stay valid. Replicas share the file and look into it now
and then: a new key is published for `LEAD` before it signs, so that nobody meets a token by a key not heard of.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

ALGORITHM = "ES256"  # signing costs 96 us, verifying 151; ES384 would cost five times that
LEAD = timedelta(minutes=10)  # the key set may be cached for five
LOOK = timedelta(seconds=2)
KEPT = timedelta(days=1)  # a key that no longer signs; no token lives longer than an hour

log = structlog.stdlib.get_logger("sharewell.gateway")


class KeyFileError(Exception):
    """The file of signing keys cannot be used; the message says why and what to do."""


class SigningKeys:
    """Signs with the newest key, and knows the public half of each."""

    def __init__(self, keys: Sequence[ECKey], now: Callable[[], datetime] | None = None) -> None:
        if not keys:
            raise KeyFileError("there is no signing key; delete the file to have a new one made.")
        self._keys = sorted(keys, key=_made, reverse=True)
        self._by_kid = {key.thumbprint(): key for key in self._keys}
        self._made = [(kid, _made(key)) for kid, key in self._by_kid.items()]
        self._now = now

    @property
    def kid(self) -> str:
        """Name of the key that signs: its RFC 7638 thumbprint."""
        return self._signer()

    @property
    def private(self) -> Sequence[ECKey]:
        """Every key, newest first."""
        return self._keys

    def _signer(self) -> str:
        """Name of the newest key that has been published for long enough; without a clock, of the newest."""
        if self._now is None:
            return self._made[0][0]
        latest = int((self._now() - LEAD).timestamp())
        return next((kid for kid, made in self._made if made <= latest), self._made[-1][0])

    def sign(self, claims: Mapping[str, object], *, type: str) -> str:  # noqa: A002 - the header is called typ
        """`claims` as a compact JWS of the given `typ`."""
        kid = self._signer()
        header = {"alg": ALGORITHM, "typ": type, "kid": kid}
        return jwt.encode(header, dict(claims), self._by_kid[kid], algorithms=[ALGORITHM])

    def secrets(self, purpose: str) -> Sequence[bytes]:
        """32 bytes for another purpose than signing, of each key, that of the signing one first.

        HMAC-SHA256 keyed with the private key, which nobody else has: what comes out tells nothing of it.
        """
        signer = self._by_kid[self._signer()]
        keys = [signer, *(key for key in self._keys if key is not signer)]
        return [_derived(key, purpose) for key in keys]

    async def find(self, kid: str) -> ECKey | None:
        """The key of that name. Asynchronous because other issuers' keys come over the network."""
        return self._by_kid.get(kid)

    def public(self) -> dict[str, Any]:
        """The JWK set to publish: public members only."""
        return {"keys": [key.as_dict(private=False, kid=kid) for kid, key in self._by_kid.items()]}


class KeyFile(SigningKeys):
    """The keys in a file that may be rotated while we run."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path, self._clock = path, now
        self._looked, self._changed = now(), path.stat().st_mtime_ns
        super().__init__(load(path).private, now)

    def _signer(self) -> str:
        self._look()
        return super()._signer()

    async def find(self, kid: str) -> ECKey | None:
        self._look()
        return await super().find(kid)

    def public(self) -> dict[str, Any]:
        self._look()
        return super().public()

    def _look(self) -> None:
        """Take a changed file in. One that cannot be used changes nothing, and is complained of."""
        at = self._clock()
        if self._looked <= at < self._looked + LOOK:
            return
        self._looked = at
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._changed:
                super().__init__(load(self._path).private, self._clock)
                self._changed = changed
        except (OSError, KeyFileError) as why:
            log.warning("the file of signing keys cannot be read again", why=str(why))


def rotated(path: Path, *, at: datetime) -> SigningKeys:
    """The keys in `path` with a new one, and without those that have not signed for a day. Nothing is written."""
    keys = [_new_key(at), *load(path).private]
    kept = [key for place, key in enumerate(keys) if place == 0 or _made(keys[place - 1]) > (at - KEPT).timestamp()]
    return SigningKeys(kept)


def replace(path: Path, keys: SigningKeys) -> None:
    """Put `keys` in the place of those in `path`, so that no reader sees half a file."""
    Path(_write(path, keys.private)).replace(path)


def load_or_create(path: Path, *, at: datetime) -> SigningKeys:
    """The keys in `path`; a first one is made if the file is not there. Raises `KeyFileError`."""
    if not path.exists():
        _publish(path, [_new_key(at)])
    return load(path)


def load(path: Path) -> SigningKeys:
    """The keys in `path`. Raises `KeyFileError` if others may read it, or if it holds no P-256 keys."""
    if path.stat().st_mode & 0o007:
        raise KeyFileError(f"{path} can be read by every user; run: chmod 600 {path}")
    try:
        keys = [ECKey.import_key(key) for key in orjson.loads(path.read_bytes())["keys"]]
    except (JoseError, ValueError, KeyError, TypeError) as why:
        raise KeyFileError(f"{path} is not a JWK set of private P-256 keys.") from why
    if not all(key.is_private and key.curve_name == "P-256" for key in keys):
        raise KeyFileError(f"{path} must hold private keys on P-256 only.")
    return SigningKeys(keys)


def _new_key(at: datetime) -> ECKey:
    key = ECKey.generate_key("P-256")
    made = {"use": "sig", "alg": ALGORITHM, "iat": int(at.timestamp()), "kid": key.thumbprint()}
    return ECKey.import_key(key.as_dict(private=True, **made))


def _derived(key: ECKey, purpose: str) -> bytes:
    return hmac.digest(str(key.as_dict(private=True)["d"]).encode(), f"sharewell {purpose}".encode(), hashlib.sha256)


def _made(key: ECKey) -> int:
    return int(key.as_dict().get("iat", 0))  # type: ignore[arg-type]  # a number in our own file


def _publish(path: Path, keys: Sequence[ECKey]) -> None:
    """Write the file whole or not at all. Of several processes that start at once, the first one wins."""
    name = _write(path, keys)
    try:
        # A link fails where the name exists, so nobody's key is ever written over.
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _write(path: Path, keys: Sequence[ECKey]) -> str:
    """A whole new file beside `path`; its name."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".keys-")  # mkstemp makes it 0600
    with os.fdopen(handle, "wb") as file:
        file.write(orjson.dumps({"keys": [key.as_dict(private=True) for key in keys]}))
        file.flush()
        os.fsync(file.fileno())
    return name
