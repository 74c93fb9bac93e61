"""What the authorization server says of itself: RFC 8414 metadata and SMART's well-known configuration."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from sharewell.domain.scopes import LETTERS, NOUNS
from sharewell.gateway.oauth.assertions import ALGORITHMS
from sharewell.gateway.oauth.proofs import ALGORITHMS as PROOF_ALGORITHMS

TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
AUTHORIZE_PATH = "/oauth/authorize"
PUSH_PATH = "/oauth/par"
REVOCATION_PATH = "/oauth/revoke"
INTROSPECTION_PATH = "/oauth/introspect"
KEYS_PATH = "/jwks.json"
WELL_KNOWN = "/.well-known/oauth-authorization-server"
SMART_WELL_KNOWN = "/.well-known/smart-configuration"
_METHODS = ["private_key_jwt", "none"]


def server_metadata(issuer: str) -> dict[str, Any]:
    """RFC 8414, 2. Raises ValueError if `issuer` cannot be one, such as plain http away from this machine."""
    algorithms = list(ALGORITHMS)
    metadata = AuthorizationServerMetadata(
        {
            "issuer": issuer,
            "authorization_endpoint": issuer + AUTHORIZE_PATH,
            "token_endpoint": issuer + TOKEN_PATH,
            "jwks_uri": issuer + KEYS_PATH,
            "scopes_supported": [
                f"{context}/{noun}.{LETTERS}" for context in ("system", "user") for noun in ("*", *NOUNS)
            ],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["client_credentials", "authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": _METHODS,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint": issuer + REVOCATION_PATH,
            "revocation_endpoint_auth_methods_supported": _METHODS,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint": issuer + INTROSPECTION_PATH,
            "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "pushed_authorization_request_endpoint": issuer + PUSH_PATH,  # RFC 9126, 5
            "authorization_response_iss_parameter_supported": True,  # RFC 9207, 3
            "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),  # RFC 9449, 5.1
        }
    )
    metadata.validate()
    return dict(metadata)


def smart_configuration(issuer: str) -> dict[str, Any]:
    """SMART App Launch 2.2, "Using Well-Known"."""
    wanted = server_metadata(issuer)
    capabilities = ["client-public", "client-confidential-asymmetric", "permission-user", "permission-v2"]
    return {**wanted, "capabilities": capabilities}


def metadata_paths(issuer: str) -> tuple[str, ...]:
    """Where the metadata is looked for: RFC 8414, 3 puts an issuer's path after the well-known one."""
    path = urlsplit(issuer).path.rstrip("/")
    return (WELL_KNOWN, WELL_KNOWN + path) if path else (WELL_KNOWN,)
