"""What an operator may set: one frozen record, read once from SHAREWELL_* variables of the environment.

Every part receives the record or a value of it; nothing else in the project reads the environment.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

Value = TypeVar("Value")

LONGEST_BRAKE = 5  #: seconds; shorter than a process that ends waits for its answers
LARGEST_PORT = 65_535
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
TURNS = {"slots": 16, "each": 2, "waiting": 64, "lasting": 3}  #: see gateway/turns
OAUTH_RATES = ("address", "sign-in", "client", "refused", "refusals")  #: see gateway/rates
MOST_YEARS = 100  #: that decisions can be set to be kept
MACHINE_WIDE = Path("/var/lib/sharewell")  #: where a system administrator's data goes


class SettingsError(Exception):
    """A setting has a value that cannot work; the message names the variable and what would be right."""


class DatabaseRole(StrEnum):
    """The logins of the database, none of them a superuser; each may do its own work and no more."""

    MIGRATOR = "sharewell_migrator"  # owns every schema and object
    GATEWAY = "sharewell_gateway"  # answers people
    WORKER = "sharewell_worker"  # runs jobs
    SEQUENCER = "sharewell_sequencer"  # seals the audit log

    @property
    def variable(self) -> str:
        """Name of the variable that gives this role a connection URL of its own."""
        return f"SHAREWELL_DATABASE_URL_{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process. Secrets do not show in `repr`."""

    home: Path
    database_url: str | None = field(default=None, repr=False)  #: None: the embedded server
    role_urls: Mapping[DatabaseRole, str] = field(default_factory=dict, repr=False)
    role_password: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 8080
    issuer: str = "http://127.0.0.1:8080"  #: base URL as clients see it, without a slash at the end
    token_life: timedelta = timedelta(minutes=5)  #: of access tokens
    issuers_file: Path | None = None  #: whose tokens are taken beside our own; None: nobody's
    egress: tuple[str, ...] = ()  #: origins that clients' keys may be fetched from; `private:` before one inside
    allowed_origins: tuple[str, ...] = ()  #: of pages in browsers that may call from scripts, or open a WebSocket
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()  #: whose word on where a request comes from counts
    forwarded_header: str = "x-forwarded-for"  #: the one header they say it in
    dpop_nonces: bool = False  #: whether proofs of possession must hold a nonce of ours
    oauth_rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)  #: a second, and at once; by name
    turns: Mapping[str, int] = field(default_factory=lambda: TURNS)  #: bounds of gateway/turns, by name
    brake_seconds: float = 1.0  #: that answers of status 429 are held back, to whoever goes on; 0: they are not
    connections: int = 1000  #: that one address may hold open; 0: as many as it likes
    log_origin: str = "127.0.0.1/sharewell"  #: name of the audit log, fixed for ever once it has entries
    log_export: Path | None = None  #: folder that the log is exported to after each checkpoint, and served from
    log_policy: Path | None = None  #: trust policy of the log: its witnesses and their quorum
    witness_logs: Path | None = None  #: verifier keys of the logs that this node witnesses; None: of none
    keep_years: Mapping[str, int] = field(default_factory=dict)  #: least of decisions, by noun; "": of all others
    log_level: str = "info"
    log_format: str = "json"  #: json, or console for people
    allocate_after: timedelta | None = timedelta(seconds=30)  #: pause in which others may ask too; None: only on demand
    country: str | None = None  #: whose holidays forecasts know, as ISO 3166; None: what the regions' names say
    glass_life: timedelta = timedelta(hours=4)  #: longest that policies are in force without a second person
    keep_persons: timedelta = timedelta(days=1095)  #: after its last act a person's details can be opened so long
    clock_file: Path | None = None  #: replays of the past run on the time written there; never set it elsewhere

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read every SHAREWELL_* variable. Raises `SettingsError` for a value that cannot work."""
        read = _Reader(environment)
        host, port = read("HOST", "127.0.0.1"), read.checked("PORT", "8080", _port)
        issuer = read.checked("ISSUER", f"http://{host}:{port}", _base_url)
        return cls(
            home=read.checked("HOME", "", _home),
            database_url=read.checked("DATABASE_URL", "", _database_url) or None,
            role_urls=_role_urls(read),
            role_password=read("ROLE_PASSWORD") or None,
            host=host,
            port=port,
            issuer=issuer,
            token_life=read.checked("TOKEN_SECONDS", "300", _token_life),
            issuers_file=read.checked("ISSUERS", "", lambda text: Path(text).expanduser() if text else None),
            egress=read.checked("EGRESS", "", _egress),
            allowed_origins=read.checked("ALLOWED_ORIGINS", "", _origins),
            trusted_proxies=read.checked("TRUSTED_PROXIES", "", _networks),
            forwarded_header=read.checked(
                "FORWARDED_HEADER", "X-Forwarded-For", _one_of("x-forwarded-for", "forwarded")
            ),
            dpop_nonces=read.checked("DPOP_NONCES", "off", _one_of("off", "required")) == "required",
            oauth_rates=read.checked("OAUTH_RATES", "", _rates),
            turns=read.checked("TURNS", "", _turns),
            brake_seconds=read.checked("BRAKE_SECONDS", "1", _brake),
            connections=read.checked("CONNECTIONS", "1000", _connections),
            log_origin=read.checked("LOG_ORIGIN", f"{urlsplit(issuer).hostname}/sharewell", _log_origin),
            log_export=read.checked("LOG_EXPORT", "", _path),
            log_policy=read.checked("LOG_POLICY", "", _path),
            witness_logs=read.checked("WITNESS_LOGS", "", _path),
            keep_years=read.checked("KEEP_YEARS", "10", _years_by_noun),
            log_level=read.checked("LOG_LEVEL", "info", _one_of("debug", "info", "warning", "error")),
            log_format=read.checked("LOG_FORMAT", "json", _one_of("json", "console")),
            allocate_after=read.checked("ALLOCATE_AFTER", "30", _seconds_or_never),
            country=read.checked("COUNTRY", "", _country),
            glass_life=read.checked("GLASS_HOURS", "4", _glass),
            keep_persons=read.checked("KEEP_PERSONS_DAYS", "1095", _keep),
            clock_file=read.checked("CLOCK_FILE", "", _path),
        )


class _Reader:
    """Reads one variable at a time and puts its name into every complaint."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __call__(self, name: str, default: str = "") -> str:
        return self._environment.get(f"SHAREWELL_{name}", "").strip() or default

    def checked(self, name: str, default: str, parse: Callable[[str], Value]) -> Value:
        try:
            return parse(self(name, default))
        except ValueError as why:
            raise SettingsError(f"SHAREWELL_{name}: {why}") from None


