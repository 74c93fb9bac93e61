"""A small region over a real database: institutions that report, pledge, ask and answer through the services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sharewell.authz import Authorizer
from sharewell.domain.capacity import CapacityDraft
from sharewell.domain.institutions import Institution, InstitutionDraft, InstitutionKind
from sharewell.domain.offers import Offer, OfferDraft
from sharewell.domain.principals import Caller, Role
from sharewell.domain.requests import Request, RequestDraft, RequestReason
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.wiring import Services, build_services, operator

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEDS = "bed.adult"


@dataclass
class World:
    """Services for people and for workers, on a clock that the test sets."""

    people: Services
    workers: Services
    at: datetime = NOON
    callers: dict[UUID, Caller] = field(default_factory=dict)

    async def institution(self, code: str, *, latitude: float = 40.0, longitude: float = -74.0) -> Institution:
        draft = InstitutionDraft(
            code=code, name=code.title(), kind=InstitutionKind.HOSPITAL, region="us-nj", latitude=latitude,
            longitude=longitude,
        )  # fmt: skip
        institution = (await self.people.institutions.register(operator(), draft)).subject
        self.callers[institution.id] = Caller(
            principal=f"{code}-client", roles=frozenset({Role.INSTITUTION}), institution=institution.id,
            scopes=frozenset({"system/*.cruds"}), request_id="r-1",
        )  # fmt: skip
        return institution

    async def report(self, who: Institution, *, staffed: int, occupied: int, **more: Any) -> None:
        draft = CapacityDraft(
            resource=more.pop("resource", BEDS), as_of=more.pop("as_of", self.at), staffed=staffed,
            occupied=occupied, **more,
        )  # fmt: skip
        await self.people.capacity.report(self.callers[who.id], who.id, [draft])

    def offer_of(self, quantity: int, **more: Any) -> OfferDraft:
        usual: dict[str, Any] = {
            "resource": BEDS, "available_from": self.at, "available_until": self.at + timedelta(days=2),
        }  # fmt: skip
        return OfferDraft(quantity=quantity, **(usual | more))

    async def pledge(self, who: Institution, quantity: int, **more: Any) -> Offer:
        return (await self.people.offers.publish(self.callers[who.id], who.id, self.offer_of(quantity, **more))).subject

    async def ask(self, who: Institution, quantity: int, **more: Any) -> Request:
        usual: dict[str, Any] = {
            "resource": BEDS, "urgency": 3, "reason": RequestReason.SURGE, "needed_by": self.at,
            "needed_until": self.at + timedelta(days=2),
        }  # fmt: skip
        draft = RequestDraft(quantity=quantity, **(usual | more))
        return (await self.people.requests.open(self.callers[who.id], who.id, draft)).subject


@pytest.fixture
async def world(database_urls: Mapping[DatabaseRole, str], tmp_path: Path) -> AsyncIterator[World]:
    settings = Settings(home=tmp_path, allocate_after=None)
    authz = Authorizer.load()
    async with (
        open_pool(database_urls[DatabaseRole.GATEWAY], DatabaseRole.GATEWAY) as gateway,
        open_pool(database_urls[DatabaseRole.WORKER], DatabaseRole.WORKER) as worker,
    ):
        people = build_services(settings, Database(gateway), authz)
        workers = build_services(settings, Database(worker), authz)
        made = World(people, workers)
        people.office.now = workers.office.now = lambda: made.at
        await people.resources.define_catalogue(operator())
        yield made
