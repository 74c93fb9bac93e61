"""Passkeys through the pages, by an authenticator of software that makes real attestations and signatures."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from html import unescape
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx2
import pyotp
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256

from sharewell.domain.people import LONGEST_LOCK, PersonDraft
from sharewell.domain.principals import Role
from sharewell.store.passkeys import PasskeyRepository
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.postgres.conftest import Connection
    from tests.postgres.gateway.conftest import App, FrontDoor

ISSUER, HOST = "https://sharewell.example", "sharewell.example"
PASSWORD = "correct horse battery"
PRESENT, VERIFIED, ATTESTED = 1, 4, 64  # WebAuthn, 6.1: flags of authenticator data


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One passkey on a device (WebAuthn, 6): its key, its counter, and whose it was told it is."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    user: bytes = b""
    counter: int = 0

    def create(self, options: Any, **changes: Any) -> str:
        """What the page sends after `navigator.credentials.create`."""
        self.user = decoded(options["user"]["id"])
        public = cbor.encode(ES256.from_cryptography_key(self.key.public_key()))  # type: ignore[no-untyped-call]
        attested = bytes(16) + struct.pack(">H", len(self.id)) + self.id + public
        data = self._data(options["rp"]["id"], PRESENT | VERIFIED | ATTESTED, changes) + attested
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", options, changes)
        return self._said({"clientDataJSON": encoded(client), "attestationObject": encoded(attestation)})

    def get(self, options: Any, **changes: Any) -> str:
        """What the page sends after `navigator.credentials.get`."""
        self.counter = changes.get("counter", self.counter + 1)
        data = self._data(options["rpId"], changes.get("flags", PRESENT | VERIFIED), changes)
        client = self._client("webauthn.get", options, changes)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        said = {
            "clientDataJSON": encoded(client), "authenticatorData": encoded(data),
            "signature": encoded(changes.get("signature", signature)),
            "userHandle": encoded(changes.get("user", self.user)),
        }  # fmt: skip
        return self._said(said)

    def _data(self, host: str, flags: int, changes: dict[str, Any]) -> bytes:
        name = hashlib.sha256(changes.get("host", host).encode()).digest()
        return bytes(name + struct.pack(">BI", flags, self.counter))

    def _client(self, kind: str, options: Any, changes: dict[str, Any]) -> bytes:
        said = {
            "type": changes.get("type", kind), "challenge": changes.get("challenge", options["challenge"]),
            "origin": changes.get("origin", ISSUER), "crossOrigin": False,
        }  # fmt: skip
        return json.dumps(said).encode()

    def _said(self, response: dict[str, str]) -> str:
        name = encoded(self.id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})


@dataclass
class Page:
    """A page in a browser of its own."""

    http: httpx2.AsyncClient
    answer: httpx2.Response
    cookie: str

    @property
    def options(self) -> Any:
        found = re.search(r'data-options="([^"]+)"', self.answer.text)
        assert found is not None, self.answer.text
        return json.loads(unescape(found[1]))

    @property
    def handle(self) -> str:
        return self.answer.text.split('name="handle" value="')[1].split('"')[0]

    async def send(self, passkey: str, handle: str | None = None) -> httpx2.Response:
        self.http.cookies.clear()
        form = {"handle": handle or self.handle, "passkey": passkey}
        return await self.http.post("/oauth/sign-in", data=form, headers={"Cookie": self.cookie, "Origin": ISSUER})


async def opened(door: FrontDoor, app: App) -> Page:
    door.http.cookies.clear()  # each page in a browser of its own
    answer = await door.http.get("/oauth/authorize", params=app.asks())
    return Page(door.http, answer, answer.headers["set-cookie"].partition(";")[0])


async def enrolled(door: FrontDoor, login: str = "smurfette", **changes: Any) -> tuple[Authenticator, UUID]:
    """A person who was invited and set password, second factor and passkey on the page."""
    person, invitation = await door.parts.people.register(
        operator(), PersonDraft(login=login, name="Dr <Smurfette>", roles=frozenset({Role.REGULATOR}))
    )
    assert invitation is not None
    page = Page(door.http, await door.http.post("/oauth/enrol", data={"invitation": invitation}), "")
    authenticator = Authenticator()
    secret = page.answer.text.split("<code>")[1].split("</code>")[0].replace(" ", "")
    form = {
        "invitation": invitation, "password": PASSWORD, "code": pyotp.TOTP(secret).at(door.clock()),
        "passkey": authenticator.create(page.options, **changes),
    }  # fmt: skip
    done = await door.http.post("/oauth/enrol", data=form)
    assert "You can sign in now" in done.text, done.text
    return authenticator, person.subject.id


async def test_a_person_adds_a_passkey_when_enrolling_and_signs_in_with_nothing_else(
    door: FrontDoor, app: App
) -> None:
    authenticator, person = await enrolled(door)
    page = await opened(door, app)
    assert page.options["userVerification"] == "required"
    assert "allowCredentials" not in page.options  # any passkey: the page knows nobody
    consent = await page.send(authenticator.get(page.options))
    assert "Dr &lt;Smurfette&gt;" in consent.text
    headers = {"Cookie": page.cookie, "Origin": ISSUER}
    back = await door.http.post("/oauth/consent", data={"handle": page.handle, "answer": "allow"}, headers=headers)
    tokens = (await app.redeem(str(httpx2.URL(back.headers["Location"]).params["code"]))).json()
    assert (await door.ask(tokens["access_token"])).json()["principal"] == f"person/{person}"
    assert await door.refusals() == []


async def test_the_pages_run_one_script_of_our_own_and_work_without_it(door: FrontDoor, app: App) -> None:
    page = await opened(door, app)
    policy = page.answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page.answer.text, re.DOTALL)
    assert scripts == [""]  # nothing inline
    script = await door.http.get("/oauth/passkey.js")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert "navigator.credentials" in script.text
    assert 'data-passkey="get"' in page.answer.text
    assert "hidden>" in page.answer.text.split('data-passkey="get"')[1].split("\n")[0]  # shown by the script alone
    async with door.rebuilt(issuer="http://127.0.0.1:8080") as http:  # browsers bind passkeys to names only
        plain = await http.get("/oauth/authorize", params=app.asks())
        assert "passkey" not in plain.text
        assert "script-src" not in plain.headers["Content-Security-Policy"]


#: name -> (reason on record, what the authenticator says otherwise)
HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "made for another site": ("bad_passkey", {"origin": "https://sharewell.example.evil.example"}),
    "made for a part of our name": ("bad_passkey", {"origin": "https://login.sharewell.example"}),
    "bound to another name": ("bad_passkey", {"host": "evil.example"}),
    "made to enrol": ("bad_passkey", {"type": "webauthn.create"}),
    "answering no challenge of ours": ("wrong_challenge", {"challenge": encoded(bytes(32))}),
    "without having verified its owner": ("bad_passkey", {"flags": PRESENT}),
    "without anybody present": ("bad_passkey", {"flags": VERIFIED}),
    "with a signature that does not hold": ("bad_passkey", {"signature": b"0" * 70}),
    "for another person": ("other_person", {"user": bytes(16)}),
    "for nobody": ("other_person", {"user": b""}),
    "counting less than before": ("passkey_cloned", {"counter": 4}),
    "counting as before": ("passkey_cloned", {"counter": 5}),
}


async def test_every_other_answer_is_refused_alike_and_recorded(door: FrontDoor, app: App) -> None:
    authenticator, person = await enrolled(door)
    authenticator.counter = 4
    page = await opened(door, app)
    assert (await page.send(authenticator.get(page.options))).status_code == 200
    said = set()
    for name, (reason, changes) in HOSTILE.items():
        page = await opened(door, app)
        answer = await page.send(authenticator.get(page.options, **({"counter": 9} | changes)))
        assert answer.status_code == 400, name
        said.add(answer.text.split('role="alert">')[1].split("<")[0])
        decision = (await door.refusals())[-1]
        assert decision.details["reason"] == reason, name
        assert (decision.subject_kind, decision.subject_id) == ("person", str(person)), name
        door.clock.ahead += 2 * LONGEST_LOCK
    assert said == {"That did not work. After several tries you have to wait a while."}


async def test_a_passkey_that_is_taken_away_while_it_signs_in_is_refused_and_no_copy(
    door: FrontDoor, app: App, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator, _ = await enrolled(door)
    count = PasskeyRepository.count

    async def counted_too_late(*asked: Any) -> bool:
        await owner.execute("alter table oauth.passkey disable trigger needs_entry_delete")
        await owner.execute("delete from oauth.passkey")
        return await count(*asked)

    page = await opened(door, app)
    monkeypatch.setattr(PasskeyRepository, "count", counted_too_late)
    assert (await page.send(authenticator.get(page.options))).status_code == 400
    assert (await door.refusals())[-1].details["reason"] == "unknown_passkey"


async def test_an_answer_counts_once_and_on_its_own_page_only(door: FrontDoor, app: App) -> None:
    authenticator, _ = await enrolled(door)
    page, other = await opened(door, app), await opened(door, app)
    answer = authenticator.get(page.options)
    assert (await other.send(answer)).status_code == 400
    assert (await page.send(answer)).status_code == 200
    assert (await page.send(answer)).status_code == 400
    late = await opened(door, app)
    made = authenticator.get(late.options)
    assert (await page.send(made, late.handle)).status_code == 400  # another browser's handle
    reasons = [refusal.details["reason"] for refusal in await door.refusals()]
    assert reasons[:2] == ["wrong_challenge", "wrong_challenge"]


async def test_somebody_elses_passkey_opens_as_somebody_else_only(door: FrontDoor, app: App) -> None:
    mine, _ = await enrolled(door)
    hers, _ = await enrolled(door, "sassette")
    page = await opened(door, app)
    assert (await page.send(mine.get(page.options, user=hers.user))).status_code == 400
    page = await opened(door, app)
    stolen = Authenticator(key=mine.key, id=hers.id, user=hers.user)  # her id, signed by my key
    assert (await page.send(stolen.get(page.options, counter=50))).status_code == 400
    assert [each.details["reason"] for each in await door.refusals()] == ["other_person", "bad_passkey"]


async def test_a_passkey_that_fails_again_and_again_is_locked_known_here_or_not(door: FrontDoor, app: App) -> None:
    known, _ = await enrolled(door)
    unknown = Authenticator(user=bytes(16))
    for authenticator in (known, unknown):
        for _ in range(5):
            page = await opened(door, app)
            await page.send(authenticator.get(page.options, signature=b"0" * 70))
        page = await opened(door, app)
        assert (await page.send(authenticator.get(page.options))).status_code == 400
        assert (await door.refusals())[-1].details["reason"] == "locked"
    door.clock.ahead += LONGEST_LOCK
    page = await opened(door, app)
    assert (await page.send(known.get(page.options))).status_code == 200


async def test_a_disabled_persons_passkey_opens_nothing(door: FrontDoor, app: App) -> None:
    authenticator, person = await enrolled(door)
    await door.parts.people.disable(operator(), person)
    page = await opened(door, app)
    assert (await page.send(authenticator.get(page.options))).status_code == 400
    assert (await door.refusals())[-1].details["reason"] == "unknown_person"


@pytest.mark.parametrize(
    "changes", [{"origin": "https://evil.example"}, {"host": "evil.example"}, {"challenge": encoded(bytes(32))}]
)
async def test_a_passkey_that_does_not_hold_is_not_enrolled_and_nothing_else_is(
    door: FrontDoor, changes: dict[str, Any]
) -> None:
    with pytest.raises(AssertionError, match="could not be checked; add it anew"):
        await enrolled(door, **changes)
    async with door.database.transaction(read_only=True) as tx:
        assert await tx.conn.fetchval("select status from oauth.person") == "invited"
        assert await tx.conn.fetchval("select count(*) from oauth.passkey") == 0


@pytest.mark.parametrize(
    "sent", ["", "[]", "{", "[" * 7000, '{"id":1}', '{"id":"AA","rawId":"AA","response":{}}', "x" * 9000]
)
async def test_what_is_no_passkey_is_refused_and_recorded(door: FrontDoor, app: App, sent: str) -> None:
    page = await opened(door, app)
    assert (await page.send(sent)).status_code == 400
    assert (await door.refusals())[-1].details["reason"] == "bad_passkey"


async def test_attestations_nested_beyond_reason_are_no_passkeys(
    door: FrontDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = json.dumps({
        "id": encoded(bytes(32)), "rawId": encoded(bytes(32)), "type": "public-key",
        "response": {"clientDataJSON": encoded(b"{}"), "attestationObject": encoded(b"\x81" * 5000)},
    })  # fmt: skip
    monkeypatch.setattr(Authenticator, "create", lambda *_, **__: nested)
    with pytest.raises(AssertionError, match="could not be checked; add it anew"):
        await enrolled(door)
