"""Comparing two sets: what it claims holds for any request, and where cases do not reach, nothing is claimed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.authz import Authorizer, shipped_policies
from sharewell.domain.clients import Purpose
from sharewell.domain.comparison import Comparison, Relation
from sharewell.domain.inquiry import Inquiry
from sharewell.domain.policy import BETWEEN, MANY, SHARED, Action, Target
from sharewell.domain.principals import Caller, Role
from sharewell.domain.scopes import INTERNAL_SCOPES
from sharewell.domain.simulation import same_question
from sharewell.domain.terms import Terms
from sharewell.services.comparisons import compare
from sharewell.services.simulations import Questions, asked

FILES = shipped_policies()
IN_FORCE = Authorizer.load()
NAMED = UUID(int=77)
HOUSES = [UUID(int=1), UUID(int=2), UUID(int=3), NAMED]
REGIONS = ["north", "south", "east"]  # of which drafts name the first
HEAD = '@id("trial") @sentence("It is tried here.") '
PUBLISH = 'action == Sharewell::Action::"publishOffer"'

#: A change to one file and what it comes to, told by whoever wrote it.
DRAFTS = {
    "same": ("", Relation.EQUIVALENT),
    "reworded": (HEAD + f"forbid (principal, {PUBLISH}, resource) when {{ 1 == 2 }};", Relation.EQUIVALENT),
    "wider": (
        HEAD + 'permit (principal is Sharewell::Caller in Sharewell::Role::"institution",'
        ' action == Sharewell::Action::"viewRequest", resource);', Relation.MORE_PERMISSIVE,
    ),
    "for a purpose": (
        HEAD + f'forbid (principal, {PUBLISH}, resource) when {{ context has purposeOfUse && '
        '["TREAT", "strange"].contains(context.purposeOfUse) };', Relation.LESS_PERMISSIVE,
    ),
    "one institution": (
        HEAD + f'forbid (principal, {PUBLISH}, resource) when {{ resource has owner && '
        f'resource.owner == Sharewell::Institution::"{NAMED}" }};', Relation.LESS_PERMISSIVE,
    ),
    "one client": (
        HEAD + 'permit (principal == Sharewell::Caller::"pet", action == Sharewell::Action::"viewOffer", resource);',
        Relation.MORE_PERMISSIVE,
    ),
    "one thing": (
        HEAD + 'forbid (principal, action, resource == Sharewell::Offer::"the-offer");', Relation.LESS_PERMISSIVE,
    ),
    "lists alone": (
        HEAD + 'forbid (principal, action == Sharewell::Action::"viewOffer", resource)'
        ' when { context.requiredScope == "Offer.s" };', Relation.LESS_PERMISSIVE,
    ),
    "forbidden anyway": (  # no institution writes for another, whatever is permitted
        HEAD + f'permit (principal is Sharewell::Caller in Sharewell::Role::"device", {PUBLISH}, resource)'
        " when { !(principal has institution) && resource has owner };", Relation.EQUIVALENT,
    ),
    "a scope by name": (
        HEAD + f'forbid (principal, {PUBLISH}, resource) unless {{ principal.scopes.contains("Transfer.u") }};',
        Relation.LESS_PERMISSIVE,
    ),
    "proof": (HEAD + f"forbid (principal, {PUBLISH}, resource) unless {{ context.senderConstrained }};",
              Relation.LESS_PERMISSIVE),
    "standing": (
        HEAD + 'permit (principal in Sharewell::Role::"institution", action == Sharewell::Action::"startJob", resource)'
        ' when { context has callerStatus && context.callerStatus == "active" };', Relation.MORE_PERMISSIVE,
    ),
    "two parties": (
        HEAD + 'permit (principal in Sharewell::Role::"institution", action == Sharewell::Action::"viewTransfer", '
        "resource) when { resource has giver && resource has receiver && resource.giver == resource.receiver };",
        Relation.MORE_PERMISSIVE,
    ),
    "of all regions": (
        HEAD + 'permit (principal in Sharewell::Role::"regulator", action == Sharewell::Action::"viewRequest", '
        "resource) when { principal has jurisdiction };", Relation.MORE_PERMISSIVE,
    ),
    "of no region": (
        HEAD + 'forbid (principal is Sharewell::Caller, action == Sharewell::Action::"viewTransfer", resource) when '
        "{ principal has jurisdiction && resource has giverRegion && "
        "!principal.jurisdiction.contains(resource.giverRegion) };", Relation.LESS_PERMISSIVE,
    ),
    "one region": (
        HEAD + 'permit (principal is Sharewell::Caller, action == Sharewell::Action::"viewRequest", resource) when '
        '{ principal has jurisdiction && principal.jurisdiction.containsAny(["north", "nowhere"]) && '
        'resource has region && resource.region != "south" };', Relation.MORE_PERMISSIVE,
    ),
    "reads its regions anyway": (
        HEAD + 'permit (principal in Sharewell::Role::"regulator", action == Sharewell::Action::"viewAgreement", '
        "resource) when { resource has giverRegion && principal has jurisdiction && "
        "principal.jurisdiction.contains(resource.giverRegion) };", Relation.EQUIVALENT,
    ),
    "shown to one": (
        HEAD + 'permit (principal in Sharewell::Role::"device", action == Sharewell::Action::"viewExactCapacity", '
        f'resource) when {{ resource has sharedWith && resource.sharedWith.contains(Sharewell::Institution::"{NAMED}") '
        "};", Relation.MORE_PERMISSIVE,
    ),
    "shown to the caller": (
        HEAD + 'forbid (principal is Sharewell::Caller, action == Sharewell::Action::"viewExactCapacity", resource) '
        "when { principal has institution && resource has sharedWith && "
        "resource.sharedWith.contains(principal.institution) };", Relation.LESS_PERMISSIVE,
    ),
    "agreements": (
        HEAD + 'permit (principal in Sharewell::Role::"allocator", action == Sharewell::Action::"viewAgreement", '
        "resource);", Relation.MORE_PERMISSIVE,
    ),
    "both ways": (
        HEAD.replace("trial", "one") + 'permit (principal in Sharewell::Role::"device", '
        'action == Sharewell::Action::"viewOffer", resource);'
        + HEAD
        + 'forbid (principal in Sharewell::Role::"allocator", action == Sharewell::Action::"viewOffer", resource);',
        Relation.NEITHER,
    ),
}  # fmt: skip


@cache
def drafted(name: str) -> Authorizer:
    return Authorizer.load(FILES | {"trial.cedar": DRAFTS[name][0].encode()})


@cache
def compared(name: str) -> Comparison:
    return compare(IN_FORCE, drafted(name))


some_institution = st.none() | st.sampled_from(HOUSES)
some_region = st.none() | st.sampled_from(REGIONS)


@st.composite
def inquiries(draw: st.DrawFn) -> Inquiry:
    action = draw(st.sampled_from(
        [Action.PUBLISH_OFFER, Action.VIEW_OFFER, Action.VIEW_REQUEST, Action.VIEW_TRANSFER, Action.START_JOB,
         Action.VIEW_AGREEMENT, Action.VIEW_EXACT_CAPACITY, *Action]
    ))  # fmt: skip
    caller = Caller(
        principal=draw(st.sampled_from(["a-client", "pet", "allocate", "seal"])),
        roles=draw(st.frozensets(st.sampled_from(list(Role)), max_size=2)), institution=draw(some_institution),
        scopes=draw(st.sampled_from([
            frozenset({"system/*.cruds"}), frozenset({"system/*.rs"}), frozenset({"system/Offer.cruds"}), frozenset(),
            INTERNAL_SCOPES,
        ])),
        purpose=draw(st.none() | st.sampled_from([*Purpose, "strange"])), sender_constrained=draw(st.booleans()),
        proof_required=draw(st.booleans()),
    )  # fmt: skip
    if Role.REGULATOR in caller.roles:
        caller = replace(caller, jurisdiction=draw(st.frozensets(st.sampled_from(REGIONS), max_size=2)))
    target = Target(kind=action.kind, id=draw(st.sampled_from([MANY, "the-offer", "else", str(HOUSES[0])])))
    if action.kind in BETWEEN:
        target = replace(
            target, giver=draw(some_institution), receiver=draw(some_institution), giver_region=draw(some_region),
            receiver_region=draw(some_region),
        )  # fmt: skip
    else:
        target = replace(target, owner=draw(some_institution), region=draw(some_region))
    if action.kind in SHARED:
        target = replace(target, shared_with=draw(st.frozensets(st.sampled_from(HOUSES), max_size=2)))
    status = draw(st.sampled_from([None, "active", "suspended", "observed"]))
    told = status is not None and action.writes and caller.institution is not None
    return Inquiry(caller=caller, action=action, target=target, context={"callerStatus": str(status)} if told else {})


@pytest.mark.parametrize("name", DRAFTS)
def test_a_draft_stands_to_what_is_in_force_as_whoever_wrote_it_says(name: str) -> None:
    found = compared(name)
    assert (found.relation, found.unclear) == (DRAFTS[name][1], ())
    for act in found.actions:
        assert act.examples
        for one in act.examples:
            before, now = asked(IN_FORCE, one.inquiry), asked(drafted(name), one.inquiry)
            assert (before, now) == (one.before, one.now)
            assert one.before.allowed != one.now.allowed


@settings(max_examples=300)
@given(st.sampled_from(sorted(DRAFTS)), inquiries())
def test_no_request_contradicts_what_was_found(name: str, inquiry: Inquiry) -> None:
    found = compared(name)
    before = IN_FORCE.ask(inquiry.caller, inquiry.action, inquiry.target, inquiry.context).allowed
    now = drafted(name).ask(inquiry.caller, inquiry.action, inquiry.target, inquiry.context).allowed
    if before != now:
        act = next(each for each in found.actions if each.action == inquiry.action)
        assert act.newly_allowed if now else act.newly_denied


def test_a_rule_about_everything_is_compared_act_by_act() -> None:
    text = HEAD + 'forbid (principal in Sharewell::Role::"regulator", action, resource);'
    found = compare(IN_FORCE, Authorizer.load(FILES | {"trial.cedar": text.encode()}))
    assert found.relation is Relation.LESS_PERMISSIVE
    assert {act.action for act in found.actions} == {action for action in Action if not action.writes}


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ('context has purposeOfUse && context.purposeOfUse like "H*"', "context.purposeOfUse"),
        ("context has purposeOfUse && principal.scopes.contains(context.purposeOfUse)", "principal.scopes"),
        ("context has purposeOfUse && context.purposeOfUse == context.requiredScope", "context.requiredScope"),
        ("resource has owner && resource.owner has owner", "a fact of a fact"),
        ('resource has region && resource.region like "no*"', "resource.region"),
        ("principal has jurisdiction && principal.jurisdiction.isEmpty()", "principal.jurisdiction"),
        ('["a"].contains(if resource has region then resource.region else "f")', "resource.region"),
        ('resource has region && ["a", "b", "c", "d", "e"].contains(resource.region)', "more than 4 regions"),
        ('principal.scopes == ["Offer.c"]', "principal.scopes"),
        ('principal.scopes.containsAll(["Offer.c", "Offer.u", "Job.c", "Job.u", "Key.c"])', "more than 4 scopes"),
    ],
)
def test_where_cases_do_not_reach_nothing_is_claimed(condition: str, why: str) -> None:
    text = HEAD + f"forbid (principal is Sharewell::Caller, {PUBLISH}, resource) when {{ {condition} }};"
    found = compare(IN_FORCE, Authorizer.load(FILES | {"trial.cedar": text.encode()}))
    assert not found.exhaustive
    assert any(said.startswith("trial: ") and why in said for said in found.unclear), found.unclear


def test_a_group_of_acts_that_only_a_draft_knows_is_looked_at_all_the_same() -> None:
    schema = FILES["sharewell.cedarschema"].decode()
    grouped = schema.replace("action read, write;", "action read, write, pledging;").replace(
        "action publishOffer, withdrawOffer in [write]", "action publishOffer, withdrawOffer in [write, pledging]"
    )
    text = HEAD + 'forbid (principal, action in Sharewell::Action::"pledging", resource);'
    files = FILES | {"sharewell.cedarschema": grouped.encode(), "trial.cedar": text.encode()}
    found = compare(IN_FORCE, Authorizer.load(files))
    assert {act.action for act in found.actions} == {Action.PUBLISH_OFFER, Action.WITHDRAW_OFFER}


def test_what_is_in_force_says_nothing_that_cases_do_not_reach() -> None:
    assert Terms.of(policy.body for policy in IN_FORCE.policies.values()).unclear == ()


@settings(max_examples=200)
@given(st.sampled_from(["same", "one institution", "one client", "one thing"]), inquiries())
def test_an_inquiry_and_the_same_one_of_others_get_the_same_answer(name: str, inquiry: Inquiry) -> None:
    authz = drafted(name)
    question = same_question(inquiry, Questions(authz).named)
    assert asked(authz, question) == asked(authz, inquiry)
