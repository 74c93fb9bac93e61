"""Ask for work now rather than at night, and look after work that was set aside."""

from __future__ import annotations

from collections.abc import Mapping

from sharewell.domain.policy import Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.act import Done
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.queue import SetAside, Underway


class JobService:
    """Work of the platform itself."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def start_forecast(self, caller: Caller, resource: str, wish: Wish | None = None) -> Done[str]:
        """Ask for a forecast of one resource, everywhere; returns the key it waits under."""
        return await self._start(caller, "forecast", resource, {"resource": resource}, wish)

    async def start_allocation(
        self, caller: Caller, region: str, resource: str, wish: Wish | None = None
    ) -> Done[str]:
        """Ask for a plan of one resource in one region; returns the key it waits under."""
        payload = {"region": region, "resource": resource}
        return await self._start(caller, "allocate", f"{region}/{resource}", payload, wish)

    async def _start(
        self, caller: Caller, name: str, key: str, payload: Mapping[str, str], wish: Wish | None
    ) -> Done[str]:
        async with self._office.act(caller, Action.START_JOB, Target(kind="job", id=name), wish) as act:
            if act.repeated:
                return act.again(str)
            await self._office.resource(act.tx, payload["resource"])
            decision = await act.record("job.started", "job", new_id(), {"name": name, "key": key})
            await act.tx.queue.enqueue(name, {**payload, "request_id": caller.request_id}, key=key)
            return await act.done(key, decision)

    async def underway(self, caller: Caller) -> list[Underway]:
        """Jobs that wait or run."""
        await self._office.allow(caller, Action.VIEW_JOB, Target.list("job"))
        async with self._office.reading(caller) as tx:
            return await tx.queue.underway()

    async def set_aside(self, caller: Caller) -> list[SetAside]:
        """Jobs that will not be tried again until somebody looks at them."""
        await self._office.allow(caller, Action.VIEW_JOB, Target.list("job"))
        async with self._office.reading(caller) as tx:
            return await tx.queue.set_aside_jobs()

    async def requeue(self, caller: Caller, id: int, wish: Wish | None = None) -> Done[int]:  # noqa: A002
        """Give a job that was set aside another chance."""
        async with self._office.act(caller, Action.REQUEUE_JOB, Target(kind="job", id=str(id)), wish) as act:
            if act.repeated:
                return act.again(int)
            decision = await act.record("job.requeued", "job", id, {})
            await act.tx.queue.requeue(id)
            return await act.done(id, decision)
