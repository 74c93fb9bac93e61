"""Values that people and programs send by mistake or on purpose, for each type of input and of none."""

from __future__ import annotations

from random import Random
from typing import Any

LONG = "x" * 10_000
TEXTS = (
    "", " ", "\0", "a\0b", "🏥" * 30, "e\u0301" * 40, "\u202egnirts", "\ud83d", LONG, "%s%n{}", "\x7f\x1b[31m", "Ω≈ç√",
    "'; drop table sharewell.offer; --", "<script>alert(1)</script>", "../../etc/passwd", "${jndi:ldap://x}", "NaN",
    "\ufeff", "\u2028", "bed.adult\n", "BED.ADULT", "bed.adult ", "\uffff", "-1", "1e400", "null", "*", "%", "_",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2, 7, 10_000, 10_001, 1_000_000, 2**31 - 1, -(2**31))
BEYOND = (2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400)
FLOATS = (0.0, -0.0, 90.0, 90.000001, -180.0, 1e308, 5e-324, -1e15)
TIMES = (
    "1900-01-01T00:00:00Z", "2199-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00+14:00", "2026-03-01T12:00:00Z",
    "2026-03-01T11:59:59Z", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "2027-03-01T12:00:00Z", "2026-03-29T02:30:00+01:00", "2026-12-31T23:59:60Z",
    "1900-01-01T00:00:00+23:59", "2199-12-31T23:59:59-23:59",
)  # fmt: skip
DATES = ("1900-01-01", "2199-12-31", "2026-02-29", "2024-02-29", "2026-03-01", "0000-00-00", "99999-01-01")
IDS = (
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "01A21D12-77A7-74B2-891D-F69CD688E524", "not-an-id", "{01a21d12-77a7-74b2-891d-f69cd688e524}",
)  # fmt: skip
ANYTHING: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [None], {"a": 1}, {"id": "x"}, 1.5, "", 0, -1, 10**30, "x", "\0", [{}] * 3,
)  # fmt: skip
_OF = {
    "String": TEXTS, "ID": (*TEXTS, *map(str, NUMBERS), *map(str, BEYOND)), "Int": (*NUMBERS, *NUMBERS, *BEYOND),
    "Float": (*FLOATS, *NUMBERS), "DateTime": TIMES, "Date": DATES, "UUID": IDS, "Boolean": (True, False),
    "JSON": (*ANYTHING, {"keys": []}, {"keys": [{}]}, {"keys": [{"kty": "oct", "k": "AA"}]}, {"keys": "x"}),
}  # fmt: skip


def hostile(random: Random, named: str, given: Any) -> Any:
    """Something else than `given` for an input of the type `named`; mostly of the type, so that it goes far."""
    if random.random() < 0.15 or (named not in _OF and not isinstance(given, list)):
        return random.choice(ANYTHING)
    if isinstance(given, list):
        return random.choice(([], given * 2, given * 300, [None], given[:1]))
    return random.choice(_OF[named])
