"""The audit log over HTTP (c2sp.org/tlog-tiles): checkpoint and hash tiles for everybody, entries for regulators.

Where the log is exported to a folder, the public part is read from there and the database is not asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sharewell.domain.errors import NotFound
from sharewell.domain.tiles import ENTRIES, parse_tile_path, tile_path
from sharewell.gateway.bearer import Bearer, RequireBearer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sharewell.services.audit import AuditService

PREFIX = "/log"
TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
A_MOMENT = {"Cache-Control": "public, max-age=2"}


def log_routes(audit: AuditService, bearer: Bearer, vkey: Callable[[], str], folder: Path | None) -> list[Route]:
    """The routes under `/log`. `folder` is where the log is exported to, if it is."""

    async def checkpoint(request: Request) -> Response:  # noqa: ARG001 - an endpoint's signature
        note = await (_read(folder / "checkpoint") if folder else audit.checkpoint())
        if note is None:
            return PlainTextResponse("no entry is sealed yet\n", status_code=404, headers=A_MOMENT)
        return Response(note, media_type=TEXT, headers=A_MOMENT)

    async def policy(request: Request) -> Response:  # noqa: ARG001 - an endpoint's signature
        text = await (_read(folder / "policy") if folder else audit.policy())
        return PlainTextResponse(text or "", status_code=404 if text is None else 200, headers=A_MOMENT)

    async def key(request: Request) -> Response:  # noqa: ARG001 - an endpoint's signature
        return PlainTextResponse(f"{vkey()}\n")

    async def tile(request: Request) -> Response:
        level, n, width = parse_tile_path(f"tile/{request.path_params['path']}")
        assert isinstance(level, int), "entries have a route of their own"
        path = tile_path(level, n, width)
        data = await (_read(folder / path) if folder else audit.tile(level, n, width))
        if data is None:
            raise NotFound(f"the log has no {path}.", field="path")
        return Response(data, media_type=OCTETS, headers=FOR_EVER)

    return [
        Route(f"{PREFIX}/checkpoint", checkpoint),
        Route(f"{PREFIX}/policy", policy),
        Route(f"{PREFIX}/vkey", key),
        Route(f"{PREFIX}/tile/{ENTRIES}/{{path:path}}", RequireBearer(_entries(audit), bearer), methods=["GET"]),
        Route(f"{PREFIX}/tile/{{path:path}}", tile),
    ]


def _entries(audit: AuditService) -> ASGIApp:
    async def entries(scope: Scope, receive: Receive, send: Send) -> None:
        _, n, width = parse_tile_path(f"tile/{ENTRIES}/{scope['path_params']['path']}")
        data = await audit.entries(scope["state"]["caller"], n, width)
        await Response(data, media_type=OCTETS)(scope, receive, send)

    return entries


async def _read(path: Path) -> bytes | None:
    try:
        return await asyncio.to_thread(path.read_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return None
