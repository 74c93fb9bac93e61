"""Check Ed25519 signatures (RFC 8032) with nothing but Python, and slowly: some milliseconds each.

A library would be faster, but whoever doubts us must be able to run the verifier on a bare Python, and read it.
Nothing here touches a secret, so nothing needs constant time. Signing is left to `cryptography`.

Of the readings in use this is the common one (Go, OpenSSL): no cofactor, S below the order, R in its one encoding.
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

P: Final = 2**255 - 19
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
D: Final = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE: Final = pow(2, (P - 1) // 4, P)

#: A point (x, y) as (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z. RFC 8032, 5.1.4.
Point: TypeAlias = tuple[int, int, int, int]

NEUTRAL: Final[Point] = (0, 1, 1, 0)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` was made with the key `public` (32 bytes). RFC 8032, 5.1.7."""
    if len(public) != 32 or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    key = _decode(public)
    if s >= ORDER or key is None:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    # S*B = R + k*A, asked as: is S*B - k*A, encoded, the R we were given?
    return _encode(_two_products(s, BASE, k, _negative(key))) == signature[:32]


def _add(a: Point, b: Point) -> Point:
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    m, n = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    t, z = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = n - m, z - t, z + t, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def _double(a: Point) -> Point:
    x, y, z, _ = a
    xx, yy = x * x % P, y * y % P
    h = xx + yy
    e, g = h - (x + y) * (x + y) % P, xx - yy
    f = 2 * z * z % P + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def _negative(a: Point) -> Point:
    return -a[0] % P, a[1], a[2], -a[3] % P


def _two_products(m: int, a: Point, n: int, b: Point) -> Point:
    """m*a + n*b, two bits of both at a step, with the sixteen sums those can ask for made once."""
    rows = [NEUTRAL, b, _double(b), _add(_double(b), b)]
    sums = [*rows]
    for _ in range(3):
        sums += [_add(a, row) for row in sums[-4:]]
    found = NEUTRAL
    for shift in range(254, -1, -2):
        found = _add(_double(_double(found)), sums[(m >> shift & 3) << 2 | n >> shift & 3])
    return found


def _encode(a: Point) -> bytes:
    x, y, z, _ = a
    inverse = pow(z, -1, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def _decode(data: bytes) -> Point | None:
    """The point of 32 bytes, or None if no point has that y. RFC 8032, 5.1.3, lenient where Go and OpenSSL are."""
    word = int.from_bytes(data, "little")
    sign, y = word >> 255, (word & (1 << 255) - 1) % P
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if x * x % P != x2:
        x = x * ROOT_OF_MINUS_ONE % P
    if x * x % P != x2:
        return None
    if x & 1 != sign:
        x = -x % P
    return x, y, 1, x * y % P


def _base() -> Point:
    point = _decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    assert point is not None
    return point


BASE: Final = _base()
