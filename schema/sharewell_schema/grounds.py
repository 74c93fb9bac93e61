"""Grounds of erasures in the API."""

from __future__ import annotations

from sharewell.domain.subjects import Ground
from sharewell_schema.describe import described

__all__ = ["Ground"]

described(
    Ground, "By which ground a person is erased.", "ErasureGround",
    **{ground.name.lower(): f"GDPR, Article {ground.article}. {ground.sentence}" for ground in Ground},
)  # fmt: skip
