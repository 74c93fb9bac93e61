"""Ask for work now rather than at night, and look after work that was set aside."""

from __future__ import annotations

from sharewell.domain.errors import Invalid
from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.office import Done, Office, new_id
from sharewell.store.answered import Wish
from sharewell.store.queue import SetAside, Underway

STARTABLE = ("forecast", "allocate")


class JobService:
    """Work of the platform itself."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def start(
        self, caller: Caller, name: str, *, region: str, resource: str, wish: Wish | None = None
    ) -> Done[str]:
        """Enqueue a run over one resource of one region; returns the key it waits under."""
        if name not in STARTABLE:
            raise Invalid(f"name must be one of {', '.join(STARTABLE)}.", field="name")
        async with self._office.act(caller, Action.START_JOB, Target(kind="job", id=name), wish) as act:
            if act.repeated:
                return act.again(str)
            await act.tx.resources.get(resource)
            key = f"{region}/{resource}"
            decision = await act.record("job.started", "job", new_id(), {"name": name, "key": key})
            await act.tx.queue.enqueue(
                name, {"region": region, "resource": resource, "request_id": caller.request_id}, key=key
            )
            return await act.done(key, decision)

    async def underway(self, caller: Caller) -> list[Underway]:
        """Jobs that wait or run."""
        await self._office.allow(caller, Action.VIEW_JOB, Target.list("job"))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.queue.underway()

    async def set_aside(self, caller: Caller) -> list[SetAside]:
        """Jobs that will not be tried again until somebody looks at them."""
        await self._office.allow(caller, Action.VIEW_JOB, Target.list("job"))
        async with self._office.database.transaction(read_only=True) as tx:
            return await tx.queue.set_aside_jobs()

    async def requeue(self, caller: Caller, id: int, wish: Wish | None = None) -> Done[int]:  # noqa: A002
        """Give a job that was set aside another chance."""
        async with self._office.act(caller, Action.REQUEUE_JOB, Target(kind="job", id=str(id)), wish) as act:
            if act.repeated:
                return act.again(int)
            decision = await act.record("job.requeued", "job", id, {})
            await act.tx.queue.requeue(id)
            return await act.done(id, decision)
