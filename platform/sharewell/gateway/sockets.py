"""Who may open a WebSocket: the page it comes from must be listed, and its token good where it brings one.

A browser sends a WebSocket's request to anybody, whatever page asks for it, and no answer of ours could stop the page
from reading: so the origin is checked here, before anything else is. Programs send none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sharewell.domain.errors import NotAdmitted
from sharewell.domain.principals import Admission
from sharewell.gateway.access_tokens import TokenRefused
from sharewell.gateway.answers import Answer
from sharewell.gateway.bearer import Bearer, Presented, RequireBearer


class GuardSocket:
    """Lets WebSockets through to `app`.

    In `scope["state"]` is the `admission` of one that brought its token in the header, as `RequireBearer` has it. In
    any case there is `admit`, for a token that comes in a message; it raises `NotAdmitted` or `Unavailable`. And there
    is `turn`: by `async with turn(counted_as)` an operation waits until it may be worked on; it raises `Unavailable`.
    """

    def __init__(self, app: ASGIApp, bearer: Bearer, origins: Collection[str]) -> None:
        self._app, self._bearer, self._origins = app, bearer, origins
        self._with_header = RequireBearer(app, bearer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if not set(headers.getlist("origin")) <= set(self._origins):
            why = "Pages of this origin may not connect; the operator lists those that may."
            return await Answer(403, "FORBIDDEN", why)(scope, receive, send)
        state = scope.setdefault("state", {})
        state["admit"], state["turn"] = self._admitting(scope, state["request_id"]), self._bearer.pace.turn
        app = self._with_header if "authorization" in headers else self._app
        return await app(scope, receive, send)

    def _admitting(self, scope: Scope, request_id: str) -> Callable[[str], Awaitable[Admission]]:
        async def admit(authorization: str) -> Admission:
            scheme, _, token = authorization.partition(" ")
            presented = Presented(
                token=token, scheme=scheme.lower(), proofs=(), method="GET", path=scope["path"],
                endpoint=getattr(scope.get("route"), "path", "unknown"), request_id=request_id,
                peer=scope["state"]["peer"],
            )  # fmt: skip
            if presented.scheme != "bearer" or not token:
                raise NotAdmitted('Send {"authorization": "Bearer ..."} with connection_init, or the header before.')
            try:
                return await self._bearer.admit(presented)
            except TokenRefused as refused:
                raise NotAdmitted(str(refused)) from None

        return admit
