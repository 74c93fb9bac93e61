"""The platform's own signing keys for access tokens: made at first start, kept in a private file.

The file is a JWK set of private keys, each with the second of its making (`iat`). The newest signs; every one
is published, so that tokens signed before a rotation stay valid. Replicas share the file.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

ALGORITHM = "ES256"  # signing costs 96 us, verifying 151; ES384 would cost five times that


class KeyFileError(Exception):
    """The file of signing keys cannot be used; the message says why and what to do."""


class SigningKeys:
    """Signs with the newest key, and knows the public half of each."""

    def __init__(self, keys: Sequence[ECKey]) -> None:
        if not keys:
            raise KeyFileError("there is no signing key; delete the file to have a new one made.")
        self._keys = sorted(keys, key=_made, reverse=True)
        self._by_kid = {key.thumbprint(): key for key in self._keys}

    @property
    def kid(self) -> str:
        """Name of the key that signs: its RFC 7638 thumbprint."""
        return self._keys[0].thumbprint()

    def sign(self, claims: Mapping[str, object], *, type: str) -> str:  # noqa: A002 - the header is called typ
        """`claims` as a compact JWS of the given `typ`."""
        header = {"alg": ALGORITHM, "typ": type, "kid": self.kid}
        return jwt.encode(header, dict(claims), self._keys[0], algorithms=[ALGORITHM])

    async def find(self, kid: str) -> ECKey | None:
        """The key of that name. Asynchronous because other issuers' keys come over the network."""
        return self._by_kid.get(kid)

    def public(self) -> dict[str, Any]:
        """The JWK set to publish: public members only."""
        return {"keys": [key.as_dict(private=False, kid=kid) for kid, key in self._by_kid.items()]}


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


def _made(key: ECKey) -> int:
    return int(key.as_dict().get("iat", 0))  # type: ignore[arg-type]  # a number in our own file


def _publish(path: Path, keys: Sequence[ECKey]) -> None:
    """Write the file whole or not at all. Of several processes that start at once, the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".keys-")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps({"keys": [key.as_dict(private=True) for key in keys]}))
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name exists, so nobody's key is ever written over.
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
