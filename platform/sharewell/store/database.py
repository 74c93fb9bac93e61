"""One pool, one transaction, a repository per noun. Database errors leave here as the families of `domain.errors`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import asyncpg

from sharewell.domain.errors import Conflict, Invalid, OfferExhausted, Unavailable
from sharewell.domain.reader import NOBODY, PLATFORM
from sharewell.store.agreements import AgreementRepository
from sharewell.store.allocations import AllocationRepository
from sharewell.store.answered import AnsweredRepository
from sharewell.store.audit import AuditRepository
from sharewell.store.break_glass import BreakGlassRepository
from sharewell.store.capacity import CapacityRepository
from sharewell.store.choices import ChoiceRepository
from sharewell.store.clients import ClientRepository
from sharewell.store.consents import ConsentRepository
from sharewell.store.credit import CreditRepository
from sharewell.store.deviations import DeviationRepository
from sharewell.store.drift import DriftRepository
from sharewell.store.feeds import FeedRepository
from sharewell.store.forecasts import ForecastRepository
from sharewell.store.grants import GrantRepository
from sharewell.store.happenings import HappeningRepository
from sharewell.store.horizons import HorizonRepository
from sharewell.store.institutions import InstitutionRepository
from sharewell.store.offers import OfferRepository
from sharewell.store.overrides import OverrideRepository
from sharewell.store.passkeys import PasskeyRepository
from sharewell.store.people import PersonRepository
from sharewell.store.policy_versions import PolicyVersionRepository
from sharewell.store.queue import Queue
from sharewell.store.receipts import ReceiptRepository
from sharewell.store.remarks import RemarkRepository
from sharewell.store.requests import RequestRepository
from sharewell.store.resources import ResourceRepository
from sharewell.store.subjects import SubjectRepository
from sharewell.store.surges import SurgeRepository
from sharewell.store.transfers import TransferRepository
from sharewell.store.trials import TrialRepository
from sharewell.store.trusted_documents import TrustedDocumentRepository
from sharewell.store.visits import VisitRepository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

#: Lists have filters that may be left out. After some runs PostgreSQL would settle on one plan for whichever are given,
#: and walk a whole table for the few rows of one institution; so reads are planned for the filters at hand. Writes,
#: whose statements are simple, are not. One round trip, where a transaction of the driver and a setting would be two.
BEGIN_READING = "begin read only; set local plan_cache_mode = force_custom_plan"

#: SQLSTATEs that our own triggers raise, and what they mean to a caller.
_OURS = {"SW001": OfferExhausted, "SW002": Conflict, "SW003": OfferExhausted}
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg sometimes raises when the connection breaks under a statement
    ConnectionError,
    FileNotFoundError,  # the socket of an embedded server that is down
    TimeoutError,
)
#: The database is there, but others are at the same rows, or it has too much to do.
_BUSY = (
    asyncpg.TransactionRollbackError,  # deadlocks among them
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,  # statement_timeout
    asyncpg.InsufficientResourcesError,
)
#: A value that PostgreSQL has no place for: NUL in a text, a number beyond its type.
_UNSTORABLE = (
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
    asyncpg.NumericValueOutOfRangeError,
    asyncpg.DatetimeFieldOverflowError,
)


@dataclass(frozen=True)
class Transaction:
    """The repositories, all on one connection inside one transaction."""

    conn: asyncpg.Connection[Any]
    reader: str = NOBODY

    @asynccontextmanager
    async def as_platform(self) -> AsyncIterator[None]:
        """What follows for others from a permitted act is the platform's own: it reads and writes of all meanwhile."""
        await self.conn.execute(_read_for(PLATFORM))
        yield
        await self.conn.execute(_read_for(self.reader))

    @cached_property
    def audit(self) -> AuditRepository:
        return AuditRepository(self.conn)

    @cached_property
    def answered(self) -> AnsweredRepository:
        return AnsweredRepository(self.conn)

    @cached_property
    def agreements(self) -> AgreementRepository:
        return AgreementRepository(self.conn)

    @cached_property
    def allocations(self) -> AllocationRepository:
        return AllocationRepository(self.conn)

    @cached_property
    def break_glass(self) -> BreakGlassRepository:
        return BreakGlassRepository(self.conn)

    @cached_property
    def capacity(self) -> CapacityRepository:
        return CapacityRepository(self.conn)

    @cached_property
    def choices(self) -> ChoiceRepository:
        return ChoiceRepository(self.conn)

    @cached_property
    def credit(self) -> CreditRepository:
        return CreditRepository(self.conn)

    @cached_property
    def clients(self) -> ClientRepository:
        return ClientRepository(self.conn)

    @cached_property
    def consents(self) -> ConsentRepository:
        return ConsentRepository(self.conn)

    @cached_property
    def deviations(self) -> DeviationRepository:
        return DeviationRepository(self.conn)

    @cached_property
    def drift(self) -> DriftRepository:
        return DriftRepository(self.conn)

    @cached_property
    def feeds(self) -> FeedRepository:
        return FeedRepository(self.conn)

    @cached_property
    def forecasts(self) -> ForecastRepository:
        return ForecastRepository(self.conn)

    @cached_property
    def grants(self) -> GrantRepository:
        return GrantRepository(self.conn)

    @cached_property
    def happenings(self) -> HappeningRepository:
        return HappeningRepository(self.conn)

    @cached_property
    def horizons(self) -> HorizonRepository:
        return HorizonRepository(self.conn)

    @cached_property
    def institutions(self) -> InstitutionRepository:
        return InstitutionRepository(self.conn)

    @cached_property
    def offers(self) -> OfferRepository:
        return OfferRepository(self.conn)

    @cached_property
    def overrides(self) -> OverrideRepository:
        return OverrideRepository(self.conn)

    @cached_property
    def passkeys(self) -> PasskeyRepository:
        return PasskeyRepository(self.conn)

    @cached_property
    def people(self) -> PersonRepository:
        return PersonRepository(self.conn)

    @cached_property
    def policy_versions(self) -> PolicyVersionRepository:
        return PolicyVersionRepository(self.conn)

    @cached_property
    def queue(self) -> Queue:
        return Queue(self.conn)

    @cached_property
    def receipts(self) -> ReceiptRepository:
        return ReceiptRepository(self.conn)

    @cached_property
    def remarks(self) -> RemarkRepository:
        return RemarkRepository(self.conn)

    @cached_property
    def requests(self) -> RequestRepository:
        return RequestRepository(self.conn)

    @cached_property
    def resources(self) -> ResourceRepository:
        return ResourceRepository(self.conn)

    @cached_property
    def subjects(self) -> SubjectRepository:
        return SubjectRepository(self.conn)

    @cached_property
    def surges(self) -> SurgeRepository:
        return SurgeRepository(self.conn)

    @cached_property
    def transfers(self) -> TransferRepository:
        return TransferRepository(self.conn)

    @cached_property
    def trials(self) -> TrialRepository:
        return TrialRepository(self.conn)

    @cached_property
    def trusted_documents(self) -> TrustedDocumentRepository:
        return TrustedDocumentRepository(self.conn)

    @cached_property
    def visits(self) -> VisitRepository:
        return VisitRepository(self.conn)


