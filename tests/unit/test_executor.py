"""The fast executor answers what the stock one answers, however bad the data: data, errors and paths, in order."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import gc
import math
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from random import Random
from types import FunctionType
from typing import Any, cast

import orjson
import pytest
import strawberry
from graphql import DocumentNode, ExecutionResult, GraphQLError, Undefined, execute, parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext as StockExecutor

from sharewell_schema.executor import FastExecutor
from sharewell_schema.scalars import SCALARS

QUERIES_AN_EXAMPLE = 8


@strawberry.enum
class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Stray(enum.StrEnum):
    RED = "red"
    GREEN = "green"


@strawberry.interface
class Named:
    name: str


@strawberry.type
class Leaf(Named):
    size: int


@strawberry.type
class Twig:
    text: str
    note: str | None
    count: int
    share: float | None
    ready: bool
    id: uuid.UUID
    at: dt.datetime
    day: dt.date | None
    colour: Colour
    tags: list[str]
    grid: list[list[int] | None]
    named: Named | None
    leaf: Leaf | None

    @strawberry.field
    def shout(self: Any) -> str:
        text = getattr(self, "text", "")
        return text.upper() if isinstance(text, str) else type(text).__name__

    @strawberry.field
    async def later(self: Any) -> int | None:
        await asyncio.sleep(0)
        return getattr(self, "count", None)

    @strawberry.field
    def times(self: Any, factor: int = 2) -> int:
        return int(self.count) * factor


def follow(self: Any) -> Any:
    return self.spare


def at_hand(_context: Any, source: Any) -> Any:
    """What `follow` returns, for half of all objects; the others are not at hand."""
    if len(source.__dict__) % 2:
        raise KeyError
    return source.spare


def choose(self: Any, other: bool = False) -> Any:
    return self.twig if other else self.spare


follow.at_hand = choose.at_hand = at_hand  # type: ignore[attr-defined]


@strawberry.type
class Branch:
    near: Twig | None = strawberry.field(resolver=follow)
    chosen: Twig | None = strawberry.field(resolver=choose)
    label: str
    twig: Twig
    spare: Twig | None
    twigs: list[Twig]
    holes: list[Twig | None] | None
    branch: Branch | None


@strawberry.type
class Query:
    branch: Branch
    branches: list[Branch] | None
    twigs: list[Twig]

    @strawberry.field
    async def loaded(self: Any) -> list[Twig | None]:
        found: list[Twig | None] = self.twigs
        return found


schema = strawberry.Schema(Query, types=[Leaf], config=StrawberryConfig(scalar_map=SCALARS))._schema


class Thing:
    """An object with whatever attributes it is given; reading some of them fails."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no {name}")


class Shouting(str):
    __slots__ = ()


@dataclass
class LooksLikeText:
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass
class Soon:
    """Something to await that nobody has to: unlike a coroutine it may be left alone, and awaited twice."""

    value: Any

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(0).__await__()
        if isinstance(self.value, LookupError):
            raise self.value
        return self.value


UTC = dt.UTC
BERLIN = dt.timezone(dt.timedelta(hours=2))
#: Values that a field of any type may hold. A function is called anew for each use, as an iterator is spent by one.
BAD: list[Any] = [
    None, Undefined, "", "text", "1", Shouting("sub"), LooksLikeText("like"), 0, 1, -1, True, False, 2**31 - 1, 2**31,
    -(2**31), -(2**31) - 1, 10**30, 1.0, 1.5, math.nan, math.inf, b"raw", [], (), ["a"], {"a": 1}, object,
    uuid.UUID(int=7), dt.datetime(2026, 1, 1, tzinfo=UTC), dt.datetime(2026, 1, 1, tzinfo=BERLIN),
    dt.datetime(2026, 1, 1),  # noqa: DTZ001 - without a zone on purpose
    dt.date(2026, 1, 1), Colour.RED, Stray.RED, Stray.GREEN, "red", ValueError("kept as a value"),
    GraphQLError("kept", extensions={"code": "X"}), Soon(None), Soon("text"), Soon(3),
    Soon(LookupError("failed later")), lambda: iter(["a", "b"]),
]  # fmt: skip


def some(random: Random, good: Callable[[], Any], badness: float) -> Any:
    if random.random() >= badness:
        return good()
    bad = random.choice(BAD)
    return cast("Any", bad)() if isinstance(bad, FunctionType) else bad  # not `callable`: a class is one too


def leaf(random: Random, badness: float) -> Any:
    return Leaf(name=some(random, lambda: "leaf", badness), size=some(random, lambda: 3, badness))


def twig(random: Random, badness: float) -> Thing:
    good: dict[str, Callable[[], Any]] = {
        "text": lambda: random.choice(["a", "ä", "🙂", ""]),
        "note": lambda: random.choice([None, "note"]),
        "count": lambda: random.randrange(-5, 5),
        "share": lambda: random.choice([None, 0.5, 2]),
        "ready": lambda: random.random() < 0.5,
        "id": lambda: uuid.UUID(int=random.getrandbits(128)),
        "at": lambda: dt.datetime(2026, 3, 1, 12, tzinfo=random.choice([UTC, BERLIN])),
        "day": lambda: random.choice([None, dt.date(2026, 2, 28)]),
        "colour": lambda: random.choice([Colour.RED, Colour.BLUE]),
        "tags": lambda: [some(random, lambda: "tag", badness) for _ in range(random.randrange(3))],
        "grid": lambda: [random.choice([None, [1, 2], (3,)]) for _ in range(random.randrange(3))],
        "named": lambda: random.choice([None, leaf(random, badness)]),
        "leaf": lambda: random.choice([None, leaf(random, badness), Thing(name="no leaf", size=1)]),
    }
    kept = {name: make for name, make in good.items() if random.random() > badness / 4}
    return Thing(**{name: some(random, make, badness) for name, make in kept.items()})


