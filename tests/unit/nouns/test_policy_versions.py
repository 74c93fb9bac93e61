"""Versions of the policies as pure rules: which state follows on which, who approves, and what is in force when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.break_glass import (
    BrokenGlass,
    GlassDraft,
    GlassEnding,
    GlassReason,
    Somebody,
    check_breaks,
    others_word,
)
from sharewell.domain.errors import Conflict, Invalid, SharewellError
from sharewell.domain.policy_versions import (
    FARTHEST,
    MOST_BYTES,
    MOST_FILE_BYTES,
    MOST_FILES,
    Finding,
    Lines,
    PolicyVersion,
    Scheduled,
    VersionOrigin,
    VersionState,
    Weight,
    changed_files,
    check_undoes_none,
    in_force,
    passed_over,
    state_after,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SET, OTHER_SET = "ab" * 32, "cd" * 32
SOMEBODY, SOMEBODY_ELSE = UUID(int=1), UUID(int=2)
FAULT = Finding(code="unconditional_permit", weight=Weight.FAULT, message="m")
WARNING = Finding(code="case_differs", weight=Weight.WARNING, message="m")


def version(**said: Any) -> PolicyVersion:
    usual: dict[str, Any] = {
        "number": 2, "origin": VersionOrigin.DRAFTED, "state": VersionState.VALIDATED, "author": "author",
        "author_person": None, "base": 1, "returns_to": None, "policy_set": SET, "findings": (), "drafted_at": NOON,
        "edited_at": NOON, "simulated_at": None, "simulation": None, "approved_by": None, "approved_person": None,
        "approved_at": None, "effective_from": None, "effective_at": None, "ended_at": None, "decision": UUID(int=9),
        "changed_by": UUID(int=9), "why": "w",
    }  # fmt: skip
    return PolicyVersion(**(usual | said))


def lines(*approver: str, another: bool = True) -> Lines:
    by = frozenset(approver)
    return Lines(author=frozenset({"a"}), approver=by, another=another, wrote=frozenset({"a"}), approves=by)


def approve(one: PolicyVersion, **said: Any) -> PolicyVersion:
    usual: dict[str, Any] = {"by": "second", "person": None, "policy_set": SET, "effective_from": NOON, "at": NOON,
                             "replaces": 1, "lines": lines("b")}  # fmt: skip
    return one.approved(**(usual | said))


def test_who_has_their_access_by_the_word_of_the_authors_admin_is_no_second_person() -> None:
    ripe = simulated(version())
    with pytest.raises(Conflict, match="an admin of another line approves"):
        approve(ripe, lines=lines("a", "b"))
    with pytest.raises(Conflict, match="there is no second person"):
        approve(ripe, lines=lines("a", another=False))
    assert approve(ripe, lines=lines("b", another=False)).state is VersionState.APPROVED
    for wrote, approves in (("ab", "b"), ("a", "ab"), ("ac", "bc")):
        with pytest.raises(Conflict, match="with a client of your own line"):
            approve(ripe, lines=replace(lines("b"), wrote=frozenset(wrote), approves=frozenset(approves)))


def test_nobody_of_the_line_that_broke_the_last_glass_breaks_the_next() -> None:
    with pytest.raises(Conflict, match="an admin of your line did"):
        check_breaks(glass(), version=version(), by="puppet", person=None, same_line=True, approved_since=False)
    check_breaks(glass(), version=version(), by="puppet", person=None, same_line=True, approved_since=True)


def simulated(one: PolicyVersion) -> PolicyVersion:
    return one.simulated({}, policy_set=one.policy_set, at=NOON)


def test_the_whole_life() -> None:
    one = simulated(version())
    one = approve(one, effective_from=NOON + HOUR)
    assert one.state is VersionState.APPROVED
    with pytest.raises(Conflict, match="its time has not come"):
        one.took_effect(NOON, replaces=1)
    one = one.took_effect(NOON + HOUR, replaces=1)
    assert one.was_in_force
    assert one.superseded(NOON + 2 * HOUR).state is VersionState.SUPERSEDED


@given(st.lists(st.sampled_from(["edit", "simulate", "approve", "effect", "supersede", "withdraw"]), max_size=8))
def test_nothing_comes_into_force_that_was_not_simulated_as_it_is_and_approved_by_another(steps: list[str]) -> None:
    one, read, sets = version(), set[str](), iter(f"{number:064x}" for number in range(20))
    for step in steps:
        try:
            match step:
                case "edit":
                    one = one.edited(next(sets), (), by="author", at=NOON)
                case "simulate":
                    one = simulated(one)
                    read.add(one.policy_set)
                case "approve":
                    one = approve(one, policy_set=one.policy_set)
                case "effect":
                    one = one.took_effect(NOON, replaces=1)
                case "supersede":
                    one = one.superseded(NOON)
                case _:
                    one = one.withdrawn(NOON - HOUR)
        except Conflict:
            continue
        if one.state in (VersionState.APPROVED, VersionState.EFFECTIVE, VersionState.SUPERSEDED):
            assert one.policy_set in read
            assert one.approved_by == "second"
            assert one.simulated_at is not None


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ({"by": "author"}, Conflict, "a second person does"), ({"policy_set": OTHER_SET}, Conflict, "was edited since"),
        ({"replaces": 3}, Conflict, "version 3 would be in force"), ({"effective_from": NOON - HOUR}, Invalid, "ahead"),
        ({"effective_from": NOON + FARTHEST + HOUR}, Invalid, "at most 90 days"),
        ({"effective_from": NOON.replace(tzinfo=None)}, Invalid, "no time zone"),
    ],
)  # fmt: skip
def test_what_cannot_be_approved_is_refused_with_a_reason(
    said: dict[str, Any], kind: type[SharewellError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        approve(simulated(version()), **said)


def test_one_person_is_no_second_person_and_two_unnamed_ones_are_told_apart_by_their_clients() -> None:
    written = simulated(version(author_person=SOMEBODY))
    with pytest.raises(Conflict, match="second person"):
        approve(written, person=SOMEBODY)
    assert approve(written, person=SOMEBODY_ELSE).approved_person == SOMEBODY_ELSE
    assert approve(simulated(version())).approved_person is None


@pytest.mark.parametrize("origin", VersionOrigin)
def test_only_a_roll_back_is_approved_without_a_simulation(origin: VersionOrigin) -> None:
    one = version(origin=origin)
    if origin is VersionOrigin.ROLLED_BACK:
        assert approve(one).state is VersionState.APPROVED
    else:
        with pytest.raises(Conflict, match=r"can be approved.*; simulate it first"):
            approve(one)


@pytest.mark.parametrize("read", ["", SET[:8], SET[:-1], SET.upper(), f"{SET}\n"])
def test_part_of_a_hash_is_said_to_be_part_and_not_that_the_version_was_edited(read: str) -> None:
    with pytest.raises(Invalid, match="whole hash") as caught:
        approve(simulated(version()), policy_set=read)
    assert caught.value.field == "sha256"


def test_what_a_release_ships_takes_the_place_of_whatever_is_in_force() -> None:
    shipped = simulated(version(origin=VersionOrigin.SHIPPED, author="operator", base=None))
    assert approve(shipped, replaces=7).state is VersionState.APPROVED
    with pytest.raises(Conflict, match="draft one on top"):
        shipped.edited(OTHER_SET, (), by="operator", at=NOON)


def test_an_edit_is_the_authors_and_undoes_what_was_simulated() -> None:
    one = simulated(version())
    with pytest.raises(Conflict, match="only its author"):
        one.edited(OTHER_SET, (), by="second", at=NOON)
    edited = one.edited(OTHER_SET, (FAULT,), by="author", at=NOON + HOUR)
    assert (edited.state, edited.simulated_at, edited.simulation) == (VersionState.DRAFT, None, None)
    with pytest.raises(Conflict, match="was edited while it was simulated"):
        version().simulated({}, policy_set=OTHER_SET, at=NOON)
    with pytest.raises(Conflict, match="only a version that is"):
        approve(one).edited(OTHER_SET, (), by="author", at=NOON)


def test_a_fault_keeps_a_version_a_draft_and_a_warning_does_not() -> None:
    assert state_after([WARNING, FAULT]) is VersionState.DRAFT
    assert state_after([WARNING]) is state_after([]) is VersionState.VALIDATED
    faulty = version(state=VersionState.DRAFT)
    with pytest.raises(Conflict, match="faults cannot be simulated; see its findings"):
        faulty.check_simulates()
    with pytest.raises(Conflict, match="faults cannot be approved"):
        approve(faulty)
    assert faulty.withdrawn(NOON).state is VersionState.WITHDRAWN


def test_a_version_is_withdrawn_before_its_time_only() -> None:
    coming = approve(simulated(version()), effective_from=NOON + HOUR)
    assert coming.withdrawn(NOON).ended_at == NOON
    with pytest.raises(Conflict, match="roll back"):
        coming.withdrawn(NOON + HOUR)


# --- files -----------------------------------------------------------------------------------------------------------

BASE = {"a.cedar": b"a", "b.cedar": b"b"}


def test_a_draft_changes_the_files_it_names_and_no_others() -> None:
    changed = changed_files(BASE, {"a.cedar": "new", "b.cedar": None, "c.cedar": "c"})
    assert changed == {"a.cedar": b"new", "c.cedar": b"c"}
    assert BASE == {"a.cedar": b"a", "b.cedar": b"b"}


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"a.cedar": "a"}, {"gone.cedar": None}, {"sharewell.cedarschema": "x"}, {"../a.cedar": "x"},
        {"A.cedar": "x"},
        {"a.cedar": "x" * (MOST_FILE_BYTES + 1)}, {"a.cedar": "\0"}, {"a.cedar": "\ud800"},
        {f"f{number}.cedar": "x" for number in range(MOST_FILES)},
        {f"f{number}.cedar": "x" * MOST_FILE_BYTES for number in range(MOST_BYTES // MOST_FILE_BYTES)},
    ],
)  # fmt: skip
def test_what_is_no_set_of_files_is_refused(changes: dict[str, str | None]) -> None:
    with pytest.raises(Invalid) as refused:
        changed_files(BASE, changes)
    assert refused.value.field == "files"


# --- what is in force ------------------------------------------------------------------------------------------------


def scheduled(number: int, since: int, until: int | None = None) -> Scheduled:
    return Scheduled(number=number, shipped=False, policy_set=SET, since=NOON + since * HOUR,
                     until=None if until is None else NOON + until * HOUR, recorded=True, replaces=None)  # fmt: skip


schedules = st.lists(st.tuples(st.integers(-5, 5), st.none() | st.integers(1, 5)), max_size=6).map(
    lambda drawn: [
        scheduled(number, since, None if life is None else since + life)
        for number, (since, life) in enumerate(drawn, 1)
    ]
)


@given(schedules, st.integers(-6, 12))
def test_what_is_in_force_came_last_and_a_glass_stands_before_it_until_its_time(
    schedule: list[Scheduled], hours: int
) -> None:
    at = NOON + hours * HOUR
    found, beneath = in_force(schedule, at), in_force(schedule, at, with_glass=False)
    open_glasses = [each for each in schedule if each.until is not None and each.since <= at < each.until]
    assert (found in open_glasses) if open_glasses else (found == beneath)
    # All of them are on record as in force, and so they are where a clock is behind, too.
    versions = [each for each in schedule if each.until is None]
    assert (beneath is None) == (not versions)
    assert all(each.since <= beneath.since for each in versions if beneath is not None)
    assert in_force(list(reversed(schedule)), at) == found


@given(coming_at=st.integers(-5, 5), hours=st.integers(-6, 6))
def test_what_is_not_on_record_yet_is_in_force_from_its_time_on_by_each_clock(coming_at: int, hours: int) -> None:
    one = replace(scheduled(2, coming_at), recorded=False, replaces=1)
    schedule = [scheduled(1, 0), one]
    found = in_force(schedule, NOON + hours * HOUR)
    assert found == (one if coming_at <= hours else schedule[0])


def test_what_is_to_be_recorded_came_and_is_not_on_record_or_is_a_glass_whose_time_is_over() -> None:
    coming = replace(scheduled(2, 1), recorded=False)
    assert [coming.is_due(NOON + hours * HOUR) for hours in (0, 1)] == [False, True]
    assert not replace(coming, recorded=True).is_due(NOON + HOUR)
    glass = scheduled(3, 0, 2)
    assert [glass.is_due(NOON + hours * HOUR) for hours in (0, 1, 2)] == [False, False, True]


@st.composite
def coming(draw: st.DrawFn) -> list[Scheduled]:
    """Version 1 on record, and approved ones, each to take some place at some time."""
    drawn = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 7)), max_size=6))
    approved = [
        replace(scheduled(number, since), recorded=False, replaces=replaces)
        for number, (since, replaces) in enumerate(drawn, 2)
    ]
    return [scheduled(1, 0), *draw(st.permutations(approved))]


@given(coming(), st.integers(0, 6))
def test_whatever_comes_into_force_takes_the_place_of_what_was_in_force_until_then(
    schedule: list[Scheduled], hours: int
) -> None:
    """So the policies of nobody are undone by one who did not see them: each goes back to the first, link by link."""
    at, numbered = NOON + hours * HOUR, {each.number: each for each in schedule}
    current = in_force(schedule, at)
    assert current is not None
    assert current not in passed_over(schedule)
    while current.number != 1:
        assert current.replaces is not None
        before = numbered[current.replaces]
        between = [
            each for each in schedule if each not in passed_over(schedule) and before.since < each.since < current.since
        ]
        assert before.since <= current.since
        assert between == []
        current = before


@given(coming(), st.integers(1, 5))
def test_a_version_more_or_less_is_refused_where_another_one_would_be_passed_over_for_it(
    schedule: list[Scheduled], since: int
) -> None:
    at = NOON + since * HOUR
    beneath = in_force(schedule, at)
    assert beneath is not None
    one = replace(scheduled(9, since), recorded=False, replaces=beneath.number)
    lost = {each.number for each in passed_over([*schedule, one])} - {each.number for each in passed_over(schedule)}
    if not lost:
        check_undoes_none(schedule, [*schedule, one])
        assert in_force([*schedule, one], at) == one
    else:
        with pytest.raises(Conflict, match="withdraw version"):
            check_undoes_none(schedule, [*schedule, one])
    for each in schedule[1:]:
        if any(other.replaces == each.number for other in schedule if other not in passed_over(schedule)):
            with pytest.raises(Conflict, match="withdraw version"):
                check_undoes_none(schedule, [other for other in schedule if other != each])


def test_what_is_on_record_as_in_force_is_not_undone_by_what_should_have_come_before_it() -> None:
    late = replace(scheduled(3, 1), recorded=False, replaces=1)
    assert in_force([scheduled(2, 2), late], NOON + 3 * HOUR) == scheduled(2, 2)
    assert passed_over([scheduled(2, 2), late]) == [late]


def test_a_version_takes_the_place_of_the_one_it_was_approved_to_replace_and_of_no_other() -> None:
    one = approve(simulated(version()))
    assert one.replaces == 1
    with pytest.raises(Conflict, match="takes the place of version 1, not of 3"):
        one.took_effect(NOON, replaces=3)
    assert one.passed_over(NOON).state is VersionState.PASSED_OVER
    with pytest.raises(Conflict, match="only a version that is approved"):
        one.took_effect(NOON, replaces=1).passed_over(NOON)


# --- the glass -------------------------------------------------------------------------------------------------------


def glass(**said: Any) -> BrokenGlass:
    usual: dict[str, Any] = {
        "id": UUID(int=3), "version": 2, "reason": GlassReason.WRONG_RULE, "broken_at": NOON, "until": NOON + HOUR,
        "client": "author", "person": None, "ended_at": NOON + HOUR, "ending": GlassEnding.EXPIRED,
        "decision": UUID(int=4), "ended_by": UUID(int=5),
    }  # fmt: skip
    return BrokenGlass(**(usual | said))


def test_whoever_broke_the_last_glass_breaks_the_next_once_a_second_person_approved_something() -> None:
    with pytest.raises(Conflict, match="you broke the last glass"):
        check_breaks(glass(), version=version(), by="author", person=None, same_line=False, approved_since=False)
    with pytest.raises(Conflict, match="you broke the last glass"):
        check_breaks(
            glass(person=SOMEBODY), version=version(), by="b", person=SOMEBODY, same_line=False, approved_since=False
        )
    check_breaks(glass(), version=version(), by="author", person=None, same_line=False, approved_since=True)
    check_breaks(glass(), version=version(), by="second", person=SOMEBODY, same_line=False, approved_since=False)
    check_breaks(None, version=version(), by="author", person=None, same_line=False, approved_since=False)


@pytest.mark.parametrize("state", [VersionState.DRAFT, VersionState.WITHDRAWN])
def test_what_is_faulty_or_withdrawn_comes_into_force_by_no_glass(state: VersionState) -> None:
    with pytest.raises(Conflict, match="cannot be in force"):
        check_breaks(
            None, version=version(state=state), by="author", person=None, same_line=False, approved_since=False
        )


@pytest.mark.parametrize(
    ("approval", "counts"),
    [
        (Somebody(client="second", person=None), True), (Somebody(client="author", person=None), False),
        (Somebody(client="other", person=SOMEBODY), False), (Somebody(client="other", person=SOMEBODY_ELSE), True),
        (Somebody(client="now", person=SOMEBODY_ELSE), False),
    ],
)  # fmt: skip
def test_only_an_approval_by_somebody_else_is_anothers_word(approval: Somebody, *, counts: bool) -> None:
    last = glass(person=SOMEBODY)
    assert others_word(last, [approval], by="now", person=SOMEBODY) is counts
    assert not others_word(last, [], by="now", person=SOMEBODY)


def test_one_glass_is_broken_at_a_time_and_ends_once() -> None:
    lasting = glass(ended_at=None, ending=None, ended_by=None)
    with pytest.raises(Conflict, match="broken already"):
        check_breaks(lasting, version=version(), by="second", person=None, same_line=False, approved_since=True)
    lasting.check_ends(GlassEnding.ENDED, NOON)
    with pytest.raises(Conflict, match="lasts until"):
        lasting.check_ends(GlassEnding.EXPIRED, NOON)
    with pytest.raises(Conflict, match="ended already"):
        glass().check_ends(GlassEnding.ENDED, NOON)
    assert [lasting.in_force(NOON + hours * HOUR / 2) for hours in (-1, 0, 1, 2)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("said", "field"),
    [({"until": NOON}, "until"), ({"until": NOON + 3 * HOUR}, "until"), ({"remark": "  "}, "remark"),
     ({"until": NOON.replace(tzinfo=None)}, "until")],
)  # fmt: skip
def test_a_glass_that_cannot_be_broken_so_is_refused(said: dict[str, Any], field: str) -> None:
    usual: dict[str, Any] = {"version": 2, "reason": GlassReason.WRONG_RULE, "until": NOON + HOUR, "remark": "r"}
    GlassDraft(**usual).check(NOON, 2 * HOUR)
    with pytest.raises(Invalid) as refused:
        GlassDraft(**(usual | said)).check(NOON, 2 * HOUR)
    assert refused.value.field == field
