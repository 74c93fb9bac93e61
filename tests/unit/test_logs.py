"""Logs are one JSON object a line from every source, and hold no secrets."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from sharewell import logs

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ3YXJkIn0.c2lnbmF0dXJl"


def lines(log_stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log_stream.getvalue().splitlines()]


def test_our_own_and_a_librarys_records_look_alike(log_stream: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1")
    structlog.stdlib.get_logger("sharewell.x").info("published", offer="o-1")
    logging.getLogger("uvicorn.error").warning("%s connections", 3)
    ours, theirs = lines(log_stream)
    assert (ours["event"], ours["offer"], ours["logger"]) == ("published", "o-1", "sharewell.x")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("3 connections", "warning", "uvicorn.error")
    assert ours["request_id"] == theirs["request_id"] == "r-1"
    assert ours["at"].endswith("Z")


def test_a_dict_that_a_library_logs_is_a_message_like_any_other(log_stream: io.StringIO) -> None:
    try:
        int("none")
    except ValueError:
        logging.getLogger("library").exception({"what": "x"})
    (line,) = lines(log_stream)
    assert (line["event"], line["level"], line["logger"]) == ("{'what': 'x'}", "error", "library")
    assert line["at"].endswith("Z")
    assert line["exception"][0]["exc_type"] == "ValueError"


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "opaque-secret"},
        {"Authorization": "opaque-secret"},
        {"headers": {"authorization": "opaque-secret"}},
        {"form": [{"client_assertion": "opaque-secret"}]},
        {"note": f"sent {JWT} twice".replace("c2lnbmF0dXJl", "opaque-secret")},
        {"note": "Authorization: Bearer opaque-secret"},
        {"url": "postgresql://gateway:opaque-secret@db/sharewell"},
        {"note": "-----BEGIN PRIVATE KEY-----\nopaque-secret\n-----END PRIVATE KEY-----"},
        {"note": "duplicate key\nDETAIL:  Key (name)=(opaque-secret) already exists."},
        {"private_jwk": {"d": "opaque-secret"}},
        {"jwk": {"kty": "EC", "d": "opaque-secret"}},
    ],
)
def test_secrets_are_cut_out_wherever_they_stand(log_stream: io.StringIO, fields: dict[str, Any]) -> None:
    structlog.stdlib.get_logger("sharewell").info("something", **fields)
    assert "something" in log_stream.getvalue()
    assert "opaque-secret" not in log_stream.getvalue()


SECRETS = (
    JWT, "Bearer opaque-secret", "basic\topaque-secret", "DPoP\u00a0opaque-secret", "postgresql://gateway:secret@db",
    "-----BEGIN EC PRIVATE KEY-----x-----END EC PRIVATE KEY-----", "\nDETAIL: opaque-secret",
)  # fmt: skip


@given(st.text(max_size=12), st.sampled_from(SECRETS), st.text(max_size=12))
def test_the_quick_look_passes_by_no_secret(before: str, secret: str, after: str) -> None:
    text = f"{before} {secret} {after}"
    thorough = text
    for pattern, instead in logs._SECRETS:
        thorough = pattern.sub(instead, thorough)
    assert logs._clean_text(text) == thorough
    assert logs._clean_text(secret) != secret


def test_a_traceback_shows_the_way_but_no_local_variables(log_stream: io.StringIO) -> None:
    def fails(token: str) -> None:
        raise ValueError(f"cannot use {JWT}")

    try:
        fails("opaque-secret")
    except ValueError:
        structlog.stdlib.get_logger("sharewell").exception("crash")
    (line,) = lines(log_stream)
    assert line["exception"][0]["frames"][-1]["name"] == "fails"
    assert "opaque-secret" not in log_stream.getvalue()
    assert JWT not in log_stream.getvalue()


def test_what_json_cannot_say_still_makes_a_line(log_stream: io.StringIO) -> None:
    structlog.stdlib.get_logger("sharewell").info("odd", half="\ud800", some={1}, big=10**30)
    (line,) = lines(log_stream)
    assert line["event"] == "odd"


def test_authlib_does_not_log_tokens_even_at_debug(log_stream: io.StringIO) -> None:
    logs.configure("debug", stream=log_stream)
    logging.getLogger("authlib.oauth2.rfc6749.grants.client_credentials").debug("Issue token %r", {"t": JWT})
    assert log_stream.getvalue() == ""


def test_people_get_plain_lines(log_stream: io.StringIO) -> None:
    logs.configure(form="console", stream=log_stream)
    structlog.stdlib.get_logger("sharewell").info("published", token="opaque-secret")
    assert "published" in log_stream.getvalue()
    assert "opaque-secret" not in log_stream.getvalue()
    assert "\x1b" not in log_stream.getvalue()
