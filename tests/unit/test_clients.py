"""Registering a client: which keys, roles and scopes are taken, and what narrowing scopes means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from sharewell.domain.clients import Client, ClientDraft, ClientStatus, narrow, thumbprint
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.principals import ANONYMOUS, OPERATOR, WORKERS, Role
from sharewell.domain.scopes import LETTERS, NOUNS, granted

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EC = ECKey.generate_key("P-384", {"kid": "ec"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})


def jwks(*keys: Any) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def a_draft(**changes: Any) -> ClientDraft:
    draft: dict[str, Any] = {
        "name": "Ward planner",
        "roles": frozenset({Role.INSTITUTION}),
        "scopes": ["system/Offer.cruds"],
        "jwks": jwks(EC),
        "institution": UUID(int=7),
    }
    return ClientDraft(**draft | changes)


def registered(**changes: Any) -> Client:
    return Client.register(a_draft(**changes), client_id="ward-planner", at=NOON)


@pytest.mark.parametrize("name", [*WORKERS, OPERATOR, ANONYMOUS])
def test_no_client_is_called_as_the_platform_itself_acts(name: str) -> None:
    with pytest.raises(Invalid, match="the platform itself") as refused:
        Client.register(a_draft(), client_id=name, at=NOON)
    assert refused.value.field == "clientId"


def test_keeps_only_the_public_members_of_keys() -> None:
    noisy = {**EC.as_dict(private=False), "x5c": ["..."], "note": "mine"}
    key = registered(jwks={"keys": [noisy, RSA.as_dict(private=False)]}).key("ec")
    assert key is not None
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert key["alg"] == "ES384"


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        pytest.param({}, "1 to 8 public keys", id="no keys member"),
        pytest.param({"keys": []}, "1 to 8 public keys", id="no key"),
        pytest.param({"keys": [EC.as_dict(private=True)]}, "private key", id="private EC key"),
        pytest.param({"keys": [RSA.as_dict(private=True)]}, "private key", id="private RSA key"),
        pytest.param({"keys": [OctKey.generate_key(256, {"kid": "o"}).as_dict()]}, "EC key", id="shared secret"),
        pytest.param(jwks(OKPKey.generate_key("Ed25519", {"kid": "o"})), "EC key", id="Ed25519"),
        pytest.param(jwks(ECKey.generate_key("P-256", {"kid": "e"})), "P-384", id="other curve"),
        pytest.param(jwks(EC, EC), "two keys of the same kid", id="same kid twice"),
        pytest.param({"keys": [{**EC.as_dict(private=False), "kid": ""}]}, "needs a kid", id="no kid"),
        pytest.param({"keys": [{**EC.as_dict(private=False), "alg": "ES256"}]}, "ES384", id="other algorithm"),
        pytest.param({"keys": [{**EC.as_dict(private=False), "use": "enc"}]}, "use: sig", id="for encryption"),
        pytest.param({"keys": [{**EC.as_dict(private=False), "x": "?"}]}, "base64url", id="not base64url"),
        pytest.param({"keys": [{**RSA.as_dict(private=False), "n": "AQAB"}]}, "2048 to 4096", id="tiny RSA"),
        pytest.param({"keys": ["key"]}, "EC key", id="not an object"),
    ],
)
def test_refuses_keys_that_cannot_be_used(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint) as refused:
        registered(jwks=keys)
    assert str(refused.value.field).startswith("jwks")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"roles": frozenset()}, "roles"),
        ({"institution": None}, "institution"),
        ({"roles": frozenset({Role.DEVICE}), "institution": None}, "institution"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["system/Offer.sc"]}, "scopes"),
        ({"scopes": ["user/Offer.c"]}, "redirectUris"),
        ({"redirect_uris": ["https://app.example/back"]}, "redirectUris"),
        ({"jwks": None}, "jwks"),
        ({"jwks_uri": "https://keys.example/jwks"}, "jwksUri"),
        ({"jwks": None, "jwks_uri": "http://keys.example/jwks"}, "jwksUri"),
        ({"scopes": ["internal/*.cruds"]}, "scopes"),
        ({"scopes": ["system/Patient.r"]}, "scopes"),
        ({"name": " "}, "name"),
        ({"expires_at": NOON}, "expiresAt"),
    ],
)
def test_refuses_a_draft_and_names_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        registered(**changes)
    assert refused.value.field == field


@pytest.mark.parametrize("client_id", ["", "ab", "-abc", "a b c", "a" * 101, "ä-client", "abc\n", "abc\0"])
def test_refuses_an_id_that_is_hard_to_write_down(client_id: str) -> None:
    with pytest.raises(Invalid):
        Client.register(a_draft(), client_id=client_id, at=NOON)


def test_an_expired_or_disabled_client_is_not_usable() -> None:
    client = registered(expires_at=NOON + timedelta(hours=1))
    assert client.usable(at=NOON + timedelta(minutes=59))
    assert not client.usable(at=NOON + timedelta(hours=1))
    assert client.disable().status is ClientStatus.DISABLED
    assert not client.disable().usable(at=NOON)


def test_a_disabled_client_cannot_be_disabled_again() -> None:
    with pytest.raises(Conflict):
        registered().disable().disable()


@pytest.mark.parametrize("key", [EC, RSA])
def test_the_thumbprint_is_that_of_rfc_7638(key: Any) -> None:
    assert thumbprint(key.as_dict(private=False)) == key.thumbprint()


letters = st.sets(st.sampled_from(LETTERS), min_size=1).map(lambda some: "".join(x for x in LETTERS if x in some))
scopes = st.builds("system/{}.{}".format, st.sampled_from(["*", *NOUNS]), letters)
odd = st.sampled_from(["", "openid", "user/Offer.c", "internal/*.cruds", "system/Offer.dc", "system/Offer.c?x=1"])


@given(requested=st.lists(st.one_of(scopes, odd)), allowed=st.lists(scopes, min_size=1))
def test_narrowed_scopes_grant_exactly_what_both_sides_grant(requested: list[str], allowed: list[str]) -> None:
    ours = frozenset(scope for scope in requested if scope.startswith("system/"))
    both = set(granted(ours)) & set(granted(frozenset(allowed)))
    assert set(granted(frozenset(narrow(requested, allowed)))) == both


@given(allowed=st.lists(scopes, min_size=1))
def test_narrowing_again_changes_nothing(allowed: list[str]) -> None:
    once = narrow(allowed, allowed)
    assert narrow(once, allowed) == once == narrow(["system/*.cruds"], allowed)


def test_a_wildcard_is_narrowed_to_the_nouns_that_are_registered() -> None:
    narrowed = narrow(["system/*.rs"], ["system/Offer.cruds", "system/Request.r"])
    assert narrowed == ("system/Offer.rs", "system/Request.r")
