"""Giving programs access and taking it away: permitted, recorded, and held by the database itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pyotp
import pytest
from joserfc.jwk import ECKey

from sharewell.domain.clients import ClientDraft, ClientStatus
from sharewell.domain.errors import Conflict, Forbidden, Invalid, NotFound
from sharewell.domain.people import PersonDraft
from sharewell.domain.principals import Caller, Role
from sharewell.store.answered import Wish
from sharewell.wiring import operator

if TYPE_CHECKING:
    from tests.conftest import Pool
    from tests.postgres.gateway.conftest import FrontDoor, Program, Register

KEY = ECKey.generate_key("P-384", {"kid": "key-1"})
ADMIN = Caller(principal="head-office", roles=frozenset({Role.ADMIN}), scopes=frozenset({"system/Client.cruds"}))


def a_draft(**changes: Any) -> ClientDraft:
    draft: dict[str, Any] = {
        "name": "Ward planner",
        "roles": frozenset({Role.REGULATOR}),
        "scopes": ["system/Offer.r"],
        "jwks": {"keys": [KEY.as_dict(private=False)]},
        "client_id": "ward",
    }
    return ClientDraft(**draft | changes)


def an_admin(**changes: Any) -> ClientDraft:
    return a_draft(**{"roles": frozenset({Role.ADMIN}), "client_id": "head-office"} | changes)


async def test_a_registration_is_on_record_with_the_thumbprints_of_its_keys(door: FrontDoor) -> None:
    clinic = await door.institution()
    done = await door.clients.register(ADMIN, a_draft(institution=clinic))
    async with door.database.transaction(read_only=True) as tx:
        decision = (await tx.audit.get(done.decision)).decision
    assert (decision.kind, decision.actor, decision.subject_id) == ("client.registered", "head-office", "ward")
    assert decision.institution == clinic
    assert {name: said for name, said in decision.details.items() if name != "asked"} == {
        "name": "Ward planner",
        "roles": ["regulator"],
        "scopes": ["system/Offer.r"],
        "keys": [KEY.thumbprint()],
        "expires_at": None,
        "jwks_uri": None,
        "redirect_uris": [],
        "rate_class": "standard",
        "sender_constrained": False,
        "purposes": [],
    }
    assert await door.clients.find("ward") == done.subject


async def test_only_an_admin_with_the_scope_registers_and_a_refusal_is_on_record(door: FrontDoor) -> None:
    ward = Caller(principal="ward", roles=frozenset({Role.REGULATOR}), scopes=frozenset({"system/*.cruds"}))
    no_scope = Caller(principal="head-office", roles=frozenset({Role.ADMIN}), scopes=frozenset({"system/Offer.c"}))
    for caller in (ward, no_scope):
        with pytest.raises(Forbidden):
            await door.clients.register(caller, a_draft())
    assert [(d.actor, d.action) for d in await door.refusals()] == [
        ("ward", "registerClient"),
        ("head-office", "registerClient"),
    ]
    assert await door.clients.find("ward") is None


async def test_an_institution_that_does_not_take_part_cannot_be_acted_for(door: FrontDoor) -> None:
    with pytest.raises(NotFound) as refused:
        await door.clients.register(ADMIN, a_draft(institution=UUID(int=7)))
    assert refused.value.field == "institution"


async def test_a_taken_id_is_a_conflict_and_leaves_no_entry(door: FrontDoor) -> None:
    await door.clients.register(ADMIN, a_draft())
    with pytest.raises(Conflict, match="ward is registered already"):
        await door.clients.register(ADMIN, a_draft())
    async with door.database.transaction() as tx:
        assert await tx.conn.fetchval("select count(*) from audit.decision where kind = 'client.registered'") == 1


async def test_the_same_key_and_input_gets_the_same_answer(door: FrontDoor) -> None:
    wish = Wish(key="k-1", operation="registerClient", input_sha256="ab" * 32)
    draft = a_draft(client_id=None)
    first = await door.clients.register(ADMIN, draft, wish)
    assert await door.clients.register(ADMIN, draft, wish) == first


async def test_numbers_that_are_no_point_on_the_curve_are_refused(door: FrontDoor) -> None:
    odd = {**KEY.as_dict(private=False), "x": KEY.as_dict(private=False)["y"]}
    with pytest.raises(Invalid) as refused:
        await door.clients.register(ADMIN, a_draft(jwks={"keys": [odd]}))
    assert refused.value.field == "jwks.keys.0"


async def test_disabling_is_on_record_and_happens_once(door: FrontDoor, ward: Program) -> None:
    done = await door.clients.disable(ADMIN, "ward")
    assert done.subject.status is ClientStatus.DISABLED
    async with door.database.transaction(read_only=True) as tx:
        assert (await tx.audit.get(done.decision)).decision.kind == "client.disabled"
    with pytest.raises(Conflict):
        await door.clients.disable(ADMIN, "ward")
    with pytest.raises(NotFound):
        await door.clients.disable(ADMIN, "nobody")


async def test_an_admin_pages_through_all_clients(door: FrontDoor, register: Register) -> None:
    for name in ("a-1", "b-2", "c-3"):
        await register(client_id=name)
    first = await door.clients.page(ADMIN, after="", first=2)
    rest = await door.clients.page(ADMIN, after="b-2", first=2)
    assert [c.client_id for c in first.items] == ["a-1", "b-2"]
    assert first.has_more
    assert [c.client_id for c in rest.items] == ["c-3"]
    assert not rest.has_more
    assert (await door.clients.get(ADMIN, "b-2")).client_id == "b-2"


async def test_the_first_admin_comes_in_without_one(door: FrontDoor) -> None:
    done = await door.clients.bootstrap_admin(an_admin(), request_id="start")
    async with door.database.transaction(read_only=True) as tx:
        decision = (await tx.audit.get(done.decision)).decision
    assert (decision.kind, decision.actor, decision.request_id) == ("client.registered", "operator", "start")


async def test_the_operator_lets_a_second_person_in_and_no_third(door: FrontDoor) -> None:
    await door.clients.bootstrap_admin(an_admin(client_id="first"), request_id="start")
    await door.clients.register(replace(ADMIN, principal="first"), an_admin(client_id="made-by-first"))
    await door.clients.bootstrap_admin(an_admin(client_id="second"), request_id="start")
    with pytest.raises(Conflict, match="admins of two lines exist"):
        await door.clients.bootstrap_admin(an_admin(client_id="third"), request_id="start")
    await door.clients.disable(operator(), "second")
    await door.clients.bootstrap_admin(an_admin(client_id="third"), request_id="start")


async def test_only_an_admin_is_let_in_that_way(door: FrontDoor) -> None:
    with pytest.raises(Invalid) as refused:
        await door.clients.bootstrap_admin(a_draft(), request_id="start")
    assert refused.value.field == "roles"


async def test_of_four_first_admins_at_once_two_are_let_in(door: FrontDoor) -> None:
    drafts = [an_admin(client_id=f"admin-{number}") for number in range(4)]
    done = await asyncio.gather(
        *(door.clients.bootstrap_admin(draft, request_id="start") for draft in drafts), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in done) == ["Conflict", "Conflict", "Done", "Done"]


async def test_when_no_admin_can_act_any_more_the_operator_lets_one_in_again(door: FrontDoor) -> None:
    first = an_admin(client_id="admin-1", expires_at=door.clock() + timedelta(minutes=1))
    await door.clients.bootstrap_admin(first, request_id="start")
    door.clock.ahead = timedelta(minutes=2)
    await door.clients.bootstrap_admin(an_admin(client_id="admin-2"), request_id="start")
    await door.clients.disable(operator(), "admin-2")
    await door.clients.bootstrap_admin(an_admin(client_id="admin-3"), request_id="start")


async def test_two_people_who_have_one_app_between_them_are_no_two_and_the_operator_lets_another_admin_in(
    door: FrontDoor,
) -> None:
    """All that the second does is of the first one's line, too, also the app that the second registers."""
    an_app = {"scopes": ["user/*.cruds"], "redirect_uris": ["https://app.example/back"], "jwks": None}
    people = {}
    for name in ("first", "second"):
        await door.clients.bootstrap_admin(an_admin(client_id=name), request_id="start")
        people[name] = await an_enrolled_admin(door, name)
    await door.clients.register(replace(ADMIN, principal="first"), an_admin(client_id="first-app", **an_app))
    with pytest.raises(Conflict, match="admins of two lines exist"):
        await door.clients.bootstrap_admin(an_admin(client_id="third"), request_id="start")
    for name in ("first", "second"):
        await door.clients.disable(operator(), name)
    by_app = replace(people["second"], client_id="first-app")
    await door.clients.register(by_app, an_admin(client_id="second-app", **an_app))
    await door.clients.register(by_app, an_admin(client_id="second-program"))
    await door.clients.bootstrap_admin(an_admin(client_id="third"), request_id="start")
    with pytest.raises(Conflict, match="admins of two lines exist"):
        await door.clients.bootstrap_admin(an_admin(client_id="fourth"), request_id="start")


