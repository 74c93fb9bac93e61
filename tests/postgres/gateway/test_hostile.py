"""Hostile requests: each is refused with the right error, and each is on record without the credential."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from sharewell.client import ASSERTION_TYPE
from sharewell.domain.audit import Decision
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import FrontDoor, Program, Register

ISSUER = "https://sharewell.example"
NOW = int(time.time())


def b64(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(claims: dict[str, Any], **header: Any) -> str:
    return f"{b64({'alg': 'none', **header})}.{b64(claims)}."


def hmac_with(secret: bytes, claims: dict[str, Any], **header: Any) -> str:
    """What a careless verifier takes: HS256 keyed with something public."""
    body = f"{b64({'alg': 'HS256', **header})}.{b64(claims)}"
    return f"{body}.{b64(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def public_pem(key: Any) -> bytes:
    pem: bytes = key.as_pem(private=False)
    return pem


def tampered(token: str) -> str:
    """The same token with one bit of its claims turned."""
    header, claims, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(claims + "=="))
    raw[raw.index(b"ward")] ^= 1
    return f"{header}.{b64(bytes(raw))}.{signature}"


def with_own_key(program: Program) -> str:
    """A key in the header proves nothing but that one has a key."""
    own = ECKey.generate_key("P-384")
    header = {"alg": "ES384", "kid": program.key.kid, "jwk": own.as_dict(private=False)}
    return jwt.encode(header, program.claims(), own, algorithms=["ES384"])


def signed_by_another(program: Program) -> str:
    return program.using(key=another_key()).assertion()


def another_key() -> ECKey:
    """Not the ward's key, whatever it is called."""
    return ECKey.generate_key("P-384", {"kid": "key-1"})


def our_claims() -> dict[str, Any]:
    return {
        "iss": ISSUER, "aud": ISSUER, "sub": "ward", "client_id": "ward", "iat": int(time.time()),
        "exp": int(time.time()) + 60, "scope": "system/*.cruds",
    }  # fmt: skip


def signed_by(kid: str) -> str:
    """A token that looks like ours, by a key that is not."""
    return jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": kid}, our_claims(), ECKey.generate_key("P-256"))


def hmac_with_ours(door: FrontDoor) -> str:
    (key,) = door.parts.keys.public()["keys"]
    return hmac_with(public_pem(ECKey.import_key(key)), our_claims(), typ="at+jwt", kid=key["kid"])


ASSERTIONS: dict[str, tuple[str, str | Callable[[Program], str]]] = {
    "expired": ("expired", lambda p: p.assertion(exp=NOW - 60)),
    "without an end": ("expired", lambda p: p.assertion(exp=None)),
    "ten minutes long": ("too_long", lambda p: p.assertion(exp=int(time.time()) + 600)),
    "from the future": ("not_yet_valid", lambda p: p.assertion(nbf=int(time.time()) + 120)),
    "for another server": ("wrong_audience", lambda p: p.assertion(aud="https://elsewhere.example/token")),
    "for nobody": ("wrong_audience", lambda p: p.assertion(aud=None)),
    "in another's name": ("issuer_mismatch", lambda p: p.assertion(iss="someone-else")),
    "without an id": ("no_jti", lambda p: p.assertion(jti=None)),
    "unsigned": ("bad_signature", lambda p: unsigned(p.claims())),
    "unsigned, naming a key": ("bad_signature", lambda p: unsigned(p.claims(), kid=p.key.kid)),
    "HS256 with the public key": (
        "bad_signature", lambda p: hmac_with(public_pem(p.key), p.claims(), kid=p.key.kid),
    ),
    "signed by another key": ("bad_signature", signed_by_another),
    "bringing its own key": ("bad_signature", with_own_key),
    "changed on the way": ("bad_signature", lambda p: tampered(p.assertion())),
    "of an unknown kid": ("unknown_key", lambda p: p.using(header={"kid": "other"}).assertion()),
    "of no kid": ("unknown_key", lambda p: p.using(header={"kid": None}).assertion()),
    "of a kid that is no text": ("bad_signature", lambda p: unsigned(p.claims(), kid=["key-1"])),
    "with RS256 instead of RS384": (
        "bad_signature",
        lambda p: jwt.encode({"alg": "RS256", "kid": p.key.kid}, p.claims(), RSAKey.generate_key(2048)),
    ),
    "of an unknown client": ("unknown_client", lambda p: p.assertion(iss="nobody", sub="nobody")),
    "of a client that cannot be": ("unknown_client", lambda p: p.assertion(iss="a\0b", sub="a\0b")),
    "with a list as subject": ("invalid_client", lambda p: p.assertion(iss=["ward"], sub=["ward"])),
    "garbage": ("malformed", "garbage"),
    "garbage in three parts": ("malformed", "a.b.c"),
    "an array": ("malformed", f"{b64({'alg': 'ES384'})}.{b64(b'[]')}.{b64(b'x')}"),
    "nested without end": ("malformed", f"{b64({'alg': 'ES384'})}.{b64(b'[' * 5000)}.{b64(b'x')}"),
    "not ASCII": ("malformed", lambda p: p.assertion() + "ä"),
    "longer than any": ("malformed", lambda p: p.assertion(note="x" * 9000)),
}  # fmt: skip

