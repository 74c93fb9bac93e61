"""What an allocation is decided on: who can spare what, who lacks what, which lanes join them, and by which rule.

An instance is a value with a hash. Row order never matters: rows are kept sorted by identifier. What its rows say is in
`rows`, what its rule says in `rule`, how it comes from the stored nouns in `snapshot`; how a plan is found is the
workers' trade.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

from sharewell.domain import canonical, strict
from sharewell.domain.checks import MAX_UNITS, code, moment
from sharewell.domain.errors import Invalid
from sharewell.domain.parts import Part, parts_of
from sharewell.domain.reserves import MOST_CATEGORIES, Account, Reserve, check_reserves, presented
from sharewell.domain.resources import ResourceKind
from sharewell.domain.rows import MAX_CREDIT, MAX_METRES, MAX_WEIGHT, Lane, Movement, Owner, Receiver
from sharewell.domain.rule import VERSION, Fairness, Rule
from sharewell.domain.strict import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sharewell.domain.canonical import Json

__all__ = [
    "FORMATS", "MAX_CREDIT", "MAX_LANES", "MAX_METRES", "MAX_ROWS", "MAX_TOTAL", "MAX_WEIGHT", "VERSION", "Fairness",
    "Instance", "Lane", "Movement", "Owner", "Part", "Receiver", "Rule",
]  # fmt: skip

FORMATS = {1: "sharewell/instance@1", 2: "sharewell/instance@2"}  #: by version; new ones are written as the last
MAX_ROWS = 200_000  #: owners, and receivers, of one instance
MAX_LANES = 5_000_000
MAX_TOTAL = 100_000_000  #: units needed, and units to spare, in one instance: keeps every stage value below 2**53


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One resource at one moment. Building one checks it; `Invalid` names the row and field at fault."""

    resource: str
    kind: ResourceKind
    at: datetime  #: the moment the snapshot speaks of
    owners: tuple[Owner, ...]
    receivers: tuple[Receiver, ...]
    lanes: tuple[Lane, ...]
    seed: str  #: published before the run; decides ties
    fairness: Fairness = field(default_factory=Fairness)
    snapshot: str = "0"  #: version of the rows this was read from
    stale_after: datetime | None = None  #: a plan for it may not be adopted later than this; None is no limit
    forecasts: tuple[str, ...] = ()  #: hashes of the forecasts the needs rest on
    reserves: tuple[Reserve, ...] = ()  #: categories that some of the supply is kept for
    in_force: tuple[Movement, ...] = ()  #: what the plan in force moves, as far as it is decided anew
    version: int = VERSION  #: of the format it is written in

    def __post_init__(self) -> None:
        # Sorting here is what makes the hash, and with it every decision, independent of row order.
        for name, key in (
            ("owners", lambda row: row.offer),
            ("receivers", lambda row: row.request),
            ("lanes", lambda row: (row.offer, row.request)),
            ("forecasts", str),
            ("reserves", lambda row: row.category),
            ("in_force", lambda row: (row.offer, row.request)),
        ):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name), key=key)))
        object.__setattr__(self, "kind", ResourceKind(self.kind))
        _check(self)

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of the canonical JSON."""
        return hash_with_lanes(self._members([]), [lane.canonical() for lane in self.lanes])

    @cached_property
    def owner(self) -> Mapping[str, Owner]:
        """Owners by offer."""
        return {row.offer: row for row in self.owners}

    @cached_property
    def receiver(self) -> Mapping[str, Receiver]:
        """Receivers by request."""
        return {row.request: row for row in self.receivers}

    @cached_property
    def lane(self) -> Mapping[tuple[str, str], Lane]:
        """Lanes by offer and request."""
        return {(row.offer, row.request): row for row in self.lanes}

    @cached_property
    def short(self) -> frozenset[str]:
        """Institutions that lack this resource themselves and so do not give."""
        return frozenset(row.institution for row in self.receivers if row.need > 0)

    @cached_property
    def kept(self) -> Mapping[str, int]:
        """Units each owning institution keeps: the larger of its own need and the minima it stated."""
        kept: dict[str, int] = {}
        for row in self.owners:
            kept[row.institution] = max(kept.get(row.institution, 0), row.minimum_kept, row.own_need)
        return kept

    @cached_property
    def sparable(self) -> Mapping[str, int]:
        """Units each owning institution can part with, over all its offers."""
        return {
            row.institution: 0 if row.institution in self.short else max(0, row.stock - self.kept[row.institution])
            for row in self.owners
        }

    @cached_property
    def spare(self) -> Mapping[str, int]:
        """Units each offer can part with, were it the only one of its institution."""
        return {row.offer: min(row.quantity, self.sparable[row.institution]) for row in self.owners}

    @cached_property
    def kept_lanes(self) -> Mapping[tuple[str, str], int]:
        """Units that the plan in force moves, by offer and request."""
        return {(row.offer, row.request): row.quantity for row in self.in_force}

    def account(self, part: Part) -> Account:
        """What can be charged to the reserve categories in `part`; a quota is its share, rounded down."""
        if not self.reserves:
            return Account((), nothing := (0,) * len(part.receivers), nothing)
        names = [row.category for row in self.reserves]
        places = {name: place for place, name in enumerate(names)}
        supply = self.supply(part)
        return Account(
            quotas=tuple(row.share * supply // 1000 for row in self.reserves),
            masks=tuple(sum(1 << places[name] for name in row.categories) for row in part.receivers),
            presents=tuple(presented(row.need, len(row.categories)) for row in part.receivers),
        )

    def supply(self, part: Part) -> int:
        """Units that can leave the owners of `part`."""
        offered: dict[str, int] = {}
        for row in part.owners:
            offered[row.institution] = offered.get(row.institution, 0) + self.spare[row.offer]
        return sum(min(units, self.sparable[name]) for name, units in offered.items())

    def room(self, lane: Lane) -> int:
        """Units that could travel along `lane` if nothing else moved."""
        return min(lane.cap, self.spare[lane.offer], self.receiver[lane.request].need)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The connected parts, in the order of their first offer."""
        return parts_of(self)

    def to_json(self) -> dict[str, Json]:
        """The document that is hashed, stored and given to whoever checks the plan."""
        return self._members([row.to_json() for row in self.lanes])

    def _members(self, lanes: list[Json]) -> dict[str, Json]:
        members: dict[str, Json] = {
            "format": FORMATS[self.version],
            "resource": self.resource,
            "kind": self.kind.value,
            "at": strict.moment_text(self.at),
            "seed": self.seed,
            "snapshot": self.snapshot,
            "stale_after": "" if self.stale_after is None else strict.moment_text(self.stale_after),
            "fairness": self.fairness.to_json(self.version),
            "forecasts": list(self.forecasts),
            "owners": [row.to_json() for row in self.owners],
            "receivers": [row.to_json(self.version) for row in self.receivers],
            "lanes": lanes,
        }
        if self.version > 1:
            members["reserves"] = [row.to_json() for row in self.reserves]
            members["in_force"] = [row.to_json() for row in self.in_force]
        return members

    @classmethod
    def from_json(cls, value: object) -> Instance:
        """Read what `to_json` wrote; raises `Invalid` naming the path of what is wrong."""
        version = _version(value)
        record = Record.of(value, "", _MEMBERS + (_ADDED if version > 1 else ()))
        kind = record.members["kind"]
        if kind not in list(ResourceKind):
            raise Invalid(f"kind must be one of {', '.join(ResourceKind)}.", field="kind")
        return cls(
            resource=record.text("resource", most=64),
            kind=ResourceKind(cast("str", kind)),
            at=record.moment("at"),
            seed=record.text("seed", most=200),
            snapshot=record.text("snapshot", most=200),
            stale_after=None if record.members["stale_after"] == "" else record.moment("stale_after"),
            fairness=Fairness.from_json(record.members["fairness"], version=version),
            forecasts=record.each("forecasts", strict.identifier, most=MAX_ROWS),
            owners=record.each("owners", Owner.from_json, most=MAX_ROWS),
            receivers=record.each("receivers", partial(Receiver.from_json, version=version), most=MAX_ROWS),
            lanes=record.each("lanes", Lane.from_json, most=MAX_LANES),
            reserves=record.each("reserves", Reserve.from_json, most=MOST_CATEGORIES) if version > 1 else (),
            in_force=record.each("in_force", Movement.from_json, most=MAX_LANES) if version > 1 else (),
            version=version,
        )

    @classmethod
    def read(cls, data: bytes) -> Instance:
        """Parse and read a document."""
        return cls.from_json(canonical.parse_loosely(data))


