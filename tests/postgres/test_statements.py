"""Every statement of the store parses on the migrated database, may be run by the role that runs it, and answers with
the columns that its dataclass has fields for, of the same types and as nullable."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib import import_module
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import asyncpg
import pytest

import sharewell.store
from sharewell.domain.agreements import Agreement
from sharewell.domain.break_glass import BrokenGlass, Somebody
from sharewell.domain.capacity import CapacityReport
from sharewell.domain.choices import Choice
from sharewell.domain.clients import Client
from sharewell.domain.consents import Consent
from sharewell.domain.deviations import Deviation
from sharewell.domain.drift import Watch
from sharewell.domain.grants import Family
from sharewell.domain.happenings import Happening
from sharewell.domain.institutions import Institution
from sharewell.domain.offers import Offer
from sharewell.domain.overrides import Override
from sharewell.domain.people import Person
from sharewell.domain.policy_versions import PolicyVersion, Scheduled
from sharewell.domain.requests import Request
from sharewell.domain.resources import Resource
from sharewell.domain.review import Registration
from sharewell.domain.surges import SurgeMode
from sharewell.domain.transfers import Transfer
from sharewell.domain.trial import ForecastTrial
from sharewell.settings import DatabaseRole
from sharewell.store.allocations import Allocation
from sharewell.store.audit import DecisionHeader
from sharewell.store.capacity import SeriesPoint
from sharewell.store.deviations import OperatorTally
from sharewell.store.feeds import FeedRecord
from sharewell.store.forecasts import ForecastRun
from sharewell.store.horizons import HorizonDay, HorizonMovement, HorizonRun, HorizonTotal, HorizonUnmet
from sharewell.store.inspection import FacetValue, Held
from sharewell.store.log import Head, Sealed, SignedHead, Staged, StoredHead, StoredTile
from sharewell.store.overrides import OverrideCount
from sharewell.store.passkeys import OwnPasskey, Passkey
from sharewell.store.people import Secrets
from sharewell.store.policy_versions import PolicyStep
from sharewell.store.queue import SetAside, Underway
from sharewell.store.receipts import LeftOpen
from sharewell.store.subjects import SubjectKey
from sharewell.store.transfers import TransferStep
from sharewell.store.visits import Visit
from sharewell.store.witness import Refusal, WitnessedHead

if TYPE_CHECKING:
    from tests.postgres.conftest import Connect, Connection

GATEWAY, WORKER, SEQUENCER = DatabaseRole.GATEWAY, DatabaseRole.WORKER, DatabaseRole.SEQUENCER

#: Who runs a statement, where it is not the gateway alone. A module's name speaks for all of its statements.
RUN_BY: Mapping[str, tuple[DatabaseRole, ...]] = {
    "audit.RECORD": (GATEWAY, WORKER, SEQUENCER),
    "audit.PAGE": (GATEWAY, WORKER),
    "log": (SEQUENCER,),
    "log.LEAVES": (GATEWAY, SEQUENCER),
    "log.TILES": (GATEWAY, SEQUENCER),
    "log.KEYS": (GATEWAY, SEQUENCER),
    "log.OF_PERIOD": (GATEWAY,),
    "log.BODIES": (GATEWAY,),
    "log.POLICY_SETS": (GATEWAY,),
    "log.SEALED": (GATEWAY, SEQUENCER),
    "log.COSIGNATURES": (GATEWAY, SEQUENCER),
    "log.LATEST_CHECKPOINT": (GATEWAY, SEQUENCER),
    "allocations.ADD": (WORKER,),
    "allocations.ANSWERED": (WORKER,),
    "artifacts.ADD": (GATEWAY, WORKER),
    "artifacts.GET": (GATEWAY, WORKER),
    "break_glass.END": (GATEWAY, WORKER),
    "break_glass.BY_ID_LOCKED": (GATEWAY, WORKER),
    "break_glass.OVER": (GATEWAY, WORKER),
    "capacity.LATEST_IN_REGION": (WORKER,),
    "capacity.MARKETS": (WORKER,),
    "capacity.SERIES": (GATEWAY, WORKER),
    "capacity.LATELY": (GATEWAY, WORKER),
    "choices.IN_FORCE": (GATEWAY, WORKER),
    "choices.ALL_IN_FORCE": (WORKER,),
    "credit": (WORKER,),
    "consents.STANDING": (WORKER,),
    "deviations.ADD": (GATEWAY, WORKER),
    "deviations.ALONE": (WORKER,),
    "drift": (WORKER,),
    "drift.BY_KEYS": (GATEWAY,),
    "drift.DRIFTING": (GATEWAY,),
    "feeds": (WORKER,),
    "feeds.BY_ID": (GATEWAY,),
    "feeds.PAGE": (GATEWAY,),
    "forecasts.ADD_RUN": (WORKER,),
    "forecasts.RUN_BY_ORIGIN": (WORKER,),
    "forecasts.RUN_BY_ID": (GATEWAY, WORKER),
    "forecasts.OF_RUN": (GATEWAY, WORKER),
    "forecasts.DECISION_OF": (WORKER,),
    "forecasts.NEWEST_FOR_DAY": (WORKER,),
    "horizons": (WORKER,),
    **{f"horizons.{name}": (GATEWAY,) for name in ("BY_ID", "PAGE", "RUNS", "DAYS", "TOTALS", "MOVEMENTS", "UNMET")},
    "institutions.IN_REGION": (WORKER,),
    "offers.OPEN_IN_REGION": (WORKER,),
    "offers.LOCK_THESE": (GATEWAY, WORKER),
    "requests.OPEN_IN_REGION": (WORKER,),
    **{
        f"policy_versions.{name}": (GATEWAY, WORKER)
        for name in ("ALONE", "STEP", "EFFECTIVE", "DUE", "SCHEDULE", "FILES", "BY_NUMBER_LOCKED")
    },
    "receipts.ADD": (WORKER,),
    "receipts.ADD_UNFILLED": (WORKER,),
    "requests.LOCK_THESE": (GATEWAY, WORKER),
    "requests.ENDED": (WORKER,),
    "requests.ADD": (GATEWAY, WORKER),
    "requests.UPDATE": (GATEWAY, WORKER),
    "requests.BY_ID_LOCKED": (GATEWAY, WORKER),
    "subjects.DUE": (WORKER,),
    "subjects.DELETE": (GATEWAY, WORKER),
    "surges.END": (GATEWAY, WORKER),
    "surges.IN_FORCE": (GATEWAY, WORKER),
    "surges.OVER": (WORKER,),
    "transfers.ADD": (WORKER,),
    "transfers.HOLD": (WORKER,),
    "transfers.EXPIRED_HOLDS": (WORKER,),
    "transfers.DUE_BACK": (WORKER,),
    "transfers.INCOMING_IN_REGION": (WORKER,),
    "transfers.LAPSED": (WORKER,),
    "transfers.NOT_DISPATCHED": (WORKER,),
    "transfers.PROMISED_IN_REGION": (WORKER,),
    "transfers.UPDATE": (GATEWAY, WORKER),
    "trials": (WORKER,),
    "trials.BY_MODELS": (GATEWAY,),
    "trials.PAGE": (GATEWAY,),
}


@dataclass(frozen=True)
class Shape:
    """What the rows of some statements become."""

    kind: type
    statements: str  #: names of one module, such as `offers: BY_ID PAGE`
    table: str = ""  #: where all of it comes from, if from one table
    renamed: Mapping[str, str] = field(default_factory=dict)  #: columns that have another name as fields
    counted: Sequence[str] = ()  #: fields that no column holds, and that are never null

    def __str__(self) -> str:
        return self.kind.__name__

    @property
    def names(self) -> list[str]:
        module, _, names = self.statements.partition(": ")
        return [f"{module}.{name}" for name in names.split()]


WHOSE = {"institution_id": "institution"}
CHANGED = {"decision_id": "changed_by"}
SHAPES = (
    Shape(
        Institution, "institutions: BY_ID BY_ID_LOCKED BY_IDS BY_CODE IN_REGION PAGE", "sharewell.institution", CHANGED
    ),
    Shape(Resource, "resources: BY_CODE PAGE", "sharewell.resource"),
    Shape(
        CapacityReport, "capacity: BY_ID BY_IDS LATEST LATEST_IN_REGION NEWEST_OF_REGION PAGE",
        "sharewell.capacity_report", WHOSE,
    ),
    Shape(SeriesPoint, "capacity: SERIES", renamed=WHOSE),
    Shape(Offer, "offers: BY_ID BY_ID_LOCKED OPEN_IN_REGION LOCK_THESE PAGE", "sharewell.offer", WHOSE),
    Shape(
        Request, "requests: BY_ID BY_ID_LOCKED OPEN_IN_REGION LOCK_THESE ENDED PAGE", "sharewell.request",
        WHOSE | CHANGED,
    ),
    Shape(
        Transfer, "transfers: BY_ID BY_ID_LOCKED BY_IDS EXPIRED_HOLDS DUE_BACK OPEN_HOLDS NOT_DISPATCHED PAGE",
        "sharewell.transfer",
        {f"{name}_id": name for name in ("offer", "request", "giver", "receiver", "allocation")} | CHANGED,
    ),
    Shape(TransferStep, "transfers: STEPS", renamed={"decision_id": "decision"}),
    Shape(
        Override, "overrides: BY_ID BY_IDS PAGE", "sharewell.override",
        {f"{name}_id": name for name in ("transfer", "request", "replacement", "giver", "receiver", "decision")},
    ),
    Shape(OverrideCount, "overrides: BY_CODE"),
    Shape(
        Deviation, "deviations: BY_IDS PAGE", "sharewell.deviation",
        {f"{name}_id": name for name in ("transfer", "giver", "receiver", "decision")},
    ),
    Shape(OperatorTally, "deviations: TALLIES"),
    Shape(
        Agreement, "agreements: BY_ID BY_ID_LOCKED IN_FORCE_BY IN_FORCE_FOR PAGE", "sharewell.agreement",
        {"giver_id": "giver", "receiver_id": "receiver"} | CHANGED,
    ),
    Shape(
        BrokenGlass, "break_glass: BY_ID BY_ID_LOCKED LAST OVER PAGE", "sharewell.break_glass",
        {"decision_id": "decision"},
    ),
    Shape(
        PolicyVersion, "policy_versions: BY_NUMBER BY_NUMBER_LOCKED PAGE NEWEST_SHIPPED EFFECTIVE DUE",
        renamed={"decision_id": "decision"},
    ),
    Shape(PolicyStep, "policy_versions: STEPS", renamed={"decision_id": "decision"}),
    Shape(Scheduled, "policy_versions: SCHEDULE"),
    Shape(Somebody, "policy_versions: APPROVALS"),
    Shape(
        SurgeMode, "surges: BY_ID BY_IDS BY_ID_LOCKED OPEN_FOR IN_FORCE OVER PAGE", renamed={"decision_id": "decision"}
    ),
    Shape(Happening, "happenings: BETWEEN"),
    Shape(Consent, "consents: BY_ID BY_ID_LOCKED STANDING PAGE", "sharewell.consent", WHOSE | CHANGED),
    Shape(
        SubjectKey, "subjects: BY_LOOKUP BY_LOOKUP_HELD BY_REF BY_REF_LOCKED UNDER", "erasable.subject_key"
    ),
    Shape(
        LeftOpen, "receipts: UNFILLED_OF_RUNS UNFILLED_OF_REQUESTS", "sharewell.unfilled",
        {f"{name}_id": name for name in ("allocation", "request", "institution")},
    ),
    Shape(ForecastRun, "forecasts: RUN_BY_ORIGIN RUN_BY_ID RUNS", "sharewell.forecast_run"),
    Shape(ForecastTrial, "trials: BY_ID BY_MODELS NEWEST IN_FORCE PAGE", "sharewell.forecast_trial"),
    Shape(Watch, "drift: OF_RESOURCE BY_KEYS DRIFTING", "sharewell.forecast_watch", WHOSE),
    Shape(Allocation, "allocations: BY_ID BY_IDS PAGE", "sharewell.allocation", {"horizon_id": "horizon"}),
    Shape(HorizonRun, "horizons: BY_ID PAGE", "sharewell.horizon"),
    Shape(HorizonDay, "horizons: DAYS", "sharewell.horizon_day", WHOSE),
    Shape(HorizonTotal, "horizons: TOTALS"),
    Shape(
        HorizonMovement, "horizons: MOVEMENTS", "sharewell.horizon_movement",
        {"giver_id": "giver", "receiver_id": "receiver"},
    ),
    Shape(HorizonUnmet, "horizons: UNMET", "sharewell.horizon_unmet", WHOSE),
    Shape(Choice, "choices: IN_FORCE ALL_IN_FORCE PAGE", "sharewell.choice"),
    Shape(FeedRecord, "feeds: BY_HASH BY_ID PAGE", "sharewell.feed", {"decision_id": "decision"}),
    Shape(Client, "clients: BY_ID PAGE APPS", "oauth.client", {"jwks": "keys"}),
    Shape(Registration, "reviews: CLIENTS PEOPLE"),
    Shape(DecisionHeader, "audit: PAGE"),
    Shape(FacetValue, "inspection: FACETS"),
    Shape(Held, "inspection: HELD"),
    Shape(Person, "people: BY_ID INVITED PAGE", "oauth.person", counted=["passkeys"]),
    Shape(Secrets, "people: SECRETS", "oauth.person"),
    Shape(Passkey, "passkeys: BY_ID", "oauth.passkey"),
    Shape(OwnPasskey, "passkeys: OF_PERSON", "oauth.passkey", {"decision_id": "added_by"}),
    Shape(Visit, "visits: BY_HASH", "oauth.visit"),
    Shape(Family, "grants: FAMILY"),
    Shape(Head, "log: HEAD"),
    Shape(Staged, "log: FRESH LATE", "audit.entry"),
    Shape(SignedHead, "log: LATEST_CHECKPOINT", "audit.checkpoint"),
    Shape(Sealed, "log: SEALED"),
    Shape(StoredHead, "log: HEADS"),
    Shape(StoredTile, "log: TILES_OF_LEVEL", "audit.tile"),
    Shape(WitnessedHead, "witness: HEAD_OF HEAD_LIST", "witness.head"),
    Shape(Refusal, "witness: REFUSALS", "witness.refusal"),
    Shape(SetAside, "queue: SET_ASIDE"),
    Shape(Underway, "queue: UNDERWAY"),
)  # fmt: skip
#: What the driver makes of a type. JSON, also as bytes, and arrays become what the mapper makes of them.
PYTHON = {
    "uuid": UUID, "text": str, "int2": int, "int4": int, "int8": int, "float8": float, "timestamptz": datetime,
    "date": date, "bytea": bytes,
}  # fmt: skip
#: Names that some modules import for type checkers only.
LATE = {"UUID": UUID, "datetime": datetime, "date": date, "Mapping": Mapping, "Sequence": Sequence}
NULLABLE = """
select attname, not attnotnull as nullable from pg_attribute
 where attrelid = $1::text::regclass and attnum > 0 and not attisdropped
