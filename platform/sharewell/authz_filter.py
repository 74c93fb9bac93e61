"""Turn what Cedar leaves open of the policies, once all but the resource is known, into one condition in SQL.

Cedar's partial evaluation answers a question without a resource by residuals: the policies, reduced to what they ask of
the resource. `compiled` writes them as `(permits) and not (forbids)` over the columns of a row. Where Cedar would fail,
as on an attribute that is absent, the condition is null, and null is false: a policy that fails does not apply. Null is
passed on exactly as Cedar passes a failure on, so policies that no validator has seen come out right, too.

Whatever cannot be written so raises `Uncompilable`, and then nothing may be shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, Final
from uuid import UUID

from sharewell.domain.policy import ATTRIBUTES, attributes_of
from sharewell.domain.predicate import NOTHING, Predicate, Value

#: A node of the JSON that Cedar writes expressions as: an object with one member.
Node = Mapping[str, Any]

_NAMESPACE: Final = "Sharewell"
_INSTITUTION: Final = f"{_NAMESPACE}::Institution"
_CALLER: Final = f"{_NAMESPACE}::Caller"
#: No column: what agreements show is asked for by naming whose it is. A permit that rests on it adds nothing to a list.
SHARED_WITH: Final = "sharedWith"
_SCOPE_ALL: Final = {"op": "All"}


class Uncompilable(Exception):
    """A residual says something that has no counterpart here; the message names it."""


class _Type(Enum):
    INSTITUTION = "uuid"
    TEXT = "text"
    CALLER = "caller"  #: by its id, in a column of texts


@dataclass(frozen=True, slots=True)
class _Truth:
    """A condition, and what is known of it."""

    sql: str
    may_fail: bool = False  #: it may be null
    proves: frozenset[str] = frozenset()  #: attributes that are there wherever it is true


TRUE: Final = _Truth("true")
FALSE: Final = _Truth("false")


@dataclass(frozen=True, slots=True)
class _Attribute:
    """An attribute of the row."""

    name: str


@dataclass(frozen=True, slots=True)
class _Row:
    """The row itself."""


@dataclass(frozen=True, slots=True)
class _Entity:
    """A thing that Cedar names."""

    kind: str
    id: str


_Operand = _Attribute | _Row | _Entity | str | bool | int | tuple[Any, ...]


def compiled(residuals: Iterable[Mapping[str, Any]], kind: str) -> Predicate:
    """The rows of `kind` that `residuals`, as `is_authorized_partial` returns them, permit.

    Raises `Uncompilable`.
    """
    writer = _Writer(kind)
    said: dict[str, list[str]] = {"permit": [], "forbid": []}
    # Cedar returns them in no order; one order keeps the same question one statement.
    for residual in sorted(residuals, key=lambda each: str(each["annotations"].get("id"))):
        said[residual["effect"]].append(writer.policy(residual))
    permits, forbids = (list(dict.fromkeys(sql for sql in said[e] if sql != "false")) for e in ("permit", "forbid"))
    if not permits or "true" in forbids:
        return NOTHING
    permitted = "true" if "true" in permits else _joined(permits)
    text = permitted if not forbids else f"({permitted} and not {_joined(forbids)})"
    return _numbered(text, writer.values)


def _numbered(text: str, values: Sequence[Value]) -> Predicate:
    """With the values it still speaks of, in order; PostgreSQL refuses one that is never used."""
    used = list(dict.fromkeys(int(n) for n in re.findall(r"{(\d+)}", text)))
    text = re.sub(r"{(\d+)}", lambda found: f"{{{used.index(int(found[1]))}}}", text)
    return Predicate(text, tuple(values[n] for n in used))


def _joined(conditions: Sequence[str]) -> str:
    return conditions[0] if len(conditions) == 1 else f"({' or '.join(conditions)})"


@dataclass
class _Writer:
    """Writes conditions on rows of one kind, and keeps the values they speak of."""

    kind: str
    values: list[Value] = field(default_factory=list)
    _permitting: bool = False

    def policy(self, residual: Mapping[str, Any]) -> str:
        """When a policy applies; never null, as one that fails does not apply."""
        if any(residual[part] != _SCOPE_ALL for part in ("principal", "action", "resource")):
            raise Uncompilable("a residual with a head of its own")
        self._permitting = residual["effect"] == "permit"
        met = TRUE
        for condition in residual["conditions"]:
            body = condition["body"]
            wanted = body if condition["kind"] == "when" else {"!": {"arg": body}}
            met = self._and(met, partial(self._truth, wanted), frozenset())
        return f"coalesce({met.sql}, false)" if met.may_fail else met.sql

    def _truth(self, node: Node, present: frozenset[str]) -> _Truth:
        """A condition, where the attributes `present` are known to be there."""
        (op, told), *more = node.items()
        if more:
            raise Uncompilable(f"an expression of several members: {sorted(node)}")
        match op:
            case "Value":
                return self._constant(told)
            case "has":
                return self._has(told)
            case "&&" | "||" | "!" | "if-then-else":
                return self._joint(op, told, present)
            case "==" | "contains" | "in" | "is" if "in" not in told:
                return self._compared(op, told, present)
            case _:
                raise Uncompilable(f"the expression {op}")

    def _joint(self, op: str, told: Node, present: frozenset[str]) -> _Truth:
        match op:
            case "!":
                return _not(self._truth(told["arg"], present))
            case "if-then-else":
                return self._if(told, present)
            case "&&":
                left = self._truth(told["left"], present)
                return self._and(left, lambda there: self._truth(told["right"], there), present)
            case _:
                return self._or(self._truth(told["left"], present), lambda: self._truth(told["right"], present))

    def _compared(self, op: str, told: Node, present: frozenset[str]) -> _Truth:
        left = self._operand(told["left"])
        if op == "is":
            return self._is(left, told["entity_type"], present)
        right = self._operand(told["right"])
        match op:
            case "==":
                return self._equal(left, right, present)
            case "contains":
                return self._among(right, left, present)
            case _:
                return self._in(left, right, present)

    @staticmethod
    def _constant(value: object) -> _Truth:
        if not isinstance(value, bool):
            raise Uncompilable(f"the value {value!r} as a condition")
        return TRUE if value else FALSE

    @staticmethod
    def _and(left: _Truth, right: Callable[[frozenset[str]], _Truth], present: frozenset[str]) -> _Truth:
        """Both; the right side has no say, and cannot fail, where the left is false."""
        if left == FALSE:
            return FALSE
        other = right(present | left.proves)
        if left == TRUE:
            return other
        proves = left.proves | other.proves
        if left.may_fail:
            return _Truth(f"(case when {left.sql} then {other.sql} else {left.sql} end)", True, proves)
        if other.sql == "true":
            return left
        if other == FALSE:
            return FALSE
        return _Truth(f"({left.sql} and {other.sql})", other.may_fail, proves)

    @staticmethod
    def _or(left: _Truth, right: Callable[[], _Truth]) -> _Truth:
        """Either; the right side has no say, and cannot fail, where the left is true."""
        if left == TRUE:
            return TRUE
        other = right()
        if left == FALSE:
            return other
        proves = left.proves & other.proves
        if left.may_fail:
            return _Truth(f"(case when {left.sql} then true when not {left.sql} then {other.sql} end)", True, proves)
        if other == FALSE:
            return left
        if other == TRUE:
            return TRUE
        return _Truth(f"({left.sql} or {other.sql})", other.may_fail, proves)

    def _if(self, told: Node, present: frozenset[str]) -> _Truth:
        asked = self._truth(told["if"], present)
        if asked in {TRUE, FALSE}:
            return self._truth(told["then" if asked == TRUE else "else"], present)
        then, other = self._truth(told["then"], present | asked.proves), self._truth(told["else"], present)
        may_fail = asked.may_fail or then.may_fail or other.may_fail
        return _Truth(f"(case when {asked.sql} then {then.sql} when not {asked.sql} then {other.sql} end)", may_fail)

    def _has(self, told: Node) -> _Truth:
        name = told["attr"]
        if name == SHARED_WITH and self._permitting and self._operand(told["left"]) == _Row():
            return FALSE
        if self._operand(told["left"]) != _Row() or name not in ATTRIBUTES:
            raise Uncompilable(f"whether something has {name}")
        if name not in attributes_of(self.kind):
            return FALSE
        return _Truth(f"{{{name}}} is not null", proves=frozenset({name}))

    def _operand(self, node: Node) -> _Operand:
        """What a comparison speaks of."""
        match dict(node):
            case {"Value": value}:
                return _literal(value)
            case {"Set": members}:
                return tuple(self._operand(member) for member in members)
            case {"unknown": [{"Value": "resource"}]}:
                return _Row()
            case {".": {"left": left, "attr": str(name)}} if self._operand(left) == _Row() and name in ATTRIBUTES:
                return _Attribute(name)
            case _:
                raise Uncompilable(f"the operand {sorted(node)}")

    def _equal(self, left: _Operand, right: _Operand, present: frozenset[str]) -> _Truth:
        match left, right:
            case _Attribute(), _Attribute():
                return self._same(left, right, present)
            case (_Attribute(), _) | (_Row(), _):
                return self._among(left, (right,), present)
            case (_, _Attribute()) | (_, _Row()):
                return self._among(right, (left,), present)
            case tuple(), tuple():
                raise Uncompilable("two sets compared")
            case _:
                return TRUE if type(left) is type(right) and left == right else FALSE

    def _same(self, left: _Attribute, right: _Attribute, present: frozenset[str]) -> _Truth:
        columns = [self._column(each, present) for each in (left, right)]
        may_fail = any(column.may_fail for column in columns)
        if _held(left) is _held(right):
            return _Truth(f"({columns[0].sql} = {columns[1].sql})", may_fail)
        absent = f"{columns[0].sql} is null or {columns[1].sql} is null"
        return _Truth(f"(case when not ({absent}) then false end)", True) if may_fail else FALSE

    def _among(self, one: _Operand, members: _Operand, present: frozenset[str]) -> _Truth:
        """Whether `one` is one of `members`."""
        if not isinstance(members, tuple):
            raise Uncompilable(f"membership in {members!r}")
        if any(isinstance(member, _Attribute | _Row | tuple) for member in members):
            if isinstance(one, _Attribute | _Row | tuple):
                raise Uncompilable("membership in a set that the row decides")
            # Cedar evaluates the whole set first; every attribute in it must be there.
            return self._all_there(members, present, [self._equal(member, one, present) for member in members])
        match one:
            case _Row():
                named = (m.id for m in members if isinstance(m, _Entity) and m.kind == _type_of(self.kind))
                ids = tuple(name for name in named if "\0" not in name)  # which no column holds
                return self._listed("{id}", "text", ids) if ids else FALSE
            case _Attribute():
                return self._attribute_among(one, members, present)
            case tuple():
                raise Uncompilable("a set among sets")
            case _:
                return TRUE if any(type(m) is type(one) and m == one for m in members) else FALSE

    def _all_there(
        self, members: Sequence[_Operand], present: frozenset[str], equal: Sequence[_Truth]
    ) -> _Truth:
        named = [self._column(member, present) for member in members if isinstance(member, _Attribute)]
        either = FALSE
        for each in equal:
            either = self._or(either, partial(_as_it_is, each))
        absent = [column.sql for column in named if column.may_fail]
        if not absent:
            return either
        there = " and ".join(f"{sql} is not null" for sql in absent)
        return _Truth(f"(case when {there} then {either.sql} end)", True)

    def _attribute_among(self, one: _Attribute, members: Sequence[_Operand], present: frozenset[str]) -> _Truth:
        column = self._column(one, present)
        wanted = _comparable(members, _held(one))
        if not wanted:  # of another type, or no value that such a column can hold
            return _Truth(f"(case when {column.sql} is not null then false end)", True) if column.may_fail else FALSE
        listed = self._listed(column.sql, ATTRIBUTES[one.name], wanted)
        return _Truth(listed.sql, column.may_fail)

    def _in(self, left: _Operand, right: _Operand, present: frozenset[str]) -> _Truth:
        """Nothing that a row names stands in anything else, so being in something is being it."""
        if not isinstance(left, _Row | _Attribute) or (
            isinstance(left, _Attribute) and _held(left) is not _Type.INSTITUTION
        ):
            raise Uncompilable("in, of something that is no entity of the row")
        members = right if isinstance(right, tuple) else (right,)
        if not all(isinstance(member, _Entity) for member in members):
            raise Uncompilable("in, of something that the row decides")
        return self._among(left, members, present)

    def _is(self, left: _Operand, entity_type: str, present: frozenset[str]) -> _Truth:
        match left:
            case _Row():
                return TRUE if entity_type == _type_of(self.kind) else FALSE
            case _Attribute() if _held(left) is _Type.INSTITUTION:
                column, answer = self._column(left, present), entity_type == _INSTITUTION
                if not column.may_fail:
                    return TRUE if answer else FALSE
                return _Truth(f"(case when {column.sql} is not null then {str(answer).lower()} end)", True)
            case _:
                raise Uncompilable("is, of something that is no entity of the row")

    def _column(self, attribute: _Attribute, present: frozenset[str]) -> _Truth:
        """Where it is found; null where it is absent, as on every row of a kind that does not have it."""
        if attribute.name not in attributes_of(self.kind):
            return _Truth(f"null::{ATTRIBUTES[attribute.name]}", True)
        return _Truth(f"{{{attribute.name}}}", attribute.name not in present)

    def _listed(self, column: str, sql_type: str, values: tuple[Any, ...]) -> _Truth:
        compared = f"{column}::text" if column == "{id}" else column
        if len(values) == 1:
            return _Truth(f"({compared} = {self._value(values[0])}::{sql_type})")
        return _Truth(f"({compared} = any ({self._value(values)}::{sql_type}[]))")

    def _value(self, value: Value) -> str:
        if value not in self.values:
            self.values.append(value)
        return f"{{{self.values.index(value)}}}"


def _as_it_is(truth: _Truth) -> _Truth:
    return truth


def _not(truth: _Truth) -> _Truth:
    if truth in {TRUE, FALSE}:
        return FALSE if truth == TRUE else TRUE
    return _Truth(f"(not {truth.sql})", truth.may_fail)


def _literal(value: Any) -> _Operand:
    match value:
        case bool() | int() | str():
            return value
        case list():
            return tuple(_literal(member) for member in value)
        case {"__entity": {"type": str(kind), "id": str(name)}}:
            return _Entity(kind, name)
        case _:
            raise Uncompilable(f"the value {value!r}")


def _comparable(members: Iterable[_Operand], wanted: _Type) -> tuple[Any, ...]:
    """Those of `members` that a column of the type can hold; Cedar finds all others unequal."""
    if wanted is _Type.TEXT:
        return tuple(dict.fromkeys(m for m in members if isinstance(m, str) and "\0" not in m))
    if wanted is _Type.CALLER:
        callers = (m.id for m in members if isinstance(m, _Entity) and m.kind == _CALLER)
        return tuple(dict.fromkeys(id for id in callers if "\0" not in id))  # noqa: A001
    ids = (m.id for m in members if isinstance(m, _Entity) and m.kind == _INSTITUTION)
    return tuple(dict.fromkeys(found for id in ids if (found := _uuid(id)) is not None))  # noqa: A001


def _held(attribute: _Attribute) -> _Type:
    """What a column of the attribute holds."""
    return _Type.CALLER if attribute.name == "author" else _Type(ATTRIBUTES[attribute.name])


def _uuid(text: str) -> UUID | None:
    """The UUID that is written so and not otherwise: Cedar compares ids letter by letter."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None


def _type_of(kind: str) -> str:
    return f"{_NAMESPACE}::{kind.capitalize()}"
