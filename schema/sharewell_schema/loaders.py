"""Edges to other nouns, many at a time: a list fetches what its selection names before its rows are read.

What a caller may not see is null where single things are concerned, and an error where it may see none of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import strawberry
from graphql import FieldNode, FragmentSpreadNode, GraphQLResolveInfo
from strawberry.dataloader import DataLoader

from sharewell.domain.errors import SharewellError

if TYPE_CHECKING:
    from uuid import UUID

    from sharewell.domain.answers import PlanAnswers, VeiledAnswers
    from sharewell.domain.capacity import CapacityReport
    from sharewell.domain.drift import Watch
    from sharewell.domain.fairness import Receipt
    from sharewell.domain.institutions import Institution
    from sharewell.domain.offers import Offer
    from sharewell.domain.principals import Caller
    from sharewell.domain.requests import Request
    from sharewell.domain.resources import Resource
    from sharewell.domain.transfers import Transfer
    from sharewell.domain.trial import ForecastTrial
    from sharewell.domain.visibility import VeiledReport
    from sharewell.store.allocations import Allocation, VeiledAllocation
    from sharewell.store.policy_versions import PolicyStep
    from sharewell.store.receipts import LeftOpen, ShortBy
    from sharewell.store.transfers import TransferStep
    from sharewell.wiring import Services

Edges = Mapping[str, tuple[str, str]]  #: by field: the loader it goes through, the attribute with the key
Key = TypeVar("Key")
Found = TypeVar("Found")


class Loader(Generic[Key, Found]):
    """Finds things of one kind by key, each at most once."""

    def __init__(self, find: Callable[[list[Key]], Awaitable[Mapping[Key, Found]]]) -> None:
        self._find = find
        self._known: dict[Key, Found | SharewellError | None] = {}
        self._single: DataLoader[Key, Found | SharewellError | None] = DataLoader(load_fn=self._load, cache=False)

    async def fetch(self, keys: Iterable[Key | None]) -> None:
        """Find all of `keys` in one go, so that `get` has them at hand."""
        missing = {key for key in keys if key is not None and key not in self._known}
        if not missing:
            return
        found: dict[Key, Found | SharewellError | None] = dict.fromkeys(missing)
        try:
            found.update(await self._find(list(missing)))
        except SharewellError as error:
            # The rows that led here are not at fault: each edge says for itself what is wrong with it.
            found.update(dict.fromkeys(missing, error))
        self._known.update(found)

    def get(self, key: Key) -> Any:
        """What is found under `key`, None, an error, or (where nobody fetched it) something to await."""
        return self._known[key] if key in self._known else self._single.load(key)

    def at_hand(self, key: Key) -> Any:
        """What is found under `key`, None, or an error. Raises KeyError where nobody fetched it."""
        return self._known[key]

    async def _load(self, keys: list[Key]) -> Sequence[Found | SharewellError | None]:
        await self.fetch(keys)
        return [self._known[key] for key in keys]


class Loaders:
    """The loaders of one request."""

    def __init__(self, caller: Caller, services: Services) -> None:
        s = services
        self.allocations: Loader[UUID, Allocation | VeiledAllocation] = Loader(
            lambda ids: s.allocations.by_ids(caller, ids)
        )
        self.answers: Loader[UUID, PlanAnswers | VeiledAnswers] = Loader(lambda ids: s.answers.of_runs(caller, ids))
        self.run_receipts: Loader[UUID, list[Receipt]] = Loader(lambda ids: s.receipts.of_runs(caller, ids))
        self.run_unfilled: Loader[UUID, list[LeftOpen]] = Loader(lambda ids: s.receipts.unfilled_of_runs(caller, ids))
        self.short_by: Loader[UUID, list[ShortBy]] = Loader(lambda ids: s.receipts.by_reason(caller, ids))
        self.unfilled: Loader[UUID, LeftOpen] = Loader(lambda ids: s.receipts.unfilled_of_requests(caller, ids))
        self.institutions: Loader[UUID, Institution] = Loader(lambda ids: s.institutions.by_ids(caller, ids))
        self.offers: Loader[UUID, Offer] = Loader(lambda ids: s.offers.by_ids(caller, ids))
        self.reports: Loader[UUID, CapacityReport | VeiledReport] = Loader(lambda ids: s.capacity.by_ids(caller, ids))
        self.requests: Loader[UUID, Request] = Loader(lambda ids: s.requests.by_ids(caller, ids))
        self.resources: Loader[str, Resource] = Loader(lambda codes: s.resources.by_codes(caller, codes))
        self.trials: Loader[str, ForecastTrial] = Loader(lambda models: s.trials.by_models(caller, models))
        self.watches: Loader[tuple[UUID, str], Watch] = Loader(lambda keys: s.drift.by_keys(caller, keys))
        self.steps: Loader[UUID, list[TransferStep]] = Loader(lambda ids: s.transfers.steps_of(caller, ids))
        self.surge_remarks: Loader[UUID, str] = Loader(lambda ids: s.surges.remarks(caller, ids))
        self.glass_remarks: Loader[UUID, str] = Loader(lambda ids: s.break_glass.remarks(caller, ids))
        self.policy_steps: Loader[int, list[PolicyStep]] = Loader(lambda nums: s.policy_versions.steps(caller, nums))
        self.readable: Loader[UUID, bool] = Loader(lambda ids: s.simulations.readable(caller, ids))
        self.override_remarks: Loader[UUID, str] = Loader(lambda ids: s.overrides.remarks(caller, ids))
        self.transfers: Loader[UUID, Transfer] = Loader(lambda ids: s.transfers.by_ids(caller, ids))


def edge(loader: str, attribute: str) -> Callable[..., Any]:
    """A resolver that follows `attribute` of its object through the loader of that name."""

    def follow(self: Any, info: strawberry.Info[Any, None]) -> Any:
        key = getattr(self, attribute)
        return None if key is None else getattr(info.context.loaders, loader).get(key)

    def at_hand(context: Any, source: Any) -> Any:
        key = getattr(source, attribute)
        return None if key is None else getattr(context.loaders, loader).at_hand(key)

    follow.at_hand = at_hand  # type: ignore[attr-defined]  # for the executor: what was fetched needs no ceremony
    return follow


async def fetch_edges(
    info: strawberry.Info[Any, None], items: Collection[Any], edges: Edges, loaders: Loaders | None = None
) -> None:
    """Fetch for all `items` those of their `edges` that the query selects, by the request's own loaders or others."""
    wanted = selected_names(info._raw_info) & edges.keys()  # noqa: SLF001 - strawberry's own view costs far more
    for loader in {edges[name][0] for name in sorted(wanted)}:
        attributes = [edges[name][1] for name in wanted if edges[name][0] == loader]
        keys = (getattr(item, attribute) for attribute in attributes for item in items)
        await getattr(loaders or info.context.loaders, loader).fetch(keys)


def selected_names(info: GraphQLResolveInfo[Any]) -> frozenset[str]:
    """Names of all fields selected anywhere below the field being resolved."""
    names: set[str] = set()
    seen: set[str] = set()
    ahead: list[Any] = list(info.field_nodes)
    while ahead:
        node = ahead.pop()
        if isinstance(node, FieldNode):
            names.add(node.name.value)
        elif isinstance(node, FragmentSpreadNode):
            if node.name.value in seen:
                continue
            seen.add(node.name.value)
            node = info.fragments[node.name.value]
        ahead.extend(node.selection_set.selections if node.selection_set else ())
    return frozenset(names)
