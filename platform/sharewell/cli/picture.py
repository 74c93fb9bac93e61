"""A picture for the terminal: who was short, who gave, and what was left lacking."""

from __future__ import annotations

from collections import Counter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sharewell.replay.ledger import Ledger

WIDTH = 34  #: characters of the longest bar; with a name and an amount beside it a line has 80


def draw(ledger: Ledger) -> RenderableType:
    """Shortage day by day, without sharing and with it; then what each institution gave and received."""
    return Group(_days(ledger), Text(), _institutions(ledger))


def _days(ledger: Ledger) -> Table:
    without: Counter[object] = Counter()
    after: Counter[object] = Counter()
    for key, load in ledger.panel.loads.items():
        without[key[2]] += load.shortage
        after[key[2]] += ledger.shortage(key)
    most = max([1, *without.values()])
    table = Table(title="Units lacking each day", show_header=False, box=None, title_justify="left", pad_edge=False)
    for day in ledger.panel.periods:
        table.add_row(str(day), _bar(without[day], most, "red"), f"{without[day]} without sharing")
        table.add_row("", _bar(after[day], most, "green"), f"{after[day]} with sharing")
    return table


def _institutions(ledger: Ledger) -> Table:
    given: Counter[str] = Counter()
    received: Counter[str] = Counter()
    for (site, _, _), units in ledger.given.items():
        given[site] += units
    for (site, _, _), units in ledger.received.items():
        received[site] += units
    most = max([1, *given.values(), *received.values()])
    table = Table(title="Who gave, who received", show_header=False, box=None, title_justify="left", pad_edge=False)
    for site in sorted(ledger.panel.sites, key=lambda code: given[code] - received[code]):
        if given[site] or received[site]:
            bar = _bar(received[site], most, "cyan") + _bar(given[site], most, "magenta")
            amounts = {"received": received[site], "gave": given[site]}
            said = ", ".join(f"{verb} {units}" for verb, units in amounts.items() if units)
            table.add_row(ledger.panel.sites[site].name, bar, said)
    return table


def _bar(units: int, most: int, colour: str) -> Text:
    return Text("█" * max(1 if units else 0, round(units / most * WIDTH)), style=colour)
