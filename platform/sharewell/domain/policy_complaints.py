"""What Cedar says of a file of policies that cannot be used, put so that its author finds the place and the word.

Cedar counts policies in their order and tells no place where it cannot read one; an author knows `@id`s and lines.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

_BEGINS: Final = re.compile(r'^[ \t]*@id\("([^"\n]*)"\)', re.MULTILINE)
_COMMENT: Final = re.compile(r"//[^\n]*")
_OF_ONE: Final = re.compile(r"for policy `(\w+)`, (.*)", re.DOTALL)
_QUOTED: Final = re.compile(r"`([^`]+)`")
_WORD: Final = re.compile(r"\w+")
_ALIKE: Final = 0.75  #: from 0 to 1 (`difflib`): how alike are two words of which one may be the other mistyped


def unreadable(text: str, error: str, reads: Callable[[str], bool]) -> str:
    """`error` of a `text` that `reads` does not take, with the first policy that it does not take: its id and line.

    What of the text comes before that policy is read, so it is found by halving.
    """
    begins = list(_BEGINS.finditer(text))
    ends = [each.start() for each in begins[1:]] + [len(text)]
    place = bisect_left(ends, True, key=lambda end: not reads(text[:end]))
    if not begins or place == len(ends):
        return error
    first = begins[place]
    line = text.count("\n", 0, first.end()) + 1
    ended = _COMMENT.sub("", text[first.start() : ends[place]]).rstrip().endswith(";")
    return f"{error}, in the policy {first[1]} on line {line}{'' if ended else '; a policy ends with a semicolon'}"


def unfitting(error: str, ids: Mapping[str, str | None], known: frozenset[str]) -> str:
    """`error` of a policy that does not fit the schema, by its `@id`, with the known word that was probably meant."""
    found = _OF_ONE.fullmatch(error)
    where, said = (ids.get(found[1]), found[2]) if found else (None, error)
    meant = _meant(said, known)
    return f"{where or 'a policy without @id'}: {said}{f' (did you mean {meant}?)' if meant else ''}"


def words(schema: str) -> frozenset[str]:
    """Every name that a schema knows."""
    return frozenset(_WORD.findall(_COMMENT.sub("", schema)))


def _meant(said: str, known: frozenset[str]) -> str | None:
    for quoted in _QUOTED.findall(said):
        *_, word = _WORD.findall(quoted) or [""]
        if word and word not in known:
            return next(iter(get_close_matches(word, sorted(known), 1, _ALIKE)), None)
    return None
