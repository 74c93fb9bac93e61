"""The resource catalogue: four kinds that behave differently when they are shared.

Places stay where they are and people move; devices are lent and come back; consumables leave for good, in lots that
expire; staff come for a span of time and must have the skill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from sharewell.domain import checks
from sharewell.domain.errors import Invalid

_UCUM = re.compile(r"[!-~]{1,32}")


class ResourceKind(StrEnum):
    """How a unit behaves when it is shared."""

    PLACE = "place"  #: people move to the bed, never the bed to the people
    DEVICE = "device"  #: a loan that comes back
    CONSUMABLE = "consumable"  #: leaves for good; lot and expiry matter
    STAFF = "staff"  #: a person's time, boxed, with a skill


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One line of the catalogue."""

    code: str  #: such as `bed.adult`
    kind: ResourceKind
    name: str
    unit: str  #: UCUM code of one unit, such as `{bed}` or `mL`
    standard_code: str = ""  #: code in a published vocabulary, such as `saner#numVent`
    gtin: str = ""  #: GS1 GTIN-14 of a consumable, without blanks
    skill: str = ""  #: what staff of this line are qualified for
    loan_days: int = 0  #: days after which a lent device is due back

    @classmethod
    def define(cls, resource: Resource) -> Resource:
        """Take a new line in, its texts cleaned, or raise `Invalid` naming the field that is wrong."""
        checks.code(resource.code, "code")
        if not _UCUM.fullmatch(resource.unit):
            raise Invalid("unit must be a UCUM code such as {bed}, {each} or mL.", field="unit")
        if resource.gtin and not gtin_is_valid(resource.gtin):
            raise Invalid(
                "gtin must be 14 digits with a right check digit (GS1 General Specifications).", field="gtin"
            )
        if resource.gtin and resource.kind is not ResourceKind.CONSUMABLE:
            raise Invalid("only a consumable has a gtin.", field="gtin")
        if (resource.kind is ResourceKind.STAFF) != bool(resource.skill):
            raise Invalid("staff need a skill, and only staff have one.", field="skill")
        if resource.skill:
            checks.code(resource.skill, "skill")
        if (resource.kind is ResourceKind.DEVICE) != (resource.loan_days > 0):
            raise Invalid("a device needs loanDays of 1 or more, and only a device has them.", field="loanDays")
        checks.units(resource.loan_days, "loanDays", most=366)
        return replace(
            resource,
            name=checks.text(resource.name, "name"),
            standard_code=checks.text(resource.standard_code, "standardCode", optional=True),
        )


def gtin_is_valid(gtin: str) -> bool:
    """Tell whether `gtin` is 14 digits whose last is the modulo-10 check digit (GS1 General Specifications 7.9)."""
    if len(gtin) != 14 or not gtin.isascii() or not gtin.isdigit():
        return False
    weighted = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(gtin[:-1]))
    return (10 - weighted % 10) % 10 == int(gtin[-1])


def catalogue() -> tuple[Resource, ...]:
    """The lines every installation starts with; admins add theirs."""
    return (
        Resource(code="bed.adult", kind=ResourceKind.PLACE, name="Adult inpatient bed", unit="{bed}",
                 standard_code="hrd#numInPtBedsAdult"),
        Resource(code="icu.adult", kind=ResourceKind.PLACE, name="Adult intensive care bed", unit="{bed}",
                 standard_code="loinc#112574-9"),
        Resource(code="ventilator", kind=ResourceKind.DEVICE, name="Mechanical ventilator", unit="{device}",
                 standard_code="saner#numVent", loan_days=10),
        Resource(code="mask.n95", kind=ResourceKind.CONSUMABLE, name="N95 respirator", unit="{each}",
                 standard_code="saner#n95masksupply"),
        Resource(code="nurse.icu", kind=ResourceKind.STAFF, name="Intensive care nurse", unit="{shift}",
                 standard_code="saner#shortnurse", skill="intensive-care-nursing"),
    )  # fmt: skip
