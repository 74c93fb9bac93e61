"""What a job is, and how one is announced to the runner. What each job does is written in the file of its name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

Services = TypeVar("Services")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One start of one job."""

    id: int  #: the same however often the job is started
    name: str
    payload: Mapping[str, Any]
    request_id: str  #: of the request that asked for it, to find both in the logs; empty for the clock
    attempt: int  #: 1 for the first, one more after each error


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[Services]):
    """How jobs of one name are run.

    `handle` may be called twice for the same job, so it looks, in the transaction of its effect, whether that has
    happened: the plan of an instance, a file of these bytes, a hold that ended. It must leave the event loop free: long
    computations belong in `asyncio.to_thread`, or the job is taken for lost and given to another worker. `Invalid`,
    `NotFound` and `Forbidden` set the job aside at once; any other error is tried again.
    """

    handle: Callable[[Job, Services], Coroutine[Any, Any, None]]
    attempts: int = 5
    first_pause: timedelta = timedelta(seconds=1)  #: doubled after each error
    longest_pause: timedelta = timedelta(minutes=5)
    at_once: int = 0  #: how many of this name may run at one moment, all workers together; 0 for any number

    def pause(self, attempt: int) -> timedelta:
        """How long to wait after the `attempt`-th error."""
        doublings = min(attempt - 1, 32)  # beyond that the longest pause holds anyway
        return min(self.first_pause * 2.0**doublings, self.longest_pause)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A job that the clock asks for: `cron` has the five fields of crontab(5), in UTC."""

    cron: str
    job: str
    payload: Mapping[str, Any] = field(default_factory=dict)
