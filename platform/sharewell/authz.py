"""Ask the Cedar policies whether a caller may, and answer with the policies that decided and their hash.

Everything is parsed and checked once, when the policies are loaded; nothing is permitted by this file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files as resource_files
from typing import Any, Final, Self
from uuid import UUID

import cedarpy
import structlog

from sharewell.authz_filter import Uncompilable, compiled
from sharewell.domain import scopes
from sharewell.domain.errors import Forbidden, quoted
from sharewell.domain.inquiry import Inquiry
from sharewell.domain.people import PREFIX
from sharewell.domain.policy import MANY, Action, Ruling, Target, policy_set_hash, scope_of
from sharewell.domain.policy_complaints import unfitting, unreadable, words
from sharewell.domain.predicate import NOTHING, Predicate
from sharewell.domain.principals import Caller, Role

log = structlog.get_logger(__name__)

SCHEMA: Final = "sharewell.cedarschema"
#: Cedar's parser recurses on brackets and on chains of operators; some thousands break its stack, and the process.
DEEPEST: Final = 50
MOST_SIGNS: Final = 2_000  #: words, numbers, strings and signs of one policy
MOST_TOLD: Final = 10  #: complaints about one file that are told
LONGEST_TOLD: Final = 500  #: characters of each
_NAMESPACE: Final = "Sharewell"
_OPENING: Final = frozenset("([{")
_CLOSING: Final = frozenset(")]}")
_ANGLES: Final = str.maketrans("<>", "()")  #: in a schema they are brackets
_SIGNS: Final = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|\w+|[^\w\s]')
_ESCAPES: Final = {ord(c): f"\\{e}" for c, e in zip("\"'\\\n\r\t\0", "\"'\\nrt0", strict=True)}


class PolicyError(Exception):
    """The policy files cannot be used; the message names the file or policy and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy as people see it."""

    id: str  #: its `@id`, unique in the set
    sentence: str  #: its `@sentence`
    effect: str  #: "permit" or "forbid"
    actions: frozenset[Action]  #: the acts it speaks of
    file: str
    body: Mapping[str, Any] = field(repr=False, compare=False)  #: as Cedar's JSON has it, but for its annotations


def shipped_policies() -> dict[str, bytes]:
    """The policy files of this release: name to bytes, schema included."""
    folder = resource_files("sharewell_policies")
    return {
        entry.name: entry.read_bytes()
        for entry in folder.iterdir()
        if entry.name.endswith(".cedar") or entry.name == SCHEMA
    }


class Authorizer:
    """One set of policies in force, ready to be asked."""

    def __init__(
        self,
        *,
        policies: Mapping[str, Policy],
        files: Mapping[str, bytes],
        policy_set: str,
        handle: cedarpy.PolicySet,
        schema: cedarpy.Schema,
    ) -> None:
        self.policies = policies  #: by `@id`
        self.files = files  #: by name, schema included
        self.policy_set = policy_set  #: hash naming the whole set
        self._handle = handle
        self._schema = schema
        # Built with the schema, so that actions and the groups they are in are entities Cedar knows.
        base = cedarpy.Entities.from_json_str("[]", schema)
        self._with_caller = lru_cache(maxsize=1024)(base.with_added_json_str)  # by the caller's JSON
        self._with_both = lru_cache(maxsize=256)(self._entities)  # by the caller's and the target's
        self._judgements = lru_cache(maxsize=4096)(self._judged)  # of this set of policies, and gone with it
        self._filters = lru_cache(maxsize=4096)(self._compiled)  # of this set of policies, and gone with it

    @classmethod
    def load(cls, files: Mapping[str, bytes] | None = None) -> Self:
        """Parse and check `files` (by default those shipped with this release).

        Raises `PolicyError` unless every policy parses, fits the schema and has an `@id` of its own and a
        `@sentence`: a platform that cannot say why it refuses does not start.
        """
        files = shipped_policies() if files is None else files
        if SCHEMA not in files:
            raise PolicyError(f"{SCHEMA} is missing among the policy files")
        schema = _parse_schema(files[SCHEMA])
        texts = {name: data.decode() for name, data in sorted(files.items()) if name != SCHEMA}
        policies: dict[str, Policy] = {}
        for name, text in texts.items():
            for policy in _read(name, text, schema):
                if policy.id in policies:
                    raise PolicyError(f"{name}: {policies[policy.id].file} has a policy {policy.id!r} already")
                policies[policy.id] = policy
        handle = cedarpy.PolicySet.from_str("\n".join(texts.values()))
        return cls(policies=policies, files=files, handle=handle, schema=schema, policy_set=policy_set_hash(files))

    def narrowed(self, names: Iterable[str]) -> Authorizer:
        """The same set with the policies of these ids alone: quick to ask of what the others have no say in."""
        kept = {name: self.policies[name] for name in sorted(names)}
        bodies = {
            name: {**policy.body, "annotations": {"id": name, "sentence": policy.sentence}}
            for name, policy in kept.items()
        }  # fmt: skip
        text = cedarpy.policies_from_json_str(
            json.dumps({"staticPolicies": bodies, "templates": {}, "templateLinks": []})
        )
        few = Authorizer(
            policies=kept, files=self.files, policy_set=self.policy_set, handle=cedarpy.PolicySet.from_str(text),
            schema=self._schema,
        )  # fmt: skip
        few._with_both = self._with_both  # whoever is asked of one is asked of the other
        return few

    def _entities(self, caller: str, target: str) -> cedarpy.Entities:
        return self._with_caller(caller).with_added_json_str(target)

    def ask(self, caller: Caller, action: Action, target: Target, context: Mapping[str, str] | None = None) -> Ruling:
        """What the policies say of `caller` doing `action` to `target`.

        `context` holds what is known of the moment: `callerStatus`, the standing of the caller's institution.
        """
        if action.kind != target.kind:
            raise ValueError(f"{action} is done to a {action.kind}, not to a {target.kind}")
        principal, entity = _caller_entity(caller)
        facts = _facts(caller, scope_of(action, target)) | dict(context or {})
        name = principal["type"], principal["id"]
        allowed, deciding = self._judgements(name, entity, action, target, tuple(facts.items()))
        inquiry = Inquiry(caller=caller, action=action, target=target, context=dict(context or {}))
        return Ruling(allowed=allowed, policies=deciding, policy_set=self.policy_set, inquiry=inquiry)

    def _judged(
        self, principal: tuple[str, str], entity: str, action: Action, target: Target,
        facts: tuple[tuple[str, str | bool], ...],
    ) -> tuple[bool, tuple[str, ...]]:  # fmt: skip
        """Whether it is allowed, and by which policies: nothing but what is handed in here has a say in that."""
        resource = _uid(target.kind.capitalize(), target.id)
        request = {
            "principal": dict(zip(("type", "id"), principal, strict=True)),
            "action": f'{_NAMESPACE}::Action::"{action}"',
            "resource": resource,
            "context": dict(facts),
        }
        entities = self._with_both(entity, _target_entity(resource, target))
        answer = cedarpy.is_authorized(request, self._handle, entities, schema=self._schema)
        if answer.diagnostics.errors:
            # Cedar skips a policy that fails, a forbid too; so a failure must never let anyone through.
            raise PolicyError(f"{action} could not be decided: {'; '.join(answer.diagnostics.errors)}")
        return answer.allowed, tuple(sorted(answer.diagnostics.id_annotations_by_reason.values()))

    def filter(self, caller: Caller, action: Action, context: Mapping[str, str] | None = None) -> Predicate:
        """Of a list of what `action` is done to, the rows on which `ask` would permit it to `caller`, one by one.

        Each row is judged as the list of what is its owner's, under the scope that a list needs. Whatever cannot be
        told for certain leaves nothing to see, and a line in the log.
        """
        principal, entity = _caller_entity(caller)
        facts = _facts(caller, scope_of(action, Target.list(action.kind))) | dict(context or {})
        name = f'{principal["type"]}::"{_escaped(principal["id"])}"'
        return self._filters(name, entity, action, tuple(facts.items()))

    def _compiled(
        self, principal: str, entity: str, action: Action, facts: tuple[tuple[str, str | bool], ...]
    ) -> Predicate:
        request = {
            "principal": principal,
            "action": f'{_NAMESPACE}::Action::"{action}"',
            "context": dict(facts),
        }
        answer = cedarpy.is_authorized_partial(request, self._handle, self._with_caller(entity), schema=self._schema)
        why = "; ".join(map(str, answer.diagnostics.errors))
        if not why:
            try:
                return compiled(answer.residuals.values(), action.kind)
            except Uncompilable as unwritten:
                why = str(unwritten)
        log.error("list cannot be filtered", action=action, why=why, policy_set=self.policy_set)
        return NOTHING

    def decide(
        self, caller: Caller, action: Action, target: Target, context: Mapping[str, str] | None = None
    ) -> Ruling:
        """The ruling that permits it, to be recorded with the act; raises `Forbidden` carrying the ruling."""
        ruling = self.ask(caller, action, target, context)
        if not ruling.allowed:
            raise Forbidden(self.explain(caller, action, target, ruling), ruling=ruling)
        return ruling

    def explain(self, caller: Caller, action: Action, target: Target, ruling: Ruling) -> str:
        """Why `ruling` refuses, in the policies' own sentences; tells nothing of the target but its id."""
        refused = f"{action} on {_named(target)} is refused."
        forbidding = [self.policies[name] for name in ruling.policies]
        if not forbidding:
            about = [policy for policy in self.policies.values() if action in policy.actions]
            permitted = [policy.sentence for policy in about if policy.effect == "permit"]
            return " ".join([refused, "No policy permits it. What is permitted:", *permitted])
        reasons = [policy.sentence for policy in forbidding]
        if any(policy.id == "scope-covers-the-act" for policy in forbidding):
            context = "user" if caller.principal.startswith(PREFIX) else "system"
            reasons.append(f"The scope needed is {context}/{scope_of(action, target)}.")
        return " ".join([refused, *reasons])


