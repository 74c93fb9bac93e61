"""What an allocation is decided on: who can spare what, who lacks what, which lanes join them, and by which rule.

An instance is a value with a hash. Row order never matters: rows are kept sorted by identifier. How an instance comes
from the stored nouns is in `allocation`; how a plan is found is the workers' trade.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from sharewell.domain import canonical, strict
from sharewell.domain.checks import MAX_UNITS, code, moment
from sharewell.domain.errors import Invalid
from sharewell.domain.requests import RaiseReason
from sharewell.domain.reserves import MOST_CATEGORIES, Account, Reserve, check_reserves, presented
from sharewell.domain.resources import ResourceKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sharewell.domain.canonical import Json

FORMATS = {1: "sharewell/instance@1", 2: "sharewell/instance@2"}  #: by version; new ones are written as the last
VERSION = 2
MAX_ROWS = 200_000  #: owners, and receivers, of one instance
MAX_LANES = 5_000_000
MAX_TOTAL = 100_000_000  #: units needed, and units to spare, in one instance: keeps every stage value below 2**53
MAX_METRES = 20_100_000  #: half the way round the Earth
MAX_WEIGHT = 2000  #: per mille; the largest equity weight
MAX_CREDIT = 1000 * MAX_UNITS  #: thousandths of a unit, either way


class Rule(StrEnum):
    """What is made as large as possible before distance is looked at."""

    FLOOR = "floor"  #: the smallest fill rate of each connected part, then urgency-weighted concave need
    LEXIMIN = "leximin"  #: the smallest fill rate, then the second smallest, and so on; exact to the unit
    WELFARE = "welfare"  #: urgency-weighted concave need alone
    UTILITARIAN = "utilitarian"  #: urgency-weighted units alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    """The rule, as the people who are bound by it chose it."""

    rule: Rule = Rule.FLOOR
    theta: int = 1000  #: per mille of the largest possible floor that is guaranteed; only with `Rule.FLOOR`
    alpha: int = 2000  #: per mille; 0 counts units, larger puts the least filled first; 4000 at most
    buckets: int = 10  #: steps in which the worth of a unit falls as a request fills up
    urgency_weights: tuple[int, ...] = (1, 2, 3, 4, 5)  #: worth of a unit at urgency 1 to 5
    memory: int = 0  #: per mille of earlier credit that outlives a run; 0 remembers nothing
    credit: int = 0  #: per mille; how strongly credit for having been short-changed before counts

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", Rule(self.rule))
        strict.whole(self.theta, "fairness.theta", most=1000)
        strict.whole(self.alpha, "fairness.alpha", most=4000)
        strict.whole(self.buckets, "fairness.buckets", least=1, most=100)
        strict.whole(self.memory, "fairness.memory", most=1000)
        strict.whole(self.credit, "fairness.credit", most=1000)
        if len(self.urgency_weights) != 5 or list(self.urgency_weights) != sorted(self.urgency_weights):
            raise Invalid(
                "fairness.urgency_weights must be five rising whole numbers.", field="fairness.urgency_weights"
            )
        for weight in self.urgency_weights:
            strict.whole(weight, "fairness.urgency_weights", least=1, most=1000)

    def to_json(self, version: int = VERSION) -> dict[str, Json]:
        """Members as they stand in an instance of `version`."""
        members: dict[str, Json] = {
            "rule": self.rule.value, "theta": self.theta, "alpha": self.alpha, "buckets": self.buckets,
            "urgency_weights": list(self.urgency_weights),
        }  # fmt: skip
        return members | ({"memory": self.memory, "credit": self.credit} if version > 1 else {})

    @classmethod
    def from_json(cls, value: object, path: str = "fairness", version: int = VERSION) -> Fairness:
        """Read what `to_json` wrote."""
        added = ("memory", "credit") if version > 1 else ()
        record = Record.of(value, path, ("rule", "theta", "alpha", "buckets", "urgency_weights", *added))
        rule = record.members["rule"]
        if rule not in list(Rule):
            raise Invalid(f"{path}.rule must be one of {', '.join(Rule)}.", field=f"{path}.rule")
        return cls(
            rule=Rule(cast("str", rule)), theta=record.whole("theta"), alpha=record.whole("alpha"),
            buckets=record.whole("buckets"), urgency_weights=record.each("urgency_weights", strict.whole, most=5),
            **{name: record.whole(name) for name in added},
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One offer, and what its institution must keep."""

    offer: str
    institution: str
    quantity: int  #: units of the offer that may still be promised
    stock: int  #: units on hand of the institution, not promised to anyone; the same on each of its offers
    minimum_kept: int = 0  #: units the institution said it keeps whatever happens
    own_need: int = 0  #: units the institution itself is expected to need

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in an instance."""
        return {
            "offer": self.offer, "institution": self.institution, "quantity": self.quantity, "stock": self.stock,
            "minimum_kept": self.minimum_kept, "own_need": self.own_need,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: object, path: str) -> Owner:
        """Read what `to_json` wrote."""
        names = ("offer", "institution", "quantity", "stock", "minimum_kept", "own_need")
        record = Record.of(value, path, names)
        units = {name: record.whole(name, most=MAX_UNITS) for name in names[2:]}
        return cls(offer=record.name("offer"), institution=record.name("institution"), **units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One open request."""

    request: str
    institution: str
    need: int  #: units still lacking: asked for, and borne out by the forecast or the audited census
    urgency: int  #: 1 (can wait) to 5 (lives at stake now)
    asked: int = -1  #: units still open as asked, `need` or more; -1 stands for `need`
    held: int = 0  #: units this need has received in earlier runs; they count as filled
    weight: int = 1000  #: per mille; equity weight of a unit here
    credit: int = 0  #: its share, by need, of its institution's credit for earlier runs, in thousandths of a unit
    categories: tuple[str, ...] = ()  #: reserve categories it qualifies for, sorted
    raised: int = 0  #: units of `need` that count on the institution's word, above forecast and census
    raise_reason: RaiseReason | None = None  #: why; None where nothing is raised

    def __post_init__(self) -> None:
        if self.asked == -1:
            object.__setattr__(self, "asked", self.need)
        object.__setattr__(self, "categories", tuple(sorted(self.categories)))

    @property
    def whole_need(self) -> int:
        """Units of which `held` are there and `need` are lacking; what fill rates are measured against."""
        return self.held + self.need

    def to_json(self, version: int = VERSION) -> dict[str, Json]:
        """Members as they stand in an instance of `version`."""
        members: dict[str, Json] = {
            "request": self.request, "institution": self.institution, "need": self.need, "urgency": self.urgency,
            "asked": self.asked, "held": self.held, "weight": self.weight,
        }  # fmt: skip
        if version == 1:
            return members
        return members | {
            "credit": self.credit, "categories": list(self.categories), "raised": self.raised,
            "raise_reason": "" if self.raise_reason is None else self.raise_reason.value,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: object, path: str, version: int = VERSION) -> Receiver:
        """Read what `to_json` wrote."""
        names = ("request", "institution", "need", "urgency", "asked", "held", "weight")
        record = Record.of(value, path, names + (_ADDED_TO_RECEIVERS if version > 1 else ()))
        return cls(
            request=record.name("request"), institution=record.name("institution"),
            need=record.whole("need", most=MAX_UNITS), urgency=record.whole("urgency", least=1, most=5),
            asked=record.whole("asked", most=MAX_UNITS), held=record.whole("held", most=MAX_UNITS),
            weight=record.whole("weight", least=1000, most=MAX_WEIGHT),
            **(_added_to_receiver(record) if version > 1 else {}),
        )  # fmt: skip