def branch(random: Random, badness: float, depth: int) -> Thing:
    def twigs() -> Any:
        made = [some(random, lambda: twig(random, badness), badness / 2) for _ in range(random.randrange(4))]
        return random.choice([made, tuple(made), iter(made)])

    return Thing(
        label=some(random, lambda: "label", badness),
        twig=some(random, lambda: twig(random, badness), badness / 2),
        spare=some(random, lambda: random.choice([None, twig(random, badness)]), badness / 2),
        twigs=some(random, twigs, badness / 2),
        holes=some(random, lambda: [None, *twigs()], badness / 2),
        branch=some(random, lambda: branch(random, badness, depth - 1) if depth else None, badness / 2),
    )


def root(random: Random) -> Thing:
    badness = random.choice([0.0, 0.02, 0.1, 0.4])
    return Thing(
        branch=some(random, lambda: branch(random, badness, 2), badness / 2),
        branches=some(random, lambda: [branch(random, badness, 1) for _ in range(random.randrange(3))], badness / 2),
        twigs=some(random, lambda: [twig(random, badness) for _ in range(random.randrange(4))], badness / 2),
    )


SCALAR_FIELDS = [
    "text", "note", "count", "share", "ready", "id", "at", "day", "colour", "tags", "grid", "shout", "later",
    "times", "times(factor:3)",
]  # fmt: skip
CONDITIONS = ["@include(if: true)", "@skip(if: true)", "@include(if: $yes)", "@skip(if: $yes)"]
OBJECT_FIELDS = {
    "Query": {"branch": "Branch", "branches": "Branch", "twigs": "Twig", "loaded": "Twig"},
    "Branch": {
        "near": "Twig", "chosen(other: true)": "Twig", "twig": "Twig", "spare": "Twig", "twigs": "Twig",
        "holes": "Twig", "branch": "Branch",
    },
    "Twig": {"named": "Named", "leaf": "Named"},
}  # fmt: skip


def selection(random: Random, kind: str, depth: int) -> str:
    """A random selection on `kind`: aliases, repeats, fragments, conditions, names in any order."""
    if kind == "Named":
        return "{ __typename name ... on Leaf { size label: name } }"
    parts = []
    for _ in range(random.randrange(1, 7)):
        objects = OBJECT_FIELDS[kind] if depth else {}
        plain = {"Query": ["__typename"], "Branch": ["label", "__typename"], "Twig": [*SCALAR_FIELDS, "__typename"]}
        name = random.choice([*plain[kind], *objects, *objects])
        part = name + (" " + selection(random, objects[name], depth - 1) if name in objects else "")
        if "(" in name or "times" in name or random.random() < 0.2:
            part = f"a{random.getrandbits(40)}: {part}"  # never twice, so that any two fields may be merged
        if random.random() < 0.1:
            part = f"... {random.choice(CONDITIONS)} {{ {part} }}"
        elif random.random() < 0.15:
            part = f"... on {kind} {{ {part} {random.choice(plain[kind]).split('(')[0]} }}"
        parts.append(part)
    return "{ " + " ".join(parts) + " }"


async def run(executor: type[StockExecutor], document: DocumentNode, data: Any) -> ExecutionResult:
    result: Any = execute(
        schema, document, root_value=data, variable_values={"yes": True}, executor_class=executor,
        is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # it tells awaitables apart all the same
    )  # fmt: skip
    answer = await result if hasattr(result, "__await__") else result
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)  # what an error elsewhere left to finish on its own
    return answer  # type: ignore[no-any-return]


def told(result: ExecutionResult) -> bytes:
    """Everything a client can see, names in the order they come."""
    return orjson.dumps(
        {"data": result.data, "errors": [error.formatted for error in result.errors or ()]},
        option=orjson.OPT_UTC_Z,
        default=repr,
    )


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples; a new one each would take longer than what it runs."""
    with asyncio.Runner() as found:
        yield found


@pytest.fixture
def collected() -> Iterator[None]:
    """What nobody awaited is complained of while that is let pass, and not in the middle of another test."""
    yield
    gc.collect()


# Where a field fails at once, graphql-core leaves some of its neighbours' coroutines unawaited; so do both here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine:RuntimeWarning")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(min_value=0, max_value=2**48))
@pytest.mark.usefixtures("collected")
def test_answers_what_the_stock_executor_answers(runner: asyncio.Runner, seed: int) -> None:
    random = Random(seed)
    for number in range(QUERIES_AN_EXAMPLE):
        query = f"query Q($yes: Boolean!) {selection(random, 'Query', 4)}"
        document, made = parse(query), f"{seed}/{number}"
        stock, fast = (
            runner.run(run(executor, document, root(Random(made)))) for executor in (StockExecutor, FastExecutor)
        )
        assert told(fast) == told(stock), query


async def test_a_plain_list_takes_no_detour() -> None:
    # If this falls back, the differential test still passes and the speed is gone.
    class Counting(FastExecutor):
        infos = 0

        def build_resolve_info(self, *args: Any) -> Any:
            Counting.infos += 1
            return super().build_resolve_info(*args)

    random = Random(1)
    rows = [twig(random, 0.0) for _ in range(50)]
    query = "{ twigs { text note count share ready id at day colour tags grid __typename } }"
    result = await run(Counting, parse(query), Thing(twigs=rows))
    assert result.errors is None
    assert result.data is not None
    assert len(result.data["twigs"]) == 50
    assert Counting.infos <= 1
