"""Requests made from the schema: mostly with what there is, in some places with what nobody should send."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLOutputType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_object_type,
    is_required_argument,
    is_required_input_field,
)
from tests.postgres.fuzz.hostile import hostile
from tests.postgres.fuzz.wishes import NoneLeft, Wisher
from tests.postgres.fuzz.world import STAFF, World, text

from sharewell.authz import shipped_policies

Selection = dict[str, "Selection | None"]
DEEPEST = 4
WHO = ("north", "south", "east", "west", "device", "planner", "regulator", "admin", "second", "auditor")
#: By the name of an input: the list that its ids stand in.
LISTS = {
    "institution": "institutions", "institutions": "institutions", "receiver": "institutions", "giver": "institutions",
    "party": "institutions", "owner": "institutions", "offer": "offers", "request": "requests",
    "transfer": "transfers", "allocation": "allocations", "agreement": "agreements", "consent": "consents",
    "surge": "surgeModes", "glass": "brokenGlasses", "person": "people", "decision": "decisions",
    "ifChangedBy": "decisions", "corrects": "capacityReports", "horizon": "horizons", "job": "jobsSetAside",
}  # fmt: skip
#: By the query that takes an `id`, where the list is not called like its plural.
BY_ID = {
    "allocationFrontier": "allocations", "allocationInstance": "allocations", "allocationPlan": "allocations",
    "case": "requests", "horizonInstance": "horizons", "horizonSchedule": "horizons", "whyRefused": "decisions",
}  # fmt: skip
#: By the names of texts: the list they stand in, and where there if not under the same name.
TEXTS = (
    ({"resource", "resources", "code"}, "resources", "code"), ({"clientId", "client", "actor"}, "clients", "clientId"),
    ({"kind", "action", "subjectKind", "subjectId"}, "decisions", ""),
    ({"sha256", "policySet"}, "policyVersions", "sha256"),
)  # fmt: skip
REGIONS = ("us-nj", "us-ny", "elsewhere")
WORDS = ("Plain words.", "Ñandú 診療所 🏥", "lot-7", "divi", "us-nj")
COUNTS = {"first": (1, 4), "last": (1, 4), "urgency": (1, 5), "quantity": (1, 4), "units": (1, 3), "number": (1, 3),
          "version": (1, 4), "base": (1, 3), "to": (1, 3), "days": (2, 5), "dormantDays": (1, 90),
          "seconds": (299, 300), "level": (500, 900), "holdDays": (0, 2), "share": (1, 50)}  # fmt: skip
#: What tells whose an object is, asked for with every such object.
WHOSE = {
    "Request": ("institutionId",), "Consent": ("institutionId",), "Client": ("institutionId",),
    "Transfer": ("giverId", "receiverId"), "Agreement": ("giverId", "receiverId"),
}  # fmt: skip
#: By them an admin who takes anything would end those who ask here; others may not, and try.
ENDING = frozenset({"disableClient", "setInstitutionStatus"})
#: They solve a whole run again; a few of them are enough.
SLOW = frozenset({"allocationFrontier", "whatWouldChange", "whatWouldRelieve", "policyComparison"})


@dataclass(frozen=True)
class Case:
    """A request, and what it was made of."""

    who: str
    kind: str  #: query or mutation
    field: str
    document: str
    variables: dict[str, Any]
    selection: Selection
    sound: bool  #: whether nothing in it was spoilt on purpose

    def __str__(self) -> str:
        return f"{self.who}: {self.document} {json.dumps(self.variables)[:2000]}"


@dataclass
class Maker:
    """Makes cases; `wisher` knows the world and has the random numbers."""

    schema: GraphQLSchema
    wisher: Wisher
    keys: int = 0

    @property
    def random(self) -> Random:
        return self.wisher.random

    @property
    def world(self) -> World:
        return self.wisher.world

    def wish(self, name: str) -> Case:
        """A mutation as somebody would wish it. Raises `NoneLeft` where there is nothing to wish it of."""
        return self._mutation(name, *self.wisher.wish(name), sound=True)

    def mutation(self, name: str) -> Case:
        """A mutation with something spoilt, or asked by anybody of anything."""
        who, asked = self.random.choice(WHO), self.input(self._kind(name), name)
        if name in ENDING and who in {"admin", "second"}:
            who = "auditor"
        if self.random.random() < 0.8:
            with suppress(NoneLeft):
                who, asked = self.wisher.wish(name)
        case = self._mutation(name, who, asked, sound=False)
        self.spoil(case.variables, {"input": GraphQLNonNull(self._kind(name))}, self.random.choice((0, 1, 1, 1, 3)))
        return case

    def _mutation(self, name: str, who: str, asked: dict[str, Any], *, sound: bool) -> Case:
        assert self.schema.mutation_type is not None
        self.keys += 1
        selection = self.select(self.schema.mutation_type.fields[name].type, 1)
        document = f"mutation ($input: {self._kind(name)}!) {{ {name}(input: $input){said(selection)} }}"
        variables = {"input": {**asked, "idempotencyKey": f"wish {self.keys}"}}
        return Case(who, "mutation", name, document, variables, selection, sound)

    def _kind(self, name: str) -> GraphQLInputObjectType:
        assert self.schema.mutation_type is not None
        kind = get_nullable_type(self.schema.mutation_type.fields[name].args["input"].type)
        assert isinstance(kind, GraphQLInputObjectType)
        return kind

    def query(self, name: str, *, sound: bool = False) -> Case:
        """A query: its selection is drawn too."""
        assert self.schema.query_type is not None
        field = self.schema.query_type.fields[name]
        taken = {
            key: argument for key, argument in field.args.items()
            if is_required_argument(argument) or (not sound and self.random.random() < 0.25)
        }  # fmt: skip
        if {"first", "last"} <= taken.keys():
            del taken["last"]
        for cursor in [name for name in ("after", "before") if name in taken]:
            if not self.world.cursors or self.random.random() < 0.6:
                del taken[cursor]
        variables = {key: self.value(argument.type, key, name) for key, argument in taken.items()}
        if sound or self.random.random() < 0.8:
            variables |= self.about(name)
            taken |= {key: field.args[key] for key in variables}
        if not sound:
            types = {key: argument.type for key, argument in taken.items()}
            self.spoil(variables, types, self.random.choice((0, 0, 1, 1, 2)))
        heads = ", ".join(f"${key}: {argument.type}" for key, argument in taken.items())
        passed = ", ".join(f"{key}: ${key}" for key in taken)
        selection = self.select(field.type, 1)
        document = f"{{ {name}{said(selection)} }}"
        if taken:
            document = f"query ({heads}) {{ {name}({passed}){said(selection)} }}"
        return Case(self.random.choice(WHO), "query", name, document, variables, selection, sound)

    def about(self, name: str) -> dict[str, Any]:
        """Arguments that belong together, where any others would find nothing."""
        rows, draw = self.world.rows, self.random.choice
        if name == "dataSubject" and self.world.acted:
            person, institution = draw(self.world.acted)
            return {"identifier": person, "institution": institution}
        if name == "fairnessChoice" and rows["fairnessChoices"]:
            row = draw(rows["fairnessChoices"])
            return {"region": row["region"], "resource": row["resource"]}
        if name == "whyRefused" and rows["refusals"]:
            return {"decision": draw(rows["refusals"])["id"]}
        if name == "trustedDocuments" and (trusted := [r for r in rows["clients"] if r["clientId"][:6] == "spare-"]):
            return {"clientId": draw(trusted)["clientId"]}
        if name in {"policyComparison", "policySimulation", "simulatedChanges"}:
            shipped = [{"name": file, "text": data.decode()} for file, data in shipped_policies().items()]
            return {"files": [*shipped, self.wisher.file()]}
        return self.of_a_run(name)

    def of_a_run(self, name: str) -> dict[str, Any]:
        """Of one that can be solved again: not of a schedule's, nor of an urgent one."""
        runs = [row["id"] for row in self.world.rows["allocations"] if row["fairness"]]
        given = [row for row in self.world.rows["transfers"] if row["allocationId"] in runs]
        if name == "allocationFrontier" and runs:
            return {"id": self.random.choice(runs)}
        if name == "whatWouldChange" and given:
            return {"request": self.random.choice(given)["requestId"]}
        return {}

    def select(self, kind: GraphQLOutputType, depth: int) -> Selection:
        """Some fields of an object, without those that need arguments; nothing of a leaf."""
        named = get_named_type(kind)
        if not is_object_type(named):
            return {}
        chosen: Selection = {}
        for name, field in named.fields.items():
            if any(is_required_argument(argument) for argument in field.args.values()):
                continue
            if is_leaf_type(get_named_type(field.type)):
                if name in WHOSE.get(named.name, ()) or self.random.random() < 0.5:
                    chosen[name] = None
            elif depth < DEEPEST and self.random.random() < (0.9 if name == "nodes" else 0.3):
                chosen[name] = self.select(field.type, depth + 1) or None
        return chosen or {"__typename": None}

    def value(self, kind: GraphQLInputType, name: str, of: str) -> Any:
        """What somebody might send who knows the house."""
        if isinstance(kind, GraphQLNonNull):
            return self.value(kind.of_type, name, of)
        if isinstance(kind, GraphQLList):
            return [self.value(kind.of_type, name, of) for _ in range(self.random.randint(1, 2))]
        if isinstance(kind, GraphQLInputObjectType):
            return self.input(kind, of)
        if isinstance(kind, GraphQLEnumType):
            return self.random.choice(sorted(kind.values))
        return self.scalar(get_named_type(kind).name, name, of)

    def input(self, kind: GraphQLInputObjectType, of: str) -> dict[str, Any]:
        if kind.name == "OnBehalfOf":
            person = self.random.choice(STAFF)
            return {"identifier": person, "name": f"Canary {person}", "email": f"canary.{person}@hospital.example"}
        if kind.name in {"PolicyFileInput", "PolicyFileChangeInput"}:
            return self.wisher.file()
        return {
            key: self.value(field.type, key, of) for key, field in kind.fields.items()
            if is_required_input_field(field) or self.random.random() < 0.3
        }  # fmt: skip

    def scalar(self, kind: str, name: str, of: str) -> Any:
        if kind in {"UUID", "ID"}:
            return self.id(name, of)
        if kind == "Int":
            return self.random.randint(*COUNTS.get(name, (1, 9)))
        if kind == "Float":
            return round(self.random.uniform(-80, 80), 3)
        if kind == "Boolean":
            return self.random.random() < 0.5
        if kind in {"DateTime", "Date"}:
            back = name in {"since", "asOf", "changedSince", "startsAt"}
            at = self.world.at + timedelta(minutes=self.random.randint(1, 3000)) * (-1 if back else 1)
            return text(at) if kind == "DateTime" else at.date().isoformat()
        return self.text(name)

    def id(self, name: str, of: str) -> str:
        if name == "subject" and self.world.rows["subjects"]:
            return str(self.random.choice(self.world.rows["subjects"])["subject"])
        listed = LISTS.get(name) or BY_ID.get(of) or (f"{of[:-1]}ies" if of.endswith("y") else f"{of}s")
        rows = self.world.rows.get(listed) or self.world.rows["decisions"]
        return str(self.random.choice(rows)["id"])

    def text(self, name: str) -> str:
        of, column = next(((of, column) for names, of, column in TEXTS if name in names), ("", name))
        if of:
            return str(self.random.choice(self.world.rows[of])[column or name])
        if name in {"after", "before"} and self.world.cursors:
            return self.random.choice(self.world.cursors)
        regions = name in {"region", "regions", "jurisdiction"}
        return self.random.choice(REGIONS if regions else STAFF if name == "identifier" else WORDS)

    def spoil(self, variables: dict[str, Any], types: Mapping[str, GraphQLInputType], times: int) -> None:
        """Put something hostile into some places; now and then, take one out or add one."""
        for _ in range(times):
            places = [place for key in list(variables) for place in _places(variables, key, types[key])]
            if not places:
                return
            holder, key, kind = self.random.choice(places)
            holder[key] = hostile(self.random, get_named_type(kind).name, holder[key])


def _places(holder: Any, key: Any, kind: GraphQLInputType) -> Iterator[tuple[Any, Any, GraphQLInputType]]:
    """Wherever a value stands below `holder[key]`, with its type; absent fields too, as their default."""
    value, inner = holder[key], get_nullable_type(kind)
    if isinstance(inner, GraphQLInputObjectType) and isinstance(value, dict):
        for name, field in inner.fields.items():
            if name in value:
                yield from _places(value, name, field.type)
        return
    yield holder, key, kind
    if isinstance(inner, GraphQLList) and isinstance(value, list):
        for place in range(min(3, len(value))):
            yield from _places(value, place, inner.of_type)


def said(selection: Selection) -> str:
    """As GraphQL writes it; nothing where there is nothing to select."""
    if not selection:
        return ""
    return f" {{ {' '.join(name + said(inner or {}) for name, inner in selection.items())} }}"
