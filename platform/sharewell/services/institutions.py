"""Take institutions in, suspend them, and find them."""

from __future__ import annotations

from typing import Unpack
from uuid import UUID

from sharewell.domain.errors import Forbidden
from sharewell.domain.institutions import Institution, InstitutionDraft, InstitutionStatus
from sharewell.domain.policy import MANY, Action, Target
from sharewell.domain.principals import Caller
from sharewell.services.act import Done
from sharewell.services.ids import new_id
from sharewell.services.office import Office
from sharewell.store.answered import Wish
from sharewell.store.institutions import InstitutionList
from sharewell.store.paging import Page
from sharewell.store.written import Wanted, WantedOne, Written


class InstitutionService:
    """Who takes part."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def register(self, caller: Caller, draft: InstitutionDraft, wish: Wish | None = None) -> Done[Institution]:
        target = Target(kind="institution", id=draft.code)
        async with self._office.act(caller, Action.REGISTER_INSTITUTION, target, wish) as act:
            if act.repeated:
                return act.again(Institution)
            institution = Institution.register(draft, id=new_id(), at=act.at)
            decision = await act.record(
                "institution.registered", "institution", institution.id,
                {"code": institution.code, "kind": institution.kind, "region": institution.region,
                 "equity_group": institution.equity_group},
                institution=institution.id,
            )  # fmt: skip
            await act.tx.institutions.add(institution, decision)
            return await act.done(institution, decision)

    async def set_status(
        self, caller: Caller, id: UUID, status: InstitutionStatus, wish: Wish | None = None  # noqa: A002
    ) -> Done[Institution]:
        target = Target(kind="institution", id=str(id), owner=id)
        async with self._office.act(caller, Action.UPDATE_INSTITUTION, target, wish) as act:
            if act.repeated:
                return act.again(Institution)
            before = await act.tx.institutions.get(id, lock=True)
            act.check_as_read(before.changed_by)
            decision = await act.record(
                "institution.updated", "institution", id, {"from": before.status, "to": status}, institution=id
            )
            await act.tx.institutions.set_status(id, status, decision)
            return await act.done(await act.tx.institutions.get(id), decision)

    async def get(self, caller: Caller, id: UUID) -> Institution:  # noqa: A002
        await self._office.allow(caller, Action.VIEW_INSTITUTION, Target(kind="institution", id=str(id), owner=id))
        async with self._office.reading(caller) as tx:
            return await tx.institutions.get(id)

    async def by_ids(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Institution]:
        """Several at once, for lists that name them."""
        await self._office.allow(caller, Action.VIEW_INSTITUTION, Target(kind="institution", id=MANY))
        async with self._office.reading(caller) as tx:
            return await tx.institutions.by_ids(ids)

    async def named(self, caller: Caller, ids: list[UUID]) -> dict[UUID, Institution | Forbidden]:
        """Several asked for by id, each permitted as `get` would: what is refused is its refusal."""
        targets = {id: Target(kind="institution", id=str(id), owner=id) for id in ids}  # noqa: A001
        refused = await self._office.refusals(caller, Action.VIEW_INSTITUTION, targets)
        async with self._office.reading(caller) as tx:
            return {**await tx.institutions.by_ids(ids), **refused}

    async def named_by_code(self, caller: Caller, codes: list[str]) -> dict[str, Institution | Forbidden]:
        """Several asked for by code, each permitted as `get` would: what is refused is its refusal."""
        async with self._office.reading(caller) as tx:
            found = await tx.institutions.by_codes(codes)
        named = await self.named(caller, [each.id for each in found.values()])
        return {code: named[each.id] for code, each in found.items() if each.id in named}

    async def page(self, caller: Caller, **asked: Unpack[InstitutionList]) -> Page[Institution]:
        await self._office.allow(caller, Action.VIEW_INSTITUTION, Target(kind="institution", id=MANY))
        async with self._office.reading(caller) as tx:
            return await tx.institutions.page(**asked)

    async def write_page(self, caller: Caller, wanted: Wanted, **asked: Unpack[InstitutionList]) -> Written:
        """The same, written; permitted, and on record, as `page` is."""
        await self._office.allow(caller, Action.VIEW_INSTITUTION, Target(kind="institution", id=MANY))
        async with self._office.reading_list(caller, asked) as tx:
            return await tx.institutions.write_page(wanted, **asked)

    async def write_one(self, caller: Caller, wanted: WantedOne, id: UUID) -> str:  # noqa: A002
        """The same as `get`, written."""
        await self._office.allow(caller, Action.VIEW_INSTITUTION, Target(kind="institution", id=str(id), owner=id))
        async with self._office.reading_at_once(caller) as tx:
            return (await tx.institutions.write_one(wanted, id)).text
