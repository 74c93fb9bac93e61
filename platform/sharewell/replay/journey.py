"""The days of a replay: report, forecast, ask and pledge, plan, confirm against reality, and once more for the rest.

For each period there are two rounds. The evening before, institutions act on their forecast; in the period itself
they know their true need, confirm or decline, and those still short ask again, urgently.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TypeVar

from sharewell.client import ApiClient, ApiError, GraphQLErrors
from sharewell.replay import operations
from sharewell.replay.ledger import Ledger
from sharewell.replay.panel import Load, Panel
from sharewell.replay.player import CAUTIOUS, MEDIAN, Held, Player, Window, lost_to_the_world

AT_ONCE = 24  #: requests under way at one moment
EVENING = timedelta(hours=2)  #: before a period, when it is planned
MORNING = timedelta(hours=6)  #: into a period, when its true need is known
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 900

Result = TypeVar("Result")


class JobsSetAside(ApiError):
    """A job of the platform failed for good, so the replay cannot go on."""


@dataclass
class Journey:
    """One panel, played by its sites."""

    panel: Panel
    players: Mapping[str, Player]  #: by site
    operator: ApiClient  #: asks for forecasts and plans when the day has come
    set_clock: Callable[[datetime], None]
    told: Callable[[date, Ledger], None] = lambda _day, _ledger: None  #: called after each period
    hand_in: Callable[[date], Awaitable[None]] | None = None  #: gives the platform what was published of a period

    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.panel)
        self._sites = {str(player.institution): site for site, player in self.players.items()}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def play(self, history: int = 0) -> Ledger:
        """Play every period, in order; in the first `history` of them everybody only reports."""
        for number, period in enumerate(self.panel.periods):
            if number < history:
                await self._only_report(period)
                continue
            if number:
                await self._plan_ahead(self.panel.periods[number - 1], period)
            await self._live_through(period)
            self.told(period, self.ledger)
        return self.ledger

    async def _only_report(self, period: date) -> None:
        start, loads = self.panel.start(period), self._loads(period)
        self.set_clock(start + MORNING)
        await self._each(loads, lambda site: self.players[site].report(start, self.panel.step.days, loads[site]))

    async def _plan_ahead(self, before: date, period: date) -> None:
        """The evening before: everybody acts on what it expects, and the platform plans."""
        start = self.panel.start(period)
        self.set_clock(start - EVENING)
        window = Window(f"{period} ahead", start, start + self.panel.step)
        await self._forecast(before, f"forecast {period}")
        loads = self._loads(before)
        await self._each(loads, lambda site: self._act_on_forecast(site, loads[site], period, window))
        await self._allocate(before, f"allocate {window.name}")

    async def _act_on_forecast(self, site: str, known: Mapping[str, Load], period: date, window: Window) -> None:
        player = self.players[site]
        player.pledged.clear()
        player.asked = False
        expected = await player.expected(period)
        for resource, load in known.items():
            quantiles = expected.get(resource, {})
            need = quantiles.get(MEDIAN, load.need)
            cautious = max(need, quantiles.get(CAUTIOUS, need), load.need)
            await self._ask_or_pledge(
                player, resource, load.staffed, need, cautious, window, reason="FORECAST_SHORTAGE"
            )

    async def _live_through(self, period: date) -> None:
        """In the period: report what is true, answer what was planned, and share once more."""
        start = self.panel.start(period)
        self.set_clock(start + MORNING)
        window = Window(f"{period} now", start + MORNING, start + self.panel.step)
        loads = self._loads(period)
        if self.hand_in is not None:
            await self.hand_in(period)
            await self._wait("ingest")
        await self._each(loads, lambda site: self.players[site].report(start, self.panel.step.days, loads[site]))
        await self._answer(period, loads)
        await self._each(loads, lambda site: self._act_on_truth(site, loads[site], period, window))
        await self._allocate(period, f"allocate {window.name}")
        await self._answer(period, loads)
        self.set_clock(start + self.panel.step - timedelta(seconds=1))
        guests = {site for site, _, day in self.ledger.received if day == period}
        await self._each(sorted(guests), self._end_stays)

    async def _act_on_truth(self, site: str, loads: Mapping[str, Load], period: date, window: Window) -> None:
        player = self.players[site]
        if player.asked:
            await player.cancel_open_requests()
        for resource, load in loads.items():
            key = (site, resource, period)
            have = load.staffed + self.ledger.received[key] - self.ledger.given[key]
            spare = have - load.need
            offered = player.pledged.get(resource)
            if offered is not None and spare < offered[1]:
                await player.take_back_pledge(resource)
                offered = None
            if offered is None or spare < 0:
                await self._ask_or_pledge(player, resource, have, load.need, load.need, window, reason="SURGE")

    async def _ask_or_pledge(
        self, player: Player, resource: str, have: int, need: int, cautious: int, window: Window, *, reason: str
    ) -> None:
        minimum = math.ceil(have * self.panel.minimum_share)
        spare = have - cautious - minimum
        try:
            if need > have:
                await player.ask(resource, need - have, window, staffed=have, reason=reason)
            elif spare > 0:
                await player.pledge(resource, spare, minimum, window)
        except GraphQLErrors as error:
            if not lost_to_the_world(error):
                raise

    async def _answer(self, period: date, loads: Mapping[str, Mapping[str, Load]]) -> None:
        """Givers confirm what they can really spare and decline the rest; receivers take in what comes."""
        givers = [site for site in loads if self.players[site].pledged]
        moved = await self._each(givers, lambda site: self._answer_as_giver(site, period, loads[site]))
        arriving: dict[str, list[Held]] = {}
        for transfer in (t for transfers in moved for t in transfers):
            arriving.setdefault(self._sites[transfer.receiver], []).append(transfer)
        await self._each(arriving, lambda site: self._receive(site, arriving[site]))
        for transfer in (t for transfers in arriving.values() for t in transfers):
            giver, receiver = self._sites[transfer.giver], self._sites[transfer.receiver]
            self.ledger.moved(giver, receiver, transfer.resource, period, transfer.quantity)

    async def _answer_as_giver(self, site: str, period: date, loads: Mapping[str, Load]) -> list[Held]:
        player = self.players[site]
        held = [t for t in await player.transfers("HELD") if t.giver == str(player.institution)]
        self.ledger.proposed += sum(t.quantity for t in held)
        spare = Counter({
            resource: load.spare - self.ledger.given[site, resource, period] for resource, load in loads.items()
        })  # fmt: skip
        confirmed, declined = [], []
        for transfer in sorted(held, key=lambda t: (-t.quantity, t.id)):
            if transfer.quantity > spare[transfer.resource]:
                self.ledger.declined += transfer.quantity
                declined.append(transfer.id)
            else:
                spare[transfer.resource] -= transfer.quantity
                confirmed.append(transfer)
        await player.steps("declineTransfer", declined, reason="OWN_NEED_ROSE")
        stood = await player.steps("confirmTransfer", [t.id for t in confirmed])
        left = await player.steps("dispatchTransfer", [t.id for t in confirmed if t.id in stood])
        return [t for t in confirmed if t.id in left]

    async def _receive(self, site: str, transfers: Sequence[Held]) -> None:
        await self.players[site].steps("receiveTransfer", [t.id for t in transfers])

    async def _end_stays(self, site: str) -> None:
        player = self.players[site]
        here = [t.id for t in await player.transfers("RECEIVED") if t.receiver == str(player.institution)]
        await player.steps("returnTransfer", here)

    def _loads(self, period: date) -> dict[str, dict[str, Load]]:
        """By site: what it staffs and needs in `period`; sites that did not report are left out."""
        loads: dict[str, dict[str, Load]] = {}
        for site in self.players:
            own = {
                resource: load for resource in self.panel.resources
                if (load := self.panel.loads.get((site, resource, period))) is not None
            }  # fmt: skip
            if own:
                loads[site] = own
        return loads

    def _markets(self, period: date) -> list[tuple[str, str]]:
        loads = self._loads(period)
        return sorted({(self.panel.sites[site].region, resource) for site, own in loads.items() for resource in own})

    async def _each(self, sites: Iterable[str], act: Callable[[str], Awaitable[Result]]) -> list[Result]:
        async def one(site: str) -> Result:
            async with self._room:
                return await act(site)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(site)) for site in sites]
        return [task.result() for task in tasks]

    async def _forecast(self, known: date, key: str) -> None:
        """Have every resource forecast that was reported in the period `known`."""
        for resource in sorted({resource for _, resource in self._markets(known)}):
            asked = {"idempotencyKey": f"{key} {resource}", "resource": resource}
            await self.operator.graphql(operations.START_FORECAST, {"input": asked})
        await self._wait("forecast")

    async def _allocate(self, known: date, key: str) -> None:
        """Have a plan made in every market that was reported in the period `known`."""
        for region, resource in self._markets(known):
            asked = {"idempotencyKey": f"{key} {region} {resource}", "region": region, "resource": resource}
            await self.operator.graphql(operations.START_ALLOCATION, {"input": asked})
        await self._wait("allocate")

    async def _wait(self, *jobs: str) -> None:
        """Until no job of these names waits or runs."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                state = await self.operator.graphql(operations.UNDERWAY)
                if state["jobsSetAside"]:
                    raise JobsSetAside(f"a job failed for good: {state['jobsSetAside'][0]['reason']}")
                if not any(job["name"] in jobs for job in state["jobsUnderway"]):
                    return
                await asyncio.sleep(POLL_SECONDS)