def _role_urls(read: _Reader) -> dict[DatabaseRole, str]:
    return {
        role: url
        for role in DatabaseRole
        if (url := read.checked(role.variable.removeprefix("SHAREWELL_"), "", _database_url))
    }


def _country(text: str) -> str | None:
    if text and not re.fullmatch(r"[A-Za-z]{2}(-[A-Za-z0-9]{1,3})?", text):
        raise ValueError(f"{text!r} must be an ISO 3166 code such as DE, US or US-NJ")
    return text.upper() or None


def default_home(folder: Path, *, root: bool) -> Path:
    """Where data goes when SHAREWELL_HOME is not set: `.sharewell` in `folder`.

    PostgreSQL refuses to run as root and is run under a user of its own, who cannot enter root's private
    folders. For root in such a folder the data goes below /var/lib/sharewell, one folder for each checkout.
    """
    if root and not all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents)):
        mark = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
        return MACHINE_WIDE / f"{folder.name}-{mark}"
    return folder / ".sharewell"


def _home(text: str) -> Path:
    if text:
        return Path(text).expanduser().resolve()
    return default_home(Path.cwd(), root=os.geteuid() == 0)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= LARGEST_PORT:
        raise ValueError(f"{text!r} is not a port; it must be a number from 0 to {LARGEST_PORT}.")
    return int(text)


def _seconds_or_never(text: str) -> timedelta | None:
    if text == "never":
        return None
    if not text.isascii() or not text.isdigit() or int(text) > 86_400:
        raise ValueError(f"{text!r} is not a pause; it must be seconds from 0 to 86400, or never.")
    return timedelta(seconds=int(text))


def _keep(text: str) -> timedelta:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 36_500:
        raise ValueError(f"{text!r} is not a time to keep things; it must be days from 1 to 36500.")
    return timedelta(days=int(text))


def _glass(text: str) -> timedelta:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 24:
        raise ValueError(f"{text!r} is not a time for a broken glass; it must be hours from 1 to 24.")
    return timedelta(hours=int(text))


