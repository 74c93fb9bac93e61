"""Logs: one JSON object a line on standard error, from our own code and from every library, without secrets.

Context variables bound by `structlog.contextvars` (request id, job) are on each line. A secret that reaches a log
call by mistake is cut out here; that is the second wall, the first being not to log it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

CUT = "[cut]"
_SECRET_NAMES = frozenset(
    {
        "access_token", "assertion", "authorization", "client_assertion", "client_secret", "cookie", "d", "key",
        "password", "private_jwk", "private_key", "refresh_token", "secret", "set-cookie", "token",
    }
)  # fmt: skip
_SECRETS = (
    (re.compile(r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), CUT),  # a JWT
    (re.compile(r"(?i)\b(bearer|basic|dpop)\s+[\w.~+/=-]{8,}"), rf"\1 {CUT}"),
    (re.compile(r"(\w+://[^\s:/@]+):[^\s@/]+@"), rf"\1:{CUT}@"),  # the password of a URL
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), CUT),
    # PostgreSQL repeats the row at fault in its DETAIL, and rows may speak of people.
    (re.compile(r"\nDETAIL: .*"), f"\nDETAIL: {CUT}"),
)
#: Whatever one of them finds holds one of these, and most of what is logged none: a look that is cheaper by far.
_MAY_HOLD_SECRETS = re.compile(r"eyJ|://|\s")
#: Libraries that say too much, some of it secret (Authlib logs whole tokens at debug).
_QUIET = {"authlib": logging.WARNING, "httpx2": logging.WARNING, "httpcore2": logging.WARNING,
          "asyncio": logging.WARNING, "uvicorn.access": logging.CRITICAL,
          "uvicorn.error": logging.WARNING}  # fmt: skip  # of a WebSocket it logs the query string, too


def configure(level: str = "info", form: str = "json", *, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (standard error by default) as `json`, or as `console` for people.

    Calling it again replaces what was configured before.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    rendering = _rendering(form, colours=stream.isatty())
    handler.setFormatter(_Line(shared, rendering))
    # No line says which thread, process or line of code it comes from, so none need find that out.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001  as the manual of `logging` has it, under "Optimization"
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)


class _Line(structlog.stdlib.ProcessorFormatter):
    """A record as a line. One of our own has been through `shared` before, and needs no copy: nobody else reads it."""

    def __init__(self, shared: Sequence[Processor], rendering: Sequence[Processor]) -> None:
        super().__init__(foreign_pre_chain=shared, processors=[self.remove_processors_meta, *rendering])
        self._rendering = rendering

    def format(self, record: logging.LogRecord) -> str:
        # A library may log a dict, too; only structlog's `wrap_for_formatter` leaves this beside it.
        if not isinstance(record.msg, dict) or not hasattr(record, "_logger"):
            return super().format(record)
        line: Any = dict(record.msg)
        for step in self._rendering:
            line = step(None, record.levelname.lower(), line)
        return str(line)


def _rendering(form: str, *, colours: bool) -> list[Processor]:
    # Local variables stay out of tracebacks: that is where tokens and keys are.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
    if form == "console":
        plain = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
        return [structlog.processors.format_exc_info, redact, plain]
    return [structlog.processors.ExceptionRenderer(tracebacks), redact, _json]


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001 - structlog's signature
    """Cut secrets out of `event`, by the name of the field and by the look of the value."""
    clean: MutableMapping[str, Any] = {name: _clean(name, value) for name, value in event.items()}
    return clean


def _clean(name: str, value: object) -> object:
    if name.lower() in _SECRET_NAMES:
        return CUT
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, Mapping):
        return {str(inner): _clean(str(inner), held) for inner, held in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", held) for held in value]
    return value


def _clean_text(text: str) -> str:
    if _MAY_HOLD_SECRETS.search(text) is None:
        return text
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def _json(logger: WrappedLogger, method: str, event: EventDict) -> str:  # noqa: ARG001 - structlog's signature
    try:
        return orjson.dumps(event, default=_text, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # what orjson refuses, such as half a surrogate pair, must not cost us the line
        return json.dumps(event, default=_text)


def _text(value: object) -> str:
    return _clean_text(repr(value))
