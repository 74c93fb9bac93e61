"""The one place that builds pools, store and services, for whichever process asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final
from urllib.parse import urlsplit

import structlog

from sharewell.audit.erasure import KEY_FILE, KeyFile, Vault
from sharewell.audit.keys import load_or_create_receipt_key, load_or_create_witness_key
from sharewell.audit.receipts import ReceiptSigner
from sharewell.audit.trust import own_policy, read_witnessed
from sharewell.authz import Authorizer
from sharewell.clock import clock
from sharewell.domain.addresses import origin_of
from sharewell.domain.principals import Caller, Role
from sharewell.domain.retention import Keeping
from sharewell.domain.scopes import INTERNAL_SCOPES
from sharewell.services.access import AccessService
from sharewell.services.agreements import AgreementService
from sharewell.services.allocations import AllocationService
from sharewell.services.answers import AnswerService
from sharewell.services.audit import AuditService
from sharewell.services.break_glass import BreakGlassService
from sharewell.services.capacity import CapacityService
from sharewell.services.choices import ChoiceService
from sharewell.services.clients import ClientService
from sharewell.services.comparisons import ComparisonService
from sharewell.services.completeness import CompletenessService
from sharewell.services.consents import ConsentService
from sharewell.services.deviations import DeviationService
from sharewell.services.dossiers import DossierService
from sharewell.services.drift import DriftService
from sharewell.services.feeds import FeedService
from sharewell.services.forecasts import ForecastService
from sharewell.services.grants import GrantService
from sharewell.services.happenings import HappeningService
from sharewell.services.horizons import HorizonService
from sharewell.services.inspection import InspectionService
from sharewell.services.institutions import InstitutionService
from sharewell.services.jobs import JobService
from sharewell.services.lab import LabService
from sharewell.services.lookout import Lookout
from sharewell.services.offers import OfferService
from sharewell.services.office import Office
from sharewell.services.overrides import OverrideService
from sharewell.services.people import PersonService
from sharewell.services.policies import PolicyService
from sharewell.services.policy_versions import PolicyVersionService
from sharewell.services.receipts import ReceiptService
from sharewell.services.requests import RequestService
from sharewell.services.resources import ResourceService
from sharewell.services.reviews import ReviewService
from sharewell.services.rulebook import Rulebook
from sharewell.services.simulations import SimulationService
from sharewell.services.subjects import SubjectService
from sharewell.services.surges import SurgeService
from sharewell.services.transfers import TransferService
from sharewell.services.trials import TrialService
from sharewell.services.trusted_documents import TrustedDocumentService
from sharewell.services.urgent import UrgentService
from sharewell.services.witness import WitnessService
from sharewell.settings import DatabaseRole, Settings
from sharewell.store.database import Database
from sharewell.store.pools import open_pool
from sharewell.store.server import DatabaseServer

FOLLOW_SECONDS: Final = 1.0
log = structlog.get_logger("sharewell")


@dataclass(frozen=True, kw_only=True)
class Services:
    """Every use case, over one database role."""

    settings: Settings
    database: Database
    office: Office
    now: Callable[[], datetime]
    access: AccessService
    agreements: AgreementService
    allocations: AllocationService
    answers: AnswerService
    audit: AuditService
    break_glass: BreakGlassService
    capacity: CapacityService
    choices: ChoiceService
    clients: ClientService
    comparisons: ComparisonService
    completeness: CompletenessService
    consents: ConsentService
    deviations: DeviationService
    dossiers: DossierService
    drift: DriftService
    feeds: FeedService
    forecasts: ForecastService
    grants: GrantService
    happenings: HappeningService
    horizons: HorizonService
    inspection: InspectionService
    institutions: InstitutionService
    jobs: JobService
    lab: LabService
    offers: OfferService
    overrides: OverrideService
    people: PersonService
    policies: PolicyService
    policy_versions: PolicyVersionService
    receipts: ReceiptService
    requests: RequestService
    resources: ResourceService
    reviews: ReviewService
    simulations: SimulationService
    subjects: SubjectService
    surges: SurgeService
    transfers: TransferService
    trials: TrialService
    trusted_documents: TrustedDocumentService
    urgent: UrgentService
    witness: WitnessService

    def policy_fault(self) -> str | None:
        """Why this process cannot judge by the policies that are in force now; None where it does."""
        return self.office.rulebook.fault(self.office.now())


def build_services(settings: Settings, database: Database, authz: Authorizer | None = None) -> Services:
    """Put the use cases together over `database`."""
    now = clock(settings.clock_file)
    vault = Vault(KeyFile(settings.home / KEY_FILE), settings.keep_persons)
    office = Office(database, Rulebook(authz or Authorizer.load()), now, vault)
    access, policies, simulations = AccessService(office), PolicyService(office), SimulationService(office)
    return Services(
        settings=settings, database=database, office=office, now=now,
        access=access, agreements=AgreementService(office), allocations=AllocationService(office),
        answers=AnswerService(office), audit=_audit(settings, office),
        break_glass=BreakGlassService(office, policies, longest=settings.glass_life),
        capacity=CapacityService(office), choices=ChoiceService(office),
        clients=ClientService(office, key_origins=key_origins(settings)),
        comparisons=ComparisonService(office), completeness=CompletenessService(office),
        consents=ConsentService(office), deviations=DeviationService(office),
        dossiers=DossierService(office, ForecastService(office)), drift=DriftService(office),
        feeds=FeedService(office), forecasts=ForecastService(office), grants=GrantService(office),
        happenings=HappeningService(office, Lookout(database)), horizons=HorizonService(office),
        inspection=InspectionService(office, keep=Keeping(settings.keep_years)),
        institutions=InstitutionService(office), jobs=JobService(office), lab=LabService(office),
        offers=OfferService(office, allocate_after=settings.allocate_after),
        overrides=OverrideService(office), people=PersonService(office), policies=policies,
        policy_versions=PolicyVersionService(office, policies, simulations),
        receipts=ReceiptService(office),
        requests=RequestService(office, allocate_after=settings.allocate_after),
        resources=ResourceService(office), reviews=ReviewService(office), simulations=simulations,
        subjects=SubjectService(office),
        surges=SurgeService(office), transfers=TransferService(office),
        trials=TrialService(office), trusted_documents=TrustedDocumentService(office, access),
        urgent=UrgentService(office, next_run=settings.allocate_after),
        witness=_witness(settings, office),
    )  # fmt: skip


def _audit(settings: Settings, office: Office) -> AuditService:
    receipts = ReceiptSigner(
        settings.log_origin, lambda: load_or_create_receipt_key(settings.home, settings.log_origin)
    )
    return AuditService(office, receipts, own_policy(settings.log_policy, settings.home))


def _witness(settings: Settings, office: Office) -> WitnessService:
    """A witness of the logs that the operator listed, under the name of this node."""
    logs = read_witnessed(settings.witness_logs)
    name = f"{urlsplit(settings.issuer).netloc}/witness"
    return WitnessService(office, logs, lambda: load_or_create_witness_key(settings.home, name))


def key_origins(settings: Settings) -> frozenset[str]:
    """Where clients may publish keys."""
    return frozenset(origin_of(origin.removeprefix("private:")) for origin in settings.egress)


@asynccontextmanager
async def open_services(
    settings: Settings, server: DatabaseServer, role: DatabaseRole, *, most: int = 10
) -> AsyncIterator[Services]:
    """The services of one process, for the length of an `async with` block."""
    async with open_pool(server.url(role), role, most=most) as pool:
        services = build_services(settings, Database(pool))
        if role is DatabaseRole.SEQUENCER:
            yield services  # it seals what others decided, and asks no policy
            return
        async with _following_policies(services):
            yield services


@asynccontextmanager
async def _following_policies(services: Services) -> AsyncIterator[None]:
    """Keep the process at what is in force, by a statement a second."""
    await services.policies.refresh()
    services.office.rulebook.follow()
    following = asyncio.create_task(_follow(services))
    try:
        yield
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def _follow(services: Services) -> None:
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        try:
            await services.policies.catch_up(operator("policies"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the rulebook goes stale and says so
            log.warning("policies could not be followed", why=str(error) or type(error).__name__)


def migrations() -> Traversable:
    """The SQL files of this release."""
    return files("sharewell_schema") / "sql"


def operator(request_id: str = "start") -> Caller:
    """Whoever runs the process on the machine itself: what a first start puts on record is done under this name."""
    return Caller(
        principal="operator", roles=frozenset({Role.ADMIN}), scopes=INTERNAL_SCOPES, request_id=request_id
    )


def worker_caller(job: str, request_id: str) -> Caller:
    """A worker acts under its own name: a nightly run is permitted and recorded exactly like a person."""
    return Caller(
        principal=job, roles=frozenset({Role.ALLOCATOR}), scopes=INTERNAL_SCOPES, request_id=request_id
    )
