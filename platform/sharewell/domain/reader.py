"""For whom a transaction reads: what the database itself lets through, whatever the application asks for.

It knows roles and institutions, not policies: a second wall behind them, coarser and made of something else.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final
from uuid import UUID

from sharewell.domain.principals import Caller, Role
from sharewell.domain.scopes import is_internal

NOBODY: Final = ""  #: no row of any institution
PLATFORM: Final = '{"all":true}'  #: the platform's own look at everything, of which nothing is told as it stands


def reader_of(caller: Caller) -> str:
    """What the database is told of `caller`: that it reads of all, or of which institution and which regions."""
    return _reader(caller.roles, caller.scopes, caller.institution, caller.jurisdiction)


@lru_cache(maxsize=4096)
def _reader(
    roles: frozenset[Role], scopes: frozenset[str], institution: UUID | None, jurisdiction: frozenset[str]
) -> str:
    regulates = Role.REGULATOR in roles
    if is_internal(scopes) or Role.ALLOCATOR in roles or (regulates and not jurisdiction):
        return PLATFORM
    told: dict[str, object] = {}
    if institution is not None:
        told["institution"] = str(institution)
    if regulates:
        told["regions"] = sorted(jurisdiction)
    return json.dumps(told) if told else NOBODY
