"""For whom a transaction reads: what the database itself lets through, whatever the application asks for.

It knows roles and institutions, not policies: a second wall behind them, coarser and made of something else.
"""

from __future__ import annotations

import json
from typing import Final

from sharewell.domain.principals import Caller, Role
from sharewell.domain.scopes import is_internal

NOBODY: Final = ""  #: no row of any institution
PLATFORM: Final = '{"all":true}'  #: the platform's own look at everything, of which nothing is told as it stands


def reader_of(caller: Caller) -> str:
    """What the database is told of `caller`: that it reads of all, or of which institution and which regions."""
    regulates = Role.REGULATOR in caller.roles
    if is_internal(caller.scopes) or Role.ALLOCATOR in caller.roles or (regulates and not caller.jurisdiction):
        return PLATFORM
    told: dict[str, object] = {}
    if caller.institution is not None:
        told["institution"] = str(caller.institution)
    if regulates:
        told["regions"] = sorted(caller.jurisdiction)
    return json.dumps(told) if told else NOBODY
