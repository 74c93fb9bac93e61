"""Reading parsed JSON that must be exactly right: every refusal names the path, and nothing unknown passes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from sharewell.domain.canonical import LARGEST_NUMBER
from sharewell.domain.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,99}")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object at `path`, of which each member is asked for once by name and kind."""

    members: Mapping[str, object]
    path: str

    @classmethod
    def of(cls, value: object, path: str, required: Iterable[str], optional: Iterable[str] = ()) -> Record:
        """Take `value` as an object with all `required` members and no others but the `optional` ones."""
        if not isinstance(value, Mapping):
            raise Invalid(f"{path or 'the document'} must be a JSON object.", field=path)
        required = tuple(required)
        for name in required:
            if name not in value:
                raise Invalid(f"{_join(path, name)} is missing.", field=_join(path, name))
        for name in value:
            if name not in required and name not in tuple(optional):
                raise Invalid(f"{_join(path, str(name))} is not a known field.", field=_join(path, str(name)))
        return cls(value, path)

    def at(self, name: str) -> str:
        """Path of member `name`."""
        return _join(self.path, name)

    def whole(self, name: str, *, least: int = 0, most: int = LARGEST_NUMBER) -> int:
        """Return a whole number in `least..most`."""
        return whole(self.members[name], self.at(name), least=least, most=most)

    def name(self, name: str) -> str:
        """Return an identifier."""
        return identifier(self.members[name], self.at(name))

    def text(self, name: str, *, most: int = 2000) -> str:
        """Return a text of at most `most` characters."""
        value = self.members[name]
        if not isinstance(value, str) or len(value) > most:
            raise Invalid(f"{self.at(name)} must be a text of at most {most} characters.", field=self.at(name))
        return value

    def moment(self, name: str) -> datetime:
        """Return an RFC 3339 UTC time as an aware datetime."""
        value = self.members[name]
        try:
            return datetime.fromisoformat(value if isinstance(value, str) and value.endswith("Z") else "")
        except ValueError:
            raise Invalid(
                f"{self.at(name)} must be an RFC 3339 UTC time such as 2026-01-31T08:00:00Z.", field=self.at(name)
            ) from None

    def each(self, name: str, read: Callable[[object, str], _T], *, most: int) -> tuple[_T, ...]:
        """Read a list of at most `most` items with `read(value, path)`."""
        value = self.members[name]
        if not isinstance(value, list) or len(value) > most:
            raise Invalid(f"{self.at(name)} must be a list of at most {most} items.", field=self.at(name))
        return tuple(read(item, f"{self.at(name)}[{index}]") for index, item in enumerate(value))


def whole(value: object, path: str, *, least: int = 0, most: int = LARGEST_NUMBER) -> int:
    """Return `value` if it is a whole number in `least..most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Invalid(f"{path} must be a whole number from {least} to {most}; it is {str(value)[:40]}.", field=path)
    return value


def identifier(value: object, path: str) -> str:
    """Return `value` if it is an identifier: 1 to 100 letters, digits and `._:@/+-`, a letter or digit first."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Invalid(f"{path} must be an identifier of 1 to 100 letters, digits and ._:@/+-.", field=path)
    return value


def moment_text(value: datetime) -> str:
    """Write an aware datetime the way `Record.moment` reads it."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
