"""The settings that tokens hang on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sharewell.settings import Settings, SettingsError


@pytest.mark.parametrize("issuer", ["https://sharewell.example.org", "http://127.0.0.1:8080", "http://localhost:1"])
def test_tokens_travel_over_tls_or_stay_on_the_machine(issuer: str) -> None:
    assert Settings.from_environment({"SHAREWELL_ISSUER": f"{issuer}/"}).issuer == issuer


@pytest.mark.parametrize("issuer", ["http://sharewell.example.org", "http://0.0.0.0:80", "ftp://a", "https://a?b"])
def test_an_issuer_that_would_send_tokens_in_the_clear_is_refused(issuer: str) -> None:
    with pytest.raises(SettingsError, match="SHAREWELL_ISSUER"):
        Settings.from_environment({"SHAREWELL_ISSUER": issuer})


def test_listening_everywhere_asks_for_an_address_that_clients_can_use() -> None:
    with pytest.raises(SettingsError, match=r"SHAREWELL_ISSUER.*must be https"):
        Settings.from_environment({"SHAREWELL_HOST": "0.0.0.0"})


def test_a_token_lives_five_minutes_unless_told_otherwise() -> None:
    assert Settings.from_environment({}).token_life == timedelta(minutes=5)
    assert Settings.from_environment({"SHAREWELL_TOKEN_SECONDS": "60"}).token_life == timedelta(minutes=1)


@pytest.mark.parametrize("seconds", ["29", "3601", "-60", "five", "²"])
def test_a_life_that_is_too_short_or_too_long_is_refused(seconds: str) -> None:
    with pytest.raises(SettingsError, match="SHAREWELL_TOKEN_SECONDS"):
        Settings.from_environment({"SHAREWELL_TOKEN_SECONDS": seconds})
