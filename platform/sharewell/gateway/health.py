"""Whether this process lives, whether it can work, and its figures, for whoever operates it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources.abc import Traversable

import asyncpg
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sharewell.store.database import Database
from sharewell.store.migrate import MigrationError, pending

PATIENCE_SECONDS = 2


class Health:
    """The three pages an operator's tools ask for."""

    def __init__(
        self, database: Database, migrations: Traversable, registry: CollectorRegistry,
        fault: Callable[[], str | None] = lambda: None,
    ) -> None:  # fmt: skip
        """`fault` tells why the process itself cannot work, if it cannot."""
        self._database, self._migrations, self._registry, self._fault = database, migrations, registry, fault

    async def alive(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """200 as long as the process answers at all; a restart would not help a database that is away."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """200 if the database answers, has every migration and nothing else is wrong, else 503 saying what."""
        lacking = await self._lacking()
        if lacking is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "why": lacking}, status_code=503, headers={"Retry-After": "2"})

    async def _lacking(self) -> str | None:
        if not await self._database.is_ready():
            return "the database cannot be reached"
        try:
            async with self._database.pool.acquire(timeout=PATIENCE_SECONDS) as conn:
                waiting = await pending(conn, self._migrations)  # type: ignore[arg-type]  # a proxied connection
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return "the database cannot be reached"
        except MigrationError as error:
            return str(error)
        return f"migration {waiting[0].name} is not applied; run: sharewell migrate" if waiting else self._fault()

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """Prometheus text format."""
        return Response(generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
