"""The fairness rule of a run: what is made as large as possible first, and how units are weighed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from sharewell.domain import strict
from sharewell.domain.errors import Invalid
from sharewell.domain.strict import Record

if TYPE_CHECKING:
    from sharewell.domain.canonical import Json

VERSION = 2  #: of the format that new instances are written in


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
