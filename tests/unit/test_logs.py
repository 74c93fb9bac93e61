"""Logs are one JSON object a line from every source, and hold no secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from sharewell import logs

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ3YXJkIn0.c2lnbmF0dXJl"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(stream=stream)
    yield stream
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_our_own_and_a_librarys_records_look_alike(stream: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1")
    structlog.stdlib.get_logger("sharewell.x").info("published", offer="o-1")
    logging.getLogger("uvicorn.error").warning("%s connections", 3)
    ours, theirs = lines(stream)
    assert (ours["event"], ours["offer"], ours["logger"]) == ("published", "o-1", "sharewell.x")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("3 connections", "warning", "uvicorn.error")
    assert ours["request_id"] == theirs["request_id"] == "r-1"
    assert ours["at"].endswith("Z")


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
def test_secrets_are_cut_out_wherever_they_stand(stream: io.StringIO, fields: dict[str, Any]) -> None:
    structlog.stdlib.get_logger("sharewell").info("something", **fields)
    assert "something" in stream.getvalue()
    assert "opaque-secret" not in stream.getvalue()


def test_a_traceback_shows_the_way_but_no_local_variables(stream: io.StringIO) -> None:
    def fails(token: str) -> None:
        raise ValueError(f"cannot use {JWT}")

    try:
        fails("opaque-secret")
    except ValueError:
        structlog.stdlib.get_logger("sharewell").exception("crash")
    (line,) = lines(stream)
    assert line["exception"][0]["frames"][-1]["name"] == "fails"
    assert "opaque-secret" not in stream.getvalue()
    assert JWT not in stream.getvalue()


def test_what_json_cannot_say_still_makes_a_line(stream: io.StringIO) -> None:
    structlog.stdlib.get_logger("sharewell").info("odd", half="\ud800", some={1}, big=10**30)
    (line,) = lines(stream)
    assert line["event"] == "odd"


def test_authlib_does_not_log_tokens_even_at_debug(stream: io.StringIO) -> None:
    logs.configure("debug", stream=stream)
    logging.getLogger("authlib.oauth2.rfc6749.grants.client_credentials").debug("Issue token %r", {"t": JWT})
    assert stream.getvalue() == ""


def test_people_get_plain_lines(stream: io.StringIO) -> None:
    logs.configure(form="console", stream=stream)
    structlog.stdlib.get_logger("sharewell").info("published", token="opaque-secret")
    assert "published" in stream.getvalue()
    assert "opaque-secret" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
