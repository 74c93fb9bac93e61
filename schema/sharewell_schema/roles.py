"""Roles in the API."""

from __future__ import annotations

from sharewell.domain.principals import Role
from sharewell_schema.describe import described

__all__ = ["Role"]

described(
    Role, "What a caller is to the platform; the policies say what each may do.",
    institution="The system of an institution that takes part.",
    device="A sensor or system that only reports capacity of its institution.",
    allocator="Plans for a region: sees needs and forecasts, and starts runs.",
    regulator="Reads everything, or everything of its jurisdiction, audit and proofs included, and changes nothing.",
    admin="Keeps institutions, catalogue, clients and policies, and sees no transfers.",
    auditor="Reads what admins do and who has access, and changes nothing; never an admin at the same time.",
)  # fmt: skip
