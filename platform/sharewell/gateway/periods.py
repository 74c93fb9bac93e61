"""The entries of a period over HTTP: as the file that proves them, or line by line in the words of another system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sharewell.domain.audit import parse_entry
from sharewell.domain.errors import Conflict, Forbidden, Invalid, NotFound, SharewellError, Unavailable
from sharewell.domain.period import Period
from sharewell.domain.principals import Caller
from sharewell.domain.views import Shown, View, view
from sharewell.gateway.answers import Answer
from sharewell.gateway.bearer import Bearer, RequireBearer
from sharewell.services.inspection import InspectionService

PATH = "/log/period"
_STATUS = {Invalid: 400, Forbidden: 403, NotFound: 404, Conflict: 409, Unavailable: 503}
_MEDIA = {View.FHIR: "application/fhir+ndjson", View.CLOUDEVENTS: "application/x-ndjson",
          View.OCSF: "application/x-ndjson"}  # fmt: skip


def period_route(bearer: Bearer, inspection: InspectionService) -> Route:
    """`GET /log/period?since=&until=[&cosigned=true][&view=]`, for whoever may take all decisions' proofs away."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await _answer(request, scope["state"]["caller"], inspection)
        except SharewellError as why:
            status = next((number for family, number in _STATUS.items() if isinstance(why, family)), 500)
            response = Answer(status, why.code, why.message, field=why.field)
        await response(scope, receive, send)

    return Route(PATH, RequireBearer(answer, bearer), methods=["GET"])


async def _answer(request: Request, caller: Caller, inspection: InspectionService) -> Response:
    words = _words(request.query_params.get("view"))
    period = await inspection.period(
        caller, _time(request, "since"), _time(request, "until"), cosigned=_whether(request, "cosigned")
    )
    if words is None:
        headers = {"Content-Disposition": 'attachment; filename="period.zip"', "Cache-Control": "no-store"}
        return Response(await run_in_threadpool(period.encode), media_type="application/zip", headers=headers)
    shown = await run_in_threadpool(lambda: b"".join(lines(period, words)))
    return Response(shown, media_type=_MEDIA[words], headers={"Cache-Control": "no-store"})


def lines(period: Period, words: View) -> Iterator[bytes]:
    """What was decided in the period, a line each."""
    for index, entry in enumerate(period.entries, start=period.first):
        decision = parse_entry(entry)
        if period.decided(decision):
            shown = view(Shown(decision, entry, index, period.origin), words)
            yield json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _time(request: Request, name: str) -> datetime:
    text = request.query_params.get(name, "")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Invalid(f"{name} must be a time with its offset, such as 2026-03-01T00:00:00Z.", field=name)
    return moment


def _whether(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in {"true", "false"}:
        raise Invalid(f"{name} must be true or false, or left out.", field=name)
    return text == "true"


def _words(text: str | None) -> View | None:
    if text is None or text in list(View):
        return None if text is None else View(text)
    raise Invalid(f"view must be one of {', '.join(View)}, or left out for the file with the proof.", field="view")
