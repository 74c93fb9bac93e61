"""Lets Authlib's synchronous core await our coroutines without a thread, as SQLAlchemy's asyncio does.

`run(function)` calls the function in a greenlet; inside it, `wait(coroutine)` hands the coroutine out to the
event loop and returns its result. Context variables (request id) are the caller's, on both sides.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import greenlet

P = ParamSpec("P")
T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` from synchronous code that `run` called. Raises RuntimeError anywhere else."""
    outside = greenlet.getcurrent().parent
    if outside is None:
        work.close()
        raise RuntimeError("wait() only works in a function called through run().")
    result: T = outside.switch(work)
    return result


async def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function`, awaiting whatever it waits for. Its exceptions, and cancellation, pass through."""
    inside = greenlet.greenlet(function)
    inside.gr_context = contextvars.copy_context()
    handed = inside.switch(*args, **kwargs)
    while not inside.dead:
        try:
            result = await handed
        except BaseException:  # noqa: BLE001 - cancellation too belongs to whoever waits inside
            handed = inside.throw(*sys.exc_info())
        else:
            handed = inside.switch(result)
    answer: T = handed
    return answer


async def awaited(work: Awaitable[T]) -> T:
    """`work` as the coroutine that `wait` takes."""
    return await work
