"""How the gateway says no: one JSON shape for every refusal outside GraphQL and OAuth."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response


class Answer(Response):
    """`{"error": {"code", "message", ...}}`; members that are None are left out."""

    media_type = "application/json"

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, **more: str | None
    ) -> None:
        error = {"code": code, "message": message} | {name: value for name, value in more.items() if value}
        super().__init__(orjson.dumps({"error": error}), status_code=status, headers=headers)
