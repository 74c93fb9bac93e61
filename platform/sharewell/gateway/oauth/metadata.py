"""What the authorization server says of itself: RFC 8414 metadata and SMART's well-known configuration."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from sharewell.domain.scopes import LETTERS, NOUNS
from sharewell.gateway.oauth.assertions import ALGORITHMS

TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
KEYS_PATH = "/jwks.json"
WELL_KNOWN = "/.well-known/oauth-authorization-server"
SMART_WELL_KNOWN = "/.well-known/smart-configuration"


class _Metadata(AuthorizationServerMetadata):  # type: ignore[misc]  # Authlib ships no types
    """Authlib's checks, but for one: RFC 8414 wants a list, and ours is empty until people sign in here."""

    def validate_response_types_supported(self) -> None:
        if not isinstance(self.get("response_types_supported"), list):
            raise ValueError('"response_types_supported" is required')  # noqa: TRY004 - as its siblings do


def server_metadata(issuer: str) -> dict[str, Any]:
    """RFC 8414, 2. Raises ValueError if `issuer` cannot be one, such as plain http away from this machine."""
    metadata = _Metadata(
        {
            "issuer": issuer,
            "token_endpoint": issuer + TOKEN_PATH,
            "jwks_uri": issuer + KEYS_PATH,
            "scopes_supported": [f"system/{noun}.{LETTERS}" for noun in ("*", *NOUNS)],
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        }
    )
    metadata.validate()
    return dict(metadata)


def smart_configuration(issuer: str) -> dict[str, Any]:
    """SMART App Launch 2.2, "Using Well-Known", as far as backend services go."""
    wanted = server_metadata(issuer)
    return {**wanted, "capabilities": ["client-confidential-asymmetric", "permission-v2"]}


def metadata_paths(issuer: str) -> tuple[str, ...]:
    """Where the metadata is looked for: RFC 8414, 3 puts an issuer's path after the well-known one."""
    path = urlsplit(issuer).path.rstrip("/")
    return (WELL_KNOWN, WELL_KNOWN + path) if path else (WELL_KNOWN,)
