"""The sequencer: gives staged entries their place in the log, extends the tree, and signs its head.

Any number may run; one leads at a time, and the primary keys of the store fence off whoever wrongly believes to.
What a head is signed with is left to `keys`, what rows look like to the store.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg

from sharewell.audit.signers import Cosigner, mldsa44_verify
from sharewell.domain.checkpoint import Checkpoint
from sharewell.domain.errors import Conflict, Invalid, SharewellError
from sharewell.domain.handover import notes_of, read_handover
from sharewell.domain.merkle import Hash, hash_leaf
from sharewell.domain.notes import ED25519, Signer, add_signatures, open_note, parse_vkey, sign_note
from sharewell.domain.tiles import FULL, HEIGHT, Edge, Tile, partial_width
from sharewell.store.log import Head, LogRepository, Staged

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

BATCH = 8192  #: entries sealed in one transaction
BATCH_BYTES = 16 * 1024 * 1024

RUNBOOK = 'See "The database is behind its log" in docs/operating.md.'


class LogDamaged(SharewellError):
    """What is stored does not fit what was hashed; nothing is signed until a person has looked at it."""

    code = "LOG_DAMAGED"


class LogBehind(LogDamaged):
    """Somebody remembers more of this log than the database has: it was restored from a backup, or lost commits.

    Nothing may be signed. See "The database is behind its log" in docs/operating.md.
    """

    code = "LOG_BEHIND"


class WrongKey(SharewellError):
    """The log was signed with another key than the one at hand."""

    code = "WRONG_KEY"


class Fenced(Conflict):
    """Another sequencer sealed these entries first; the next attempt starts from its head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What one run did."""

    entries: int  #: newly in the tree
    size: int  #: of the tree now
    leading: bool = True  #: False: another sequencer leads, and nothing was done


class Gap(NamedTuple):
    """Staged ids not seen yet, and the transaction number by which they can only be rolled back ones."""

    first: int
    last: int
    over_before: int


@dataclass(slots=True)
class Progress:
    """How far the log is known to reach. Replaced whole once a step is committed, so it is never half true.

    Worthless as soon as somebody else extends the log, which shows in the size of the stored head.
    """

    edge: Edge
    seen: int = 0  #: highest staged id in the tree
    gaps: list[Gap] = field(default_factory=list)  #: missing ids below it, in order

    @property
    def settled(self) -> int:
        return self.gaps[0].first - 1 if self.gaps else self.seen


class Sequencer:
    """Seals what is staged, as often as `seal` is called. Keeps its place in the log from one call to the next."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        signer: Signer,
        quantum: Cosigner | None = None,
        *,
        handover: bytes | None = None,
        look: Callable[[], Awaitable[object]] | None = None,
        batch: int = BATCH,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`quantum` adds a line to each checkpoint; `handover` has the notes that lead to `signer` from keys before.

        `look` is called before anything is sealed, and again after any failure: it raises where nothing may be.
        """
        self._pool = pool
        self._signer = signer
        self._quantum = quantum
        self._handover = handover
        self._look = look
        self._batch = batch
        self._now = now
        self._progress: Progress | None = None
        self._signed = -1  #: size of the tree that is known to be signed
        self._key_is_known = False
        self._looked = look is None

    async def seal(self) -> Sealed:
        """Seal all that is staged and sign the head; also signs a head that a crash left unsigned.

        Raises `LogDamaged` or `WrongKey`, which need a person, and `Fenced`, after which it may be called again.
        """
        async with self._pool.acquire() as conn:
            log = LogRepository(conn)  # type: ignore[arg-type]  # the proxy has every method of a connection
            if not await log.try_lead():
                return Sealed(entries=0, size=(await log.head()).size, leading=False)
            try:
                return await self._lead(conn, log)
            except BaseException:
                self._looked = self._look is None
                raise
            finally:
                if not conn.is_closed():
                    await log.stop_leading()

    async def _lead(self, conn: PoolConnectionProxy[Any], log: LogRepository) -> Sealed:
        if not self._looked and self._look is not None:
            await self._look()
            self._looked = True
        await self._use_key(log)
        return await self._seal(conn, log)

    async def _seal(self, conn: PoolConnectionProxy[Any], log: LogRepository) -> Sealed:
        entries = 0
        while True:
            with _naming_the_fence():
                # One snapshot for the whole step: it decides which entries come before which.
                async with conn.transaction(isolation="repeatable_read"):
                    progress, added = await self._step(log)
                # From here on these entries are in the tree for good. A crash before the head is signed is mended
                # by the next run, which signs the same head from the same rows.
                self._progress = progress
                await self._sign(log)
            entries += added
            if not added:
                return Sealed(entries=entries, size=progress.edge.size)

    async def _step(self, log: LogRepository) -> tuple[Progress, int]:
        head = await log.head()
        known = self._progress
        if known is None or known.edge.size != head.size:
            known = await load_progress(log, head)
        late, fresh = await self._pending(log, known)
        entries = late + fresh
        edge = Edge(known.edge.size, known.edge.levels)
        tiles = _extend(edge, [_checked(entry) for entry in entries])
        # Where entries appeared in gaps, more may be waiting there than the batch could take.
        kept = known.gaps if late else [gap for gap in known.gaps if gap.over_before > head.all_over_before]
        gaps = kept + await self._new_gaps(log, known.seen, fresh)
        progress = Progress(edge, fresh[-1].staged_id if fresh else known.seen, gaps)
        if entries:
            await log.add_leaves(known.edge.size, entries)
            await log.add_headers(entries)
            await log.add_tiles(tiles)
            await log.add_head(edge.size, edge.root(), progress.settled)
        return progress, len(entries)

    async def _pending(self, log: LogRepository, known: Progress) -> tuple[list[Staged], list[Staged]]:
        gaps = [(gap.first, gap.last) for gap in known.gaps]
        late = await log.late(gaps, self._batch, BATCH_BYTES) if gaps else []
        room, room_bytes = self._batch - len(late), BATCH_BYTES - sum(len(entry.body) for entry in late)
        fresh = await log.fresh(known.seen, room, room_bytes) if room > 0 and room_bytes > 0 else []
        return late, fresh

    async def _new_gaps(self, log: LogRepository, seen: int, fresh: Sequence[Staged]) -> list[Gap]:
        """The ids that `fresh` leaves out. They were taken by transactions that began before this one had a number."""
        ids = [seen, *(entry.staged_id for entry in fresh)]
        holes = [(a + 1, b - 1) for a, b in pairwise(ids) if b - a > 1]
        number = await log.own_number() if holes else 0
        return [Gap(first, last, number) for first, last in holes]

    async def _sign(self, log: LogRepository) -> None:
        assert self._progress is not None
        if self._progress.edge.size == self._signed:
            return
        head, newest = await log.head(), await log.latest_checkpoint()
        if head.size < self._signed:
            raise LogBehind(f"The database has {head.size} entries now, and {self._signed} of them were signed here.")
        if head.root is None or (newest is not None and newest.size == head.size):
            self._signed = head.size
            return
        if head.size > self._progress.edge.size:
            raise Fenced(f"Another sequencer extended the tree to {head.size} entries before this one signed its head.")
        if (head.size, head.root) != (self._progress.edge.size, self._progress.edge.root()):
            raise LogDamaged(f"The stored head of {head.size} entries is not the one that was worked out.")
        text = Checkpoint(origin=self._signer.key.name, size=head.size, root=head.root).text()
        note = self._signed_note(text)
        await log.add_checkpoint(head.size, note)
        self._signed = head.size

    def _signed_note(self, text: str) -> bytes:
        note, keys = sign_note(text, [self._signer]), [self._signer.key]
        if self._quantum is not None:
            note = add_signatures(note, [self._quantum.cosign(text.encode(), int(self._now()))])
            keys.append(self._quantum.key)
        open_note(note, keys, mldsa44_verify)  # one made wrongly by a faulty machine can give the key away
        return note

    async def _use_key(self, log: LogRepository) -> None:
        if self._key_is_known:
            return
        ours = [str(self._signer.key)] + ([str(self._quantum.key)] if self._quantum else [])
        known = await log.keys()
        if known and ours[0] not in known:
            await self._take_over(log, ours, known)
        for vkey in ours:
            if vkey not in known:
                await log.add_key(vkey)
        self._key_is_known = True

    async def _take_over(self, log: LogRepository, ours: list[str], known: list[str]) -> None:
        """Let our key follow another one, by way of others if need be, if each said so. Raises `WrongKey`."""
        trusted, named = [*known], dict[str, bytes]()
        for note in notes_of(self._handover or b""):
            with suppress(Invalid):  # of a key that this log never had
                after, *others = read_handover(note, [parse_vkey(key) for key in trusted])
                trusted += [after, *others]
                named[after] = note
        if ours[0] not in named:
            signed = next(key for key in reversed(known) if parse_vkey(key).kind == ED25519)
            raise WrongKey(
                f"The log was signed with {signed}, and the key at hand is {ours[0]}. Restore the key from its backup."
            )
        for vkey in trusted[len(known) :]:
            await log.add_key(vkey)
        for vkey in [each for each in named if each not in known]:
            await log.add_handover(vkey, named[vkey])


async def load_progress(log: LogRepository, head: Head) -> Progress:
    """Take the log up from what is stored. Raises `LogDamaged` if the tree does not lead to its own head.

    Ids above the settled one may be missing, and whose they are is not known: all of them count as one gap until
    every transaction that runs now is over.
    """
    levels = (head.size.bit_length() + HEIGHT - 1) // HEIGHT
    wanted = [Tile(at, head.size >> (HEIGHT * (at + 1)), partial_width(at, head.size)) for at in range(levels)]
    found = await log.tiles([tile for tile in wanted if tile.width])
    rows = [found.get(tile, []) for tile in wanted]
    if [len(row) for row in rows] != [tile.width for tile in wanted]:
        raise LogDamaged(f"Hashes at the edge of the tree of {head.size} are missing.")
    edge = Edge(head.size, rows)
    if head.root is not None and edge.root() != head.root:
        raise LogDamaged(f"The stored hashes do not lead to the stored head of {head.size} entries.")
    seen = await log.last_sealed()
    gaps = [Gap(head.settled + 1, seen, await log.own_number())] if seen > head.settled else []
    return Progress(edge, seen, gaps)


@contextmanager
def _naming_the_fence() -> Iterator[None]:
    try:
        yield
    except asyncpg.UniqueViolationError as why:
        raise Fenced from why


def _checked(entry: Staged) -> Hash:
    """The leaf hash, made anew from the stored bytes."""
    found = hash_leaf(entry.body)
    if found != entry.leaf_hash:
        raise LogDamaged(f"Entry {entry.staged_id} was changed after it was staged.")
    return found


def _extend(edge: Edge, leaves: Sequence[Hash]) -> list[tuple[Tile, list[Hash]]]:
    """Extend `edge`; return the tiles to be kept. Partial ones only above level 0, where they grew."""
    full = list(edge.extend(leaves))
    grown = {tile.level + 1 for tile, _ in full}
    return full + [(tile, hashes) for tile, hashes in edge.partial_tiles() if tile.level in grown and tile.width < FULL]
