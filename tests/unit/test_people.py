"""People who sign in: invitations, passwords, locks, and what becomes of a refresh token."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.authz import Authorizer
from sharewell.domain.addresses import is_plain, origin_of
from sharewell.domain.errors import Conflict, Forbidden, Invalid
from sharewell.domain.grants import RACE, Family, Verdict, judge_refresh
from sharewell.domain.people import LONGEST_LOCK, TRIES, Person, PersonDraft, check_password, locked_for
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller, Role
from sharewell_schema.mutations import wish
from sharewell_schema.people import PERSONAL, RegisterPersonInput
from sharewell_schema.trusted_documents import TrustDocumentsInput

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = UUID("018f0000-0000-4000-8000-000000000001")
FAMILY = Family(
    id=ID, client_id="app", person=ID, scopes=("user/Offer.r",), purpose=None, key=None, created_at=NOON,
    expires_at=NOON + timedelta(days=1), revoked=False,
)  # fmt: skip


def test_the_hash_that_outlives_a_person_says_nothing_of_login_and_name() -> None:
    def hashed(**changes: Any) -> str:
        asked = {"idempotency_key": "k", "login": "smurfette", "name": "Smurfette", "roles": [Role.REGULATOR]} | changes
        return wish("registerPerson", RegisterPersonInput(**asked), personal=PERSONAL).input_sha256

    assert hashed() == hashed(login="papa", name="Papa") != hashed(roles=[Role.ADMIN])


def test_a_wish_of_before_inputs_had_another_field_is_the_same_wish_after_the_upgrade() -> None:
    def hashed(**changes: Any) -> str:
        asked = {"idempotency_key": "k", "client_id": "board", "documents": ["{ me { clientId } }"]} | changes
        return wish("trustDocuments", TrustDocumentsInput(**asked)).input_sha256

    before = b'{"client_id":"board","documents":["{ me { clientId } }"],"if_changed_by":null}'
    assert hashed() == hashlib.sha256(before).hexdigest() != hashed(if_none=True)


@pytest.mark.parametrize(("principal", "context"), [(f"person/{ID}", "user"), ("a-program", "system")])
def test_whose_scope_is_too_narrow_hears_of_a_scope_that_it_can_have(principal: str, context: str) -> None:
    caller = Caller(principal=principal, roles=frozenset({Role.REGULATOR}), scopes=frozenset({f"{context}/Offer.r"}))
    with pytest.raises(Forbidden, match=rf"The scope needed is {context}/"):
        Authorizer.load().decide(caller, Action.READ_AUDIT, Target.list("decision"))


def invited(**changes: Any) -> Person:
    usual: dict[str, Any] = {"login": "Smurfette", "name": "Smurfette", "roles": frozenset({Role.REGULATOR})}
    return Person.invite(PersonDraft(**usual | changes), id=ID, at=NOON)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"login": "a"}, "login"),
        ({"login": "two words"}, "login"),
        ({"login": "a\0bc"}, "login"),
        ({"name": " "}, "name"),
        ({"roles": frozenset()}, "roles"),
        ({"roles": frozenset({Role.DEVICE})}, "roles"),
        ({"roles": frozenset({Role.INSTITUTION})}, "institution"),
    ],
)
def test_an_invitation_that_cannot_be_names_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        invited(**changes)
    assert refused.value.field == field


def test_a_person_acts_only_once_enrolled_and_is_disabled_once() -> None:
    person = invited()
    assert (person.login, person.principal) == ("smurfette", f"person/{ID}")
    assert not person.usable(at=NOON)
    with pytest.raises(Conflict):
        person.disable().disable()


@pytest.mark.parametrize("password", ["short", "x" * 129, "aaaaaaaaaaaaaaaa", "my smurfette password"])
def test_a_password_that_is_easy_to_guess_is_refused(password: str) -> None:
    with pytest.raises(Invalid):
        check_password(password, "smurfette")


@given(st.integers(0, 10_000))
def test_the_more_failures_the_longer_the_lock_up_to_an_hour(failures: int) -> None:
    assert timedelta(0) <= locked_for(failures) <= locked_for(failures + 1) <= LONGEST_LOCK
    assert (locked_for(failures) > timedelta(0)) == (failures >= TRIES)


@given(st.integers(0, 200_000_000_000), st.one_of(st.none(), st.integers(0, 200_000_000_000)), st.booleans())
def test_a_refresh_token_is_good_once_and_never_when_its_family_is_over(
    now: int, used: int | None, revoked: bool
) -> None:
    at = NOON + timedelta(microseconds=now)
    used_at = None if used is None else NOON + timedelta(microseconds=min(used, now))
    family = Family(**{name: getattr(FAMILY, name) for name in FAMILY.__slots__} | {"revoked": revoked})
    verdict = judge_refresh(family, used_at, at=at)
    assert (verdict is Verdict.GOOD) == (used_at is None and family.open(at=at))
    if verdict is Verdict.REUSED:
        assert used_at is not None
        assert at - used_at >= RACE


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("https://app.example/back", True),
        ("https://app.example:8443/back?x=1", True),
        ("http://127.0.0.1:3000/back", True),
        ("http://app.example/back", False),
        ("http://localhost.evil.example/", False),
        ("https://user@app.example/", False),
        ("https://app.example\\@evil.example/", False),
        ("https://app.example/#part", False),
        ("https://*.example/", False),
        ("https:///back", False),
        ("javascript:alert(1)", False),
        ("https://app.example:99999/", False),
        ("https://äpp.example/", False),
        (f"https://app.example/{'x' * 500}", False),
    ],
)
def test_an_address_is_plain_or_is_not_kept(address: str, good: bool) -> None:
    assert is_plain(address) is good


def test_an_origin_is_spelled_out() -> None:
    assert origin_of("https://app.example/x?y") == "https://app.example:443"
    assert origin_of("http://[::1]/") == "http://[::1]:80"
