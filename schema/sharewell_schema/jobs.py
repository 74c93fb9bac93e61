"""Work of the platform itself, in the API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import strawberry

from sharewell.domain import checks
from sharewell.domain.errors import Invalid
from sharewell.store.queue import SetAside
from sharewell.store.queue import Underway as Waiting
from sharewell_schema.context import Info
from sharewell_schema.describe import argument, described, field, mutation, query
from sharewell_schema.mutations import OnBehalfOf, Receipt, key_field, paid, person_field, wish
from sharewell_schema.scalars import Json

LARGEST_JOB = 2**63 - 1


class JobStatus(StrEnum):
    """Where a job stands, in the words of the queue."""

    QUEUED = "queued"
    PICKED = "picked"


described(JobStatus, "Where a job stands.", queued="It waits to be started.", picked="A worker is at it.")


@strawberry.type(description="A job that waits or runs.")
class JobUnderway:
    id: strawberry.ID = field("Its identifier.")
    name: str = field("What sort of work it is: ingest, forecast, allocate, horizon, seal or expire.")
    payload: Json = field("What it is to be done with, such as region and resource.")
    status: JobStatus = field("Where it stands.")
    enqueued_at: datetime = field("When it was asked for.")
    execute_after: datetime = field("When it may begin.")


@strawberry.type(description="A job that failed, or killed its worker, too often; it waits for a person.")
class JobSetAside:
    id: strawberry.ID = field("Its identifier.")
    name: str = field("What sort of work it is.")
    payload: Json = field("What it was to be done with, such as region and resource.")
    attempts: int = field("How often it was tried again after an error.")
    starts: int = field("How often it took its worker down with it.")
    reason: str = field("What went wrong last.")
    enqueued_at: datetime = field("When it was asked for.")
    set_aside_at: datetime = field("When it was given up.")


@strawberry.input(description="A forecast to make now rather than at night.")
class StartForecastInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    resource: str = field("Code of the resource, such as `bed.adult`. One model looks at all institutions.")


@strawberry.input(description="A plan to make now rather than at night.")
class StartAllocationInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    region: str = field("The region, such as `us-nj`.")
    resource: str = field("Code of the resource, such as `bed.adult`.")


@strawberry.type(description="What became of startForecast or startAllocation.")
class StartJobPayload:
    key: str = field("What the run is for. Asked for twice while it waits, it runs once.")
    decision: Receipt = field("The decision on record.")


@strawberry.input(description="A job to give another chance.")
class RequeueJobInput:
    idempotency_key: str = key_field()
    on_behalf_of: OnBehalfOf | None = person_field()
    job: strawberry.ID = field("Identifier of the job, from jobsSetAside.")


@strawberry.type(description="What became of requeueJob.")
class RequeueJobPayload:
    job: strawberry.ID = field("Identifier of the job, which waits to be started again.")
    decision: Receipt = field("The decision on record.")


@strawberry.type
class JobQueries:
    @query("Jobs that wait or run, oldest first, at most 1000. For allocators and admins.")
    async def jobs_underway(self, info: Info) -> list[JobUnderway] | None:
        return [_underway(job) for job in await info.context.services.jobs.underway(info.context.caller)]

    @query("Jobs that wait for a person, oldest first, at most 100. For allocators and admins.")
    async def jobs_set_aside(self, info: Info) -> list[JobSetAside] | None:
        return [_set_aside(job) for job in await info.context.services.jobs.set_aside(info.context.caller)]


@strawberry.type
class JobMutations:
    @mutation("Forecast a resource now. For allocators.")
    async def start_forecast(
        self, info: Info, input: Annotated[StartForecastInput, argument("What to forecast.")]  # noqa: A002
    ) -> StartJobPayload | None:
        done = await info.context.services.jobs.start_forecast(
            info.context.caller, checks.code(input.resource, "resource"), wish("startForecast", input)
        )
        return paid(StartJobPayload, done, key=done.subject)

    @mutation("Allocate a resource of a region now. For allocators.")
    async def start_allocation(
        self, info: Info, input: Annotated[StartAllocationInput, argument("What to allocate.")]  # noqa: A002
    ) -> StartJobPayload | None:
        done = await info.context.services.jobs.start_allocation(
            info.context.caller, checks.code(input.region, "region"), checks.code(input.resource, "resource"),
            wish("startAllocation", input),
        )  # fmt: skip
        return paid(StartJobPayload, done, key=done.subject)

    @mutation("Give a job that was set aside another chance. For admins.")
    async def requeue_job(
        self, info: Info, input: Annotated[RequeueJobInput, argument("Which job.")]  # noqa: A002
    ) -> RequeueJobPayload | None:
        done = await info.context.services.jobs.requeue(
            info.context.caller, _number(input.job), wish("requeueJob", input)
        )
        return paid(RequeueJobPayload, done, job=strawberry.ID(str(done.subject)))


def _number(job: str) -> int:
    if not job.isascii() or not job.isdigit() or len(job) > 19 or int(job) > LARGEST_JOB:
        raise Invalid("job must be the id of a job in jobsSetAside.", field="job")
    return int(job)


def _underway(job: Waiting) -> JobUnderway:
    return JobUnderway(
        id=strawberry.ID(str(job.id)), name=job.name, payload=Json(dict(job.payload)), status=JobStatus(job.status),
        enqueued_at=job.enqueued_at, execute_after=job.execute_after,
    )  # fmt: skip


def _set_aside(job: SetAside) -> JobSetAside:
    return JobSetAside(
        id=strawberry.ID(str(job.id)), name=job.name, payload=Json(dict(job.payload)), attempts=job.attempts,
        starts=job.starts, reason=job.reason, enqueued_at=job.enqueued_at, set_aside_at=job.set_aside_at,
    )  # fmt: skip