async def an_enrolled_admin(door: FrontDoor, registrar: str) -> Caller:
    draft = PersonDraft(login=f"smurf.{registrar}", name="Smurf", roles=frozenset({Role.ADMIN}))
    by = replace(ADMIN, principal=registrar, client_id=registrar, scopes=frozenset({"system/*.cruds"}))
    done, invitation = await door.parts.people.register(by, draft)
    assert invitation is not None
    opened = await door.parts.people.open_invitation(invitation, anew=True)
    assert opened is not None
    code = pyotp.TOTP(opened[1]).at(door.clock())
    await door.parts.people.enrol(invitation, "correct horse battery", code, request_id="r-1")
    return replace(by, principal=done.subject.principal, scopes=frozenset({"user/*.cruds"}))


async def test_apps_that_only_people_use_do_not_keep_the_operator_out(door: FrontDoor) -> None:
    an_app = {"scopes": ["user/*.cruds"], "redirect_uris": ["https://app.example/back"], "jwks": None}
    for name in ("first", "second"):
        until = door.clock() + timedelta(minutes=1)
        await door.clients.bootstrap_admin(an_admin(client_id=name, expires_at=until), request_id="start")
        await door.clients.register(replace(ADMIN, principal=name), an_admin(client_id=f"{name}-app", **an_app))
    door.clock.ahead = timedelta(minutes=2)
    await door.clients.bootstrap_admin(an_admin(client_id="third"), request_id="start")
    await door.clients.bootstrap_admin(an_admin(client_id="fourth"), request_id="start")
    with pytest.raises(Conflict, match="admins of two lines exist"):
        await door.clients.bootstrap_admin(an_admin(client_id="fifth"), request_id="start")


