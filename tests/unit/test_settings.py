"""Settings: read once, refused with the variable's name, and never showing a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from sharewell.settings import MACHINE_WIDE, OAUTH_RATES, DatabaseRole, Settings, SettingsError, default_home


def read(**variables: str) -> Settings:
    return Settings.from_environment({f"SHAREWELL_{name}": value for name, value in variables.items()})


def test_nothing_has_to_be_set() -> None:
    settings = read()
    assert settings.database_url is None
    assert settings.role_urls == {}
    assert settings.issuer == "http://127.0.0.1:8080"
    assert settings.log_origin == "127.0.0.1/sharewell"


def test_the_issuer_follows_the_address_unless_it_is_set() -> None:
    assert read(PORT="9000").issuer == "http://127.0.0.1:9000"
    settings = read(PORT="9000", ISSUER="https://capacity.example.org/")
    assert settings.issuer == "https://capacity.example.org"
    assert settings.log_origin == "capacity.example.org/sharewell"


def test_the_country_of_the_holidays_may_be_set_in_small_letters() -> None:
    assert read().country is None
    assert read(COUNTRY="us-nj").country == "US-NJ"


def test_each_role_may_have_a_url_of_its_own() -> None:
    settings = read(DATABASE_URL_GATEWAY="postgresql://g@db/capacity", DATABASE_URL_WORKER="postgres://w@db/capacity")
    assert settings.role_urls == {
        DatabaseRole.GATEWAY: "postgresql://g@db/capacity",
        DatabaseRole.WORKER: "postgres://w@db/capacity",
    }


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("PORT", "http", "a number from 0 to 65535"),
        ("PORT", "65536", "a number from 0 to 65535"),
        ("PORT", "٣", "a number from 0 to 65535"),
        ("ISSUER", "capacity.example.org", "https://sharewell.example.org"),
        ("ISSUER", "https://capacity.example.org/?x=1", "https://sharewell.example.org"),
        ("DATABASE_URL", "mysql://db/capacity", "postgresql://user:password@host:5432/database"),
        ("DATABASE_URL", "postgresql://db", "name its database"),
        ("DATABASE_URL_WORKER", "db/capacity", "postgresql://user:password@host:5432/database"),
        ("LOG_ORIGIN", "https://capacity.example.org", "audit.example.org/2026"),
        ("LOG_ORIGIN", "audit example", "audit.example.org/2026"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("LOG_FORMAT", "xml", "json, console"),
        ("COUNTRY", "Germany", "DE, US or US-NJ"),
        ("GLASS_HOURS", "0", "hours from 1 to 24"),
        ("GLASS_HOURS", "48", "hours from 1 to 24"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "networks such as 10.0.0.0/8"),
        ("FORWARDED_HEADER", "X-Real-IP", "one of x-forwarded-for, forwarded"),
        ("OAUTH_RATES", "sign-in=0:5", "as in sign-in=2:100"),
        ("OAUTH_RATES", "token=2:5", "NAME being one of address, sign-in"),
        ("TURNS", "each=many", "as in each=8"),
        ("TURNS", "places=8", "NAME being one of slots, each, waiting"),
        ("TURNS", "slots=2 each=3", "each from 1 to slots"),
        ("TURNS", "each=0", "each from 1 to slots"),
        ("BRAKE_SECONDS", "6", "from 0 to 5"),
        ("BRAKE_SECONDS", "-1", "from 0 to 5"),
        ("CONNECTIONS", "few", "0 for no bound"),
        ("KEEP_YEARS", "ten", "as in 10 access=2 plan=30"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name_with_what_would_be_right(
    name: str, value: str, advice: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read(**{name: value})
    assert str(refused.value).startswith(f"SHAREWELL_{name}: ")
    assert advice in str(refused.value)


def test_no_password_shows_in_errors_or_in_what_is_printed() -> None:
    with pytest.raises(SettingsError) as refused:
        read(DATABASE_URL="mysql://me:hunter2@db/capacity")
    assert "hunter2" not in str(refused.value)
    url = "postgresql://me:hunter2@db/capacity"
    assert "hunter2" not in repr(read(DATABASE_URL=url, DATABASE_URL_GATEWAY=url, ROLE_PASSWORD="hunter2"))


def test_data_goes_beside_the_checkout_or_for_root_in_a_private_folder_to_the_machines_own_place(
    tmp_path: Path,
) -> None:
    private = tmp_path / "private" / "checkout"
    private.mkdir(parents=True)
    private.parent.chmod(0o700)
    assert default_home(private, root=False) == private / ".sharewell"
    home = default_home(private, root=True)
    assert home.parent == MACHINE_WIDE
    assert home.name.startswith("checkout-")
    assert default_home(private.parent, root=True) != home
    assert default_home(Path("/usr"), root=True) == Path("/usr/.sharewell")


def test_rates_can_be_set_for_all_that_is_counted_and_for_nothing_else() -> None:
    from sharewell.gateway.rates import KNOCKS, Knock  # noqa: PLC0415

    assert list(OAUTH_RATES) == list(Knock) == list(KNOCKS)
    given = {"SHAREWELL_OAUTH_RATES": "sign-in=0.5:10", "SHAREWELL_TRUSTED_PROXIES": "::1"}
    settings = Settings.from_environment(given)
    assert settings.oauth_rates == {"sign-in": (0.5, 10)}
    assert [str(each) for each in settings.trusted_proxies] == ["::1/128"]


def test_bounds_that_are_not_named_stay_as_they_are() -> None:
    settings = read(TURNS="each=8 waiting=0", BRAKE_SECONDS="0.5", CONNECTIONS="0")
    assert settings.turns == {"slots": 16, "each": 8, "waiting": 0, "lasting": 3}
    assert (settings.brake_seconds, settings.connections) == (0.5, 0)
    assert read().turns == {"slots": 16, "each": 2, "waiting": 64, "lasting": 3}
