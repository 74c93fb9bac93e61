"""Tokens of external issuers, by a second issuer in a process of its own: what is taken, and as whom."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx2
import pytest
from joserfc.jwk import RSAKey
from prometheus_client import CollectorRegistry
from tests.postgres.gateway.test_flood import Work, gateway, tokens, waiting
from tests.postgres.gateway.test_flood import ask as waits

from sharewell.domain.addresses import origin_of
from sharewell.domain.clients import RateClass
from sharewell.domain.errors import Invalid
from sharewell.domain.rates import Rate
from sharewell.gateway import rates
from sharewell.gateway.oauth.egress import Egress, FetchFailed
from sharewell.gateway.oauth.issuers import IssuersError, load
from sharewell.gateway.oauth.remote_keys import PAUSE
from sharewell.gateway.turns import Bounds
from sharewell.services.clients import ClientService

if TYPE_CHECKING:
    from tests.postgres.gateway.conftest import FrontDoor

ISSUER = "https://sharewell.example"
NORTH = UUID("018f0000-0000-7000-8000-00000000000a")
SUBJECT = "f4c1b2aa-0001-4000-8000-000000000001"


class Outside:
    """The issuer's side."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.seconds: Callable[[], int] = lambda: int(time.time())

    def post(self, path: str, body: Any) -> Any:
        return httpx2.post(self.url + path, json=body, timeout=60).json()

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        now = self.seconds()
        usual = {"iss": self.url, "aud": "sharewell", "sub": SUBJECT, "iat": now, "exp": now + 300}
        said = {name: value for name, value in (usual | claims).items() if value is not None}
        return str(self.post("/sign", {"header": header, "claims": said})["token"])

    def keycloak(self, **changes: Any) -> str:
        claims = {
            "typ": "Bearer", "azp": "ward-app", "scope": "openid system/Offer.cruds",
            "realm_access": {"roles": ["clinic", "offline_access"]}, "institution": "north",
        }  # fmt: skip
        return self.sign(claims | changes, typ="JWT")

    def fetches(self) -> int:
        return int(httpx2.get(self.url + "/asked", timeout=60).json()["fetches"])

    def entry(self, **changes: Any) -> dict[str, Any]:
        entry = {
            "name": "north-id", "issuer": self.url, "shape": "keycloak", "audience": "sharewell",
            "roles": {"clinic": "institution"}, "institutions": {"north": str(NORTH)}, "scopes": ["system/Offer.rs"],
        }  # fmt: skip
        return entry | changes


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    script = Path(__file__).with_name("issuer_process.py")
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Outside(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


class OpenTo:
    """The front door, open to whom a test lists."""

    def __init__(self, door: FrontDoor, folder: Path) -> None:
        self.door, self._folder = door, folder

    @asynccontextmanager
    async def __call__(self, *entries: dict[str, Any]) -> AsyncIterator[httpx2.AsyncClient]:
        path = self._folder / "issuers.json"
        path.write_text(json.dumps({"issuers": entries}))
        async with self.door.rebuilt(externals=load(path)) as http:
            yield http


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine an issuer that makes keys may let us wait."""
    monkeypatch.setattr("sharewell.gateway.oauth.egress.SECONDS", 60.0)


@pytest.fixture
def open_to(door: FrontDoor, outside: Outside, tmp_path: Path) -> OpenTo:
    outside.seconds = door.clock.seconds
    return OpenTo(door, tmp_path)


async def ask(http: httpx2.AsyncClient, token: str) -> httpx2.Response:
    return await http.post("/graphql", headers={"Authorization": f"Bearer {token}"})


async def test_a_token_of_keycloaks_shape_opens_with_what_the_list_makes_of_it(
    outside: Outside, open_to: OpenTo
) -> None:
    async with open_to(outside.entry()) as http:
        answer = await ask(http, outside.keycloak())
    assert answer.json() == {
        "principal": f"north-id/{SUBJECT}", "roles": ["institution"], "institution": str(NORTH),
        "scopes": ["system/Offer.rs"], "request_id": answer.headers["X-Request-Id"],
    }  # fmt: skip


async def test_a_token_of_entras_shape_gets_the_lists_scopes_where_it_cannot_name_ours(
    outside: Outside, open_to: OpenTo
) -> None:
    entry = outside.entry(
        shape="entra", roles={"Clinic.Report": "institution"}, scopes_from="list", institution_claim="tid"
    )
    token = outside.sign({"azp": "3f1e", "roles": ["Clinic.Report"], "tid": "north"}, typ="JWT")
    async with open_to(entry) as http:
        answer = await ask(http, token)
    assert (answer.json()["scopes"], answer.json()["roles"]) == (["system/Offer.rs"], ["institution"])


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "an ID token": ("wrong_type", {"typ": "ID"}),
    "of a type that is none": ("wrong_type", {"typ": ["Bearer"]}),
    "for another audience": ("wrong_audience", {"aud": "account"}),
    "expired": ("expired", {"exp": 1000}),
    "not yet valid": ("not_yet_valid", {"nbf": 9_999_999_999}),
    "with a role that is not listed": ("no_role", {"realm_access": {"roles": ["admin"]}}),
    "with roles in another place": ("no_role", {"realm_access": ["clinic"]}),
    "for an institution that is not listed": ("no_institution", {"institution": "south"}),
    "for no institution": ("no_institution", {"institution": None}),
    "of a subject that is an address": ("malformed", {"sub": "somebody@north.example"}),
    "of no program": ("malformed", {"azp": None}),
    "bound in an unknown way": ("malformed", {"cnf": {"x5t#S256": "abc"}}),
    "bound to a key that is not shown": ("no_proof", {"cnf": {"jkt": "abc"}}),
    "naming another issuer": ("unknown_issuer", {"iss": "https://elsewhere.example"}),
    "naming us as issuer": ("unknown_key", {"iss": ISSUER}),
}  # fmt: skip


async def test_what_the_list_does_not_vouch_for_is_refused_and_recorded(outside: Outside, open_to: OpenTo) -> None:
    async with open_to(outside.entry()) as http:
        for name, (reason, changes) in REFUSED.items():
            typ = "at+jwt" if reason == "unknown_key" else "JWT"
            claims = {"typ": "Bearer", "azp": "ward-app", "scope": "system/Offer.r", "institution": "north",
                      "realm_access": {"roles": ["clinic"]}}  # fmt: skip
            answer = await ask(http, outside.sign(claims | changes, typ=typ))
            assert answer.status_code == 401, name
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"], name
            last = (await open_to.door.refusals())[-1]
            assert last.details["reason"] == reason, name
            assert "somebody@" not in last.entry().decode()
        assert (await ask(http, outside.keycloak())).status_code == 200, "after all that, a good one still passes"


@pytest.mark.parametrize("scope", [5, {"system/Offer.r": True}, [None, {}], [], False])
async def test_scopes_that_are_no_text_are_none(outside: Outside, open_to: OpenTo, scope: Any) -> None:
    async with open_to(outside.entry()) as http:
        answer = await ask(http, outside.keycloak(scope=scope))
    assert (answer.status_code, answer.json()["scopes"]) == (200, [])


JURISDICTIONS = {"coast": ["us-nj", "us-ny"], "inland": ["us-pa"], "federal": "*"}


@pytest.mark.parametrize(
    ("said", "regions"),
    [
        ("coast", ["us-nj", "us-ny"]), (["inland", "coast", "abroad"], ["us-nj", "us-ny", "us-pa"]),
        (["coast", "federal"], []), ("abroad", None), (None, None), ([], None), ("*", None), ("us-nj", None),
        ({"coast": True}, None),
    ],
)  # fmt: skip
async def test_a_regulator_reads_of_the_regions_that_the_list_gives_it_and_without_any_is_refused(
    outside: Outside, open_to: OpenTo, said: Any, regions: list[str] | None
) -> None:
    entry = outside.entry(roles={"watch": "regulator"}, jurisdictions=JURISDICTIONS)
    async with open_to(entry) as http:
        answer = await ask(http, outside.keycloak(realm_access={"roles": ["watch"]}, jurisdiction=said))
    if regions is None:
        assert answer.status_code == 401
        assert (await open_to.door.refusals())[-1].details["reason"] == "no_jurisdiction"
    else:
        assert (answer.status_code, answer.json().get("jurisdiction", [])) == (200, regions)


async def test_a_regulator_of_an_issuer_without_jurisdictions_is_refused_and_others_need_none(
    outside: Outside, open_to: OpenTo
) -> None:
    async with open_to(outside.entry(roles={"watch": "regulator", "clinic": "institution"})) as http:
        regulator = await ask(http, outside.keycloak(realm_access={"roles": ["watch", "clinic"]}, jurisdiction="coast"))
        clinic = await ask(http, outside.keycloak())
    assert (regulator.status_code, clinic.status_code) == (401, 200)


async def test_an_issuer_without_a_listing_is_nobody(outside: Outside, door: FrontDoor) -> None:
    assert (await door.ask(outside.keycloak())).status_code == 401


async def test_a_new_key_is_found_and_made_up_names_cause_one_fetch_in_half_a_minute(
    outside: Outside, open_to: OpenTo
) -> None:
    async with open_to(outside.entry()) as http:
        assert (await ask(http, outside.keycloak())).status_code == 200
        before = outside.fetches()
        claims = {"typ": "Bearer", "azp": "a", "realm_access": {"roles": ["clinic"]}, "institution": "north"}
        for number in range(5):
            assert (await ask(http, outside.sign(claims, typ="JWT", kid=f"made up {number}"))).status_code == 401
        assert outside.fetches() == before
        outside.post("/rotate", {"kid": "second"})
        assert (await ask(http, outside.keycloak())).status_code == 401, "it was looked for a moment ago"
        open_to.door.clock.ahead += PAUSE
        assert (await ask(http, outside.keycloak())).status_code == 200
        assert outside.fetches() == before + 1


async def test_where_keys_cannot_be_had_nothing_is_decided(open_to: OpenTo, outside: Outside) -> None:
    away = outside.entry(issuer="http://127.0.0.1:9", jwks_uri="http://127.0.0.1:9/keys")
    async with open_to(away) as http:
        answer = await ask(http, outside.keycloak(iss="http://127.0.0.1:9"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UNAVAILABLE")


async def test_metadata_of_another_issuer_lead_to_no_key(open_to: OpenTo, outside: Outside) -> None:
    async with open_to(outside.entry(issuer=f"{outside.url}/mixed")) as http:
        assert (await ask(http, outside.keycloak(iss=f"{outside.url}/mixed"))).status_code == 503


@pytest.mark.parametrize(
    ("origin", "path", "why"),
    [
        ("https://keys.example", "/keys", "not listed"),
        ("listed", "/elsewhere", "status 302"),
        ("listed", "/huge", "longer than"),
        ("by name", "/keys", "inside"),
    ],
)
async def test_only_what_was_listed_is_fetched_and_nothing_it_points_to(
    outside: Outside, origin: str, path: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"listed": outside.url, "by name": "https://inside.example"}
    egress = Egress([origin if origin.startswith("https") and why != "not listed" else named.get(origin, outside.url)])
    if origin == "by name":
        async def resolve(*_: Any, **__: Any) -> list[Any]:
            return [(2, 1, 6, "", ("169.254.169.254", 443))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    url = (named.get(origin) or "https://keys.example") + path
    with pytest.raises(FetchFailed, match=why):
        await egress.document(url)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"issuer": "http://id.example"}, "https"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"name": "person"}, "name"),
        ({"shape": "okta"}, "shape"),
        ({"scopes": ["internal/*.cruds"]}, "scopes"),
        ({"roles": {}}, "roles"),
        ({"roles": {"x": "king"}}, "king"),
        ({"institutions": {"north": "north"}}, "UUID"),
        ({"jurisdictions": ["coast"]}, "jurisdictions"),
        ({"jurisdictions": {"coast": []}}, "jurisdictions"),
        ({"jurisdictions": {"coast": "us-nj"}}, "jurisdictions"),
        ({"jurisdictions": {"coast": ["*"]}}, "jurisdiction"),
        ({"audiense": "x"}, "audiense"),
    ],
)
def test_a_list_that_cannot_work_is_refused_by_a_sentence(
    outside: Outside, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    path = tmp_path / "issuers.json"
    path.write_text(json.dumps({"issuers": [outside.entry(**changes)]}))
    with pytest.raises(IssuersError, match=said):
        load(path)


async def test_a_client_may_publish_its_keys_and_only_in_a_listed_place(outside: Outside, door: FrontDoor) -> None:
    clients = ClientService(door.clients._office, key_origins=[origin_of(outside.url)])
    published = RSAKey.import_key(outside.post("/rotate", {"kid": "published"})["key"])
    async with door.rebuilt(clients=clients, egress=Egress([outside.url])) as http:
        with pytest.raises(Invalid, match="SHAREWELL_EGRESS"):
            await door.registered(http, published, clients, jwks=None, jwks_uri="https://evil.example/")
        ward = await door.registered(http, published, clients, jwks=None, jwks_uri=f"{outside.url}/keys")
        assert (await ward.post()).status_code == 200
        for kid in ("published", "unknown"):
            stranger = ward.using(key=RSAKey.generate_key(2048, {"kid": kid}))
            assert (await stranger.post()).json()["error"] == "invalid_client"
        assert [d.details["reason"] for d in await door.refusals()] == ["bad_signature", "unknown_key"]


def invented(outside: Outside, azp: str, count: int) -> list[str]:
    """Tokens of as many subjects, given to one program."""
    return [outside.keycloak(sub=f"invented-{azp}-{n}", azp=azp) for n in range(count)]


async def test_subjects_that_one_program_of_an_issuer_brings_have_one_line_however_many_there_are(
    outside: Outside, door: FrontDoor, tmp_path: Path
) -> None:
    path, work, registry = tmp_path / "issuers.json", Work(), CollectorRegistry()
    path.write_text(json.dumps({"issuers": [outside.entry()]}))
    many, (other,), (ward,) = invented(outside, "many", 12), invented(outside, "other", 1), await tokens(door, "ward")
    bounds = Bounds(slots=3, each=1, waiting=8)
    async with gateway(door, work, externals=load(path), registry=registry, turns=bounds) as http:
        asked = [waits(http, token) for token in many]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        await waiting(registry, 8)
        asked += [waits(http, token) for token in (other, ward)]
        await work.begun(3)
        assert sorted(work.order)[1:] == ["north-id/invented-other-0", "ward"], "they need not wait for one of them"
        for turn in range(11):
            await work.begun(turn + 1)
            work.finish_first()
        answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [429] * 3
    assert {task.result().headers["RateLimit-Policy"].split(";")[0] for task in done} == {'"waiting"'}


async def test_subjects_that_one_program_of_an_issuer_brings_share_a_rate_beside_their_own(
    outside: Outside, open_to: OpenTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rates.RATES, RateClass.HIGH, Rate(0.001, 5))
    monkeypatch.setitem(rates.RATES, RateClass.STANDARD, Rate(0.001, 2))
    async with open_to(outside.entry()) as http:
        one, *many = invented(outside, "many", 6)
        told = [await ask(http, one) for _ in range(3)]
        assert [answer.status_code for answer in told] == [200, 200, 429]
        assert told[-1].headers["RateLimit-Policy"].startswith('"standard"'), "its own"
        told = [await ask(http, token) for token in many]
        assert [answer.status_code for answer in told] == [200] * 3 + [429] * 2
        assert told[0].headers["RateLimit-Policy"].startswith('"standard"')
        assert told[-1].headers["RateLimit-Policy"].startswith('"high"'), "of all whom the program brings"
        (other,) = invented(outside, "other", 1)
        assert (await ask(http, other)).status_code == 200
