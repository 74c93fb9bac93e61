"""The GraphQL operations that a partner institution's own system sends, as it would send them."""

from __future__ import annotations

from typing import Final

REGISTER_INSTITUTION: Final = """
mutation ($input: RegisterInstitutionInput!) { registerInstitution(input: $input) { institution { id code } } }
"""
REGISTER_CLIENT: Final = """
mutation ($input: RegisterClientInput!) { registerClient(input: $input) { client { clientId } } }
"""
REPORT: Final = """
mutation ($input: ReportCapacityInput!) { reportCapacity(input: $input) { decision { id } } }
"""
OFFER: Final = """
mutation ($input: PublishOfferInput!) { publishOffer(input: $input) { offer { id quantity } } }
"""
WITHDRAW: Final = """
mutation ($input: WithdrawOfferInput!) { withdrawOffer(input: $input) { offer { id } } }
"""
REQUEST: Final = """
mutation ($input: OpenRequestInput!) { openRequest(input: $input) { request { id } } }
"""
CANCEL: Final = """
mutation ($input: CancelRequestInput!) { cancelRequest(input: $input) { request { id } } }
"""
OWN_REQUESTS: Final = """
query ($institution: UUID!, $after: String) {
  requests(institution: $institution, status: OPEN, first: 200, after: $after) {
    nodes { id resource neededUntil } pageInfo { hasNextPage endCursor }
  }
}
"""
OWN_FORECASTS: Final = """
query ($institution: UUID!, $since: Date!) {
  forecasts(institution: $institution, since: $since, first: 50) {
    nodes { resource target quantiles { level value } }
  }
}
"""
OWN_TRANSFERS: Final = """
query ($institution: UUID!, $state: TransferState!, $after: String) {
  transfers(party: $institution, state: $state, first: 500, after: $after) {
    nodes { id resource quantity giverId receiverId } pageInfo { hasNextPage endCursor }
  }
}
"""
START_FORECAST: Final = """
mutation ($input: StartForecastInput!) { startForecast(input: $input) { decision { id } } }
"""
START_ALLOCATION: Final = """
mutation ($input: StartAllocationInput!) { startAllocation(input: $input) { decision { id } } }
"""
UNDERWAY: Final = "query { jobsUnderway { name } jobsSetAside { id name reason } }"
PLANS: Final = """
query ($after: String) {
  allocations(first: 200, after: $after) {
    nodes { resource ceiling { beyondReach large sentence } unfilled { quantity reason } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
DECISIONS: Final = """
query ($kind: String!) { decisions(kind: $kind, first: 1) { nodes { id kind logIndex } } }
"""
BUNDLE: Final = "query ($id: UUID!) { decision(id: $id) { bundle } }"


STEPS_AT_ONCE: Final = 10  #: the gateway takes a limited number of fields in one request


def steps(name: str, count: int) -> str:
    """A mutation that takes `count` transfers through the step `name`, such as `confirmTransfer`, one after another."""
    kind = name[0].upper() + name[1:]
    variables = ", ".join(f"$input{place}: {kind}Input!" for place in range(count))
    fields = " ".join(f"t{place}: {name}(input: $input{place}) {{ transfer {{ id state }} }}" for place in range(count))
    return f"mutation ({variables}) {{ {fields} }}"
