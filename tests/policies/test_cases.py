"""The cases beside the policies: each is four lines, and its folder is the expected answer."""

from __future__ import annotations

import pytest

from sharewell.authz import Authorizer
from sharewell.domain.policy import Action
from sharewell.vetting.cases import Case, shipped_cases

CASES = shipped_cases()
ALLOW, DENY = ([case for case in CASES if case.allowed is allowed] for allowed in (True, False))


@pytest.mark.parametrize("case", ALLOW, ids=lambda case: case.name)
def test_it_is_allowed_that(case: Case, authorizer: Authorizer) -> None:
    ruling = case.ask(authorizer)
    assert ruling.allowed, ruling
    assert ruling.policies


@pytest.mark.parametrize("case", DENY, ids=lambda case: case.name)
def test_it_is_denied_that(case: Case, authorizer: Authorizer) -> None:
    assert not case.ask(authorizer).allowed


@pytest.mark.parametrize("cases", [ALLOW, DENY], ids=["allow", "deny"])
def test_every_action_has_a_case(cases: list[Case]) -> None:
    assert {case.action for case in cases} == set(Action)


def test_every_policy_decides_some_case(authorizer: Authorizer) -> None:
    deciding = {policy for case in CASES for policy in case.ask(authorizer).policies}
    assert deciding == set(authorizer.policies)