TOKENS: dict[str, tuple[str, str | Callable[[FrontDoor], str]]] = {
    "expired": ("expired", lambda d: d.sign(exp=NOW - 60)),
    "without an end": ("expired", lambda d: d.sign(exp=None)),
    "from the future": ("not_yet_valid", lambda d: d.sign(iat=int(time.time()) + 120)),
    "for another audience": ("wrong_audience", lambda d: d.sign(aud="ward")),
    "for nobody": ("wrong_audience", lambda d: d.sign(aud=None)),
    "of another issuer": ("unknown_issuer", lambda d: d.sign(iss="https://elsewhere.example")),
    "of no issuer": ("unknown_issuer", lambda d: d.sign(iss=None)),
    "another kind of JWT": ("wrong_type", lambda d: d.sign(typ="JWT")),
    "of two minds": ("malformed", lambda d: d.sign(sub="someone-else")),
    "unsigned": ("unknown_key", unsigned(our_claims(), typ="at+jwt")),
    "unsigned, naming our key": (
        "bad_signature", lambda d: unsigned(our_claims(), typ="at+jwt", kid=d.parts.keys.kid),
    ),
    "HS256 with our public key": ("bad_signature", hmac_with_ours),
    "signed by another key": ("bad_signature", lambda d: signed_by(d.parts.keys.kid)),
    "of an unknown key": ("unknown_key", signed_by("other")),
    "changed on the way": ("bad_signature", lambda d: tampered(d.sign())),
    "of an unknown client": ("unknown_client", lambda d: d.sign(sub="nobody", client_id="nobody")),
    "garbage": ("malformed", "garbage"),
    "an array": ("malformed", f"{b64({'alg': 'ES256'})}.{b64(b'[]')}.{b64(b'x')}"),
    "nested without end": ("malformed", f"{b64({'alg': 'ES256'})}.{b64(b'[' * 2900)}.{b64(b'x')}"),
    "longer than any": ("malformed", "a" * 5000),
}  # fmt: skip


def assert_on_record(decision: Decision, reason: str, credential: str, name: str) -> None:
    assert (decision.kind, decision.outcome, decision.details["reason"]) == ("access.refused", "refused", reason), name
    entry = decision.entry().decode()
    assert credential[:24] not in entry, name
    assert credential[-24:] not in entry, name


@pytest.mark.parametrize("known", [False, True], ids=["never seen", "remembered"])
async def test_hostile_assertions_are_refused_and_recorded(door: FrontDoor, ward: Program, known: bool) -> None:
    if known:
        await ward.token()
    for name, (reason, forge) in ASSERTIONS.items():
        assertion = forge if isinstance(forge, str) else forge(ward)
        answer = await ward.post(assertion)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client"), name
        assert "access_token" not in answer.json(), name
        assert_on_record((await door.refusals())[-1], reason, assertion, name)
    refusals = await door.refusals()
    assert len(refusals) == len(ASSERTIONS)
    # A name that was only claimed is what it is about, and never who did it.
    assert {decision.actor for decision in refusals} == {"anonymous"}
    assert {decision.subject_id for decision in refusals} == {"ward", "unknown"}
    assert (await ward.post()).status_code == 200, "after all that, a good one still passes"


async def test_hostile_tokens_are_refused_and_recorded(door: FrontDoor, ward: Program) -> None:
    for name, (reason, forge) in TOKENS.items():
        token = forge if isinstance(forge, str) else forge(door)
        answer = await door.ask(token)
        assert answer.status_code == 401, name
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge.startswith('Bearer realm="sharewell", error="invalid_token", error_description="'), name
        assert_on_record((await door.refusals())[-1], reason, token, name)
    assert len(await door.refusals()) == len(TOKENS)
    assert (await door.ask(await ward.token())).status_code == 200