def _years_by_noun(text: str) -> dict[str, int]:
    usual, *others = text.split()
    found = {"": usual} | {noun: years for noun, _, years in (other.partition("=") for other in others)}
    for years in found.values():
        if not years.isascii() or not years.isdigit() or not 1 <= int(years) <= MOST_YEARS:
            raise ValueError(f"{years!r} is no number of years; write 1 to {MOST_YEARS}, as in 10 access=2 plan=30.")
    return {noun: int(years) for noun, years in found.items()}


def _token_life(text: str) -> timedelta:
    if not text.isascii() or not text.isdigit() or not 30 <= int(text) <= 3600:
        raise ValueError(f"{text!r} is not a life for tokens; it must be seconds from 30 to 3600.")
    return timedelta(seconds=int(text))


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is not a base URL; it must look like https://sharewell.example.org.")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        # Tokens travel over it (RFC 6749, 1.6). Where TLS ends at an ingress, this is the ingress's address.
        raise ValueError(f"{text!r} must be https; plain http is for 127.0.0.1 and localhost only.")
    return text.rstrip("/")


def _egress(text: str) -> tuple[str, ...]:
    origins = tuple(text.split())
    for origin in origins:
        parts = urlsplit(origin.removeprefix("private:"))
        more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not parts.hostname or more or not (parts.scheme == "https" or local):
            raise ValueError(f"{origin!r} is not an origin; it must look like https://keys.example.org.")
    return origins


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(text.split())
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError(f"{origin!r} is not an origin; it must look like https://board.example.org.")
    return origins


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(each) for each in text.split())
    except ValueError as why:
        raise ValueError(f"{why}; it must be addresses or networks such as 10.0.0.0/8, separated by spaces.") from None


def _rates(text: str) -> dict[str, tuple[float, float]]:
    found = {}
    for each in text.split():
        match = re.fullmatch(rf"({'|'.join(OAUTH_RATES)})=(\d+(?:\.\d+)?):(\d+)", each)
        if match is None or float(match[2]) <= 0 or int(match[3]) < 1:
            raise ValueError(
                f"{each!r} is no rate; write NAME=EACH-SECOND:AT-ONCE as in sign-in=2:100, NAME being one of "
                f"{', '.join(OAUTH_RATES)}."
            )
        found[match[1]] = (float(match[2]), float(match[3]))
    return found


def _turns(text: str) -> dict[str, int]:
    found = dict(TURNS)
    for each in text.split():
        match = re.fullmatch(rf"({'|'.join(TURNS)})=(\d{{1,5}})", each)
        if match is None:
            names = ", ".join(TURNS)
            raise ValueError(f"{each!r} is no bound; write NAME=NUMBER as in each=8, NAME being one of {names}.")
        found[match[1]] = int(match[2])
    if not 1 <= found["each"] <= found["slots"]:
        raise ValueError(f"{text!r} leaves no way; slots must be 1 or more, and each from 1 to slots.")
    return found


def _brake(text: str) -> float:
    if not re.fullmatch(r"\d{1,2}(\.\d+)?", text) or float(text) > LONGEST_BRAKE:
        raise ValueError(f"{text!r} must be a number of seconds from 0 to {LONGEST_BRAKE}.")
    return float(text)


def _connections(text: str) -> int:
    if not re.fullmatch(r"\d{1,6}", text):
        raise ValueError(f"{text!r} must be a number from 0 to 999999, 0 for no bound.")
    return int(text)


def _database_url(text: str) -> str:
    # The URL may hold a password, so no complaint repeats it.
    if text and urlsplit(text).scheme not in {"postgresql", "postgres"}:
        raise ValueError("it must be a PostgreSQL URL such as postgresql://user:password@host:5432/database.")
    if text and not urlsplit(text).path.strip("/"):
        raise ValueError("it must name its database after the last slash, as in postgresql://host/sharewell.")
    return text


def _log_origin(text: str) -> str:
    # c2sp.org/tlog-checkpoint: a schemeless URL without spaces or plus signs.
    if not re.fullmatch(r"[^\s+:/]+(:\d+)?(/[^\s+]*)?", text):
        raise ValueError(f"{text!r} is not an origin; it must look like audit.example.org/2026.")
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"{text!r} is unknown; it must be one of {', '.join(allowed)}.")
        return text.lower()

    return parse
