"""Every door of the gateway beside GraphQL, knocked at with what no client should send: never a crash.

Requests are handed to the application as a server hands them on, so that nothing on our side tidies them up first.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from joserfc.jwk import ECKey
from tests.postgres.fuzz.checks import INSIDES, SECRETS
from tests.postgres.fuzz.hostile import TEXTS
from tests.postgres.gateway.test_hostile import b64

from sharewell.client import ASSERTION_TYPE
from sharewell.gateway.oauth.account_pages import ADD_PATH, CHANGE_PATH, KEY_PATH, REMOVE_PATH
from sharewell.gateway.oauth.metadata import AUTHORIZE_PATH, INTROSPECTION_PATH, PUSH_PATH, REVOCATION_PATH, TOKEN_PATH
from sharewell.gateway.oauth.pages import (
    ACCOUNT_PATH,
    CONSENT_PATH,
    ENROL_PATH,
    PASSWORD_PATH,
    SIGN_IN_PATH,
)

if TYPE_CHECKING:
    from tests.postgres.fuzz.conftest import House

KNOCKS = int(os.environ.get("SHAREWELL_FUZZ_KNOCKS", "200"))
SEED = int(os.environ.get("SHAREWELL_FUZZ_SEED", "1"))
FORM, BACK = "application/x-www-form-urlencoded", "https://app.example/back"
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW")
FORMS = (
    TOKEN_PATH, PUSH_PATH, INTROSPECTION_PATH, REVOCATION_PATH, SIGN_IN_PATH, CONSENT_PATH, ENROL_PATH, PASSWORD_PATH,
    ACCOUNT_PATH, ADD_PATH, REMOVE_PATH, KEY_PATH, CHANGE_PATH,
)  # fmt: skip
POSTED = (*FORMS, "/witness/add-checkpoint", "/graphql")
PAGES = (
    AUTHORIZE_PATH, ENROL_PATH, PASSWORD_PATH, ACCOUNT_PATH, "/log/checkpoint", "/log/policy", "/log/vkey",
    "/log/tile/0/000", "/log/tile/0/x001/000.p/1", "/log/tile/entries/000", "/log/tile/entries/000.p/3", "/log/period",
    "/witness/vkey", "/witness/log.example/checkpoint", "/healthz", "/readyz", "/metrics", "/graphql",
    "/.well-known/oauth-authorization-server", "/jwks.json", "/nowhere", "/",
)  # fmt: skip
_CLIENT = ("client_assertion_type", "client_assertion")
_APP = ("response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method")
#: What each door reads; at the others anything is tried.
TAKEN: dict[str, tuple[str, ...]] = {
    TOKEN_PATH: (*_CLIENT, "grant_type", "scope", "code", "code_verifier", "refresh_token"),
    PUSH_PATH: (*_CLIENT, *_APP), INTROSPECTION_PATH: (*_CLIENT, "token", "token_type_hint"),
    REVOCATION_PATH: (*_CLIENT, "token"), AUTHORIZE_PATH: _APP, CONSENT_PATH: ("handle",),
    SIGN_IN_PATH: ("handle", "login", "password", "code"),
    ENROL_PATH: ("invitation", "password", "code"), PASSWORD_PATH: ("login", "password", "code", "new_password"),
    ACCOUNT_PATH: ("login", "password", "code", "passkey"), "/log/period": ("since", "until", "view", "cosigned"),
    "/graphql": ("query", "variables"),
}  # fmt: skip
BODIES = (
    b"", b"\0", b"\xff\xfe", b"=", b"&", b"&&&=&", b"%", b"%zz=%", b"a=%ff", b"a=1&a=2", b"grant_type", b"{}", b"[]",
    b"null", b'"x"', b"{", b"old 0\n\nlog.example\n0\n", b"old -1\n\n",
    b"old 99999999999999999999\nx\n\nlog.example\n1\n\n",
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--", b"\xc3\x28", b"[" * 100_000, b"a=1&" * 50_000,
    b"x" * 2_000_000, b'{"query": "{ me { clientId } }", "variables": {"a": 1e400}}', b'{"query": "\\ud800"}',
    b'{"query": "{ me { clientId } }", "extensions": {"persistedQuery": []}}', b'{"query": {}}', b"\xef\xbb\xbf{}",
)  # fmt: skip
TYPES = (
    FORM, f"{FORM}; charset=utf-8", f"{FORM}; charset=x-unknown", "application/json",
    "application/json; charset=utf-16", "text/plain", "multipart/form-data; boundary=x", "multipart/form-data", "", ";",
    "\u00e9", "application/json; charset=",
)  # fmt: skip
ODD: tuple[tuple[bytes, bytes], ...] = (
    (b"authorization", b"Bearer"), (b"authorization", b"Bearer \xff"), (b"authorization", b"Basic !!"),
    (b"authorization", b"Bearer a.b.c"), (b"authorization", b"DPoP x"), (b"dpop", b"x"), (b"dpop", b"e30.e30.e30"),
    (b"accept", b"text/event-stream"), (b"accept", b";q=x,*/*;q=-1"), (b"accept", b"\xff"), (b"origin", b"null"),
    (b"cookie", b"=;;\xff"), (b"cookie", b"sharewell=" + b"x" * 5000), (b"x-request-id", b"\0\n" * 9),
    (b"x-forwarded-for", b"::1, \xff"), (b"forwarded", b"for="), (b"content-length", b"-1"), (b"content-length", b"x"),
    (b"content-length", b"99999999999999999999"), (b"content-encoding", b"gzip"), (b"range", b"bytes=9-1"),
    (b"if-none-match", b'"'), (b"last-event-id", b"\xff"), (b"expect", b"100-continue"), (b"upgrade", b"h2c"),
    (b"host", b"evil.example"), (b"access-control-request-method", b"BREW"), (b"content-length", "٣".encode()),
)  # fmt: skip


@dataclass
class Stranger:
    """Somebody who knows the names of everything, and the secrets of one client."""

    house: House
    random: Random
    note: bytes  #: a checkpoint that our log signed, and our witness knows the key of
    tried: Counter[str] = field(default_factory=Counter)
    found: dict[str, str] = field(default_factory=dict)

    def parameters(self, path: str) -> dict[str, str]:
        """What a client would send: each endpoint takes what it knows of it."""
        draw = self.random.choice
        at = f"2026-0{self.random.randint(1, 9)}-01T00:00:00Z"
        known = {
            "grant_type": draw(("client_credentials", "authorization_code", "refresh_token", "urn:x")),
            "client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion(), "scope": "system/Offer.rs",
            "response_type": "code", "client_id": draw(("app", "app", "west", "nobody")), "redirect_uri": BACK,
            "state": "s", "code_challenge_method": "S256", "code_challenge": "x" * 43, "code": draw(("123456", "c")),
            "code_verifier": "v" * 43, "refresh_token": "r", "token": draw((self.house.tokens["west"], "t", "a.b.c")),
            "request_uri": "urn:x", "login": "smurfette", "password": "correct horse battery", "invitation": "i" * 43,
            "handle": "h" * 43, "token_type_hint": draw(("access_token", "x")), "since": at, "until": at,
            "view": draw(("fhir", "ocsf", "x")), "cosigned": draw(("true", "x")), "query": "{ me { clientId } }",
            "variables": draw(("{}", "[]", "{", '{"a": 1}')), "extensions": draw(("{}", "3")), "name": "n", "id": "1",
            "browser": "b", "passkey": draw(("{}", "[]", "x")), "again": "p", "request": "r", "new_password": "q" * 12,
        }  # fmt: skip
        usual = {name: known[name] for name in TAKEN.get(path, known)}
        return {name: value for name, value in usual.items() if self.random.random() < (0.93 if path in TAKEN else 0.4)}

    def assertion(self) -> str:
        """A client's proof of itself; now and then with something odd in a claim."""
        credential = self.house.credentials["west"]
        key, now = ECKey.import_key(dict(credential.private_jwk)), int(time.time())  # signed by hand: libraries refuse
        claims: dict[str, Any] = {
            "iss": "west", "sub": "west", "aud": f"{credential.base_url}{TOKEN_PATH}", "iat": now, "exp": now + 100,
            "jti": str(self.random.random()),
        }  # fmt: skip
        if self.random.random() < 0.5:
            claims[self.random.choice((*claims, "nbf", "act"))] = self.random.choice(
                (None, [], {}, "", "\0", "x" * 3000, -1, 2**63, 1e300, True, ["west"], "💥", 10**30)
            )
        header: dict[str, Any] = {"alg": "ES384", "kid": key.kid}
        if self.random.random() < 0.2:
            header[self.random.choice(("kid", "typ", "jku"))] = self.random.choice(("", "\0", "../x", "x" * 2000))
        signed = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(key.get_op_key("sign").sign(signed.encode(), ECDSA(SHA384())))
        return f"{signed}.{b64(r.to_bytes(48) + s.to_bytes(48))}"

    def encoded(self, path: str) -> bytes:
        """The parameters on the wire, some spoilt, some twice, some badly encoded."""
        pairs = list(self.parameters(path).items())
        for _ in range(self.random.choice((0, 0, 1, 2))):
            place = self.random.randrange(len(pairs)) if pairs else None
            if place is not None:
                value = self.random.choice(TEXTS).encode("utf-8", "surrogatepass").decode("latin-1")
                pairs[place] = (pairs[place][0], value)
        if pairs and self.random.random() < 0.1:
            pairs.append(self.random.choice(pairs))
        wire = "&".join(f"{quote(name)}={quote(value.encode('latin-1', 'replace'))}" for name, value in pairs).encode()
        return wire + self.random.choice((b"", b"", b"", b"", b"&%", b"&%ff=%00", b"&=", b"&a=%zz"))

    def checkpoint(self) -> bytes:
        """What a log asks a witness to sign, mostly with something changed."""
        draw = self.random.choice
        old = draw((b"0", b"0", b"1", b"3", b"-0", b"00", b"1e3", str(2**64).encode(), "\u0663".encode()))
        proof = draw((b"", b"", b"x\n", base64.b64encode(bytes(32)) + b"\n", base64.b64encode(bytes(31)) + b"\n"))
        note = bytearray(self.note)
        if self.random.random() < 0.4:
            note[self.random.randrange(len(note))] = self.random.randrange(256)
        return b"old " + old + b"\n" + proof * draw((1, 1, 64)) + b"\n" + bytes(note)

    async def knock(self) -> None:
        """One request, and what is wrong with its answer."""
        draw = self.random.choice
        posts = self.random.random() < 0.6
        path = draw(POSTED if posts else PAGES)
        method = ("POST" if posts else "GET") if self.random.random() < 0.85 else draw(METHODS)
        body, query, headers = b"", b"", []
        if posts:
            usual = path not in {"/witness/add-checkpoint", "/graphql"} and self.random.random() < 0.7
            body = self.encoded(path) if usual else draw(BODIES)
            if path == "/witness/add-checkpoint" and self.random.random() < 0.6:
                body = self.checkpoint()
            headers.append((b"content-type", (FORM if usual else draw(TYPES)).encode("latin-1", "replace")))
        elif self.random.random() < 0.8:
            query = self.encoded(path) if self.random.random() < 0.8 else draw(BODIES)[:9000]
        if self.random.random() < 0.5:
            headers.append((b"authorization", f"Bearer {self.house.tokens[draw(('regulator', 'west'))]}".encode()))
        headers += self.random.sample(ODD, draw((0, 0, 1, 2)))
        if self.random.random() < 0.1:
            path += draw(("/", "/%00", "/%ff", "/..%2f..", "/%", "/\u0663".encode().decode("latin-1"), "/" + "9" * 400))
        self.tried[next((door for door in (*FORMS, *PAGES) if path == door), "other")] += 1
        status, told = await deliver(self.house.app, method, path, query, headers, body, self.tried.total())
        said = f"{method} {path}?{query[:300]!r} {headers} {body[:600]!r}\n    {status} {told[:600]!r}"
        text = told.decode("utf-8", "replace")
        if status >= 500 or status == 0:
            self.found.setdefault(f"{path}: status {status}", said)
        if path != "/metrics" and (found := INSIDES.search(text) or SECRETS.search(text)) and not text.startswith("<!"):
            self.found.setdefault(f"{path}: tells {found[0]!r}", said)


