"""What the token endpoint costs beside one written by hand for one grant: `client_credentials` by signed JWT.

All go through ASGI in this process and check what they are shown against PostgreSQL, on a connection of the same pool.
The one by hand does what must be done for the grant and nothing for the house: it reads the client as it is registered
now, verifies signature and claims, uses the assertion up for good, and signs; two statements, each a transaction of its
own. It keeps no rates, knows no other grant and leaves no line in the log. Housed, it is a route of our gateway, and
what every request passes there is around it, so that between it and ours is the authorization server alone.

Every request has an assertion of its own, made before the clock runs. The variants take turns; a ratio is the median of
those of the rounds. `speed` is by the clock, one request after another; `thrift` is by the processor time of this
process alone, which bounds what a gateway does whose own core is its narrowest place.
"""

from __future__ import annotations

import logging
import secrets
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import orjson
from joserfc import jws, jwt
from joserfc.jwk import ECKey, RSAKey, import_key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Scope

from sharewell import logs
from sharewell.authz import Authorizer
from sharewell.cli.running import build_gateway, token_keys
from sharewell.client import ASSERTION_TYPE
from sharewell.domain.clients import ClientDraft
from sharewell.domain.principals import Role
from sharewell.gateway.oauth.assertions import digest
from sharewell.gateway.oauth.metadata import TOKEN_PATH
from sharewell.gateway.rates import Knock
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.clients import BY_ID
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator

ROUNDS: Final = 400
SCOPE: Final = "system/Offer.cruds system/Request.rs"
LIFE: Final = timedelta(minutes=5)
LEEWAY: Final = timedelta(seconds=10)
NO_LIMIT: Final = (1e9, 1e9)
#: Old ones are left to somebody else; ours sweeps a few away each time.
USE_UP: Final = "insert into oauth.jti (client_id, jti, exp) values ($1, $2, $3) on conflict do nothing returning true"

Key = ECKey | RSAKey


async def measure(urls: Mapping[str, str], rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """A record for each of the two algorithms of SMART Backend Services."""
    with tempfile.TemporaryDirectory() as home, (Path(home) / "log").open("w") as log:
        logs.configure(stream=log)  # our endpoint writes a line for each request, as in production
        limits: dict[str, tuple[float, float]] = {Knock.ADDRESS: NO_LIMIT, Knock.CLIENT: NO_LIMIT}
        settings = Settings(home=Path(home), allocate_after=None, oauth_rates=limits)
        async with open_pool(urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY, most=4) as pool:
            database = Database(pool)
            services = build_services(settings, database, Authorizer.load())
            records = [
                await _record(name, key, variants(services), services, rounds)
                for name, key in (("ES384", ECKey.generate_key("P-384")), ("RS384", RSAKey.generate_key(2048)))
            ]
        logging.getLogger().handlers.clear()  # its file ends here
    return records


def variants(services: Services) -> dict[str, ASGIApp]:
    """Our gateway, and what stands beside it, all with one key to sign by and without limits of rate."""
    keys = token_keys(services.settings)
    endpoint = ByHand(services.database, services.settings.issuer, keys.private[0])
    by_hand = Route(TOKEN_PATH, endpoint.token, methods=["POST"])
    housed = build_gateway(services, keys)
    housed.router.routes[:] = [by_hand if getattr(each, "path", "") == TOKEN_PATH else each for each in housed.routes]
    return {
        "ours": build_gateway(services, keys),
        "by_hand": Starlette(routes=[by_hand]),
        "housed": housed,
    }


async def _record(
    algorithm: str, key: Key, apps: Mapping[str, ASGIApp], services: Services, rounds: int
) -> dict[str, Any]:
    client = f"bench-{algorithm}-{secrets.token_hex(4)}"
    draft = ClientDraft(
        name="Benchmark", roles=frozenset({Role.REGULATOR}), scopes=SCOPE.split(), client_id=client,
        jwks={"keys": [key.as_dict(private=False, kid="key-1")]},
    )  # fmt: skip
    await services.clients.register(operator(), draft)
    audience = services.settings.issuer + TOKEN_PATH
    seconds = await _in_turns(rounds, apps, lambda: form(client, audience, algorithm, key))
    found: dict[str, Any] = {"benchmark": "token.client_credentials", "algorithm": algorithm}
    for name, took in seconds.items():
        found[f"{name}_milliseconds"] = round(statistics.median(wall for wall, _ in took) * 1000, 2)
    for place, word in enumerate(("speed", "thrift")):
        for name in ("by_hand", "housed"):
            pairs = zip(seconds[name], seconds["ours"], strict=True)
            ratios = [beside[place] / ours[place] for beside, ours in pairs]
            found[f"{word}_over_{name}"] = round(statistics.median(ratios), 3)
    return found


async def _in_turns(rounds: int, apps: Mapping[str, ASGIApp], make: Any) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each in each round, by the clock and of the processor.

    Ten rounds warm up, in which each must also refuse what it saw before.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in apps}
    order = list(apps)
    for turn in range(rounds + 10):
        order = order[1:] + order[:1] if turn % 2 else order[::-1]  # nobody always follows the same one
        for name in order:
            body = make()
            begun, busy = time.perf_counter(), time.process_time()
            status, answer = await post(apps[name], body)
            took = time.perf_counter() - begun, time.process_time() - busy
            assert status == 200, (name, answer)
            if turn >= 10:
                seconds[name].append(took)
            elif (await post(apps[name], body))[0] == 200:
                raise AssertionError(f"{name} takes an assertion twice")
    return seconds


