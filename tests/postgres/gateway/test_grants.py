"""A person lets an app act for them: from the sign-in to tokens, their renewal, and their end."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import segno
from joserfc.jwk import ECKey

from sharewell.domain.grants import CODE_LIFE, FAMILY_LIFE, RACE
from sharewell.domain.people import PersonDraft
from sharewell.domain.principals import Role
from sharewell.store.answered import Wish
from sharewell.store.audit import DecisionFilter
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.gateway.conftest import App, Browser, FrontDoor, Program

    from sharewell.domain.audit import Decision

ISSUER = "https://sharewell.example"
AUTHORIZE = "/oauth/authorize"
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


async def decisions(door: FrontDoor, kind: str) -> list[Decision]:
    async with door.database.transaction(read_only=True) as tx:
        page = await tx.audit.page(before=LAST_ID, matching=DecisionFilter(kind=kind), first=100)  # type: ignore[arg-type]
        return [(await tx.audit.get(header.id)).decision for header in reversed(page.items)]


def handle_in(page: Any) -> str:
    """The hidden handle of the page's form."""
    return str(page.text.split('name="handle" value="')[1].split('"')[0])


async def granted(app: App, somebody: Browser) -> dict[str, Any]:
    """Tokens of a consent given just now."""
    back = await somebody.allow(AUTHORIZE, **app.asks())
    answer = await app.redeem(back["code"])
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def test_an_app_acts_for_who_signed_in_with_the_roles_of_both(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    back = await somebody.allow(AUTHORIZE, **app.asks())
    assert (back["state"], back["iss"]) == ("s-1", ISSUER)
    tokens = (await app.redeem(back["code"])).json()
    assert (tokens["token_type"], tokens["scope"]) == ("Bearer", "user/Offer.rs")
    caller = (await door.ask(tokens["access_token"])).json()
    (enrolled,) = await decisions(door, "person.enrolled")
    assert caller["principal"] == enrolled.actor == f"person/{enrolled.subject_id}"
    assert caller["app"] == "app"  # of whose lines it is what the person does
    assert (caller["roles"], caller["scopes"]) == (["regulator"], ["user/Offer.rs"])
    (grant,) = await decisions(door, "token.granted")
    assert (grant.actor, grant.details["client"]) == (caller["principal"], "app")


def without_challenge(page: Any) -> str:
    """The page but for what a passkey would sign, which is another each time."""
    text, times = re.subn(r'data-options="[^"]*"', "", page.text)
    assert times == 1
    return text


async def test_the_log_never_names_a_person(door: FrontDoor, app: App, somebody: Browser) -> None:
    await granted(app, somebody)
    page = await somebody.get(AUTHORIZE, **app.asks())
    handle = handle_in(page)
    await somebody.sign_in(handle, password="wrong" * 4)
    for kind in ("person.registered", "person.enrolled", "token.granted", "access.refused"):
        found = await decisions(door, kind)
        assert found, kind
        for decision in found:
            assert "murfette" not in decision.entry().decode(), kind


async def test_what_is_shown_is_escaped_and_brings_nothing_along(app: App, somebody: Browser) -> None:
    page = await somebody.get(AUTHORIZE, **app.asks())
    assert "Bed &lt;board&gt;" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' https://app.example:443" in policy
    assert "frame-ancestors 'none'" in policy
    assert re.findall(r"<script.*", page.text) == ['<script src="/oauth/passkey.js" defer></script></head>']
    assert "http" not in page.text.replace("https://app.example", "")
    cookie = page.headers["set-cookie"].lower()
    assert cookie.startswith("__host-sharewell=")
    assert all(word in cookie for word in ("secure", "httponly", "samesite=lax", "path=/"))


async def test_a_denial_goes_back_to_the_app_and_the_code_never_was(app: App, somebody: Browser) -> None:
    page = await somebody.get(AUTHORIZE, **app.asks())
    handle = handle_in(page)
    await somebody.sign_in(handle)
    back = await somebody.post("/oauth/consent", handle=handle, answer="deny")
    assert back.headers["Location"] == f"https://app.example/back?error=access_denied&state=s-1&iss={quoted(ISSUER)}"
    assert (await somebody.post("/oauth/consent", handle=handle, answer="allow")).status_code == 400


def quoted(text: str) -> str:
    return text.replace(":", "%3A").replace("/", "%2F")


async def test_a_request_may_be_pushed_first_and_is_then_a_reference(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    pushed = await door.http.post("/oauth/par", data=app.asks())
    assert pushed.status_code == 201
    uri = pushed.json()["request_uri"]
    assert uri.startswith("urn:ietf:params:oauth:request_uri:")
    back = await somebody.allow(AUTHORIZE, client_id="app", request_uri=uri)
    assert (await app.redeem(back["code"])).status_code == 200
    again = await somebody.get(AUTHORIZE, client_id="app", request_uri=uri)
    assert again.status_code == 400, "it led to a code already"


async def test_a_client_with_a_key_pushes_and_redeems_with_it(door: FrontDoor, somebody: Browser, app: App) -> None:
    back_uri = ["https://app.example/back"]
    web: Program = await door.register(
        client_id="web", scopes=["user/Offer.r", "system/Offer.r"], redirect_uris=back_uri
    )
    signed = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": web.assertion(aud=f"{ISSUER}/oauth/par"),
    }
    asked = app.asks(client_id="web", scope="user/Offer.r")
    unsigned = await door.http.post("/oauth/par", data=asked)
    assert (unsigned.status_code, unsigned.json()["error"]) == (400, "invalid_client")
    pushed = await door.http.post("/oauth/par", data=asked | signed)
    back = await somebody.allow(AUTHORIZE, client_id="web", request_uri=pushed.json()["request_uri"])
    form = {"grant_type": "authorization_code", "code": back["code"], "redirect_uri": back_uri[0],
            "code_verifier": app.verifier}  # fmt: skip
    assert (await web.post(**form)).json()["scope"] == "user/Offer.r"


async def test_a_refresh_brings_a_successor_and_may_ask_for_less(door: FrontDoor, app: App, somebody: Browser) -> None:
    tokens = await granted(app, somebody)
    more = await app.refresh(tokens["refresh_token"], scope="user/Offer.cruds")
    assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")
    less = (await app.refresh(tokens["refresh_token"], scope="user/Offer.r")).json()
    assert (less["scope"], less["refresh_token"] != tokens["refresh_token"]) == ("user/Offer.r", True)
    assert (await app.refresh(less["refresh_token"])).json()["scope"] == "user/Offer.rs"
    assert (await door.ask(less["access_token"])).json()["scopes"] == ["user/Offer.r"]


async def test_of_eight_racing_refreshes_one_wins_and_the_family_lives(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    tokens = await granted(app, somebody)
    answers = await asyncio.gather(*(app.refresh(tokens["refresh_token"]) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await app.refresh(won["refresh_token"])).status_code == 200
    assert {d.details["reason"] for d in await door.refusals()} == {"refresh_raced"}


async def test_a_refresh_token_used_again_later_ends_all_that_came_of_the_consent(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    tokens = await granted(app, somebody)
    newer = (await app.refresh(tokens["refresh_token"])).json()
    door.clock.ahead += RACE
    again = await app.refresh(tokens["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert (await app.refresh(newer["refresh_token"])).json()["error"] == "invalid_grant"
    door.clock.ahead += timedelta(seconds=6)
    assert (await door.ask(newer["access_token"])).status_code == 401
    (revoked,) = await decisions(door, "token.revoked")
    assert (revoked.details["reason"], revoked.subject_kind) == ("refresh_reused", "family")


async def test_a_code_used_again_ends_all_that_came_of_the_consent(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    back = await somebody.allow(AUTHORIZE, **app.asks())
    answers = await asyncio.gather(*(app.redeem(back["code"]) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await app.refresh(won["refresh_token"])).json()["error"] == "invalid_grant"
    assert [d.details["reason"] for d in await decisions(door, "token.revoked")] == ["code_reused"]


async def test_codes_and_families_run_out(door: FrontDoor, app: App, somebody: Browser) -> None:
    back = await somebody.allow(AUTHORIZE, **app.asks())
    door.clock.ahead += CODE_LIFE
    assert (await app.redeem(back["code"])).json()["error"] == "invalid_grant"
    tokens = await granted(app, somebody)
    door.clock.ahead += FAMILY_LIFE
    assert (await app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_person_who_is_disabled_is_out_within_seconds(door: FrontDoor, app: App, somebody: Browser) -> None:
    tokens = await granted(app, somebody)
    (invited,) = (await door.parts.people.page(operator(), after=UUID_0, first=5)).items
    assert (await door.ask(tokens["access_token"])).status_code == 200
    await door.parts.people.disable(operator(), invited.id)
    assert (await app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    door.clock.ahead += timedelta(seconds=6)
    assert (await door.ask(tokens["access_token"])).status_code == 401
    page = await somebody.get(AUTHORIZE, **app.asks())
    handle = handle_in(page)
    assert (await somebody.sign_in(handle)).status_code == 400


UUID_0: Any = "00000000-0000-0000-0000-000000000000"


async def test_a_client_calls_its_tokens_back_and_nobody_elses(
    door: FrontDoor, app: App, somebody: Browser, ward: Program
) -> None:
    tokens, own = await granted(app, somebody), await ward.token()
    for token in (tokens["access_token"], tokens["refresh_token"], "garbage"):
        answer = await signed(ward, "/oauth/revoke", token=token)
        assert (answer.status_code, answer.content) == (200, b""), "RFC 7009, 2.2"
    assert (await door.ask(tokens["access_token"])).status_code == 200
    assert (await signed(ward, "/oauth/revoke", token=own)).status_code == 200
    assert (await door.ask(own)).status_code == 401
    form = {"client_id": "app", "token": tokens["refresh_token"]}
    assert (await door.http.post("/oauth/revoke", data=form)).status_code == 200
    assert (await app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await door.ask(tokens["access_token"])).status_code == 401
    assert [(d.subject_kind, d.details["reason"]) for d in await decisions(door, "token.revoked")] == [
        ("token", "by_client"), ("family", "by_client"),
    ]  # fmt: skip


async def signed(program: Program, path: str, **form: str) -> Any:
    proof = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": program.assertion(aud=ISSUER + path),
    }
    return await program.http.post(path, data=proof | form)


async def test_introspection_tells_a_client_of_its_own_tokens_and_an_admin_of_all(
    door: FrontDoor, app: App, somebody: Browser, ward: Program
) -> None:
    tokens, own = await granted(app, somebody), await ward.token()
    told = (await signed(ward, "/oauth/introspect", token=own)).json()
    assert (told["active"], told["client_id"], told["token_type"]) == (True, "ward", "Bearer")
    assert (await signed(ward, "/oauth/introspect", token=tokens["access_token"])).json() == {"active": False}
    office: Program = await door.register(
        ECKey.generate_key("P-384", {"kid": "o"}), client_id="office", scopes=["system/Client.r"]
    )
    seen = (await signed(office, "/oauth/introspect", token=tokens["access_token"])).json()
    assert (seen["active"], seen["sub"].startswith("person/")) == (True, True)
    (read,) = await decisions(door, "data.read")
    assert (read.actor, read.subject_id) == ("office", "app"), "a regulator leaves a trace"
    clinic = await door.institution()
    nurse: Program = await door.register(
        ECKey.generate_key("P-384", {"kid": "n"}), client_id="nurse", scopes=["system/*.cruds"], institution=clinic,
        roles=frozenset({Role.INSTITUTION}),
    )  # fmt: skip
    for foreign in (own, tokens["access_token"]):  # a scope alone is no right: the policies show it its own clients
        assert (await signed(nurse, "/oauth/introspect", token=foreign)).json() == {"active": False}
    board: Program = await door.register(
        ECKey.generate_key("P-384", {"kid": "b"}), client_id="board", institution=clinic,
        roles=frozenset({Role.INSTITUTION}),
    )  # fmt: skip
    assert (await signed(nurse, "/oauth/introspect", token=await board.token())).json()["active"] is True
    await signed(ward, "/oauth/revoke", token=own)
    assert (await signed(ward, "/oauth/introspect", token=own)).json() == {"active": False}
    unsigned = await door.http.post("/oauth/introspect", data={"client_id": "app", "token": tokens["access_token"]})
    assert unsigned.json()["error"] == "invalid_client", "a client without a key cannot ask"


async def test_a_renewed_token_names_no_scope_that_was_never_granted(
    door: FrontDoor, app: App, somebody: Browser, ward: Program
) -> None:
    tokens = await granted(app, somebody)
    asked = "openid user/Offer.r system/*.cruds internal/*.cruds"
    renewed = (await app.refresh(tokens["refresh_token"], scope=asked)).json()
    assert renewed["scope"] == "user/Offer.r"
    office: Program = await door.register(
        ECKey.generate_key("P-384", {"kid": "o"}), client_id="office", scopes=["system/Client.r"]
    )
    told = (await signed(office, "/oauth/introspect", token=renewed["access_token"])).json()
    assert told["scope"] == "user/Offer.r", "whoever relies on introspection is told what holds"
    for more in ("user/Offer.cr", "user/Client.r user/Offer.r", "system/Offer.r", "openid"):
        refused = await app.refresh(renewed["refresh_token"], scope=more)
        assert refused.json()["error"] == "invalid_scope", more
    assert (await app.refresh(renewed["refresh_token"])).json()["scope"] == "user/Offer.rs", "no refusal used it up"


async def test_a_token_is_for_one_purpose_and_one_institution(door: FrontDoor) -> None:
    clinic = await door.institution()
    program: Program = await door.register(purposes=["TREAT", "HRESCH"], institution=clinic)
    assert (await program.post()).json()["error"] == "invalid_request", "with several, one is named"
    assert (await program.post(purpose_of_use="HPAYMT")).json()["error"] == "invalid_request"
    token = await program.token(purpose_of_use="HRESCH")
    told = (await signed(program, "/oauth/introspect", token=token)).json()
    assert (told["purpose_of_use"], told["institution"]) == ("HRESCH", str(clinic))
    assert (await door.ask(token)).status_code == 200
    assert (await door.ask(door.sign(institution="018f0000-0000-7000-8000-00000000000b"))).status_code == 401


@pytest.mark.parametrize(
    "changes", [{"login": "nobody"}, {"password": "wrong" * 4}, {"code": "000000"}, {"login": "a\tb"}]
)
async def test_every_failure_to_sign_in_looks_alike(app: App, somebody: Browser, changes: dict[str, str]) -> None:
    page = await somebody.get(AUTHORIZE, **app.asks())
    handle = handle_in(page)
    failed = await somebody.sign_in(handle, **changes)
    assert failed.status_code == 400
    assert "That did not work." in failed.text
    assert (await somebody.sign_in(handle)).status_code == 200


async def test_after_five_failures_the_right_password_does_not_help_for_a_while_known_or_not(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    page = await somebody.get(AUTHORIZE, **app.asks())
    handle = handle_in(page)
    for login in ("smurfette", "nobody"):
        wrong = {"handle": handle, "login": login, "password": "x" * 12, "code": "1"}
        answers = await asyncio.gather(*(somebody.post("/oauth/sign-in", **wrong) for _ in range(7)))
        assert {answer.status_code for answer in answers} == {400}
        locked = await somebody.post(
            "/oauth/sign-in", handle=handle, login=login, password=somebody.password, code=somebody.code
        )
        assert without_challenge(locked) == without_challenge(answers[0])
    reasons = [str(d.details["reason"]) for d in await door.refusals()]
    assert reasons.count("wrong_password") == 5
    assert reasons.count("unknown_person") == 5
    assert reasons.count("locked") == 6
    door.clock.ahead += timedelta(minutes=1)
    assert (await somebody.sign_in(handle)).status_code == 200


async def test_a_code_of_the_second_factor_counts_once(app: App, somebody: Browser) -> None:
    page = await somebody.get(AUTHORIZE, **app.asks())
    handle = handle_in(page)
    assert (await somebody.sign_in(handle)).status_code == 200
    again = await somebody.post(
        "/oauth/sign-in", handle=handle, login="smurfette", password=somebody.password, code=somebody.code
    )
    assert again.status_code == 400


async def test_an_invitation_counts_once_and_wants_a_long_password(door: FrontDoor, somebody: Browser) -> None:
    assert (await door.http.post("/oauth/enrol", data={"invitation": "x"})).status_code == 400
    from_elsewhere = await door.http.post(
        "/oauth/enrol", data={"invitation": "x"}, headers={"Origin": "https://evil.example"}
    )
    assert "not sent from this site" in from_elsewhere.text


async def test_what_was_called_back_or_used_up_is_forgotten_only_when_it_is_over(
    door: FrontDoor, app: App, somebody: Browser, gateway_pool: Pool
) -> None:
    tokens = await granted(app, somebody)
    await app.refresh(tokens["refresh_token"])
    form = {"client_id": "app", "token": tokens["refresh_token"]}
    await door.http.post("/oauth/revoke", data=form)
    for table in ("refresh", "revoked"):
        before = await gateway_pool.fetchval(f"select count(*) from oauth.{table}")
        await gateway_pool.execute(f"delete from oauth.{table}")
        assert await gateway_pool.fetchval(f"select count(*) from oauth.{table}") == before > 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await gateway_pool.execute("update oauth.refresh set used_at = null")


async def test_a_name_stands_in_one_table_only(door: FrontDoor, gateway_pool: Pool) -> None:
    draft = PersonDraft(login="papa", name="Papa Smurf", roles=frozenset({Role.ADMIN}))
    wish = Wish(key="papa", operation="registerPerson", input_sha256="ab" * 32)
    done, invitation = await door.parts.people.register(operator(), draft, wish)
    again, nothing = await door.parts.people.register(operator(), draft, wish)
    assert (again, nothing) == (done, None)
    assert (again.subject.name, bool(invitation)) == ("Papa Smurf", True)
    kept = await gateway_pool.fetchval("select answer::text from sharewell.answered")
    assert str(done.subject.id) in kept
    assert "Papa" not in kept


async def test_a_person_changes_the_password_with_the_old_one_and_a_code(
    door: FrontDoor, app: App, somebody: Browser
) -> None:
    assert 'name="new"' in (await somebody.get("/oauth/password")).text

    async def change(new: str, **changes: str) -> Any:
        somebody.clock.ahead += timedelta(seconds=30)
        form = {"login": somebody.login, "password": somebody.password, "code": somebody.code, "new": new} | changes
        return await somebody.post("/oauth/password", **form)

    short = await change("short")
    assert (short.status_code, "12 to 128 characters" in short.text) == (400, True)
    wrong = await change("another long sentence", password="wrong" * 4)
    unknown = await change("another long sentence", login="papa-smurf")
    assert wrong.text == unknown.text
    assert [each.details["reason"] for each in await door.refusals()] == ["wrong_password", "unknown_person"]
    done = await change("another long sentence")
    assert "Your password is changed" in done.text
    (changed,) = await decisions(door, "person.password_changed")
    assert changed.actor == changed.actor.partition("/")[0] + f"/{changed.subject_id}"
    handle = handle_in(await somebody.get(AUTHORIZE, **app.asks()))
    assert (await somebody.sign_in(handle)).status_code == 400  # the old one
    assert (await somebody.sign_in(handle, password="another long sentence")).status_code == 200


async def test_another_site_cannot_post_the_change_of_a_password(somebody: Browser) -> None:
    sent = {"Origin": "https://evil.example"}
    answer = await somebody.post("/oauth/password", sent, login=somebody.login, password="x", code="1", new="y" * 12)
    assert answer.status_code == 400


async def test_the_enrol_page_draws_the_key_that_it_writes(door: FrontDoor) -> None:
    draft = PersonDraft(login="brainy", name="Brainy", roles=frozenset({Role.REGULATOR}))
    _, invitation = await door.parts.people.register(operator(), draft)
    page = (await door.http.post("/oauth/enrol", data={"invitation": str(invitation)})).text
    secret = page.split("<code>")[1].split("</code>")[0].replace(" ", "")
    drawn = page[page.index("<svg") : page.index("</svg>") + len("</svg>")]
    address = f"otpauth://totp/Sharewell:brainy?secret={secret}&issuer=Sharewell"
    expected = segno.make(address, error="m", micro=False)
    assert drawn == expected.svg_inline(scale=5, light="white", title="QR code of the key", omitsize=True)
    assert "style=" not in drawn  # the policy of the page would not let it through
    assert "href" not in drawn