"""


def found() -> Iterator[tuple[str, str]]:
    """Name and text of every statement that a module of the store keeps under a name in capitals."""
    for info in pkgutil.iter_modules(sharewell.store.__path__):
        for name, value in vars(import_module(f"sharewell.store.{info.name}")).items():
            is_sql = isinstance(value, str) and re.match(r"\s*(select|insert|update|delete|with)\b", value)
            if is_sql and re.fullmatch(r"[A-Z][A-Z_]*", name):
                yield f"{info.name}.{name}", value


STATEMENTS = dict(found())


def roles(name: str) -> tuple[DatabaseRole, ...]:
    return RUN_BY.get(name) or RUN_BY.get(name.partition(".")[0]) or (GATEWAY,)


def hints(kind: type) -> dict[str, tuple[type, bool]]:
    """For each field its plain type and whether None is one of its values."""
    told = {}
    for name, hint in get_type_hints(kind, localns=LATE).items():
        of = [each for each in get_args(hint) if each is not NoneType]
        optional = get_origin(hint) in {Union, UnionType}
        told[name] = (of[0] if optional else get_origin(hint) or hint, optional)
    return told


def test_the_store_keeps_its_statements_where_this_test_looks() -> None:
    assert len(STATEMENTS) > 80
    assert {name for shape in SHAPES for name in shape.names} <= set(STATEMENTS)
    assert {name for name in RUN_BY if "." in name} <= set(STATEMENTS)


@pytest.mark.parametrize("role", [GATEWAY, WORKER, SEQUENCER])
async def test_a_role_may_run_every_statement_it_runs(connect: Connect, role: DatabaseRole) -> None:
    conn, refused = await connect(role), {}
    for name, statement in STATEMENTS.items():
        if role in roles(name):
            try:
                await conn.prepare(statement)
                # Rights are looked at when a statement is started, so it is started, and explained instead of run.
                await conn.execute(f"explain (generic_plan) {statement}")
            except asyncpg.PostgresError as why:
                refused[name] = str(why)
    assert not refused


@pytest.mark.parametrize("shape", SHAPES, ids=str)
async def test_the_columns_of_a_row_are_the_fields_of_what_it_becomes(owner: Connection, shape: Shape) -> None:
    fields = hints(shape.kind)
    for name in shape.names:
        row = (await owner.prepare(STATEMENTS[name])).get_attributes()
        columns = {shape.renamed.get(column.name, column.name): column.type.name for column in row}
        assert set(columns) == set(fields), name
        for column, type_name in columns.items():
            if type_name in PYTHON and fields[column][0] is not Mapping:
                assert issubclass(fields[column][0], PYTHON[type_name]), (name, column)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.table], ids=str)
async def test_a_field_may_be_none_exactly_where_its_column_may_be_null(owner: Connection, shape: Shape) -> None:
    nullable = {
        shape.renamed.get(row["attname"], row["attname"]): row["nullable"]
        for row in await owner.fetch(NULLABLE, shape.table)
    } | dict.fromkeys(shape.counted, False)
    fields = hints(shape.kind)
    assert {name: optional for name, (_, optional) in fields.items()} == {name: nullable[name] for name in fields}