def form(client: str, audience: str, algorithm: str, key: Key) -> bytes:
    """The body of one request, with an assertion of its own."""
    now = int(time.time())
    claims = {
        "iss": client, "sub": client, "aud": audience, "iat": now, "exp": now + 240, "jti": secrets.token_hex(16),
    }  # fmt: skip
    assertion = jwt.encode({"alg": algorithm, "kid": "key-1"}, claims, key, algorithms=[algorithm])
    return urlencode({
        "grant_type": "client_credentials", "scope": SCOPE, "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }).encode()  # fmt: skip


async def post(app: ASGIApp, body: bytes) -> tuple[int, bytes]:
    """Send one form into `app` without a client in between."""
    scope: Scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": TOKEN_PATH, "query_string": b"",
        "headers": [(b"content-type", b"application/x-www-form-urlencoded"),
                    (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "root_path": "",
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


class ByHand:
    """What one would write by hand with joserfc and asyncpg for programs alone: this grant, these two algorithms."""

    def __init__(self, database: Database, issuer: str, signer: ECKey) -> None:
        self._database, self._issuer, self._signer = database, issuer, signer
        self._kid = signer.thumbprint()

    async def token(self, request: Request) -> JSONResponse:
        asked = dict(parse_qsl((await request.body()).decode("ascii")))
        if asked["grant_type"] != "client_credentials" or asked["client_assertion_type"] != ASSERTION_TYPE:
            return JSONResponse({"error": "invalid_request"}, status_code=400)
        at = datetime.now(UTC)
        client = await self._proven(asked["client_assertion"], at)
        if client is None:
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        scope = " ".join(each for each in asked["scope"].split() if each in client["scopes"])
        answer = {
            "token_type": "Bearer", "access_token": self._signed(client, scope, at), "scope": scope,
            "expires_in": int(LIFE.total_seconds()),
        }  # fmt: skip
        return JSONResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

    async def _proven(self, assertion: str, at: datetime) -> Mapping[str, Any] | None:
        """The client that signed, if it is one, signed for us, and did so for the first time."""
        shown = jws.extract_compact(assertion.encode("ascii"))
        client = await self._find(orjson.loads(shown.payload)["sub"])
        if client is None or client["status"] != "active" or (client["expires_at"] or at + LIFE) <= at:
            return None
        kid = shown.headers().get("kid")
        key = next(key for key in orjson.loads(client["jwks"])["keys"] if key["kid"] == kid)
        claims = jwt.decode(assertion, import_key(key), algorithms=["ES384", "RS384"]).claims
        until = datetime.fromtimestamp(claims["exp"], UTC)
        meant = claims["iss"] == claims["sub"] and claims["aud"] == self._issuer + TOKEN_PATH
        begun = max(claims.get("iat", 0), claims.get("nbf", 0)) <= at.timestamp() + LEEWAY.total_seconds()
        if not meant or not begun or not at - LEEWAY < until <= at + LIFE + LEEWAY:
            return None
        first = await self._burn(claims["sub"], digest(claims["jti"]), until + LEEWAY)
        return client if first else None

    async def _find(self, client_id: str) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = await self._database.pool.fetchrow(BY_ID, client_id)
        return found

    async def _burn(self, client_id: str, jti: str, until: datetime) -> bool:
        return bool(await self._database.pool.fetchval(USE_UP, client_id, jti, until))

    def _signed(self, client: Mapping[str, Any], scope: str, at: datetime) -> str:
        """RFC 9068, 2.2."""
        claims = {
            "iss": self._issuer, "aud": self._issuer, "sub": client["client_id"], "client_id": client["client_id"],
            "iat": int(at.timestamp()), "exp": int((at + LIFE).timestamp()), "jti": secrets.token_urlsafe(18),
            "scope": scope,
        }  # fmt: skip
        header = {"alg": "ES256", "typ": "at+jwt", "kid": self._kid}
        return jwt.encode(header, claims, self._signer, algorithms=["ES256"])