async def deliver(
    app: Any, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes, number: int
) -> tuple[int, bytes]:
    """Status and body of the answer; each request comes from an address of its own, so that none is counted out."""
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": unquote(path), "raw_path": path.encode("latin-1"), "query_string": query,
        "headers": headers, "client": (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 9),
        "server": ("127.0.0.1", 8080), "root_path": "", "state": {},
    }  # fmt: skip
    status, told, sent = 0, b"", False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, told
        status = message.get("status", status)
        told += message.get("body", b"")

    await app(scope, receive, send)
    return status, told


@pytest.mark.timeout(900 + KNOCKS)
async def test_no_knock_at_any_door_is_answered_with_a_crash(house: House, log_stream: io.StringIO) -> None:
    await house.done(
        "admin", "registerClient", name="An app", clientId="app", roles=["INSTITUTION"], scopes=["user/Offer.cruds"],
        redirectUris=[BACK],
    )  # fmt: skip
    await house.tick()
    for path in POSTED:
        assert (await deliver(house.app, "POST", path, b"", [], b"", 0))[0] not in {404, 405}, f"no door at {path}"
    _, note = await deliver(house.app, "GET", "/log/checkpoint", b"", [], b"", 0)
    stranger = Stranger(house, Random(SEED), note)
    for _ in range(KNOCKS):
        await stranger.knock()
    sys.stdout.write(json.dumps(stranger.tried) + "\n")
    sys.stdout.write("".join(f"- {what}\n    {said}\n" for what, said in stranger.found.items()))
    crashes = [line for line in log_stream.getvalue().splitlines() if '"crash' in line]
    sys.stdout.write("\n".join(dict.fromkeys(crashes)))
    assert stranger.found == {}
    assert crashes == []
