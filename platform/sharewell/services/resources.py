"""Add lines to the resource catalogue, and read it."""

from __future__ import annotations

from sharewell.domain.errors import Forbidden
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.principals import Caller
from sharewell.domain.resources import Resource, catalogue
from sharewell.services.act import Done
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.paging import Page


class ResourceService:
    """What can be shared."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def define(self, caller: Caller, draft: Resource, wish: Wish | None = None) -> Done[Resource]:
        async with self._office.act(
            caller, Action.DEFINE_RESOURCE, Target(kind="resource", id=draft.code), wish
        ) as act:
            if act.repeated:
                return act.again(Resource)
            resource = Resource.define(draft)
            decision = await act.record(
                "resource.defined", "resource", resource.code, {"kind": resource.kind, "unit": resource.unit}
            )
            await act.tx.resources.add(resource, decision)
            return await act.done(resource, decision)

    async def define_catalogue(self, caller: Caller) -> int:
        """Add the lines every installation starts with that are not there yet; return how many."""
        async with self._office.reading(caller) as tx:
            missing = [line for line in catalogue() if await tx.resources.find(line.code) is None]
        for line in missing:
            await self.define(caller, line)
        return len(missing)

    async def get(self, caller: Caller, code: str) -> Resource:
        await self._office.allow(caller, Action.VIEW_RESOURCE, Target(kind="resource", id=code))
        async with self._office.reading(caller) as tx:
            return await tx.resources.get(code)

    async def by_codes(self, caller: Caller, codes: list[str]) -> dict[str, Resource]:
        """Several at once, for lists that name them."""
        await self._office.allow(caller, Action.VIEW_RESOURCE, Target(kind="resource", id=MANY))
        async with self._office.reading(caller) as tx:
            return await tx.resources.by_codes(codes)

    async def named(self, caller: Caller, codes: list[str]) -> dict[str, Resource | Forbidden]:
        """Several asked for by code, each permitted as `get` would: what is refused is its refusal."""
        targets = {code: Target(kind="resource", id=code) for code in codes}
        refused = await self._office.refusals(caller, Action.VIEW_RESOURCE, targets)
        async with self._office.reading(caller) as tx:
            return {**await tx.resources.by_codes(codes), **refused}

    async def page(self, caller: Caller, *, after: str, first: int) -> Page[Resource]:
        await self._office.allow(caller, Action.VIEW_RESOURCE, Target(kind="resource", id=MANY))
        async with self._office.reading(caller) as tx:
            return await tx.resources.page(after=after, first=first)
