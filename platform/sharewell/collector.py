"""Python's collector, kept from what stays: modules, schema, policies, a million objects in a gateway.

It would look through them every few seconds, and in that tenth of a second nobody is answered and nothing is sealed.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_sparing: set[object] = set()  #: those who wish it now; one process may hold several gateways


@contextmanager
def spared() -> Iterator[None]:
    """Have the collector pass over all that is there by now, until nobody in this process wishes that any more.

    What is dropped of them later is given back as usual, unless it refers to itself.
    """
    one = object()
    gc.collect()
    gc.freeze()
    _sparing.add(one)
    try:
        yield
    finally:
        _sparing.discard(one)
        if not _sparing:
            gc.unfreeze()
