"""The policies of this release, loaded once."""

from __future__ import annotations

import pytest

from sharewell.authz import Authorizer


@pytest.fixture(scope="session")
def authorizer() -> Authorizer:
    return Authorizer.load()