_ADDED_TO_RECEIVERS = ("credit", "categories", "raised", "raise_reason")


def _added_to_receiver(record: strict.Record) -> dict[str, Any]:
    """Members of a receiver that version 1 has not."""
    reason = record.members["raise_reason"]
    if reason != "" and reason not in list(RaiseReason):
        raise Invalid(
            f"{record.at('raise_reason')} must be empty or one of {', '.join(RaiseReason)}.",
            field=record.at("raise_reason"),
        )
    return {
        "credit": record.whole("credit", least=-MAX_CREDIT, most=MAX_CREDIT),
        "categories": record.each("categories", strict.identifier, most=MOST_CATEGORIES),
        "raised": record.whole("raised", most=MAX_UNITS),
        "raise_reason": RaiseReason(cast("str", reason)) if reason else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A way along which units of an offer can reach a request in time."""

    offer: str
    request: str
    cap: int  #: units that can travel along it in this run
    metres: int
    hours: int

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in an instance."""
        return {
            "offer": self.offer, "request": self.request, "cap": self.cap, "metres": self.metres, "hours": self.hours
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: object, path: str) -> Lane:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("offer", "request", "cap", "metres", "hours"))
        return cls(
            offer=record.name("offer"), request=record.name("request"), cap=record.whole("cap", most=MAX_UNITS),
            metres=record.whole("metres", most=MAX_METRES), hours=record.whole("hours", most=100_000),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Units that the plan in force moves from an offer to a request."""

    offer: str
    request: str
    quantity: int

    def to_json(self) -> dict[str, Json]:
        """Members as they stand in an instance."""
        return {"offer": self.offer, "request": self.request, "quantity": self.quantity}

    @classmethod
    def from_json(cls, value: object, path: str) -> Movement:
        """Read what `to_json` wrote."""
        record = Record.of(value, path, ("offer", "request", "quantity"))
        return cls(
            offer=record.name("offer"), request=record.name("request"),
            quantity=record.whole("quantity", least=1, most=MAX_UNITS),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """Owners and receivers joined by lanes that can carry something; parts are decided independently."""

    index: int
    owners: tuple[Owner, ...]
    receivers: tuple[Receiver, ...]
    lanes: tuple[Lane, ...]


Record = strict.Record


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
        return hashlib.sha256(canonical.encode(self.to_json())).hexdigest()

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
        return _parts(self)

    def to_json(self) -> dict[str, Json]:
        """The document that is hashed, stored and given to whoever checks the plan."""
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
            "lanes": [row.to_json() for row in self.lanes],
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


def _parts(instance: Instance) -> tuple[Part, ...]:
    """Join what lanes with room join, and offers of one institution."""
    lanes = [lane for lane in instance.lanes if instance.room(lane) > 0]
    givers = {lane.offer for lane in lanes}
    takers = {lane.request for lane in lanes}
    owners = [row for row in instance.owners if row.offer in givers]
    edges = [("offer " + lane.offer, "request " + lane.request) for lane in lanes]
    edges += [("institution " + row.institution, "offer " + row.offer) for row in owners]
    root = _roots(edges)
    members: dict[str, tuple[list[Owner], list[Receiver], list[Lane]]] = {}
    for owner in owners:
        members.setdefault(root["offer " + owner.offer], ([], [], []))[0].append(owner)
    for receiver in instance.receivers:
        if receiver.request in takers:
            members[root["request " + receiver.request]][1].append(receiver)
    for lane in lanes:
        members[root["offer " + lane.offer]][2].append(lane)
    return tuple(
        Part(index, tuple(owners), tuple(receivers), tuple(lanes))
        for index, (owners, receivers, lanes) in enumerate(members.values())
    )


def _roots(edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One name for all nodes that `edges` connect: union-find with path halving (Tarjan & van Leeuwen 1984)."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for one, other in edges:
        parent[root(one)] = root(other)
    return {node: root(node) for node in list(parent)}