class Database:
    """The door to PostgreSQL under one role."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self.pool = pool

    @asynccontextmanager
    async def transaction(self, *, read_only: bool = False, reader: str = NOBODY) -> AsyncIterator[Transaction]:
        """Everything inside happens or nothing does. Rows of institutions are those that `reader` may see.

        Raises `Unavailable` where the database cannot be reached, `Conflict` where one of its own rules refuses.
        """
        with translated():
            async with self.pool.acquire(timeout=10) as conn, _begun(conn, read_only, reader):
                yield Transaction(conn, reader)  # type: ignore[arg-type]  # the proxy has every method of a connection

    @asynccontextmanager
    async def at_once(self, *, reader: str = NOBODY) -> AsyncIterator[Transaction]:
        """Statements that each are a transaction of their own, and one round trip where that would be three or more.

        What `fetchrow` and `fetch` read of institutions is what `reader` may see; all else reads for nobody. Raises as
        above.
        """
        with translated():
            async with self.pool.acquire(timeout=10) as conn:
                yield Transaction(_AtOnce(conn, reader), reader)  # type: ignore[arg-type]  # of it that is all there is

    async def is_ready(self) -> bool:
        """Tell whether a statement goes through just now."""
        try:
            async with self.pool.acquire(timeout=2) as conn:
                return bool(await conn.fetchval("select true"))
        except (asyncpg.PostgresError, *_GONE):
            return False


class _AtOnce:
    """The part of a connection that needs no transaction."""

    def __init__(self, conn: PoolConnectionProxy[Any], reader: str) -> None:
        self._conn, self._reader = conn, reader

    async def fetchrow(self, query: str, *values: object) -> asyncpg.Record | None:
        return await self._conn.fetchrow(_read_at_once(query, len(values) + 1), *values, self._reader)

    async def fetchval(self, query: str, *values: object) -> object:
        return await self._conn.fetchval(query, *values)

    async def fetch(self, query: str, *values: object) -> list[asyncpg.Record]:
        return await self._conn.fetch(_read_at_once(query, len(values) + 1), *values, self._reader)

    async def execute(self, query: str, *values: object) -> str:
        return await self._conn.execute(query, *values)


@lru_cache(maxsize=256)
def _read_at_once(query: str, number: int) -> str:
    """`query` in a statement that first says for whom it reads, which is value `number`, and forgets it at its end.

    The side that asks depends on the side that says so, and neither may be pulled apart: so it comes second. Were it
    ever to come first it would read for nobody, and find nothing.
    """
    return f"""
