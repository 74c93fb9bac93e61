"""The claims of a client's assertion: each rule of RFC 7523 and SMART at its edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sharewell.gateway.oauth.assertions import LEEWAY, MAX_LIFE, Refused, check_claims, digest

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = int(NOON.timestamp())
EDGE = int(LEEWAY.total_seconds())
LIFE = int(MAX_LIFE.total_seconds())
AUDIENCES = ["https://sharewell.example/oauth/token", "https://sharewell.example"]
GOOD: dict[str, Any] = {
    "iss": "ward",
    "sub": "ward",
    "aud": AUDIENCES[0],
    "exp": NOW + 60,
    "jti": "one",
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": AUDIENCES[1]},
        {"aud": ["https://elsewhere.example", AUDIENCES[0]]},
        {"exp": NOW + LIFE},
        {"exp": NOW + LIFE + EDGE},
        {"exp": NOW - EDGE + 1},
        {"exp": NOW + 0.5},
        {"iat": NOW + EDGE},
        {"nbf": NOW - 1},
    ],
)
def test_takes_a_fresh_assertion_for_us(changes: dict[str, Any]) -> None:
    claims = GOOD | changes
    assert check_claims(claims, AUDIENCES, at=NOON) == datetime.fromtimestamp(claims["exp"], UTC) + LEEWAY


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "other"}, "issuer_mismatch"),
        ({"iss": None}, "issuer_mismatch"),
        ({"aud": "https://elsewhere.example"}, "wrong_audience"),
        ({"aud": AUDIENCES[1] + "/"}, "wrong_audience"),
        ({"aud": []}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": {AUDIENCES[0]: 1}}, "wrong_audience"),
        ({"exp": NOW - EDGE}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": str(NOW + 60)}, "expired"),
        ({"exp": True}, "expired"),
        ({"exp": float("nan")}, "expired"),
        ({"exp": float("inf")}, "expired"),
        ({"exp": 10**30}, "expired"),
        ({"exp": NOW + LIFE + EDGE + 1}, "too_long"),
        ({"exp": NOW + 600}, "too_long"),
        ({"iat": NOW + EDGE + 1}, "not_yet_valid"),
        ({"nbf": NOW + 60}, "not_yet_valid"),
        ({"nbf": "now"}, "not_yet_valid"),
        ({"jti": None}, "no_jti"),
        ({"jti": ""}, "no_jti"),
        ({"jti": 7}, "no_jti"),
    ],
)
def test_refuses_anything_else_and_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        check_claims(GOOD | changes, AUDIENCES, at=NOON)
    assert refused.value.reason == reason


def test_an_assertion_is_remembered_for_as_long_as_it_could_be_accepted() -> None:
    remembered_until = check_claims(GOOD, AUDIENCES, at=NOON)
    just_after = remembered_until
    with pytest.raises(Refused, match="exp"):
        check_claims(GOOD, AUDIENCES, at=just_after)
    check_claims(GOOD, AUDIENCES, at=just_after - timedelta(microseconds=1))


def test_any_text_a_client_sends_can_be_digested() -> None:
    assert digest("\ud800\0") != digest("\0")
    assert len(digest("x" * 10_000)) == 64
