"""Queries, parsed and checked once and kept: for a small query that is nine tenths of the work.

A client may also send a query by its name, the SHA-256 of its text: one that it sent whole before (automatic
persisted queries), or one that was registered for it. A client with registered documents may send no others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from graphql import (
    SKIP,
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    GraphQLSyntaxError,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VisitorAction,
    parse,
    specified_rules,
    validate,
    visit,
)
from graphql.language import Visitor
from graphql.pyutils import print_path_list
from graphql.utilities import validate_input_literal

from sharewell.domain.errors import Forbidden, Invalid, NotFound, Unavailable
from sharewell.domain.principals import Caller
from sharewell.domain.trusted_documents import document_name
from sharewell_schema.context import Selections
from sharewell_schema.counting import Count, counter
from sharewell_schema.express import Express, express
from sharewell_schema.limits import MOST_CHARACTERS, MOST_TOKENS, over_budget

KEPT = 256  #: documents in memory
KEPT_CHARACTERS = 1_000_000  #: of all of them together; what is made of a document takes up to eighty times its text
MOST_ERRORS = 10  #: that validation looks for
LIFE_SECONDS = 5.0  #: for which it is remembered what a client may send
MOST_CLIENTS = 4096

Find = Callable[[str], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document, and what is known of it whatever its variables are."""

    kind: OperationType
    cost: Count
    express: Express | None  #: it can do without an executor


@dataclass(frozen=True, slots=True)
class Document:
    """A query that this schema can answer."""

    node: DocumentNode
    operations: Mapping[str | None, Operation]  #: by name; where there is only one, it can also go without
    introspects: bool  #: whether it asks what the API offers
    selections: Selections = field(default_factory=dict)  #: of its fields, as far as they were asked for

    def follows(self, name: str | None) -> bool:
        """Whether the operation of that name is a subscription, whose results come for as long as it lasts."""
        operation = self.operations.get(name)
        return operation is not None and operation.kind is OperationType.SUBSCRIPTION


class PlacedValues(ValuesOfCorrectTypeRule):
    """Says where a value stands that does not fit: in the text of the query, and in which argument."""

    _argument: str | None = None

    def enter_argument(self, node: ArgumentNode, *_: object) -> None:
        self._argument = node.name.value

    def leave_argument(self, *_: object) -> None:
        self._argument = None

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        def report(error: GraphQLError, path: Sequence[str | int]) -> None:
            at = error.nodes if error.locations else _value_at(node, path)
            self.report_error(GraphQLError(f"{self._where(path)}{error.message}", at))

        if input_type is not None:
            validate_input_literal(node, input_type, report, None, None, self.context.hide_suggestions)
        return SKIP

    def _where(self, path: Sequence[str | int]) -> str:
        """As is said of a variable; of a default of one, and of what a directive is given, the place says enough."""
        if self._argument is None:
            return ""
        return f"Argument '{self._argument}' has invalid value{print_path_list(path)}: "


def _value_at(node: ValueNode, path: Sequence[str | int]) -> ValueNode:
    """What stands at `path` below `node`; a value alone where a list is asked for is its one item."""
    for step in path:
        if isinstance(node, ListValueNode):
            node = node.values[int(step)]
        elif isinstance(node, ObjectValueNode):
            node = next(one.value for one in node.fields if one.name.value == step)
    return node


RULES: Final = [PlacedValues if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules]

Prepared = Document | Sequence[GraphQLError]


def prepare(schema: GraphQLSchema, query: str) -> Prepared:
    """The document of a query text, or what is wrong with it."""
    if len(query) > MOST_CHARACTERS:
        return [GraphQLError(f"The query has more than {MOST_CHARACTERS} characters; send data as variables.")]
    try:
        document = parse(query, max_tokens=MOST_TOKENS)
    except GraphQLSyntaxError as error:
        return [error]
    except RecursionError:
        return [GraphQLError("The query is nested too deeply.")]
    if (told := over_budget(document)) is not None:
        return [GraphQLError(told)]
    # Names of fields are no secret to whoever may introspect, but guessing them for others is no help either.
    errors = validate(schema, document, RULES, max_errors=MOST_ERRORS, hide_suggestions=True)
    return errors or Document(document, _operations(schema, document), _introspects(document))


