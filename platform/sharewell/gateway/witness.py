"""The witness over HTTP (c2sp.org/tlog-witness): `add-checkpoint`, and what was cosigned last of each log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sharewell.domain.witnessing import SIZE_TYPE, format_cosignatures, format_size
from sharewell.gateway.answers import Answer
from sharewell.services.witness import NotConsistent, OtherSize

if TYPE_CHECKING:
    from starlette.requests import Request

    from sharewell.services.witness import WitnessService

PREFIX = "/witness"


def witness_routes(witness: WitnessService) -> list[Route]:
    """The routes under `/witness`; none where this node is no witness."""
    vkey = witness.vkey
    if vkey is None:
        return []

    async def add_checkpoint(request: Request) -> Response:
        try:
            line = await witness.add_checkpoint(await request.body())
        except OtherSize as other:
            return Response(format_size(other.size), 409, headers={"Content-Type": SIZE_TYPE})
        except NotConsistent as why:
            return Answer(422, why.code, why.message)
        return Response(format_cosignatures([line]), media_type="text/plain; charset=utf-8")

    async def latest(request: Request) -> Response:
        note = await witness.latest(request.path_params["origin"])
        return Response(note, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "max-age=2"})

    async def key(request: Request) -> Response:  # noqa: ARG001 - an endpoint's signature
        return PlainTextResponse(f"{vkey}\n")

    return [
        Route(f"{PREFIX}/add-checkpoint", add_checkpoint, methods=["POST"]),
        Route(f"{PREFIX}/vkey", key),
        Route(f"{PREFIX}/{{origin}}/checkpoint", latest),
    ]
