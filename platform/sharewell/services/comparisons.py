"""Compare a draft of the policies with those in force, over every kind of request that either can tell apart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from sharewell.authz import SCHEMA, Authorizer, Policy
from sharewell.domain.comparison import (
    ActionDifferences,
    Comparison,
    Difference,
    apart,
    cases,
    difference,
    relation,
    unclear,
    variants,
)
from sharewell.domain.inquiry import Inquiry
from sharewell.domain.policy import MANY, Action, Target, policy_set_hash
from sharewell.domain.policy_versions import draft_files
from sharewell.domain.principals import Caller
from sharewell.domain.simulation import Verdict
from sharewell.domain.terms import Terms
from sharewell.services.office import Office
from sharewell.services.simulations import Files, asked, read_draft

MOST_EXAMPLES: Final = 3  #: of each act, for what is newly allowed and newly denied each
_GROUPS: Final = ("read", "write")
_NOT_FORBIDDEN: Final = Verdict(allowed=False, policies=())  #: what a set of forbids says where none is met


class ComparisonService:
    """A draft against what is in force."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def compare(self, caller: Caller, files: Files) -> Comparison:
        """Whether the draft permits more, less, the same or neither, with examples. On record.

        Raises `Invalid` for a draft that cannot be used.
        """
        async with self._office.act(caller, Action.SIMULATE_POLICY, Target(kind="policy", id=MANY)) as act:
            named, before = draft_files(files), self._office.authz
            await act.record("policy.compared", "policy", policy_set_hash(named), {"before": before.policy_set})
        return await asyncio.to_thread(lambda: compare(before, read_draft(named)))


def compare(before: Authorizer, draft: Authorizer) -> Comparison:
    """Ask both of everything that either can tell apart.

    An act of which both say the same, word for word, is not asked about.
    """
    same_schema = before.files[SCHEMA] == draft.files[SCHEMA]
    said, found, tried = list[str](), list[ActionDifferences](), 0
    for action in Action:
        ours, theirs = (_concerning(each, action, same_schema) for each in (before, draft))
        if same_schema and _bodies(ours) == _bodies(theirs):
            continue
        said.extend(_unclear(action, [*ours, *theirs]))
        differences = _asked_both(_Pair(before, draft, ours, theirs), action)
        tried += differences.cases
        if differences.examples:
            found.append(differences)
    gained, lost = sum(each.newly_allowed for each in found), sum(each.newly_denied for each in found)
    return Comparison(
        before=before.policy_set, draft=draft.policy_set, relation=relation(gained, lost),
        unclear=tuple(dict.fromkeys(said)), cases=tried, actions=tuple(found),
    )  # fmt: skip


class _Pair:
    """Two sets narrowed to the policies that have a say in one act, with the forbids they share apart."""

    def __init__(self, before: Authorizer, draft: Authorizer, ours: list[Policy], theirs: list[Policy]) -> None:
        bodies = {repr(policy.body) for policy in theirs if policy.effect == "forbid"}
        shared = [policy for policy in ours if repr(policy.body) in bodies]
        same = {repr(policy.body) for policy in shared}
        rests = [[policy for policy in few if repr(policy.body) not in same] for few in (ours, theirs)]
        self.before, self.draft = before, draft
        self.first, self.loose = apart(
            Terms.of(policy.body for policy in (*rests[0], *rests[1])), Terms.of(policy.body for policy in shared)
        )
        # Of the shared forbids, those that no variant can get around are asked first, and once.
        firm = [policy for policy in shared if not _looks_at(policy, self.loose)]
        self._firm = before.narrowed(policy.id for policy in firm)
        self._forbids = before.narrowed(policy.id for policy in shared if policy not in firm)
        self._rests = tuple(
            whole.narrowed(policy.id for policy in rest) for whole, rest in zip((before, draft), rests, strict=True)
        )

    def differ(self, inquiry: Inquiry) -> tuple[Inquiry, bool] | None:
        """The request, or a variant of it, that the two decide differently, and whether it is allowed now."""
        was, now = (_verdict(each, inquiry) for each in self._rests)
        if was.allowed == now.allowed or asked(self._firm, inquiry) != _NOT_FORBIDDEN:
            return None
        for variant in variants(inquiry, self.loose):
            if asked(self._forbids, variant) == _NOT_FORBIDDEN:
                return variant, now.allowed
        return None

    def told(self, inquiry: Inquiry) -> Difference:
        """How each of the whole sets decides it."""
        return difference(inquiry, _verdict(self.before, inquiry), _verdict(self.draft, inquiry))


def _looks_at(policy: Policy, loose: Terms) -> bool:
    terms = Terms.of([policy.body])
    return bool(terms.facts & loose.facts or terms.entities & loose.entities)


def _concerning(authz: Authorizer, action: Action, groups_known: bool) -> list[Policy]:
    """The policies that may have a say in `action`: by its own name, or by a group that it may be in."""
    return [
        policy for policy in authz.policies.values()
        if _concerns(policy.body["action"], action, groups_known) and _is_about(policy.body["resource"], action.kind)
    ]  # fmt: skip


def _is_about(scope: Mapping[str, Any], kind: str) -> bool:
    """Whether a thing of `kind` can be meant; things are in no others."""
    kinds = [scope["entity_type"]] if "entity_type" in scope else [scope["entity"]["type"]] if "entity" in scope else []
    return all(each.rpartition("::")[2] == kind.capitalize() for each in kinds)


def _concerns(scope: Mapping[str, Any], action: Action, groups_known: bool) -> bool:
    if scope["op"] == "All":
        return True
    names = {entity["id"] for entity in scope.get("entities", [scope.get("entity")])}
    groups = names - {str(each) for each in Action}
    if groups_known and groups <= {*_GROUPS}:
        groups &= {"write" if action.writes else "read"}
    return action in names or bool(groups)


def _bodies(policies: list[Policy]) -> list[str]:
    return sorted({repr(policy.body) for policy in policies})


def _unclear(action: Action, policies: list[Policy]) -> list[str]:
    """Why cases do not cover what these policies say of `action`, each with the policy that does it."""
    alone = {policy.id: unclear(Terms.of([policy.body])) for policy in policies}
    named = [f"{name}: {why}" for name, whys in sorted(alone.items()) for why in whys]
    whole = unclear(Terms.of(policy.body for policy in policies))
    return named or [f"{action}: {why}" for why in whole]


def _asked_both(pair: _Pair, action: Action) -> ActionDifferences:
    examples: dict[bool, list[Difference]] = {True: [], False: []}
    counts, tried = {True: 0, False: 0}, 0
    for inquiry in cases(action, pair.first):
        tried += 1
        if (found := pair.differ(inquiry)) is not None:
            differing, allowed = found
            counts[allowed] += 1
            if len(examples[allowed]) < MOST_EXAMPLES:
                examples[allowed].append(pair.told(differing))
    return ActionDifferences(
        action=action, cases=tried, newly_allowed=counts[True], newly_denied=counts[False],
        examples=(*examples[True], *examples[False]),
    )  # fmt: skip


def _verdict(authz: Authorizer, inquiry: Inquiry) -> Verdict:
    """Where policies fail while they decide, nobody is let through."""
    found = asked(authz, inquiry)
    return found if isinstance(found, Verdict) else Verdict(allowed=False, policies=())