_MEMBERS = (
    "format", "resource", "kind", "at", "seed", "snapshot", "stale_after", "fairness", "forecasts", "owners",
    "receivers", "lanes",
)  # fmt: skip
_ADDED = ("reserves", "in_force")


def hash_with_lanes(members: canonical.Json, lanes: Iterable[str]) -> str:
    """SHA-256, in hex, of the canonical JSON of `members`, whose lanes are empty there and given as written.

    Nearly all of a document are lanes, so these are written straight away; no text can hold these quotes unescaped.
    """
    before, after = canonical.encode(members).split(b'"lanes":[]')
    return hashlib.sha256(b'%b"lanes":[%b]%b' % (before, ",".join(lanes).encode(), after)).hexdigest()


def _version(document: object) -> int:
    """The version that a document says it is of."""
    stated = Record.of(document, "", ("format",), optional=(*_MEMBERS, *_ADDED)).members["format"]
    for version, name in FORMATS.items():
        if stated == name:
            return version
    raise Invalid(f"format must be {' or '.join(FORMATS.values())}.", field="format")


def _check(instance: Instance) -> None:
    code(instance.resource, "resource")
    moment(instance.at, "at")
    if instance.stale_after is not None:
        moment(instance.stale_after, "stale_after")
    check_reserves(instance.reserves)
    _check_owners(instance.owners)
    _check_receivers(instance.receivers, {row.category for row in instance.reserves})
    _check_lanes(instance)
    _check_in_force(instance)
    if instance.version not in FORMATS or (instance.version == 1 and _beyond_the_first(instance)):
        raise Invalid("version 1 has no reserves, credit, raised needs or plan in force; use 2.", field="version")