def _named(target: Target) -> str:
    if target.id == MANY:
        return f"the list of {target.kind}"
    return f"a new {target.kind}" if target.id == "new" else f"{target.kind} {quoted(target.id)}"


def _parse_schema(data: bytes) -> cedarpy.Schema:
    text = data.decode()
    if (why := _too_complex(text.translate(_ANGLES))) is not None:
        raise PolicyError(f"{SCHEMA}: {why}")
    try:
        return cedarpy.Schema.from_str(text)
    except ValueError as error:
        raise PolicyError(f"{SCHEMA}: {error}") from error


def _read(name: str, text: str, schema: cedarpy.Schema) -> Iterator[Policy]:
    """The policies of one file, each checked against the schema and for its id and sentence."""
    if (why := _too_complex(text)) is not None:
        raise PolicyError(f"{name}: {why}")
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        raise PolicyError(f"{name}: {unreadable(text, str(error), _is_readable)}") from error
    except RecursionError:
        raise PolicyError(f"{name}: a condition has too many parts; make several policies of it") from None
    if parsed["templates"]:
        raise PolicyError(f"{name}: templates are not used here; write the policy out")
    faults = cedarpy.validate_policies(text, schema)
    if not faults:
        ids = {key: said.get("annotations", {}).get("id") for key, said in parsed["staticPolicies"].items()}
        known = words(shipped_policies()[SCHEMA].decode())
        raise PolicyError(f"{name}: {_listed([unfitting(str(each.error), ids, known) for each in faults.errors])}")
    for policy in parsed["staticPolicies"].values():
        notes = policy.get("annotations", {})
        for annotation in ("id", "sentence"):
            if not notes.get(annotation):
                raise PolicyError(f"{name}: every policy needs an @{annotation}; one has none")
        yield Policy(
            id=notes["id"],
            sentence=notes["sentence"],
            effect=policy["effect"],
            actions=frozenset(_actions(policy["action"])),
            file=name,
            body={part: said for part, said in policy.items() if part != "annotations"},
        )


