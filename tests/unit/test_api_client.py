"""The API client against a platform that is slow, away, forgetful or wrong: what it repeats, and what it never does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from sharewell.client import ApiClient, ApiError, Credential, GraphQLErrors

BASE = "https://sharewell.example"
SCOPES = ("system/Offer.cruds",)
ANSWER: dict[str, Any] = {"data": {"offers": []}}


class Platform(httpx2.AsyncBaseTransport):
    """A platform that answers as it is told, and remembers what it was asked."""

    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self.assertions: list[dict[str, Any]] = []
        self.bodies: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.graphql: list[Callable[[], httpx2.Response]] = []  #: answers to give before the good one
        self.token_answers: list[httpx2.Response] = []
        self.issuer = credential.base_url
        self.expires_in = 300

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        answers = {
            "/.well-known/oauth-authorization-server": self._metadata,
            "/oauth/token": self._token,
            "/graphql": self._graphql,
        }
        return answers[request.url.path](request)

    def _metadata(self, _: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"issuer": self.issuer, "token_endpoint": f"{BASE}/oauth/token"})

    def _token(self, request: httpx2.Request) -> httpx2.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        keys = KeySet.import_key_set(self.credential.public_jwks)  # type: ignore[arg-type]
        token = jwt.decode(form["client_assertion"], keys, algorithms=["ES384", "RS384"])
        self.assertions.append({**token.header, **token.claims, "scope": form["scope"]})
        if self.token_answers:
            return self.token_answers.pop(0)
        token_text = f"token-{len(self.assertions)}"
        return httpx2.Response(200, json={"access_token": token_text, "expires_in": self.expires_in})

    def _graphql(self, request: httpx2.Request) -> httpx2.Response:
        self.tokens.append(request.headers["Authorization"])
        self.bodies.append(json.loads(request.content))
        return self.graphql.pop(0)() if self.graphql else httpx2.Response(200, json=ANSWER)


@pytest.fixture
def credential() -> Credential:
    return Credential.generate(BASE, "ward", SCOPES)


@pytest.fixture
def platform(credential: Credential) -> Platform:
    return Platform(credential)


@pytest.fixture
async def client(platform: Platform, credential: Credential) -> AsyncIterator[ApiClient]:
    async with ApiClient.of(credential, transport=platform) as client:
        yield client


def busy(seconds: str = "0") -> httpx2.Response:
    return httpx2.Response(503, headers={"Retry-After": seconds}, json={"error": {"message": "away"}})


def lost() -> httpx2.Response:
    raise httpx2.ReadError("connection lost")


async def test_asks_with_a_token_for_the_scopes_of_its_credential(client: ApiClient, platform: Platform) -> None:
    assert await client.graphql("query Q { offers }", {"first": 2}) == {"offers": []}
    (assertion,) = platform.assertions
    assert (assertion["iss"], assertion["sub"], assertion["alg"]) == ("ward", "ward", "ES384")
    assert assertion["aud"] == f"{BASE}/oauth/token"
    assert 0 < assertion["exp"] - assertion["iat"] <= 300
    assert assertion["kid"] == platform.credential.public_jwks["keys"][0]["kid"]
    assert assertion["scope"] == "system/Offer.cruds"
    assert platform.tokens == ["Bearer token-1"]
    assert platform.bodies == [{"query": "query Q { offers }", "variables": {"first": 2}}]


async def test_a_token_is_used_until_shortly_before_its_end(client: ApiClient, platform: Platform) -> None:
    await client.graphql("{ offers }")
    await client.graphql("{ offers }")
    assert platform.tokens == ["Bearer token-1"] * 2


async def test_a_token_near_its_end_is_renewed_with_a_new_assertion(
    client: ApiClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.graphql("{ offers }")
    assert client._token is not None
    client._token.until = 0.0
    await client.graphql("{ offers }")
    first, second = platform.assertions
    assert first["jti"] != second["jti"]
    assert platform.tokens[-1] == "Bearer token-2"


async def test_a_token_that_is_refused_is_replaced_once(client: ApiClient, platform: Platform) -> None:
    platform.graphql = [lambda: httpx2.Response(401, json={"error": {"message": "expired"}})]
    assert await client.graphql("{ offers }") == {"offers": []}
    assert platform.tokens == ["Bearer token-1", "Bearer token-2"]
    platform.graphql = [lambda: httpx2.Response(401, json={"error": {"message": "disabled"}})] * 2
    with pytest.raises(ApiError, match="disabled") as refused:
        await client.graphql("{ offers }")
    assert refused.value.status == 401


@pytest.mark.parametrize("trouble", [busy, lost])
async def test_what_may_be_repeated_is_repeated(
    client: ApiClient, platform: Platform, trouble: Callable[[], httpx2.Response]
) -> None:
    platform.graphql = [trouble, trouble]
    assert await client.graphql("mutation M { publish }", {"key": "k-1"}) == {"offers": []}
    assert platform.bodies == [{"query": "mutation M { publish }", "variables": {"key": "k-1"}}] * 3


@pytest.mark.parametrize("trouble", [busy, lost])
async def test_what_may_not_be_repeated_is_sent_once(
    client: ApiClient, platform: Platform, trouble: Callable[[], httpx2.Response]
) -> None:
    platform.graphql = [trouble]
    with pytest.raises(ApiError):
        await client.graphql("mutation M { publish }", idempotent=False)
    assert len(platform.bodies) == 1


async def test_a_token_request_that_was_lost_is_repeated_with_a_new_assertion(
    client: ApiClient, platform: Platform
) -> None:
    platform.token_answers = [busy(), busy()]
    await client.graphql("{ offers }")
    assert len({assertion["jti"] for assertion in platform.assertions}) == 3


async def test_patience_ends(credential: Credential, platform: Platform) -> None:
    platform.graphql = [lambda: busy("4")] * 9
    async with ApiClient.of(credential, transport=platform, patience=2) as client:
        with pytest.raises(ApiError, match="away") as refused:
            await client.graphql("{ offers }")
    assert refused.value.status == 503
    assert len(platform.bodies) == 1  # waiting 4 seconds would be longer than its patience of 2


async def test_errors_of_graphql_are_raised_with_their_codes(client: ApiClient, platform: Platform) -> None:
    errors = [{"message": "taken", "extensions": {"code": "CONFLICT"}}, {"message": "odd"}]
    platform.graphql = [lambda: httpx2.Response(200, json={"data": {"offers": None}, "errors": errors})]
    with pytest.raises(GraphQLErrors, match="taken; odd") as refused:
        await client.graphql("{ offers }")
    assert refused.value.codes == ["CONFLICT", ""]
    assert refused.value.data == {"offers": None}


async def test_an_oauth_error_says_what_the_server_said(client: ApiClient, platform: Platform) -> None:
    error = {"error": "invalid_client", "error_description": "The client is not known here."}
    platform.token_answers = [httpx2.Response(400, json=error)]
    with pytest.raises(ApiError, match="not known here"):
        await client.graphql("{ offers }")


async def test_an_issuer_that_names_another_is_not_trusted(client: ApiClient, platform: Platform) -> None:
    platform.issuer = "https://evil.example"
    with pytest.raises(ApiError, match=r"evil\.example"):
        await client.token()
    assert platform.assertions == []


async def test_an_answer_that_is_not_json_is_an_error(client: ApiClient, platform: Platform) -> None:
    platform.graphql = [lambda: httpx2.Response(502, text="<html>")]
    with pytest.raises(ApiError, match="without JSON"):
        await client.graphql("{ offers }")


async def test_an_rsa_key_signs_with_rs384() -> None:
    jwk = RSAKey.generate_key(2048, {"kid": "r"}).as_dict(private=True)
    credential = Credential(base_url=BASE, client_id="ward", private_jwk=jwk, scopes=SCOPES)
    platform = Platform(credential)
    async with ApiClient.of(credential, transport=platform) as client:
        await client.token()
    assert platform.assertions[0]["alg"] == "RS384"


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "EC"},
        ECKey.generate_key("P-256").as_dict(private=True),
        ECKey.generate_key("P-384").as_dict(private=False),
    ],
)
def test_a_key_that_cannot_sign_for_us_is_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="private"):
        ApiClient(BASE, "ward", jwk, SCOPES)


def test_a_credential_file_is_private_and_reads_back_the_same(credential: Credential, tmp_path: Path) -> None:
    path = tmp_path / "ward.json"
    credential.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Credential.load(path) == credential
    with pytest.raises(FileExistsError):
        credential.save(path)
    assert str(credential.private_jwk["d"]) not in repr(credential)


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [("{}", 0o600, "not a credential"), ("[", 0o600, "not a credential"), ("{}", 0o644, "chmod 600")],
)
def test_a_file_that_is_no_good_credential_is_refused(tmp_path: Path, text: str, mode: int, complaint: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ApiError, match=complaint):
        Credential.load(path)


def test_a_missing_credential_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match=r"none\.json cannot be read"):
        Credential.load(tmp_path / "none.json")