def _beyond_the_first(instance: Instance) -> bool:
    """Whether anything is said that version 1 cannot say."""
    rows = any(row.credit or row.categories or row.raised for row in instance.receivers)
    return bool(rows or instance.reserves or instance.in_force or instance.fairness.memory or instance.fairness.credit)


def _check_owners(owners: tuple[Owner, ...]) -> None:
    _no_twins(((row.offer,) for row in owners), "owners", "offer")
    standing: dict[str, tuple[int, int]] = {}
    for row in owners:
        path = f"owners[{row.offer}]"
        strict.identifier(row.offer, f"{path}.offer")
        strict.identifier(row.institution, f"{path}.institution")
        for name in ("quantity", "stock", "minimum_kept", "own_need"):
            strict.whole(getattr(row, name), f"{path}.{name}", most=MAX_UNITS)
        if standing.setdefault(row.institution, (row.stock, row.own_need)) != (row.stock, row.own_need):
            raise Invalid(
                f"{path}.stock or own_need differs from another offer of institution {row.institution}; "
                "each of its offers states the same.",
                field=f"{path}.stock",
            )
    if sum(row.quantity for row in owners) > MAX_TOTAL:
        raise Invalid(f"owners offer more than {MAX_TOTAL} units; count in larger units.", field="owners")


def _check_receivers(receivers: tuple[Receiver, ...], reserved: set[str]) -> None:
    _no_twins(((row.request,) for row in receivers), "receivers", "request")
    for row in receivers:
        path = f"receivers[{row.request}]"
        strict.identifier(row.request, f"{path}.request")
        strict.identifier(row.institution, f"{path}.institution")
        strict.whole(row.need, f"{path}.need", most=MAX_UNITS)
        strict.whole(row.asked, f"{path}.asked", least=row.need, most=MAX_UNITS)
        strict.whole(row.held, f"{path}.held", most=MAX_UNITS)
        strict.whole(row.urgency, f"{path}.urgency", least=1, most=5)
        strict.whole(row.weight, f"{path}.weight", least=1000, most=MAX_WEIGHT)
        strict.whole(row.credit, f"{path}.credit", least=-MAX_CREDIT, most=MAX_CREDIT)
        strict.whole(row.raised, f"{path}.raised", most=row.need)
        if (row.raised > 0) != (row.raise_reason is not None):
            raise Invalid(f"{path}.raise_reason stands where units are raised, and only there.", field=path)
        if not reserved.issuperset(row.categories) or len(set(row.categories)) < len(row.categories):
            raise Invalid(f"{path}.categories must name reserves of this instance, each once.", field=path)
    if sum(row.whole_need for row in receivers) > MAX_TOTAL:
        raise Invalid(f"receivers need more than {MAX_TOTAL} units; count in larger units.", field="receivers")


def _check_lanes(instance: Instance) -> None:
    _no_twins(((row.offer, row.request) for row in instance.lanes), "lanes", "offer and request")
    for row in instance.lanes:
        path = f"lanes[{row.offer},{row.request}]"
        owner, receiver = instance.owner.get(row.offer), instance.receiver.get(row.request)
        if owner is None:
            raise Invalid(f"{path}.offer is no offer of this instance.", field=f"{path}.offer")
        if receiver is None:
            raise Invalid(f"{path}.request is no request of this instance.", field=f"{path}.request")
        if owner.institution == receiver.institution:
            raise Invalid(f"{path} joins institution {owner.institution} to itself.", field=path)
        strict.whole(row.cap, f"{path}.cap", most=MAX_UNITS)
        strict.whole(row.metres, f"{path}.metres", most=MAX_METRES)
        strict.whole(row.hours, f"{path}.hours", most=100_000)


def _check_in_force(instance: Instance) -> None:
    _no_twins(((row.offer, row.request) for row in instance.in_force), "in_force", "offer and request")
    for row in instance.in_force:
        path = f"in_force[{row.offer},{row.request}]"
        if row.offer not in instance.owner or row.request not in instance.receiver:
            raise Invalid(f"{path} names no offer and request of this instance.", field=path)
        strict.whole(row.quantity, f"{path}.quantity", least=1, most=MAX_UNITS)
    if sum(row.quantity for row in instance.in_force) > MAX_TOTAL:
        raise Invalid(f"in_force moves more than {MAX_TOTAL} units.", field="in_force")


def _no_twins(keys: Iterable[tuple[str, ...]], where: str, what: str) -> None:
    # Rows are sorted, so twins are neighbours.
    last: tuple[str, ...] | None = None
    for key in keys:
        if key == last:
            raise Invalid(f"{where}: {what} {', '.join(key)} stands twice.", field=where)
        last = key