def _is_readable(text: str) -> bool:
    try:
        cedarpy.policies_to_json_str(text)
    except ValueError:
        return False
    return True


def _listed(said: list[str]) -> str:
    """The first complaints of however many, each as far as anybody reads."""
    more = [f"and {len(said) - MOST_TOLD} more"] if len(said) > MOST_TOLD else []
    return "; ".join([*(each[:LONGEST_TOLD] for each in said[:MOST_TOLD]), *more])


def _too_complex(text: str) -> str | None:
    """What is too much in a file of policies, if anything is; told from its signs alone, before Cedar reads it."""
    depth = signs = 0
    for sign in _SIGNS.findall(text):
        depth += (sign in _OPENING) - (sign in _CLOSING)
        signs = 0 if sign == ";" else signs + 1
        if depth > DEEPEST:
            return f"brackets are nested more than {DEEPEST} deep"
        if signs > MOST_SIGNS:
            return f"a policy has more than {MOST_SIGNS} words and signs; make several of it"
    return None


def _actions(scope: Mapping[str, Any]) -> list[Action]:
    """The acts that a policy's action clause names, groups spelled out."""
    if scope["op"] == "All":
        return list(Action)
    named = {entity["id"] for entity in scope.get("entities", [scope.get("entity")])}
    return [a for a in Action if a in named or ("write" if a.writes else "read") in named]


