"""What is wrong with a set of policies, or should be seen by whoever approves it: named findings, most of them asked
of the policies themselves rather than read off their text, so that writing a rule otherwise does not hide it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import permutations
from secrets import token_hex
from typing import Final
from uuid import UUID

from sharewell.authz import SCHEMA, Authorizer, PolicyError, shipped_policies
from sharewell.domain.policy import BETWEEN, SHARED, Action, Target
from sharewell.domain.policy_versions import Finding, Weight
from sharewell.domain.principals import OPERATOR, WORKERS, Caller, Role
from sharewell.domain.scopes import INTERNAL_SCOPES
from sharewell.vetting.cases import shipped_cases
from sharewell.vetting.texts import Text, texts_of

#: What every set has to the letter: the walls between institutions, the regulator's eyes, the log, and this very life
#: of a change.
PROTECTED: Final = frozenset({
    "scope-covers-the-act", "bound-clients-prove-their-key", "suspended-changes-nothing", "nobody-writes-for-another",
    "nobody-moves-others-units", "nobody-agrees-for-others", "regulator-reads-its-jurisdiction",
    "regulator-changes-nothing", "seal-seals", "reconcile-reconciles", "nobody-approves-their-own",
    "platform-publishes-policies", "auditor-changes-nothing", "auditor-is-no-admin",
})  # fmt: skip
#: Without these nobody could change the policies any more.
ADMINISTRATION: Final = (
    Action.VIEW_POLICY, Action.VIEW_POLICY_VERSION, Action.DRAFT_POLICY, Action.APPROVE_POLICY, Action.WITHDRAW_POLICY,
    Action.ROLL_BACK_POLICY, Action.BREAK_GLASS, Action.END_BREAK_GLASS, Action.REGISTER_CLIENT,
)  # fmt: skip
#: What the platform itself does whenever it starts.
START: Final = (Action.DEFINE_RESOURCE, Action.PUBLISH_POLICY, Action.ROTATE_KEY)

_EVERYTHING: Final = frozenset({"system/*.cruds"})
_HOUSES: Final = (UUID(int=1), UUID(int=2))
#: Names that nobody can have written into a policy, to spare whom it is asked about.
_ADMIN: Final = Caller(principal=f"admin-{token_hex(16)}", roles=frozenset({Role.ADMIN}), scopes=_EVERYTHING)
_OPERATOR: Final = Caller(principal=OPERATOR, roles=frozenset({Role.ADMIN}), scopes=INTERNAL_SCOPES)
_REGULATOR: Final = Caller(
    principal=f"regulator-{token_hex(16)}", roles=frozenset({Role.REGULATOR}), scopes=_EVERYTHING
)  # fmt: skip
_REGION: Final = "a-region"
_REGIONAL: Final = replace(_REGULATOR, jurisdiction=frozenset({_REGION}))
#: Somebody that no policy has a reason to permit anything.
_STRANGER: Final = Caller(principal="a-stranger", roles=frozenset(), scopes=_EVERYTHING, institution=_HOUSES[0])
_ID: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LEAST_WORDS: Final = 4


def findings_of(files: Mapping[str, bytes]) -> tuple[Finding, ...]:
    """What there is to say of the policies `files`, faults first: some 700 questions to them, 0.2 s.

    The schema belongs to the release, so another one among them is a finding.
    """
    return _found(tuple(sorted(files.items())))


@lru_cache(maxsize=32)
def _found(listed: tuple[tuple[str, bytes], ...]) -> tuple[Finding, ...]:
    files, shipped = dict(listed), shipped_policies()
    if files.get(SCHEMA, shipped[SCHEMA]) != shipped[SCHEMA]:
        return (_fault("schema_changed", f"{SCHEMA} belongs to the release and is not changed by a version."),)
    try:
        authorizer = Authorizer.load({**files, SCHEMA: shipped[SCHEMA]})
        texts = texts_of(files)
        found = [*_by_text(texts), *_by_asking(authorizer), *_lint(texts), *_cases(authorizer)]
    except (PolicyError, UnicodeDecodeError) as error:
        return (_fault("cannot_be_loaded", f"{error}."),)
    return tuple(sorted(found, key=lambda finding: finding.weight is not Weight.FAULT))


def _by_text(texts: Mapping[str, Text]) -> Iterator[Finding]:
    shipped = texts_of(shipped_policies())
    for name in sorted(PROTECTED):
        if name not in texts:
            yield _fault("protected_policy_dropped", f"every set has the policy {name}: {shipped[name].sentence}", name)
        elif texts[name].parts != shipped[name].parts:
            yield _fault("protected_policy_changed", f"the policy {name} must stay: {shipped[name].sentence}", name)
    for text in texts.values():
        if text.permits:
            yield from _too_wide(text)
        for kind, name in text.named():
            if kind == "Worker" and name not in (*WORKERS, OPERATOR):
                known = ", ".join((*WORKERS, OPERATOR))
                yield _fault("unknown_worker", f"there is no worker {name!r}; there are {known}.", text.id)


def _too_wide(text: Text) -> Iterator[Finding]:
    anyone = text.parts["principal"]["op"] == "All" and not _conditions(text)
    anything = text.parts["action"]["op"] == "All"
    if anyone and anything and text.parts["resource"]["op"] == "All":
        yield _fault("unconditional_permit", f"{text.id} permits everybody everything.", text.id)
    elif anyone:
        yield _fault("permit_for_everybody", f"{text.id} permits whoever asks; name a role, a worker or a condition.",
                     text.id)  # fmt: skip
    elif anything:
        yield _fault("permit_for_every_act", f"{text.id} permits every act; name the acts, or a group.", text.id)


def _conditions(text: Text) -> list[object]:
    """Its conditions but those that always hold."""
    holds = {"when": {"Value": True}, "unless": {"Value": False}}
    return [each for each in text.parts["conditions"] if each["body"] != holds[each["kind"]]]


def _by_asking(authorizer: Authorizer) -> Iterator[Finding]:
    for name, acts in _let_in(authorizer).items():
        yield _fault("permits_strangers", f"{name} permits a caller without any role: {', '.join(acts)}.", name)
    for action in Action:
        if not action.writes and not all(_may(authorizer, _REGULATOR, action, each) for each in _targets(action)):
            yield _fault("regulator_cannot_read", f"a regulator could not do {action}; it reads everything.")
        elif not action.writes and not all(_may(authorizer, _REGIONAL, action, each) for each in _of_region(action)):
            yield _fault("regulator_cannot_read", f"a regulator could not do {action} in its own region.")
        if not any(policy.effect == "permit" and action in policy.actions for policy in authorizer.policies.values()):
            yield _warning("act_without_policy", f"no policy permits anybody {action}; nobody could do it.")
    for action in ADMINISTRATION:
        if not _may(authorizer, _ADMIN, action, Target(kind=action.kind, id="1")):
            yield _fault("locks_out_administration", f"no admin could do {action}; the policies could not be mended.")
    for action in START:
        if not _may(authorizer, _OPERATOR, action, Target(kind=action.kind, id="1")):
            yield _fault("locks_out_start", f"the platform itself could not do {action}, so it could not start.")


def _let_in(authorizer: Authorizer) -> dict[str, list[Action]]:
    """By policy, the acts that it permits to somebody without a role."""
    found: dict[str, list[Action]] = {}
    for action in Action:
        rulings = [authorizer.ask(_STRANGER, action, target) for target in _targets(action)]
        for name in {name for ruling in rulings if ruling.allowed for name in ruling.policies}:
            found.setdefault(name, []).append(action)
    return found


def _targets(action: Action) -> list[Target]:
    """What the stranger has most to do with, what it has least to do with, and everything."""
    if action.kind in BETWEEN:
        between = [Target(kind=action.kind, id="1", giver=one, receiver=other) for one, other in permutations(_HOUSES)]
        return [*between, Target.list(action.kind)]
    owned = [Target(kind=action.kind, id="1", owner=house) for house in _HOUSES]
    if action.kind in SHARED:
        owned.append(Target(kind=action.kind, id="1", owner=_HOUSES[1], shared_with=frozenset({_HOUSES[0]})))
    return [*owned, Target.list(action.kind)]


def _of_region(action: Action) -> list[Target]:
    """What is of the region of the regulator that has one."""
    everything = Target.of_region(action.kind, _REGION)
    if action.kind in BETWEEN:
        between = Target(kind=action.kind, id="1", giver=_HOUSES[0], receiver=_HOUSES[1])
        return [replace(between, giver_region=_REGION), replace(between, receiver_region=_REGION), everything]
    return [Target(kind=action.kind, id="1", owner=_HOUSES[0], region=_REGION), everything]


def _may(authorizer: Authorizer, caller: Caller, action: Action, target: Target) -> bool:
    return authorizer.ask(caller, action, target).allowed


def _lint(texts: Mapping[str, Text]) -> Iterator[Finding]:
    for text in texts.values():
        if not _ID.fullmatch(text.id):
            yield _warning("id_style", f"{text.id!r} should be lower-case words joined by '-'.", text.id)
        said = text.sentence
        if not said[0].isupper() or not said.endswith(".") or len(said.split()) < _LEAST_WORDS:
            yield _warning("sentence_style", f"the sentence of {text.id} should be a sentence that a lawyer reads.",
                           text.id)  # fmt: skip


def _cases(authorizer: Authorizer) -> Iterator[Finding]:
    for case in shipped_cases():
        ruling = case.ask(authorizer)
        if ruling.allowed != case.allowed:
            now, then = ("allowed", "denied") if ruling.allowed else ("denied", "allowed")
            by = f" by {', '.join(ruling.policies)}" if ruling.policies else ""
            yield _warning("case_differs", f"{case.name.replace('_', ' ')}: {now}{by}, and the release has it {then}.")


def _fault(code: str, message: str, policy: str | None = None) -> Finding:
    return Finding(code=code, weight=Weight.FAULT, message=message, policy=policy)


def _warning(code: str, message: str, policy: str | None = None) -> Finding:
    return Finding(code=code, weight=Weight.WARNING, message=message, policy=policy)
