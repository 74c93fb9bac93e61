"""One institution's own system: it reports, looks at its forecast, asks, pledges, confirms and declines.

It knows what its institution knows on the day and nothing more. Every mutation carries a key made of what it is for,
so that a lost answer can be asked for again without anything happening twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sharewell.client import ApiClient, GraphQLErrors
from sharewell.replay import operations
from sharewell.replay.panel import Load, Site

CAUTIOUS = 750  #: per mille; a site pledges what is spare even if need comes to this quantile
MEDIAN = 500


@dataclass(frozen=True, slots=True)
class Held:
    """A transfer that awaits an answer, as its parties see it."""

    id: str
    resource: str
    quantity: int
    giver: str
    receiver: str


@dataclass(frozen=True, slots=True)
class Window:
    """The period a pledge or a need is for."""

    name: str  #: tells the rounds of one period apart in idempotency keys
    start: datetime
    end: datetime


@dataclass
class Player:
    """The system of one site."""

    site: Site
    institution: UUID
    client: ApiClient
    pledged: dict[str, tuple[str, int]] = field(default_factory=dict)  #: by resource: open offer and its units
    asked: bool = False  #: whether it has asked for anything in this period

    async def report(self, as_of: datetime, period_days: int, loads: Mapping[str, Load]) -> None:
        """Say what is staffed, occupied and waited for, of every resource at once."""
        reports = [
            {
                "resource": resource, "asOf": _text(as_of), "periodDays": period_days, "staffed": load.staffed,
                "occupied": min(load.need, load.staffed), "waiting": load.shortage, "source": "replay",
            }
            for resource, load in sorted(loads.items())
        ]  # fmt: skip
        await self._do(operations.REPORT, f"report {as_of.isoformat()}", reports=reports)

    async def expected(self, day: date) -> dict[str, dict[int, int]]:
        """By resource: the quantiles of what it is expected to need on `day`, in whole units."""
        data = await self.client.graphql(
            operations.OWN_FORECASTS, {"institution": str(self.institution), "since": day.isoformat()}
        )
        return {
            row["resource"]: {q["level"]: math.ceil(q["value"]) for q in row["quantiles"]}
            for row in data["forecasts"]["nodes"]
            if row["target"] == day.isoformat()
        }

    async def ask(self, resource: str, units: int, window: Window, *, staffed: int, reason: str) -> None:
        """Ask for the units by which its need exceeds what it staffs."""
        self.asked = True
        share = units / max(1, staffed)
        urgency = 5 if share >= 0.5 else 4 if share >= 0.25 else 3
        await self._do(
            operations.REQUEST, f"ask {window.name} {resource}", resource=resource, quantity=units, urgency=urgency,
            reason=reason, neededBy=_text(window.start), neededUntil=_text(window.end),
        )  # fmt: skip

    async def pledge(self, resource: str, units: int, minimum: int, window: Window) -> None:
        """Offer what it can spare above its own need and its minimum."""
        data = await self._do(
            operations.OFFER, f"pledge {window.name} {resource}", resource=resource, quantity=units,
            minimumKept=minimum, availableFrom=_text(window.start), availableUntil=_text(window.end),
        )  # fmt: skip
        self.pledged[resource] = (data["publishOffer"]["offer"]["id"], units)

    async def take_back_pledge(self, resource: str) -> None:
        """Withdraw the open offer: reality left less than was pledged."""
        offer, _ = self.pledged.pop(resource)
        await self._do(operations.WITHDRAW, f"withdraw {offer}", scoped=False, offer=offer)

    async def cancel_open_requests(self) -> None:
        """Take back what no plan answered; the need is stated anew from what is known now."""
        for row in await self._all(operations.OWN_REQUESTS, "requests"):
            await self._do(operations.CANCEL, f"cancel {row['id']}", scoped=False, request=row["id"])

    async def transfers(self, state: str) -> list[Held]:
        """Its transfers in `state`."""
        rows = await self._all(operations.OWN_TRANSFERS, "transfers", state=state)
        return [
            Held(row["id"], row["resource"], row["quantity"], row["giverId"], row["receiverId"])
            for row in rows
        ]

    async def steps(self, name: str, transfers: Sequence[str], **more: str) -> set[str]:
        """Take transfers one step further, such as `confirmTransfer`, several in one request; return those it took.

        One whose hold ran out meanwhile, or that the other side ended, is left as it is.
        """
        taken: set[str] = set()
        for start in range(0, len(transfers), operations.STEPS_AT_ONCE):
            some = transfers[start : start + operations.STEPS_AT_ONCE]
            inputs = {
                f"input{place}": {"idempotencyKey": f"{name} {transfer}", "transfer": transfer, **more}
                for place, transfer in enumerate(some)
            }
            try:
                done = await self.client.graphql(operations.steps(name, len(some)), inputs)
            except GraphQLErrors as error:
                if not lost_to_the_world(error):
                    raise
                done = dict(error.data or {})
            taken |= {transfer for place, transfer in enumerate(some) if done.get(f"t{place}") is not None}
        return taken

    async def _do(self, operation: str, key: str, *, scoped: bool = True, **values: Any) -> dict[str, Any]:
        own = {"institution": str(self.institution)} if scoped else {}
        return await self.client.graphql(operation, {"input": {"idempotencyKey": key, **own, **values}})

    async def _all(self, query: str, name: str, **values: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            variables = {"institution": str(self.institution), "after": after, **values}
            page = (await self.client.graphql(query, variables))[name]
            rows += page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return rows
            after = page["pageInfo"]["endCursor"]


def lost_to_the_world(error: GraphQLErrors) -> bool:
    """Whether the platform refused because the world had moved on, which a player takes as it is."""
    return set(error.codes) == {"CONFLICT"}


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