def _facts(caller: Caller, scope: str) -> dict[str, str | bool]:
    """What is known of the request itself."""
    facts: dict[str, str | bool] = {"requiredScope": scope, "senderConstrained": caller.sender_constrained}
    if caller.purpose is not None:
        facts["purposeOfUse"] = caller.purpose
    return facts


@lru_cache(maxsize=4096)
def _entity(
    principal: str, roles: frozenset[Role], institution: UUID | None, held: frozenset[str], proof_required: bool,
    jurisdiction: frozenset[str],
) -> tuple[dict[str, str], str]:  # fmt: skip
    internal = scopes.is_internal(held)
    uid = _uid("Worker" if internal else "Caller", principal)
    attributes: dict[str, Any] = {"scopes": scopes.granted(held)}
    if not internal:
        attributes["proofRequired"] = proof_required
    if institution is not None and not internal:
        attributes["institution"] = {"__entity": _uid("Institution", str(institution))}
    if jurisdiction and not internal:
        attributes["jurisdiction"] = sorted(jurisdiction)
    parents = [_uid("Role", role) for role in sorted(roles)]
    return uid, json.dumps([{"uid": uid, "attrs": attributes, "parents": parents}])


def _caller_entity(caller: Caller) -> tuple[dict[str, str], str]:
    """Who asks, as Cedar's uid and as entities in JSON. The request id has no say and is left out."""
    return _entity(
        caller.principal, caller.roles, caller.institution, caller.scopes, caller.proof_required, caller.jurisdiction
    )


def _target_entity(uid: dict[str, str], target: Target) -> str:
    related = {"owner": target.owner, "giver": target.giver, "receiver": target.receiver}
    attributes: dict[str, Any] = {
        name: {"__entity": _uid("Institution", str(institution))}
        for name, institution in related.items()
        if institution is not None
    }
    if target.shared_with:
        shared = [{"__entity": _uid("Institution", str(who))} for who in sorted(target.shared_with)]
        attributes["sharedWith"] = shared
    if target.author is not None:
        attributes["author"] = {"__entity": _uid("Caller", target.author)}
    regions = {"region": target.region, "giverRegion": target.giver_region, "receiverRegion": target.receiver_region}
    attributes |= {name: region for name, region in regions.items() if region is not None}
    return json.dumps([{"uid": uid, "attrs": attributes, "parents": []}])


def _escaped(name: str) -> str:
    """As Cedar itself writes it between quotes; partial evaluation takes ids in no other form."""
    return name.translate(_ESCAPES)


def _uid(kind: str, id: str) -> dict[str, str]:  # noqa: A002
    return {"type": f"{_NAMESPACE}::{kind}", "id": id}
