"""The policy files as a whole: what loading refuses, and what a set of policies must never be."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.authz import SCHEMA, Authorizer, PolicyError, shipped_policies
from sharewell.domain.errors import Forbidden
from sharewell.domain.policy import KINDS, Action, Target, policy_set_hash
from sharewell.domain.principals import Caller, Role
from sharewell.domain.scopes import INTERNAL_SCOPES

NORTH, SOUTH = UUID(int=10), UUID(int=11)
FILES = shipped_policies()


def with_policy(text: str) -> dict[str, bytes]:
    return FILES | {"extra.cedar": text.encode()}


def test_the_schema_knows_exactly_the_actions_and_roles_of_the_domain() -> None:
    schema = cedarpy.Schema.from_str(FILES[SCHEMA].decode())
    entities = json.loads(str(cedarpy.Entities.from_json_str("[]", schema)))
    groups = {e["uid"]["id"]: [parent["id"] for parent in e["parents"]] for e in entities}
    assert {name: kind for name, kind in groups.items() if kind} == {
        str(action): ["write" if action.writes else "read"] for action in Action
    }
    for role in Role:
        assert f'"{role}"' in FILES[SCHEMA].decode()


def test_there_is_one_policy_file_a_noun() -> None:
    plural = {f"{kind}s.cedar" for kind in KINDS} | {"policies.cedar", "capacity.cedar", "people.cedar"}
    assert {name for name in FILES if name != SCHEMA} - plural == {"access.cedar", "audit.cedar"}


def test_every_policy_has_a_sentence_that_a_lawyer_can_read(authorizer: Authorizer) -> None:
    for policy in authorizer.policies.values():
        assert policy.sentence[0].isupper(), policy
        assert policy.sentence.endswith("."), policy
        assert len(policy.sentence.split()) >= 4, policy


def test_no_permit_is_unconditional() -> None:
    for name, data in FILES.items():
        if name == SCHEMA:
            continue
        for policy in json.loads(cedarpy.policies_to_json_str(data.decode()))["staticPolicies"].values():
            if policy["effect"] == "permit":
                bound = policy["principal"]["op"] != "All" or policy["conditions"]
                assert bound, f"{name}: {policy['annotations']} permits anyone"
                assert policy["action"]["op"] != "All", f"{name}: {policy['annotations']} permits anything"


def test_policies_are_laid_out_as_cedar_lays_them_out() -> None:
    for name, data in FILES.items():
        if name != SCHEMA:
            text = data.decode()
            laid_out = cedarpy.format_policies(text, line_width=110)
            assert laid_out.split() == text.split(), name
            assert [line for line in laid_out.splitlines() if line] == [line for line in text.splitlines() if line]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("permit (principal, action, resource)", "extra.cedar"),
        ("permit (principal, action, resource);", "every policy needs an @id"),
        ('@id("a") permit (principal, action, resource);', "every policy needs an @sentence"),
        ('@id("see-own-clients") @sentence("Twice.") forbid (principal, action, resource);', "see-own-clients"),
        ('@id("a") @sentence("S.") permit (principal == ?principal, action, resource);', "template"),
        (
            '@id("a") @sentence("S.") permit (principal, action == Sharewell::Action::"fly", resource);',
            "fly",
        ),
        (
            '@id("a") @sentence("S.") permit (principal, action, resource) when { resource.owner == principal };',
            "owner",
        ),
    ],
)
def test_loading_refuses_a_faulty_policy_and_names_it(text: str, fault: str) -> None:
    with pytest.raises(PolicyError, match=fault):
        Authorizer.load(with_policy(text))


DEEP = (
    '"(" == "(" && ' + "(" * 3_000 + "true" + ")" * 3_000, "true && " * 3_000 + "true", "context" + ".a" * 3_000,
    "if true then " * 900 + "true" + " else true" * 900, "{a: " * 3_000 + "1" + "}" * 3_000 + " == 1",
)  # fmt: skip


@pytest.mark.parametrize("condition", DEEP)
def test_what_would_break_the_stack_of_cedars_parser_never_reaches_it(condition: str) -> None:
    text = f'@id("a") @sentence("S.") forbid (principal, action, resource) when {{ {condition} }};'
    with pytest.raises(PolicyError, match=r"nested more than 50|more than 2000 words"):
        Authorizer.load(with_policy(text))


def test_a_schema_that_would_break_the_stack_never_reaches_the_parser() -> None:
    deep = b"entity Deep { a: " + b"Set<" * 3_000 + b"Long" + b">" * 3_000 + b"};"
    with pytest.raises(PolicyError, match="nested more than 50"):
        Authorizer.load(FILES | {SCHEMA: FILES[SCHEMA] + deep})


def test_a_policy_of_many_parts_is_refused_in_words() -> None:
    text = f'@id("a") @sentence("S.") forbid (principal, action, resource) when {{ {"true && " * 600}true }};'
    with pytest.raises(PolicyError, match="too many parts"):
        Authorizer.load(with_policy(text))


def test_loading_refuses_a_set_without_its_schema() -> None:
    with pytest.raises(PolicyError, match="cedarschema is missing"):
        Authorizer.load({name: data for name, data in FILES.items() if name != SCHEMA})


def test_a_policy_that_fails_while_it_decides_lets_nobody_through() -> None:
    overflow = "context.requiredScope.contains(1)"
    with pytest.raises(PolicyError):
        Authorizer.load(
            with_policy(f'@id("a") @sentence("S.") permit (principal, action, resource) when {{{overflow}}};')
        )
    failing = Authorizer.load(
        with_policy(
            '@id("a") @sentence("S.") forbid (principal, action, resource)'
            " when { 9223372036854775807 + (if context has callerStatus then 1 else 0) == 0 };"
        )
    )
    regulator = Caller(principal="r", roles=frozenset({Role.REGULATOR}), scopes=frozenset({"system/*.rs"}))
    offer = Target(kind="offer", id="o", owner=NORTH)
    assert failing.ask(regulator, Action.VIEW_OFFER, offer).allowed
    with pytest.raises(PolicyError, match="could not be decided"):
        failing.ask(regulator, Action.VIEW_OFFER, offer, {"callerStatus": "active"})


@given(st.sampled_from(sorted(FILES)), st.data())
def test_the_hash_of_the_set_changes_with_any_byte(name: str, data: st.DataObject) -> None:
    text = bytearray(FILES[name])
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= data.draw(st.integers(1, 255))
    assert policy_set_hash(FILES | {name: bytes(text)}) != policy_set_hash(FILES)


def test_the_hash_of_the_set_changes_with_a_name_and_not_with_the_order() -> None:
    renamed = {("z" + name if name == "jobs.cedar" else name): data for name, data in FILES.items()}
    assert policy_set_hash(renamed) != policy_set_hash(FILES)
    assert policy_set_hash(dict(reversed(FILES.items()))) == policy_set_hash(FILES)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_the_hash_of_the_set_is_what_sha256sum_prints(tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    command = "LC_ALL=C sha256sum *.cedar *.cedarschema | LC_ALL=C sort -k2 | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert printed.stdout.split()[0] == policy_set_hash(FILES)


def test_a_refusal_says_what_was_refused_and_what_is_permitted(authorizer: Authorizer) -> None:
    planner = Caller(principal="p", roles=frozenset({Role.ALLOCATOR}), scopes=frozenset({"system/*.cruds"}))
    with pytest.raises(Forbidden) as refused:
        authorizer.decide(planner, Action.ADOPT_PLAN, Target(kind="allocation", id="a1"))
    assert refused.value.message == (
        "adoptPlan on allocation a1 is refused. No policy permits it. "
        "What is permitted: Only the allocate worker adopts a plan."
    )
    for target, named in ((Target(kind="allocation", id="new"), "a new allocation"),
                          (Target.list("allocation"), "the list of allocation")):  # fmt: skip
        with pytest.raises(Forbidden, match=f"^adoptPlan on {named} is refused"):
            authorizer.decide(planner, Action.ADOPT_PLAN, target)
    assert refused.value.ruling is not None
    assert not refused.value.ruling.allowed
    assert refused.value.ruling.policy_set == authorizer.policy_set


def test_a_refusal_names_the_scope_that_is_missing_and_not_the_owner(authorizer: Authorizer) -> None:
    north = Caller(
        principal="n", roles=frozenset({Role.INSTITUTION}), institution=NORTH, scopes=frozenset({"system/Feed.r"})
    )
    with pytest.raises(Forbidden) as refused:
        authorizer.decide(north, Action.WITHDRAW_OFFER, Target(kind="offer", id="o1", owner=SOUTH))
    assert "system/Offer.u" in refused.value.message
    assert str(SOUTH) not in refused.value.message


def test_asking_for_an_action_on_another_kind_is_a_mistake_in_the_program(authorizer: Authorizer) -> None:
    worker = Caller(principal="seal", roles=frozenset({Role.ALLOCATOR}), scopes=INTERNAL_SCOPES)
    with pytest.raises(ValueError, match="sealLog is done to a log, not to a job"):
        authorizer.ask(worker, Action.SEAL_LOG, Target(kind="job", id="1"))
    with pytest.raises(PolicyError, match="weather"):
        authorizer.ask(worker, Action.SEAL_LOG, Target(kind="log", id="1"), {"weather": "fine"})


@pytest.mark.parametrize(
    ("kind", "related"), [("lunch", {}), ("transfer", {"owner": NORTH}), ("offer", {"giver": NORTH})]
)
def test_a_target_the_policies_cannot_read_is_a_mistake_in_the_program(kind: str, related: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="transfer"):
        Target(kind=kind, id="1", **related)
