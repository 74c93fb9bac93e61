"""The curve of rules as an SVG: need met against the smallest fill, and beside it what that means in distance and more.

Colours are those of Okabe & Ito (2008), told apart by people who see few colours; every family has a shape as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from sharewell.domain.frontier import Family, Point
from sharewell.domain.instance import Rule

WIDTH, HEIGHT = 1000, 600
INK, SOFT, GRID, RED = "#1f2933", "#5b6770", "#e4e8eb", "#d55e00"
COLOURS = {Family.ALPHA: "#0072b2", Family.THETA: "#009e73", Family.LEXIMIN: "#aa4499", Family.RESERVE: "#b8860b"}
SAID = {
    Family.ALPHA: "need alone, by alpha", Family.THETA: "floor guaranteed, by theta", Family.LEXIMIN: "leximin",
    Family.RESERVE: "other reserve shares",
}  # fmt: skip
LETTER = 6.1  #: pixels of a letter, on average
Reading = Callable[[Point], float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `low` to `high` laid over pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    sign: str = ""

    def at(self, value: float) -> float:
        """Pixel of `value`."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers, about five."""
        step = _nice((self.high - self.low) / 5)
        first = -(-self.low // step) * step
        return [first + step * n for n in range(20) if first + step * n <= self.high + step / 1e6]

    def said(self, value: float) -> str:
        """A tick in words."""
        return f"{value:,.10g}".replace(",", " ") + self.sign


@dataclass(slots=True)
class Panel:
    """One diagram: its axes, what is drawn, and where there is ink already."""

    across: Axis
    up: Axis
    title: str
    foot: str
    drawn: list[str] = field(default_factory=list)
    taken: list[Box] = field(default_factory=list)

    def frame(self) -> str:
        """Grid, numbers and names of the axes."""
        rows = [f'<text x="{self.across.start}" y="{self.up.end - 16}" class="head">{escape(self.title)}</text>']
        for value in self.up.ticks():
            y = self.up.at(value)
            rows.append(f'<path d="M{self.across.start} {y:.1f}H{self.across.end}" class="grid"/>')
            rows.append(f'<text x="{self.across.start - 8}" y="{y + 4:.1f}" class="end">{self.up.said(value)}</text>')
        for value in self.across.ticks():
            x = self.across.at(value)
            rows.append(f'<path d="M{x:.1f} {self.up.start}v5" class="tick"/>')
            rows.append(f'<text x="{x:.1f}" y="{self.up.start + 18}" class="mid">{self.across.said(value)}</text>')
        middle = (self.across.start + self.across.end) / 2
        rows.append(f'<path d="M{self.across.start} {self.up.start}H{self.across.end}" class="tick"/>')
        rows.append(f'<text x="{middle}" y="{self.up.start + 36}" class="mid soft">{escape(self.foot)}</text>')
        return "".join(rows)

    def line(self, places: Sequence[tuple[float, float]], colour: str) -> None:
        """Join values that belong together."""
        if len(places) > 1:
            spots = [(self.across.at(x), self.up.at(y)) for x, y in places]
            for one, other in pairwise(spots):
                self.keep_free(one, other)
            way = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
            self.drawn.append(f'<path d="M{way}" fill="none" stroke="{colour}" stroke-width="1.6" opacity=".55"/>')

    def keep_free(self, one: tuple[float, float], other: tuple[float, float]) -> None:
        """Let labels rather not lie on the way from pixel `one` to `other`."""
        steps = max(1, int(max(abs(one[0] - other[0]), abs(one[1] - other[1])) / 4))
        for step in range(steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(one, other, strict=True))
            self.taken.append((x - 2, y - 2, x + 2, y + 2))

    def mark(self, point: Point, x: float, y: float, words: str) -> None:
        """Draw one point, with what it is and reaches as a tooltip."""
        across, up = self.across.at(x), self.up.at(y)
        colour = RED if point.chosen else COLOURS[point.family]
        ring = f'<circle cx="{across:.1f}" cy="{up:.1f}" r="11" fill="none" stroke="{RED}" stroke-width="1.5"/>'
        shape = _shape(point.family, across, up, 5.5 if point.chosen else 4.5)
        self.drawn.append(
            f'<g fill="{colour}" stroke="#fff" stroke-width="1">{ring if point.chosen else ""}{shape}'
            f"<title>{escape(words)}</title></g>"
        )
        reach = 13 if point.chosen else 6
        self.taken.append((across - reach, up - reach, across + reach, up + reach))

    def label(self, x: float, y: float, text: str, colour: str) -> None:
        """Write `text` beside the place where it hides least."""
        across, up = self.across.at(x), self.up.at(y)
        wide = len(text) * LETTER
        spots = [
            (across - wide / 2 + side * (far + wide / 2), up + dy)
            for far in (12, 26, 44, 62)
            for side, dy in (
                (1, 4), (-1, 4), (0, -far), (1, -far), (-1, -far), (0, far + 8), (1, far + 6), (-1, far + 6),
            )
        ]  # fmt: skip
        boxes = [(left, low - 10, left + wide, low + 3) for left, low in spots]
        best = min(range(len(spots)), key=lambda n: self._hidden(boxes[n]) + 2 * n)
        self.taken.append(boxes[best])
        left, low = spots[best]
        if best >= 8:  # far from its point: a thread leads there
            end = min(max(across, left), left + wide)
            self.drawn.insert(0, f'<path d="M{across:.1f} {up:.1f}L{end:.1f} {low - 3:.1f}" class="thread"/>')
        place = f'x="{left:.1f}" y="{low:.1f}"'
        self.drawn.append(f'<text {place} style="fill:{colour}" class="name">{escape(text)}</text>')

    def _hidden(self, box: Box) -> float:
        """How much of what is drawn already a label in `box` would cover, or how far it would stick out."""
        outside = max(0.0, self.across.start - box[0]) + max(0.0, box[2] - self.across.end - 60)
        outside += max(0.0, self.up.end - box[1]) + max(0.0, box[3] - self.up.start)
        return 40 * outside + sum(_overlap(box, other) for other in self.taken)


def picture(points: Sequence[Point], heading: str = "") -> str:
    """Draw `points` of one instance: the chosen rule in red, its price against the rule that meets most need."""
    own = next(point for point in points if point.chosen)
    panels = [_efficiency(points, own), _distance(points), _third(points, own)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, \'Helvetica Neue\', Arial, sans-serif" font-size="12">'
        "<title>What each rule reaches on this instance</title>"
        f"<desc>{escape(_story(points, own))}</desc><style>{_STYLE}</style>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        '<text x="28" y="38" class="top">What each rule reaches</text>'
        f'<text x="28" y="60" class="soft">{escape(heading or "Each mark is one rule, solved anew.")}</text>'
        f'<text x="28" y="80" class="own">{escape(_story(points, own))}</text>{_legend(points)}'
        + "".join(panel.frame() + "".join(panel.drawn) for panel in panels)
        + "</svg>\n"
    )


_STYLE = (
    f"text{{fill:{INK}}}.top{{font-size:20px;font-weight:600}}.head{{font-size:13px;font-weight:600}}"
    f".soft{{fill:{SOFT}}}.own{{fill:{RED};font-weight:600}}.end{{text-anchor:end;fill:{SOFT};font-size:11px}}"
    f".mid{{text-anchor:middle;fill:{SOFT};font-size:11px}}.name{{font-size:11px;paint-order:stroke;stroke:#fff;stroke-width:3px}}"
    f".grid{{stroke:{GRID};fill:none}}.tick{{stroke:#9aa5ad;fill:none}}.thread{{stroke:#b6bfc5;fill:none}}"
)


def _efficiency(points: Sequence[Point], own: Point) -> Panel:
    best = max(1, *(point.need_met for point in points))

    def met(point: Point) -> float:
        return point.need_met * 100 / best

    panel = Panel(
        Axis(0, 100, 76, 560, " %"), _shares(min(map(met, points)), 500, 152),
        "Urgency-weighted need met, of the most that any rule meets", "smallest fill rate",
    )  # fmt: skip
    for along in (Family.ALPHA, Family.THETA):
        panel.line([(p.smallest_fill / 10, met(p)) for p in _along(points, along)], COLOURS[along])
    x, y, top = panel.across.at(own.smallest_fill / 10), panel.up.at(met(own)), panel.up.at(100)
    if y - top > 24:
        panel.keep_free((x, top), (x, y))
        panel.drawn.append(
            f'<path d="M{x:.1f} {top:.1f}V{y - 11:.1f}" stroke="{RED}" stroke-width="1.5" stroke-dasharray="2 3"/>'
        )
    shown = [point for point in points if point.family is not Family.RESERVE]
    _marks(panel, shown, lambda p: p.smallest_fill / 10, met)
    if y - top > 24:
        panel.label(own.smallest_fill / 10, (met(own) + 100) / 2, f"price {own.price(points) / 10:.1f} %", RED)
    _names(panel, shown, lambda p: p.smallest_fill / 10, met)
    return panel


def _distance(points: Sequence[Point]) -> Panel:
    least, most = min(p.unit_kilometres for p in points), max(p.unit_kilometres for p in points)
    edge = max(1.0, (most - least) * 0.15)
    panel = Panel(
        Axis(0, 100, 690, 960, " %"), Axis(max(0.0, least - edge), most + edge, 280, 152),
        "Distance, unit-kilometres", "smallest fill rate",
    )  # fmt: skip
    for along in (Family.ALPHA, Family.THETA):
        places = [(p.smallest_fill / 10, float(p.unit_kilometres)) for p in _along(points, along)]
        panel.line(places, COLOURS[along])
    shown = [point for point in points if point.family is not Family.RESERVE]
    _marks(panel, shown, lambda p: p.smallest_fill / 10, lambda p: p.unit_kilometres)
    return panel


def _third(points: Sequence[Point], own: Point) -> Panel:
    """Reserve share where there are reserves; else how unequal the fill rates are."""
    shown = sorted((p for p in points if p is own or p.family is Family.RESERVE), key=lambda p: p.reserve_share)
    if len(shown) > 1:
        best = max(1, *(point.need_met for point in points))
        low = min(p.need_met * 100 / best for p in shown)
        panel = Panel(
            Axis(0, max(p.reserve_share for p in shown) / 10 * 1.05, 690, 960, " %"), _shares(low, 500, 372),
            "Need met, by the share reserved", "share of the supply",
        )  # fmt: skip
        panel.line([(p.reserve_share / 10, p.need_met * 100 / best) for p in shown], COLOURS[Family.RESERVE])
        _marks(panel, shown, lambda p: p.reserve_share / 10, lambda p: p.need_met * 100 / best)
        return panel
    panel = Panel(
        Axis(0, 100, 690, 960, " %"), Axis(0, max(0.1, max(p.gini for p in points) / 1000 * 1.15), 500, 372),
        "Inequality of fill rates, Gini", "smallest fill rate",
    )  # fmt: skip
    for along in (Family.ALPHA, Family.THETA):
        panel.line([(p.smallest_fill / 10, p.gini / 1000) for p in _along(points, along)], COLOURS[along])
    _marks(panel, points, lambda p: p.smallest_fill / 10, lambda p: p.gini / 1000)
    return panel


def _marks(panel: Panel, points: Sequence[Point], x: Reading, y: Reading) -> None:
    # The chosen one last, so that nothing lies over it.
    for point in sorted(points, key=lambda p: p.chosen):
        panel.mark(point, x(point), y(point), _told(point, points))


def _names(panel: Panel, points: Sequence[Point], x: Reading, y: Reading) -> None:
    """One label where marks lie on one another."""
    together: dict[tuple[int, int], list[Point]] = {}
    for point in sorted(points, key=lambda p: not p.chosen):
        spot = (round(panel.across.at(x(point)) / 5), round(panel.up.at(y(point)) / 5))
        together.setdefault(spot, []).append(point)
    for same in together.values():
        first = same[0]
        names = list(dict.fromkeys(_name(point) for point in same))
        text = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        panel.label(x(first), y(first), text, RED if first.chosen else COLOURS[first.family])


def _along(points: Sequence[Point], along: Family) -> list[Point]:
    rows = [point for point in points if point.family is along]
    if along is Family.THETA:
        return sorted(rows, key=lambda p: p.fairness.theta)
    return sorted(rows, key=lambda p: -1 if p.fairness.rule is Rule.UTILITARIAN else p.fairness.alpha)


def _legend(points: Sequence[Point]) -> str:
    rows, x = [], 76.0
    for along in Family:
        if any(point.family is along and not point.chosen for point in points):
            rows.append(f'<g fill="{COLOURS[along]}">{_shape(along, x, 572, 4.5)}</g>')
            rows.append(f'<text x="{x + 11}" y="576">{SAID[along]}</text>')
            x += 40 + len(SAID[along]) * LETTER
    return "".join(rows) + (
        f'<circle cx="{x}" cy="572" r="8" fill="none" stroke="{RED}" stroke-width="1.5"/>'
        f'<circle cx="{x}" cy="572" r="4.5" fill="{RED}"/><text x="{x + 15}" y="576">the rule in force</text>'
    )


def _story(points: Sequence[Point], own: Point) -> str:
    kilometres = f"{own.unit_kilometres:,}".replace(",", " ")
    return (
        f"In force: {_name(own)}. Smallest fill {own.smallest_fill / 10:.1f} %; it gives up "
        f"{own.price(points) / 10:.1f} % of the urgency-weighted need; {kilometres} unit-kilometres."
    )


def _told(point: Point, points: Sequence[Point]) -> str:
    return (
        f"{_name(point)}: smallest fill {point.smallest_fill / 10:.1f} %, need met {point.need_met}, price "
        f"{point.price(points) / 10:.1f} %, {point.units} units, {point.unit_kilometres} unit-km, Gini "
        f"{point.gini / 1000:.3f}{'' if point.proven else '; cut short, not proven best'}"
    )


def _name(point: Point) -> str:
    if point.family is Family.RESERVE:
        return f"reserves {point.reserve_share / 10:g} %"
    match point.fairness.rule:
        case Rule.FLOOR:
            return f"floor {point.fairness.theta / 10:g} %"
        case Rule.WELFARE:
            return f"alpha {point.fairness.alpha / 1000:g}"
        case Rule.LEXIMIN | Rule.UTILITARIAN:
            return point.fairness.rule.value


def _shape(along: Family, x: float, y: float, r: float) -> str:
    match along:
        case Family.ALPHA:
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
        case Family.THETA:
            return f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r}" height="{2 * r}"/>'
        case Family.LEXIMIN:
            return f'<path d="M{x:.1f} {y - r - 1:.1f}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}z"/>'
        case Family.RESERVE:
            return f'<path d="M{x:.1f} {y - r - 1:.1f}l{r + 1} {2 * r}h{-2 * r - 2}z"/>'


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return across * up if across > 0 and up > 0 else 0


def _shares(least: float, start: float, end: float) -> Axis:
    """An axis of shares from a round one clearly below `least`, at most 98 %, to just above 100 %."""
    low = min(98.0, max(0.0, (least - (100 - least) * 0.15) // 2 * 2))
    return Axis(low, 100 + (100 - low) * 0.06, start, end, " %")


def _nice(step: float) -> float:
    """The round number at or above `step`: 1, 2, 2.5 or 5 times a power of ten."""
    size = 1e-6
    while size * 10 <= step:
        size *= 10
    return next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= step * 0.999)