def _operations(schema: GraphQLSchema, document: DocumentNode) -> Mapping[str | None, Operation]:
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    nodes = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    found: dict[str | None, Operation] = {
        node.name.value if node.name else None: Operation(
            node.operation, counter(schema, document, node), express(schema, node, fragments)
        )
        for node in nodes
    }
    if len(nodes) == 1:
        found[None] = next(iter(found.values()))
    return found


def preparer(schema: GraphQLSchema) -> Callable[[str], Prepared]:
    """`prepare` for one schema, that remembers the queries it met last."""
    kept: OrderedDict[str, Prepared] = OrderedDict()
    characters = 0

    def prepared(query: str) -> Prepared:
        nonlocal characters
        if len(query) > MOST_CHARACTERS:
            return prepare(schema, query)
        if query in kept:
            kept.move_to_end(query)
            return kept[query]
        kept[query] = found = prepare(schema, query)
        characters += len(query)
        while len(kept) > KEPT or characters > KEPT_CHARACTERS:
            characters -= len(kept.popitem(last=False)[0])
        return found

    return prepared


class _Introspection(Visitor):
    """Looks for the fields that tell of the schema; `__typename` tells only of the answer."""

    found = False

    def enter_field(self, node: FieldNode, *_: object) -> None:
        self.found = self.found or node.name.value in {"__schema", "__type", "_service"}


def _introspects(document: DocumentNode) -> bool:
    looking = _Introspection()
    visit(document, looking)
    return looking.found


class Texts:
    """The text of what a client sends, where it is sent by name, and whether it may send it at all."""

    def __init__(
        self, trusted: Find | None = None, refused: Callable[[Caller, str], Awaitable[None]] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        """`trusted` gives what a client may send, by name, or nothing; `refused` puts on record what it may not."""
        self._trusted, self._refused, self._clock = trusted, refused, clock
        self._held: dict[str, tuple[float, Mapping[str, str]]] = {}  # by client: since when, and what it may send
        self._kept: OrderedDict[str, str] = OrderedDict()  # sent whole before, by name

    async def find(self, caller: Caller, query: str | None, name: str | None) -> str:
        """The text to answer.

        Raises `Forbidden` (recorded) for one that the client may not send, `NotFound` for a name that is not known
        yet, `Invalid` where text and name do not belong together.
        """
        if query is not None and name is not None and document_name(query) != name:
            raise Invalid("the hash is not that of the query; send the SHA-256 of its UTF-8 bytes.", field="extensions")
        if trusted := await self._trusted_of(caller):
            return await self._registered(caller, trusted, name or document_name(query or ""))
        if query is None:
            assert name is not None
            return self._known(name)
        if name is not None and len(query) <= MOST_CHARACTERS:
            self._keep(name, query)
        return query

    async def _registered(self, caller: Caller, trusted: Mapping[str, str], name: str) -> str:
        if name not in trusted:
            if self._refused is not None:
                await self._refused(caller, name)
            raise Forbidden("This client sends registered documents only, and this is none of them.")
        return trusted[name]

    def _known(self, name: str) -> str:
        if name not in self._kept:
            # In the words that clients of Apollo's protocol look for, to send the query whole then.
            raise NotFound("PersistedQueryNotFound", field="extensions")
        self._kept.move_to_end(name)
        return self._kept[name]

    def _keep(self, name: str, query: str) -> None:
        self._kept[name] = query
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    async def _trusted_of(self, caller: Caller) -> Mapping[str, str]:
        if self._trusted is None or caller.client_id is None:
            return {}
        at = self._clock()
        held = self._held.get(caller.client_id)
        if held is None or at >= held[0] + LIFE_SECONDS:
            try:
                texts = await self._trusted(caller.client_id)
            except Unavailable:
                if held is None:
                    raise  # it is not known whether it may
                texts = held[1]
            if len(self._held) >= MOST_CLIENTS:
                self._held.clear()
            held = self._held[caller.client_id] = (at, texts)
        return held[1]
