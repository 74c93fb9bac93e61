"""The whole schema, put together from one file a noun.

`python -m sharewell_schema.schema` writes it as SDL; `api.graphql` beside this file is that output, and a test keeps
the two equal.
"""

from __future__ import annotations

import sys

import strawberry
from graphql import GraphQLSchema, lexicographic_sort_schema, print_schema
from strawberry.schema.config import StrawberryConfig

from sharewell_schema.agreements import AgreementMutations, AgreementQueries
from sharewell_schema.allocations import AllocationQueries
from sharewell_schema.answers import AnswerMutations
from sharewell_schema.audit import AuditQueries
from sharewell_schema.break_glass import BreakGlassMutations, BreakGlassQueries
from sharewell_schema.capacity import CapacityMutations, CapacityQueries
from sharewell_schema.choices import ChoiceMutations, ChoiceQueries
from sharewell_schema.clients import ClientMutations, ClientQueries
from sharewell_schema.completeness import CompletenessQueries
from sharewell_schema.consents import ConsentMutations, ConsentQueries
from sharewell_schema.costs import declare_lists
from sharewell_schema.deviations import DeviationMutations, DeviationQueries
from sharewell_schema.drift import DriftQueries
from sharewell_schema.entities import ANY, EntityQueries
from sharewell_schema.executor import FastExecutor
from sharewell_schema.feeds import FeedQueries
from sharewell_schema.forecasts import ForecastQueries
from sharewell_schema.happenings import HappeningQueries, Subscription
from sharewell_schema.horizons import HorizonMutations, HorizonQueries
from sharewell_schema.inspection import InspectionQueries
from sharewell_schema.institutions import InstitutionMutations, InstitutionQueries
from sharewell_schema.jobs import JobMutations, JobQueries
from sharewell_schema.lab import LabQueries
from sharewell_schema.log import LogQueries
from sharewell_schema.offers import OfferMutations, OfferQueries
from sharewell_schema.overrides import OverrideMutations, OverrideQueries
from sharewell_schema.people import PersonMutations, PersonQueries
from sharewell_schema.policies import PolicyQueries
from sharewell_schema.policy_versions import PolicyVersionMutations, PolicyVersionQueries
from sharewell_schema.receipts import ReceiptQueries
from sharewell_schema.requests import RequestMutations, RequestQueries
from sharewell_schema.resources import ResourceMutations, ResourceQueries
from sharewell_schema.reviews import ReviewQueries
from sharewell_schema.scalars import SCALARS
from sharewell_schema.simulations import SimulationQueries
from sharewell_schema.subjects import SubjectMutations, SubjectQueries
from sharewell_schema.surges import SurgeMutations, SurgeQueries
from sharewell_schema.transfers import TransferMutations, TransferQueries
from sharewell_schema.trials import TrialQueries
from sharewell_schema.trusted_documents import TrustedDocumentMutations, TrustedDocumentQueries


@strawberry.type(description="What can be asked. Lists are pages, read forwards by cursor.")
class Query(
    ClientQueries, InstitutionQueries, ResourceQueries, CapacityQueries, OfferQueries, RequestQueries, TransferQueries,
    OverrideQueries, DeviationQueries, SurgeQueries, ConsentQueries, AgreementQueries, ForecastQueries, TrialQueries,
    DriftQueries, AllocationQueries, HorizonQueries, ChoiceQueries, LabQueries, ReceiptQueries, AuditQueries,
    InspectionQueries, LogQueries, CompletenessQueries, SubjectQueries, PersonQueries, FeedQueries, JobQueries,
    PolicyQueries, PolicyVersionQueries, BreakGlassQueries, SimulationQueries, ReviewQueries,
    TrustedDocumentQueries, EntityQueries, HappeningQueries,
):  # fmt: skip
    """The nouns' queries, all in one."""


@strawberry.type(description="What can be done. Each deed is permitted by the policies and put on record, or not done.")
class Mutation(
    ClientMutations, InstitutionMutations, ResourceMutations, CapacityMutations, OfferMutations, RequestMutations,
    TransferMutations, ChoiceMutations, AnswerMutations, OverrideMutations, DeviationMutations, SurgeMutations,
    ConsentMutations, AgreementMutations, HorizonMutations, JobMutations, PersonMutations, SubjectMutations,
    PolicyVersionMutations, BreakGlassMutations, TrustedDocumentMutations,
):  # fmt: skip
    """The nouns' mutations, all in one."""


def build_schema() -> strawberry.Schema:
    """A new schema. Raises where a type cannot be."""
    declare_lists(Query, Mutation, Subscription)
    return strawberry.federation.Schema(
        Query, Mutation, Subscription, federation_version="2.9", scalar_overrides=ANY,
        execution_context_class=FastExecutor,
        config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=True),
    )  # fmt: skip


def sdl() -> str:
    """The schema definition language of the API, with every description, and without what only gateways ask for."""
    # Sorted for reading only: the copy that sorting makes has lost the enumerations of Python.
    parts = lexicographic_sort_schema(build_schema()._schema).to_kwargs()  # noqa: SLF001
    query = parts["query"]
    assert query is not None
    for name in ("_entities", "_service"):
        del query.fields[name]
    api = GraphQLSchema(query=query, mutation=parts["mutation"], subscription=parts["subscription"])
    return print_schema(lexicographic_sort_schema(api)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(sdl())