async def test_who_proved_a_name_before_the_refusal_is_its_actor(door: FrontDoor, ward: Program) -> None:
    await door.ask(door.sign(exp=NOW - 60))
    await ward.post(scope="system/Client.cruds")
    assert [(d.actor, d.details["reason"]) for d in await door.refusals()] == [
        ("ward", "expired"),
        ("ward", "invalid_scope"),
    ]


async def test_an_assertion_counts_once(door: FrontDoor, ward: Program) -> None:
    assertion = ward.assertion()
    assert (await ward.post(assertion)).status_code == 200
    again = await ward.post(assertion)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_client")
    assert "used before" in again.json()["error_description"]
    (refused,) = await door.refusals()
    assert refused.details["reason"] == "replayed"


async def test_of_two_that_use_one_assertion_at_once_exactly_one_wins(door: FrontDoor, ward: Program) -> None:
    for _ in range(5):
        assertion = ward.assertion()
        answers = await asyncio.gather(*(ward.post(assertion) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    assert len(await door.refusals()) == 15


async def test_an_assertion_is_used_up_even_if_the_request_fails_after_it(door: FrontDoor, ward: Program) -> None:
    assertion = ward.assertion()
    assert (await ward.post(assertion, scope="openid")).json()["error"] == "invalid_scope"
    assert (await ward.post(assertion)).json()["error"] == "invalid_client"
    assert [d.details["reason"] for d in await door.refusals()] == ["invalid_scope", "replayed"]


async def test_a_stranger_cannot_use_up_what_a_client_has_yet_to_send(door: FrontDoor, ward: Program) -> None:
    forged = ward.using(key=another_key())
    assert (await ward.post(forged.assertion(jti="tomorrow"))).status_code == 400
    assert (await ward.post(ward.assertion(jti="tomorrow"))).status_code == 200


async def test_two_clients_may_pick_the_same_id_for_an_assertion(
    door: FrontDoor, register: Register, ward: Program
) -> None:
    other: Program = await register(another_key(), client_id="pharmacy")
    assert (await ward.post(ward.assertion(jti="1"))).status_code == 200
    assert (await other.post(other.assertion(jti="1"))).status_code == 200


async def test_one_client_cannot_sign_for_another(door: FrontDoor, register: Register, ward: Program) -> None:
    other: Program = await register(another_key(), client_id="pharmacy")
    answer = await other.post(other.assertion(iss="ward", sub="ward"))
    assert answer.json()["error"] == "invalid_client"
    assert (await door.refusals())[0].details["reason"] == "bad_signature"


OTHER_REQUESTS = {
    "unsupported_grant_type": [
        {"grant_type": "password"},
        {"grant_type": ""},
    ],
    "unauthorized_client": [
        {"grant_type": "authorization_code", "code": "x"},
        {"grant_type": "refresh_token", "refresh_token": "x"},
    ],
    "invalid_client": [
        {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        {"client_id": "someone-else"},
    ],
    "invalid_scope": [{"scope": ""}, {"scope": "openid"}],
}


async def test_a_request_that_is_not_ours_to_answer_gets_its_oauth_error(ward: Program) -> None:
    for error, forms in OTHER_REQUESTS.items():
        for form in forms:
            answer = await ward.post(**form)
            assert (answer.status_code, answer.json()["error"]) == (400, error), form


async def test_a_refused_request_is_told_which_parameter_to_mend_and_how(door: FrontDoor, ward: Program) -> None:
    kinds = "client_credentials, authorization_code, refresh_token"
    for form, told in (
        ({"scope": "system/Client.c"}, f"scope must name at least one of {' '.join(ward.record.scopes)}."),
        ({"grant_type": "password"}, f"grant_type must be one of {kinds}."),
        ({"client_assertion_type": "jwt"}, f"client_assertion_type must be {ASSERTION_TYPE}."),
    ):
        assert (await ward.post(**form)).json()["error_description"] == told
    bare = await door.http.post("/oauth/token", data={"grant_type": "client_credentials", "client_id": "ward"})
    assert bare.json()["error_description"].startswith("client_assertion is missing;")


async def test_what_is_not_a_form_of_single_parameters_is_an_invalid_request(door: FrontDoor, ward: Program) -> None:
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
    twice = f"grant_type=client_credentials&grant_type=password&client_assertion={ward.assertion()}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = [
        door.http.post("/oauth/token", json=form),
        door.http.post("/oauth/token", content=b"scope=\xff", headers=kind),
        door.http.post("/oauth/token", content=b"scope=%ff", headers=kind),
        door.http.post("/oauth/token", content=twice, headers=kind),
        door.http.post("/oauth/token", content="&".join(f"p{n}=1" for n in range(40)), headers=kind),
    ]
    answers = await asyncio.gather(*asked)
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(400, "invalid_request")] * 5


async def test_a_shared_secret_is_not_a_way_in(door: FrontDoor, ward: Program) -> None:
    form = {"grant_type": "client_credentials", "scope": "system/Offer.r"}
    basic = await door.http.post("/oauth/token", data=form, auth=("ward", "secret"))
    posted = await door.http.post("/oauth/token", data={**form, "client_id": "ward", "client_secret": "secret"})
    assert [a.json()["error"] for a in (basic, posted)] == ["invalid_client"] * 2
    assert (await door.http.get("/oauth/token")).status_code == 405


async def test_without_a_token_one_is_told_the_way_in_and_nothing_is_recorded(door: FrontDoor) -> None:
    for sent in ([], ["Basic d2FyZDpzZWNyZXQ="], ["Bearer"], ["Bearer "], ["Bearer a", "Bearer b"]):
        headers = [("Authorization", value) for value in sent]
        answer = await door.http.post("/graphql?access_token=abc", headers=headers)
        assert answer.status_code == 401, sent
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sharewell"', sent
    assert await door.refusals() == []


async def test_a_disabled_client_gets_no_token_and_its_tokens_stop_within_seconds(
    door: FrontDoor, ward: Program
) -> None:
    token = await ward.token()
    assert (await door.ask(token)).status_code == 200
    await door.clients.disable(operator(), "ward")
    assert (await ward.post()).json()["error"] == "invalid_client"
    door.clock.ahead = timedelta(seconds=6)
    refused = await door.ask(token)
    assert refused.status_code == 401
    assert "not active" in refused.json()["error"]["message"]


async def test_an_expired_registration_opens_nothing(door: FrontDoor, register: Register) -> None:
    program: Program = await register(expires_at=door.clock() + timedelta(seconds=60))
    token = await program.token()
    assert (await door.ask(token)).status_code == 200
    door.clock.ahead = timedelta(seconds=61)
    assert (await door.ask(token)).status_code == 401


async def test_a_scope_taken_from_a_registration_is_gone_from_its_tokens(door: FrontDoor, ward: Program) -> None:
    token = door.sign(scope="system/*.cruds internal/*.cruds")
    assert (await door.ask(token)).json()["scopes"] == ["system/Offer.cruds", "system/Request.rs"]


async def test_a_body_larger_than_any_of_ours_is_refused_before_it_is_read(door: FrontDoor, ward: Program) -> None:
    answer = await door.http.post("/oauth/token", content=b"x" * (1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")
    assert "1 MiB" in answer.json()["error_description"]

    async def parts() -> Any:
        for _ in range(40):
            yield b"x" * 65536

    answer = await door.http.post(
        "/oauth/token", content=parts(), headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (answer.status_code, answer.json()["error"]) == (413, "invalid_request")


async def test_where_nothing_is_it_is_said_where_something_is(door: FrontDoor) -> None:
    for path in ("/", "/api", "/oauth"):
        answer = await door.http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
        said = answer.json()["error"]["message"]
        assert "/graphql" in said
        (metadata,) = re.findall(r"/\.well-known/[a-z-]+", said)
        assert (await door.http.get(metadata)).json()["token_endpoint"]
        (page,) = re.findall(r"docs/\w+\.md", said)
        assert (Path(__file__).parents[3] / page).is_file()


async def test_a_refusal_that_cannot_be_recorded_is_not_answered(
    door: FrontDoor, ward: Program, admin_dsn: str
) -> None:
    token, assertion = door.sign(exp=NOW - 60), ward.assertion(exp=NOW - 60)
    admin = await asyncpg.connect(admin_dsn)
    await admin.execute("revoke execute on function audit.record from sharewell_gateway")
    await admin.close()
    answers = [await door.ask(token), await ward.post(assertion)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert not any("expired" in answer.text or "invalid" in answer.text for answer in answers)
    assert await door.refusals() == []