select found.* from (select set_config('sharewell.reader', ${number}, true) as told offset 0) reader
 cross join lateral (select asked.* from ({query}) asked where reader.told is not null offset 0) found
"""


@asynccontextmanager
async def _begun(conn: PoolConnectionProxy[Any], read_only: bool, reader: str) -> AsyncIterator[None]:
    if not read_only:
        async with conn.transaction():
            await conn.execute(_read_for(reader))
            yield
        return
    try:
        await conn.execute(f"{BEGIN_READING}; {_read_for(reader)}")
        yield
        await conn.execute("commit")
    except BaseException:  # also where somebody stopped waiting while it began or ended
        await conn.execute("rollback")
        raise


def _read_for(reader: str) -> str:
    """For this transaction alone: it ends with it, and PostgreSQL lets no row of an institution through without it."""
    quoted = reader.replace("'", "''")
    return f"set local sharewell.reader = '{quoted}'"


class translated:  # noqa: N801  # reads as a word in `with translated():`
    """Turn what the driver raises into what a caller can act on."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _OURS:
            raise _OURS[error.sqlstate](f"{error.args[0]}.") from error
        if isinstance(error, asyncpg.CheckViolationError) and error.constraint_name == "no_unit_is_promised_twice":
            raise OfferExhausted from error
        if isinstance(error, _UNSTORABLE) or _could_not_be_sent(error):
            raise Invalid("a value cannot be stored: a number or time out of range, or no plain text.") from error
        if isinstance(error, _BUSY):
            raise Unavailable("the database is too busy with this just now; try again in a moment.") from error
        if isinstance(error, _GONE):
            raise Unavailable("the database cannot be reached just now; try again in a moment.") from error


def _could_not_be_sent(error: BaseException | None) -> bool:
    """Whether the driver could not even write a value; what has the wrong type is a mistake of our own."""
    return isinstance(error, asyncpg.DataError) and isinstance(error.__cause__, OverflowError | UnicodeError)
