"""What no combination of roles, scopes, lists and standing may ever bring about."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st

from sharewell.authz import Authorizer
from sharewell.domain.policy import BETWEEN, MANY, SHARED, Action, Target, scope_of
from sharewell.domain.principals import Caller, Role
from sharewell.domain.scopes import granted

AUTHORIZER = Authorizer.load()
INSTITUTIONS = [UUID(int=number) for number in range(1, 4)]

institutions = st.none() | st.sampled_from(INSTITUTIONS)
actions = st.sampled_from(list(Action))
writes = st.sampled_from([action for action in Action if action.writes])
scopes = st.frozensets(
    st.sampled_from(["system/*.cruds", "system/*.rs", "user/*.cruds", "system/Offer.cru", "system/Offer.uc"])
)
contexts = st.sampled_from([{}, *({"callerStatus": status} for status in ("active", "suspended", "observed"))])


@st.composite
def callers(draw: st.DrawFn) -> Caller:
    return Caller(
        principal=draw(st.sampled_from(["a-client", "seal", "allocate", "operator", 'x"\n::'])),
        roles=draw(st.frozensets(st.sampled_from(list(Role)))),
        institution=draw(institutions),
        scopes=draw(scopes),
    )


@st.composite
def targets(draw: st.DrawFn, action: Action) -> Target:
    thing = Target(kind=action.kind, id=draw(st.sampled_from(["a-thing", MANY, 'x"'])))
    if action.kind in BETWEEN:
        return replace(thing, giver=draw(institutions), receiver=draw(institutions))
    shared = draw(st.frozensets(st.sampled_from(INSTITUTIONS))) if action.kind in SHARED else frozenset()
    return replace(thing, owner=draw(institutions), shared_with=shared)


@given(callers(), st.sampled_from([Role.INSTITUTION, Role.DEVICE]), writes, contexts, st.data())
def test_nobody_acting_for_an_institution_writes_for_another(
    caller: Caller, role: Role, action: Action, context: dict[str, str], data: st.DataObject
) -> None:
    target = data.draw(targets(action))
    concerned = {target.owner, target.giver, target.receiver} - {None}
    assume(concerned)
    others = [None, *(each for each in INSTITUTIONS if each not in concerned)]
    caller = replace(caller, roles=caller.roles | {role}, institution=data.draw(st.sampled_from(others)))
    assert not AUTHORIZER.ask(caller, action, target, context).allowed


@given(callers(), actions, contexts, st.data())
def test_nobody_is_permitted_without_a_role_and_a_scope(
    caller: Caller, action: Action, context: dict[str, str], data: st.DataObject
) -> None:
    target = data.draw(targets(action))
    if AUTHORIZER.ask(caller, action, target, context).allowed:
        assert caller.roles
        assert scope_of(action, target) in granted(caller.scopes)


@given(callers(), actions, contexts, st.data())
def test_fewer_scopes_never_permit_more(
    caller: Caller, action: Action, context: dict[str, str], data: st.DataObject
) -> None:
    target = data.draw(targets(action))
    more = replace(caller, scopes=caller.scopes | data.draw(scopes))
    if AUTHORIZER.ask(caller, action, target, context).allowed:
        assert AUTHORIZER.ask(more, action, target, context).allowed


@given(callers(), writes, st.data())
def test_a_suspended_institution_and_a_regulator_change_nothing(
    caller: Caller, action: Action, data: st.DataObject
) -> None:
    target = data.draw(targets(action))
    assert not AUTHORIZER.ask(caller, action, target, {"callerStatus": "suspended"}).allowed
    if Role.REGULATOR in caller.roles:
        assert not AUTHORIZER.ask(caller, action, target).allowed


@given(callers(), st.data())
def test_no_token_does_the_work_of_a_worker(caller: Caller, data: st.DataObject) -> None:
    reserved = [
        Action.INGEST_FEED, Action.ADOPT_FORECAST, Action.WATCH_FORECAST, Action.RERUN_FORECAST, Action.ADOPT_PLAN,
        Action.EXPIRE_HOLDS, Action.SEAL_LOG, Action.CONFIRM_BY_CONSENT, Action.DETECT_DEVIATION, Action.EXPIRE_SURGE,
        Action.RECONCILE_LOG,
    ]  # fmt: skip
    action = data.draw(st.sampled_from(reserved))
    assert not AUTHORIZER.ask(caller, action, data.draw(targets(action))).allowed


@given(callers(), st.sampled_from([Action.VIEW_EXACT_CAPACITY, Action.VIEW_FORECAST]), st.data())
def test_an_institution_sees_of_another_only_what_that_one_shows_it(
    caller: Caller, action: Action, data: st.DataObject
) -> None:
    caller = replace(caller, roles=frozenset({Role.INSTITUTION}))
    target = data.draw(targets(action))
    if AUTHORIZER.ask(caller, action, target).allowed:
        assert caller.institution is not None
        assert caller.institution in {target.owner, *target.shared_with}
