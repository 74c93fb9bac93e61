"""Asks witnesses for their cosignatures, and for what they remember of us (c2sp.org/tlog-witness over HTTP).

Whatever a witness answers is checked; one that is away, slow or mistaken costs nothing but its cosignature.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx2
import structlog

from sharewell.audit.proofs import consistency_path
from sharewell.audit.signers import mldsa44_verify
from sharewell.domain.errors import Invalid, SharewellError
from sharewell.domain.notes import Signature, add_signatures, open_note, parse_signatures
from sharewell.domain.trust import Witness
from sharewell.domain.witnessing import SIZE_TYPE, AddCheckpoint, parse_size
from sharewell.store.log import LogRepository

if TYPE_CHECKING:
    import asyncpg

    from sharewell.domain.merkle import Hash

TIMEOUT: Final = 5.0  #: seconds for one witness
LARGEST_ANSWER: Final = 64 * 1024

log = structlog.get_logger(__name__)


class WitnessAhead(SharewellError):
    """A witness says that it cosigned a larger tree of this log than the one at hand."""


class NotCosigned(SharewellError):
    """The witness did not cosign; the message says what it answered."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A checkpoint of ours that somebody else kept."""

    where: str  #: for people
    note: bytes


def client() -> httpx2.AsyncClient:
    """What witnesses are asked with. Redirects are not followed: a policy names the place itself."""
    return httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=False)


async def cosignature(
    http: httpx2.AsyncClient, pool: asyncpg.Pool[Any], witness: Witness, note: bytes, size: int, old: int
) -> Signature:
    """The line of `witness` under our checkpoint `note` of `size`, checked. `old` is what it cosigned last, as we know.

    Raises `WitnessAhead` or `NotCosigned`.
    """
    answer = await _ask(http, pool, witness, note, size, old)
    if answer.status_code == httpx2.codes.CONFLICT and answer.headers.get("content-type") == SIZE_TYPE:
        old = _size(witness, answer.content)
        if old > size:
            raise WitnessAhead(f"The witness {witness.name} cosigned {old} entries of this log, not {size}.")
        answer = await _ask(http, pool, witness, note, size, old)
    if answer.status_code != httpx2.codes.OK:
        raise NotCosigned(f"the witness {witness.name} answered {answer.status_code}: {answer.text[:200]!r}.")
    return _checked(witness, note, answer.content)


async def _ask(
    http: httpx2.AsyncClient, pool: asyncpg.Pool[Any], witness: Witness, note: bytes, size: int, old: int
) -> httpx2.Response:
    proof: list[Hash] = []
    if 0 < old < size:
        async with pool.acquire() as conn:
            proof = await consistency_path(LogRepository(conn), old, size)  # type: ignore[arg-type]
    body = AddCheckpoint(old=old, proof=tuple(proof), checkpoint=note).encode()
    try:
        # The client's own timeout is for each read; a witness that drips must not hold us either.
        return await asyncio.wait_for(http.post(f"{witness.url}/add-checkpoint", content=body), TIMEOUT)
    except (httpx2.HTTPError, TimeoutError) as why:
        raise NotCosigned(f"the witness {witness.name} cannot be reached: {type(why).__name__}.") from why


def _size(witness: Witness, body: bytes) -> int:
    try:
        return parse_size(body)
    except Invalid as why:
        raise NotCosigned(f"the witness {witness.name} answered 409 with no size.") from why


def _checked(witness: Witness, note: bytes, lines: bytes) -> Signature:
    try:
        found = [s for s in parse_signatures(lines[:LARGEST_ANSWER]) if (s.name, s.id) == _mark(witness)]
        open_note(add_signatures(note, found[:1]), [witness.key], mldsa44_verify)
    except Invalid as why:
        raise NotCosigned(f"the cosignature of the witness {witness.name} does not hold: {why.message}") from why
    return found[0]


def _mark(witness: Witness) -> tuple[str, int]:
    return witness.key.name, witness.key.id


async def remembered_by(http: httpx2.AsyncClient, witnesses: Sequence[Witness], origin: str) -> list[Remembered]:
    """The newest checkpoint of `origin` that each witness has. Who cannot be reached is left out, with a warning."""
    found = await asyncio.gather(*(_remembered(http, witness, origin) for witness in witnesses if witness.url))
    return [each for each in found if each is not None]


async def _remembered(http: httpx2.AsyncClient, witness: Witness, origin: str) -> Remembered | None:
    url = f"{witness.url}/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
    try:
        answer = await asyncio.wait_for(http.get(url), TIMEOUT)
    except (httpx2.HTTPError, TimeoutError) as why:
        log.warning("a witness cannot be asked what it remembers", witness=witness.name, error=type(why).__name__)
        return None
    if answer.status_code == httpx2.codes.NOT_FOUND:
        return None
    if answer.status_code != httpx2.codes.OK:
        log.warning("a witness does not say what it remembers", witness=witness.name, status=answer.status_code)
        return None
    return Remembered(f"the witness {witness.name}", answer.content[:LARGEST_ANSWER])
