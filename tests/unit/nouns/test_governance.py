"""Answers, overrides, deviations, surge mode, consents and remarks: their rules, each on its own."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain import consents, deviations, surges
from sharewell.domain.answers import PlanAnswers, PlanReply, PlanState
from sharewell.domain.consents import Consent
from sharewell.domain.deviations import DeviationKind, found_in_step
from sharewell.domain.errors import Conflict, Invalid
from sharewell.domain.fairness import Ceiling
from sharewell.domain.overrides import CODES, OverrideCode, OverrideDraft, OverrideKind
from sharewell.domain.remarks import Remark
from sharewell.domain.resources import ResourceKind, catalogue
from sharewell.domain.surges import SurgeDraft, SurgeEnding, SurgeMode, SurgeReason
from sharewell.domain.transfers import HOLD, DeclineReason, Transfer, TransferState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BED = next(line for line in catalogue() if line.kind is ResourceKind.PLACE)
ONE, TWO = UUID(int=1), UUID(int=2)
SALT = "ab" * 16

counts = st.dictionaries(st.sampled_from(TransferState), st.integers(1, 9).map(lambda n: (n, 3 * n)))


def a_transfer(state: TransferState = TransferState.CONFIRMED) -> Transfer:
    return Transfer(
        id=ONE, offer=UUID(int=2), request=UUID(int=3), giver=UUID(int=4), receiver=UUID(int=5), resource="bed.adult",
        quantity=4, state=state, reason="", allocation=UUID(int=6), hold_until=NOON + HOLD, decline_reason=None,
        return_due_at=None, changed_at=NOON,
    )  # fmt: skip


@given(counts)
def test_every_transfer_of_a_plan_is_counted_under_one_answer(found: dict[TransferState, tuple[int, int]]) -> None:
    told = PlanAnswers.count(found)
    numbers, units = (sum(column) for column in zip((0, 0), *found.values(), strict=True))
    assert told.open + told.accepted + told.declined + told.expired + told.cancelled == numbers
    assert told.units_open + told.units_accepted + told.units_lost == units


@given(counts)
def test_a_plan_is_proposed_while_an_owner_is_silent_and_changed_once_something_fell_away(
    found: dict[TransferState, tuple[int, int]],
) -> None:
    state = PlanAnswers.count(found).state
    assert (state is PlanState.PROPOSED) == bool(found.keys() & {TransferState.PROPOSED, TransferState.HELD})
    if state is PlanState.CONFIRMED:
        assert not found.keys() & {TransferState.DECLINED, TransferState.EXPIRED, TransferState.CANCELLED}


def test_an_answer_confirms_what_it_does_not_decline_unless_it_declines_the_others() -> None:
    declines = {ONE: (DeclineReason.OWN_NEED_ROSE, "a remark")}
    assert PlanReply(declines=declines).to(TWO) is None
    reply = PlanReply(declines=declines, others=DeclineReason.UNIT_UNAVAILABLE)
    assert (reply.to(ONE), reply.to(TWO)) == (declines[ONE], (DeclineReason.UNIT_UNAVAILABLE, None))


def test_every_departure_has_codes_that_explain_it_and_every_code_explains_one() -> None:
    assert set(CODES) == set(OverrideKind)
    assert all(CODES.values())
    assert frozenset().union(*CODES.values()) == frozenset(OverrideCode)


def test_the_page_says_which_code_explains_which_departure() -> None:
    page = (Path(__file__).parents[3] / "docs" / "allocation.md").read_text(encoding="utf-8")
    rows = page.split("| code | cancel | reassign | move unconfirmed |\n|---|---|---|---|\n")[1].split("\n\n")[0]
    told: dict[str, set[OverrideCode]] = {kind: set() for kind in OverrideKind}
    for row in rows.splitlines():
        codes, *kinds = (cell.strip() for cell in row.strip("|").split("|"))
        for kind, said in zip(OverrideKind, kinds, strict=True):
            told[kind] |= {OverrideCode(code.strip("` ")) for code in codes.split(",") if said == "yes"}
    assert told == CODES


@given(st.sampled_from(OverrideKind), st.sampled_from(OverrideCode), st.booleans(), st.booleans())
def test_an_override_is_checked_as_a_whole(kind: OverrideKind, code: OverrideCode, named: bool, counted: bool) -> None:
    draft = OverrideDraft(
        transfer=ONE, kind=kind, code=code, request=TWO if named else None, units=3 if counted else None
    )
    right = code in CODES[kind] and named == (kind is OverrideKind.REASSIGN)
    if right and (not counted or kind is OverrideKind.MOVE_UNCONFIRMED):
        draft.check()
    else:
        with pytest.raises(Invalid):
            draft.check()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(-50, 50), st.integers(-50, 50))
def test_a_step_departs_exactly_where_counts_differ_or_the_time_was_over(
    left: int, came: int, needed_in: int, leaves_in: int
) -> None:
    needed_by, at = NOON + timedelta(hours=needed_in), NOON + timedelta(hours=leaves_in)
    before = a_transfer()
    sent = before.dispatch(left, at=at)
    kinds = set(found_in_step(before, sent, needed_by))
    assert (DeviationKind.DISPATCHED_LATE in kinds) == (leaves_in > max(needed_in, 24))
    assert (DeviationKind.DISPATCHED_LESS in kinds, DeviationKind.DISPATCHED_MORE in kinds) == (left < 4, left > 4)
    arrived = found_in_step(sent, sent.receive(BED, came, at=at), needed_by)
    fewer, more = DeviationKind.RECEIVED_LESS in arrived, DeviationKind.RECEIVED_MORE in arrived
    assert (fewer, more) == (came < left, came > left)


def test_a_hold_declined_is_an_answer_and_a_pledge_taken_back_a_deviation() -> None:
    for state, found in ((TransferState.HELD, ()), (TransferState.CONFIRMED, (DeviationKind.TAKEN_BACK,))):
        before = a_transfer(state)
        assert found_in_step(before, before.decline(DeclineReason.OWN_NEED_ROSE, at=NOON), NOON) == found


@pytest.mark.parametrize("kind", DeviationKind)
def test_a_deviation_says_what_should_have_moved_and_what_did(kind: DeviationKind) -> None:
    sent = a_transfer().dispatch(3, at=NOON)
    expected = (3, 0) if kind.startswith("received") else (4, 3)
    assert deviations.moved(kind, sent) == expected


def a_draft(until: datetime, region: str = "us-nj") -> SurgeDraft:
    return SurgeDraft(region=region, resource=None, reason=SurgeReason.DISASTER, until=until)


def a_surge() -> SurgeMode:
    draft = a_draft(NOON + timedelta(hours=72))
    return SurgeMode.declare(draft, id=ONE, at=NOON, client="planner", renews=None, decision=TWO)


@given(st.booleans(), st.booleans(), st.integers(-5, 100))
def test_surge_mode_is_in_force_signed_unended_and_in_its_time_only(signed: bool, ended: bool, hours: int) -> None:
    surge = replace(a_surge(), signed=signed, ended_at=NOON if ended else None)
    assert surge.in_force(NOON + timedelta(hours=hours)) == (signed and not ended and hours < 72)


def test_surge_mode_ends_by_itself_at_its_time_and_no_earlier_and_only_once() -> None:
    surge = a_surge()
    with pytest.raises(Conflict, match="lasts until"):
        surge.check_ends(SurgeEnding.EXPIRED, surge.until - timedelta(microseconds=1))
    surge.check_ends(SurgeEnding.EXPIRED, surge.until)
    surge.check_ends(SurgeEnding.ENDED, NOON)
    with pytest.raises(Conflict, match="has ended"):
        replace(surge, ended_at=NOON).check_ends(SurgeEnding.ENDED, NOON)


def test_surge_mode_shortens_a_hold_and_nothing_lengthens_it() -> None:
    assert surges.hold(None) == HOLD
    assert surges.hold(a_surge()) == surges.SHORT_HOLD < HOLD


@pytest.mark.parametrize(
    "draft", [a_draft(NOON), a_draft(NOON + timedelta(hours=72, microseconds=1)), a_draft(datetime(2026, 3, 2)),  # noqa: DTZ001
              a_draft(NOON + timedelta(hours=1), region="US NJ")],
)  # fmt: skip
def test_surge_mode_that_is_not_within_bounds_is_refused(draft: SurgeDraft) -> None:
    with pytest.raises(Invalid):
        draft.check(NOON)


def test_a_consent_stands_until_its_end_or_until_it_is_taken_back_once() -> None:
    consent = Consent.give(id=ONE, by=TWO, resource="bed.adult", until=NOON + consents.LONGEST, at=NOON)
    assert consent.stands(NOON)
    assert not consent.stands(consent.until)
    taken = consent.withdraw(at=NOON)
    assert not taken.stands(NOON)
    for gone, at in ((taken, NOON), (consent, consent.until)):
        with pytest.raises(Conflict):
            gone.withdraw(at=at)


@pytest.mark.parametrize("until", [NOON, NOON + timedelta(days=367), datetime(2026, 4, 1)])  # noqa: DTZ001
def test_a_consent_for_ever_or_for_the_past_is_refused(until: datetime) -> None:
    with pytest.raises(Invalid, match="until"):
        Consent.give(id=ONE, by=TWO, resource="bed.adult", until=until, at=NOON)


def test_a_remark_is_hashed_with_its_salt_and_does_not_show_by_accident() -> None:
    remark = Remark.write("  Für Anna. ", salt=SALT)
    assert remark is not None
    assert remark.sha256 == hashlib.sha256(bytes.fromhex(SALT) + "Für Anna.".encode()).hexdigest()
    assert "Anna" not in repr(remark)
    other = Remark.write("Für Anna.", salt="cd" * 16)
    assert other is not None
    assert other.sha256 != remark.sha256


@pytest.mark.parametrize("nothing", [None, "", " \n"])
def test_nothing_written_is_no_remark(nothing: str | None) -> None:
    assert Remark.write(nothing, salt=SALT) is None


@pytest.mark.parametrize(("body", "salt"), [("x" * 501, SALT), ("a\x00b", SALT), ("a", "ab"), ("a", "")])
def test_a_remark_too_long_not_plain_or_without_salt_is_refused(body: str, salt: str) -> None:
    with pytest.raises(Invalid):
        Remark.write(body, salt=salt)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_the_ceiling_is_told_alike_from_a_plan_and_from_what_was_stored_of_it(
    needed: int, sparable: int, reachable: int
) -> None:
    reachable = min(needed, sparable, reachable)
    drawn = Ceiling(needed=needed, sparable=sparable, reachable=reachable)
    stored = {"shortage_without": needed, "beyond_all_sharing": drawn.beyond_all, "beyond_reach": drawn.beyond_reach}
    read = Ceiling.of_measures(stored)
    assert (read.beyond_all, read.beyond_reach, read.share, read.large, read.sentence) == (
        drawn.beyond_all, drawn.beyond_reach, drawn.share, drawn.large, drawn.sentence,
    )  # fmt: skip
    assert drawn.large == (drawn.beyond_reach > needed / 2)
    assert str(drawn.beyond_reach) in drawn.sentence or not drawn.beyond_reach