BAD_ROWS: dict[str, dict[str, Any]] = {
    "a private key": {"jwks": '{"keys": [{"kty": "EC", "d": "secret"}]}'},
    "a shared secret": {"jwks": '{"keys": [{"kty": "oct", "k": "secret"}]}'},
    "no key": {"jwks": '{"keys": []}'},
    "an unknown role": {"roles": ["superuser"]},
    "no role": {"roles": []},
    "an internal scope": {"scopes": ["internal/*.cruds"]},
    "a device of nobody": {"roles": ["device"]},
    "an odd id": {"client_id": "a b"},
    "the operator's name": {"client_id": "operator"},
    "disabled by nobody": {"status": "disabled"},
    "ended before it began": {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
}


async def test_the_database_itself_refuses_what_must_never_be_registered(door: FrontDoor, ward: Program) -> None:
    good = {
        "client_id": "other", "name": "n", "roles": ["regulator"], "scopes": ["system/Offer.r"],
        "jwks": '{"keys": [{"kty": "EC"}]}', "status": "active", "expires_at": None,
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    async with door.database.pool.acquire() as conn:
        for name, change in BAD_ROWS.items():
            row = good | change
            places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
            statement = (
                f"insert into oauth.client ({', '.join(row)}, decision_id) select {places}, id "
                "from audit.decision limit 1"
            )
            try:
                await conn.execute(statement, *row.values())
            except asyncpg.CheckViolationError:
                continue
            pytest.fail(f"the database took {name}")


async def test_the_gateway_cannot_change_a_registration_but_by_disabling_it(gateway_pool: Pool) -> None:
    for statement in (
        "update oauth.client set jwks = jwks",
        "update oauth.client set roles = array['admin']",
        "update oauth.client set scopes = scopes",
        "delete from oauth.client",
        "truncate oauth.client",
        "update oauth.jti set exp = now()",
        "update oauth.person set roles = roles",
        "update oauth.person set created_at = created_at",
        "delete from oauth.person",
        "update oauth.family set scopes = scopes",
        "delete from oauth.family",
        "update oauth.refresh set family = family",
        "update oauth.revoked set exp = now()",
        "update oauth.proof set exp = now()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await gateway_pool.execute(statement)


async def test_workers_see_no_clients(worker_pool: Pool) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await worker_pool.fetch("select * from oauth.client")


async def test_old_assertions_are_swept_away_by_new_ones(door: FrontDoor, ward: Program, gateway_pool: Pool) -> None:
    now = door.clock()
    for number in range(3):
        assert await door.clients.burn("ward", f"old {number}", now - timedelta(minutes=1))
    assert await door.clients.burn("ward", "new", now + timedelta(minutes=5))
    assert await gateway_pool.fetchval("select array_agg(jti) from oauth.jti") == ["new"]


async def test_an_assertion_in_force_cannot_be_forgotten(door: FrontDoor, ward: Program, gateway_pool: Pool) -> None:
    until = door.clock() + timedelta(minutes=5)
    assert await door.clients.burn("ward", "one", until)
    await gateway_pool.execute("delete from oauth.jti")
    assert not await door.clients.burn("ward", "one", until)
