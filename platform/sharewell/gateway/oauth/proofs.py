"""Proofs of possession (RFC 9449, DPoP): that who presents a token holds the key it was made for.

A proof is a JWT signed by that key, for one request, seconds old, and counts once. Authlib has none of this.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from sharewell.gateway.oauth.jwts import MalformedJwt, unverified
from sharewell.gateway.oauth.nonces import Nonces

ALGORITHMS: Final = ("ES256", "ES384", "Ed25519", "EdDSA", "RS256", "PS256")
MAX_BYTES: Final = 4096
WINDOW = timedelta(seconds=60)  # RFC 9449, 11.1: as short as clocks and networks allow
PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

#: `(key, jti digest, until)`: True the first time only.
Burn = Callable[[str, str, datetime], Awaitable[bool]]


class ProofRefused(Exception):
    """`reason` is a word for the log, the message is for the client."""

    error = "invalid_dpop_proof"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NonceWanted(ProofRefused):
    """The proof must hold a nonce of ours (RFC 9449, 8), and holds none, an old one, or one that was made up."""

    error = "use_dpop_nonce"

    def __init__(self, *, made_up: bool) -> None:
        super().__init__("bad_nonce" if made_up else "no_nonce", "Make the DPoP proof anew, with this nonce.")
        self.made_up = made_up  #: only that is a refusal; otherwise it is the usual first step


async def check_proof(
    proof: str, *, method: str, url: str, at: datetime, burn: Burn, token: str | None = None,
    nonces: Nonces | None = None,
) -> str:  # fmt: skip
    """The RFC 7638 thumbprint of the key that made `proof`, if it holds for this request. Raises `ProofRefused`.

    `token` is the access token it must speak of (`ath`), where one is presented beside it (RFC 9449, 4.3).
    With `nonces`, it must hold one.
    """
    header = _header(proof)
    raw = header.get("jwk")
    if str(header.get("typ")).lower() != "dpop+jwt" or header.get("alg") not in ALGORITHMS or not isinstance(raw, dict):
        raise ProofRefused("bad_proof", "The DPoP proof must be of typ dpop+jwt, with an asymmetric alg and its jwk.")
    if PRIVATE & raw.keys():
        raise ProofRefused("bad_proof", "The DPoP proof holds a private key; replace that key.")
    try:
        key = import_key(raw)
        if not isinstance(key, (ECKey, OKPKey, RSAKey)):
            raise ProofRefused("bad_proof", "The key of the DPoP proof is of no kind that is taken here.")
        claims = jwt.decode(proof, key, algorithms=[str(header["alg"])]).claims
    except (JoseError, ValueError, TypeError, KeyError):
        raise ProofRefused("bad_proof", "The signature of the DPoP proof does not hold.") from None
    made = _check_claims(claims, method=method, url=url, at=at, token=token)
    if nonces is not None and not nonces.holds(claims.get("nonce")):
        raise NonceWanted(made_up="nonce" in claims and not nonces.was_ours(claims["nonce"]))
    thumbprint = key.thumbprint()
    jti = hashlib.sha256(str(claims["jti"]).encode("utf-8", "surrogatepass")).hexdigest()
    if not await burn(thumbprint, jti, made + 2 * WINDOW):
        raise ProofRefused("proof_replayed", "This DPoP proof was used before; make a new one for each request.")
    return thumbprint


def _check_claims(
    claims: Mapping[str, Any], *, method: str, url: str, at: datetime, token: str | None
) -> datetime:
    if claims.get("htm") != method:
        raise ProofRefused("proof_elsewhere", "htm of the DPoP proof is not the method of this request.")
    if not isinstance(claims.get("htu"), str) or _plain(claims["htu"]) != _plain(url):
        raise ProofRefused("proof_elsewhere", "htu of the DPoP proof is not the address of this request.")
    if not isinstance(claims.get("jti"), str) or not claims["jti"]:
        raise ProofRefused("bad_proof", "jti of the DPoP proof is missing.")
    seconds = claims.get("iat")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e11:
        raise ProofRefused("bad_proof", "iat of the DPoP proof is missing.")
    made = datetime.fromtimestamp(seconds, at.tzinfo)
    if not at - WINDOW <= made <= at + WINDOW:
        raise ProofRefused("proof_old", "The DPoP proof was not made just now; look at your clock.")
    if token is not None and not hmac.compare_digest(str(claims.get("ath")).encode(), ath(token).encode()):
        raise ProofRefused("proof_elsewhere", "ath of the DPoP proof is not that of this access token.")
    return made


def ath(token: str) -> str:
    """RFC 9449, 4.2: base64url of the SHA-256 of an access token."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode("ascii", "replace")).digest()).rstrip(b"=").decode()


def _header(proof: str) -> Mapping[str, Any]:
    try:
        return unverified(proof, "DPoP proof", MAX_BYTES)[0]
    except MalformedJwt as why:
        raise ProofRefused("bad_proof", str(why)) from None


def _plain(url: str) -> tuple[str, str, str]:
    """RFC 9449, 4.3: compared without query and fragment, host and scheme in any case."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ("", "", "")
    port = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return parts.scheme, parts.netloc.lower().removesuffix(port), parts.path or "/"
