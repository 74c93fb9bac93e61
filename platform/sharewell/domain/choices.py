"""Fairness choices: by which rule a resource of a region is allocated, chosen by the people whom it binds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from sharewell.domain import checks, strict
from sharewell.domain.errors import Invalid
from sharewell.domain.instance import Fairness
from sharewell.domain.reserves import Reserve, check_reserves

MOST_QUALIFIED = 1000  #: institutions of one category


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenReserve:
    """A category that some of the supply is kept for, and who qualifies for it."""

    category: str
    share: int  #: per mille of the units that can move in each connected part
    institutions: tuple[UUID, ...]

    @property
    def reserve(self) -> Reserve:
        """As it stands in an instance."""
        return Reserve(category=self.category, share=self.share)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceDraft:
    """What an allocator chooses."""

    region: str
    resource: str
    fairness: Fairness = field(default_factory=Fairness)
    reserves: tuple[ChosenReserve, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A choice on record; the newest of a region and resource is in force."""

    id: UUID
    region: str
    resource: str
    fairness: Fairness
    reserves: tuple[ChosenReserve, ...]
    chosen_at: datetime

    @classmethod
    def make(cls, draft: ChoiceDraft, *, id: UUID, at: datetime) -> Choice:  # noqa: A002
        """Put `draft` on record, or raise `Invalid` naming the field that is wrong."""
        check_reserves([row.reserve for row in draft.reserves])
        for row in draft.reserves:
            path = f"reserves[{row.category}].institutions"
            if not 0 < len(row.institutions) <= MOST_QUALIFIED or len(set(row.institutions)) < len(row.institutions):
                raise Invalid(f"{path} must be 1 to {MOST_QUALIFIED} institutions, each once.", field="reserves")
        if draft.fairness.credit and not draft.fairness.memory:
            raise Invalid("credit counts only where runs are remembered; set memory above 0.", field="memory")
        return cls(
            id=id, region=checks.code(draft.region, "region"), resource=checks.code(draft.resource, "resource"),
            fairness=draft.fairness, chosen_at=at,
            reserves=tuple(
                replace(row, institutions=tuple(sorted(row.institutions)))
                for row in sorted(draft.reserves, key=lambda row: row.category)
            ),
        )  # fmt: skip

    def categories_of(self, institution: UUID) -> tuple[str, ...]:
        """Reserve categories that `institution` qualifies for."""
        return tuple(row.category for row in self.reserves if institution in row.institutions)


def read_fairness(members: object) -> Fairness:
    """Read a stored rule; raises `Invalid`."""
    return Fairness.from_json(members)


def read_reserve(members: object, path: str = "reserves") -> ChosenReserve:
    """Read a stored category; raises `Invalid`."""
    record = strict.Record.of(members, path, ("category", "share", "institutions"))
    return ChosenReserve(
        category=record.name("category"), share=record.whole("share", most=1000),
        institutions=record.each("institutions", lambda value, _: UUID(str(value)), most=MOST_QUALIFIED),
    )  # fmt: skip
