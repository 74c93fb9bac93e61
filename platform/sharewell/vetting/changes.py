"""What one set of policies changes in another: policy by policy, with their sentences, and file by file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sharewell.authz import SCHEMA
from sharewell.domain.policy import Action
from sharewell.domain.principals import Role
from sharewell.vetting.findings import ADMINISTRATION
from sharewell.vetting.texts import Text, texts_of

#: Roles of those who are watched, and watch nobody.
_WATCHED: Final = frozenset({Role.INSTITUTION, Role.DEVICE, Role.ALLOCATOR})


class ChangeKind(StrEnum):
    """What became of one policy."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """One policy that is not as it was."""

    policy: str
    kind: ChangeKind
    sentence: str | None  #: as it is now
    sentence_before: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file that is not as it was."""

    file: str
    diff: str  #: unified; from or to /dev/null where the file is new or gone


def policy_changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> tuple[PolicyChange, ...]:
    """Each policy that was added, changed or removed, by id. Layout and comments are no change; both must load."""
    old, new = texts_of(before), texts_of(after)
    return tuple(
        PolicyChange(policy=name, kind=kind, sentence=_sentence(new, name), sentence_before=_sentence(old, name))
        for name, kind in sorted(_kinds(old, new))
    )


def file_changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> tuple[FileChange, ...]:
    """A unified diff for each file that differs; any text will do."""
    names = sorted({name for name in before.keys() | after.keys() if before.get(name) != after.get(name)})
    return tuple(
        FileChange(file=name, diff=_diff(name, before.get(name), after.get(name))) for name in names if name != SCHEMA
    )


def unfit_for_glass(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str | None:
    """Why `after` is too wide to be put in the place of `before` by one person alone; None where it is narrow.

    Narrow: every policy of before stands as it was, each new permit names its caller and its acts, and no new forbid
    reaches who could end it or should see it: whoever broke the glass must not be the last who can do anything.
    """
    old, new = texts_of(before), texts_of(after)
    for name, kind in sorted(_kinds(old, new)):
        if kind is not ChangeKind.ADDED:
            return f"it has the policy {name} {kind}; it may only add policies, or have been in force before"
        if new[name].permits and not _is_named(new[name]):
            return f"its permit {name} must name one caller (principal == ...) and its acts"
        if not new[name].permits and (why := _reaches_too_far(new[name])) is not None:
            return f"its forbid {name} {why}"
    return None


def _reaches_too_far(text: Text) -> str | None:
    acts = _acts(text)
    if taken := sorted({act for act in ADMINISTRATION if act.writes} & acts):
        return f"may not keep anybody from {taken[0]}, which takes two persons"
    if any(not act.writes for act in acts) and _role(text) not in _WATCHED:
        return f"keeps from reading; its callers must be in one of the roles {', '.join(sorted(_WATCHED))}"
    return None


def _acts(text: Text) -> set[Action]:
    """The acts that its head names, groups spelled out."""
    action = text.parts["action"]
    if action["op"] == "All":
        return set(Action)
    named = {each["id"] for each in action.get("entities", [action.get("entity")])}
    return {act for act in Action if act in named or ("write" if act.writes else "read") in named}


def _role(text: Text) -> str | None:
    """The one role that its head says its callers have."""
    head = text.parts["principal"]
    found = head.get("entity") if head["op"] == "in" else head.get("in", {}).get("entity")
    return found["id"] if found and found["type"].endswith("::Role") else None


def _kinds(old: Mapping[str, Text], new: Mapping[str, Text]) -> Iterator[tuple[str, ChangeKind]]:
    for name in old.keys() | new.keys():
        if name not in old:
            yield name, ChangeKind.ADDED
        elif name not in new:
            yield name, ChangeKind.REMOVED
        elif (old[name].parts, old[name].sentence) != (new[name].parts, new[name].sentence):
            yield name, ChangeKind.CHANGED


def _is_named(text: Text) -> bool:
    principal, action = text.parts["principal"], text.parts["action"]
    acts = action.get("entities", [action.get("entity")])
    return principal["op"] == "==" and None not in acts and not {each["id"] for each in acts} & {"read", "write"}


def _sentence(texts: Mapping[str, Text], name: str) -> str | None:
    return texts[name].sentence if name in texts else None


def _diff(name: str, before: bytes | None, after: bytes | None) -> str:
    old, new = ((data or b"").decode(errors="replace").splitlines(keepends=True) for data in (before, after))
    lines = difflib.unified_diff(
        old, new, "/dev/null" if before is None else f"a/{name}", "/dev/null" if after is None else f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
