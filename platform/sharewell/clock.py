"""What time it is: the machine's time, or, for replays of the past, the time written in a file while there is one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path


def clock(file: Path | None) -> Callable[[], datetime]:
    """The function that everything in a process asks for the time (aware, UTC)."""

    def now() -> datetime:
        if file is not None:
            try:
                return datetime.fromisoformat(file.read_text(encoding="ascii").strip())
            except FileNotFoundError:
                pass
        return datetime.now(UTC)

    return now


def set_clock(file: Path, at: datetime) -> None:
    """Put the hands of a replay's clock to `at`, for every process that reads `file`."""
    draft = file.with_suffix(".new")
    draft.write_text(at.isoformat(), encoding="ascii")
    draft.replace(file)


def release_clock(file: Path) -> None:
    """Let time go on as it does outside."""
    file.unlink(missing_ok=True)
