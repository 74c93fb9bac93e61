"""What the text of policies refers to: which facts of a request it looks at, and with what it compares them.

Read from Cedar's JSON form of a policy (https://docs.cedarpolicy.com/policies/json-format.html). Two requests that
differ only in what no policy looks at get the same answer, so this is what a finite comparison of policies rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

#: Facts that are texts: a policy can look at them in more ways than by comparing them with a text.
PURPOSE: Final = "context.purposeOfUse"
STANDING: Final = "context.callerStatus"
NEEDED: Final = "context.requiredScope"
SCOPES: Final = "principal.scopes"
PROOF: Final = "principal.proofRequired"
PROVEN: Final = "context.senderConstrained"
JURISDICTION: Final = "principal.jurisdiction"
REGIONS: Final = ("resource.region", "resource.giverRegion", "resource.receiverRegion")
SHARED_WITH: Final = "resource.sharedWith"
_TEXTS: Final = (PURPOSE, STANDING, NEEDED, *REGIONS)
_SETS: Final = (SCOPES, JURISDICTION)  #: of texts
_VARIABLES: Final = ("principal", "action", "resource", "context")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What some policies refer to."""

    facts: frozenset[str]  #: such as `principal.institution`, or `resource` where it is compared as a whole
    entities: frozenset[tuple[str, str]]  #: type without its namespace and id of each that is named
    compared: frozenset[tuple[str, str]]  #: fact and text it is compared with; "" for a pattern
    unclear: tuple[str, ...]  #: what a comparison by cases cannot follow, in words

    @classmethod
    def of(cls, bodies: Iterable[Mapping[str, Any]]) -> Self:
        """The terms of policies in Cedar's JSON form."""
        found = list(bodies)
        walked = [each for body in found for each in _conditions(body)]
        said = list(dict.fromkeys(why for each in walked for why in _unclear(each)))
        return cls(
            facts=frozenset(fact for each in walked for fact in _facts(each)),
            entities=frozenset(one for body in found for one in _entities(body)),
            compared=frozenset(pair for each in walked for pair in _compared(each)),
            unclear=tuple(said),
        )


def _conditions(body: Mapping[str, Any]) -> Iterator[Any]:
    for condition in body["conditions"]:
        yield condition["body"]


def _entities(node: Any) -> Iterator[tuple[str, str]]:
    """Every entity that is named, in scopes and conditions alike."""
    if isinstance(node, Mapping):
        if node.keys() == {"type", "id"}:
            yield node["type"].rpartition("::")[2], node["id"]
            return
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _entities(each)


def _fact(node: Any) -> str | None:
    """The fact an expression reads, such as `context.purposeOfUse`; None where it is no plain reading."""
    if not isinstance(node, Mapping) or len(node) != 1:
        return None
    if (of := node.get(".")) is not None:
        variable = of["left"].get("Var") if isinstance(of["left"], Mapping) else None
        return None if variable is None else f"{variable}.{of['attr']}"
    variable = node.get("Var")
    return variable if isinstance(variable, str) else None


def _facts(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for each in node:
            yield from _facts(each)
    if not isinstance(node, Mapping):
        return
    for form in (".", "has"):
        of = node.get(form)
        if isinstance(of, Mapping) and isinstance(of.get("left"), Mapping) and of["left"].get("Var") in _VARIABLES:
            yield f"{of['left']['Var']}.{of['attr']}"
            return
    if (fact := _fact(node)) is not None:
        yield fact
        return
    for each in node.values():
        yield from _facts(each)


def _compared(node: Any) -> Iterator[tuple[str, str]]:
    """Facts that are texts, or sets of texts, with each text they are compared with."""
    if isinstance(node, list):
        for each in node:
            yield from _compared(each)
    if not isinstance(node, Mapping):
        return
    for of in node.values():
        if isinstance(of, Mapping) and {"left", "right"} <= of.keys():
            for fact, other in ((_fact(of["left"]), of["right"]), (_fact(of["right"]), of["left"])):
                if fact is not None and fact in (*_TEXTS, *_SETS):
                    yield from ((fact, text) for text in _written(other))
        elif isinstance(of, Mapping) and (fact := _fact(of.get("left"))) in (NEEDED, STANDING) and "pattern" in of:
            yield fact, ""
        yield from _compared(of)


def _written(node: Any) -> Iterator[str]:
    """The texts of a literal."""
    if not isinstance(node, Mapping):
        return
    for each in node.get("Set", [node]):
        value = each.get("Value") if isinstance(each, Mapping) else None
        yield from [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _text(node: Any) -> bool:
    return isinstance(node, Mapping) and isinstance(node.get("Value"), str)


def _texts(node: Any) -> bool:
    """A set of texts written out."""
    if not isinstance(node, Mapping):
        return False
    if isinstance(held := node.get("Value"), list):
        return all(isinstance(each, str) for each in held)
    return isinstance(held := node.get("Set"), list) and all(_text(each) for each in held)


def _unclear(node: Any) -> Iterator[str]:
    """Why cases would not cover an expression, if so. Whatever is not known to be covered is unclear."""
    if isinstance(node, list):
        for each in node:
            yield from _unclear(each)
    if not isinstance(node, Mapping) or _covered(node):
        return
    fact = _fact(node)
    if fact is not None:
        yield from _OTHERWISE.get(fact, ())
        return
    if "." in node or "has" in node:
        yield "it looks at a fact of a fact, such as the owner of an owner"
    if "getTag" in node or "hasTag" in node:
        yield "it looks at tags"
    for each in node.values():
        yield from _unclear(each)


#: What is unclear about looking at a fact in a way that `_covered` does not know.
_OTHERWISE: Final = {
    **{fact: (f"it looks at {fact} otherwise than by comparing it with texts",) for fact in _TEXTS},
    SCOPES: (f"it looks at {SCOPES} otherwise than by whether it contains the required scope, or scopes written out",),
    JURISDICTION: (f"it looks at {JURISDICTION} otherwise than by whether it contains the resource's region or texts",),
    SHARED_WITH: (f"it looks at {SHARED_WITH} otherwise than by whether it contains an institution",),
    "context": ("it looks at the context as a whole",),
}


def _covered(node: Mapping[str, Any]) -> bool:
    """Whether this is a use of texts that cases by their value cover."""
    (form, of), *rest = node.items() if node else [("", None)]
    if rest or not isinstance(of, Mapping):
        return False
    left, right = of.get("left"), of.get("right")
    fact, other = _fact(left), _fact(right)
    covered = {
        "has": fact in _VARIABLES,
        "==": (fact in _TEXTS and _text(right)) or (_text(left) and other in _TEXTS),
        "!=": (fact in _TEXTS and _text(right)) or (_text(left) and other in _TEXTS),
        "like": fact in (NEEDED, STANDING),  # the platform itself writes these two, from few values that are all tried
        "contains": _within(fact, right) or (_texts(left) and other in _TEXTS),
        "containsAny": fact in _SETS and _texts(right),
        "containsAll": fact in _SETS and _texts(right),
    }
    return covered.get(form, False)


def _within(fact: str | None, part: Any) -> bool:
    """Whether that something is in a set is what cases vary."""
    of = {SCOPES: (NEEDED,), JURISDICTION: REGIONS, SHARED_WITH: ("principal.institution", "resource.owner")}
    if fact not in of:
        return False
    return _fact(part) in of[fact] or (_named(part) if fact == SHARED_WITH else _text(part))


def _named(part: Any) -> bool:
    """An entity written out."""
    return isinstance(part, Mapping) and isinstance(part.get("Value"), Mapping) and "__entity" in part["Value"]
