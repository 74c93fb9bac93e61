"""Scopes: what each stands for, and that nothing near one of ours stands for anything."""

from __future__ import annotations

import pytest

from sharewell.domain.policy import Action, Target, scope_of
from sharewell.domain.scopes import INTERNAL_SCOPES, NOUNS, grantable, granted, grants


def test_a_scope_spells_out_its_letters() -> None:
    assert grants("system/Offer.cru") == {"Offer.c", "Offer.r", "Offer.u"}


def test_a_star_covers_every_noun() -> None:
    assert grants("system/*.r") == {f"{noun}.r" for noun in NOUNS}


@pytest.mark.parametrize(
    "scope",
    [
        "", "openid", "system/Offer", "system/Offer.", "system/offer.r", "system/Offer.rc", "system/Offer.rr",
        "system/Offer.x", "system/Patient.r", "system/Offer.r?owner=1", "patient/Offer.r", "system/Offer.r ",
        "system/Offer.r\n", "SYSTEM/Offer.r",
    ],
)  # fmt: skip
def test_whatever_is_not_a_scope_of_ours_grants_nothing(scope: str) -> None:
    assert grants(scope) == frozenset()
    assert not grantable(scope)


def test_scopes_add_up() -> None:
    assert granted(frozenset({"system/Offer.r", "user/Offer.s", "nonsense"})) == ("Offer.r", "Offer.s")


def test_internal_scopes_cover_everything_and_are_never_given_away() -> None:
    assert len(granted(INTERNAL_SCOPES)) == len(NOUNS) * 5
    assert not any(grantable(scope) for scope in INTERNAL_SCOPES)


def test_reading_a_list_needs_the_letter_for_searching() -> None:
    assert scope_of(Action.VIEW_OFFER, Target(kind="offer", id="1")) == "Offer.r"
    assert scope_of(Action.VIEW_OFFER, Target.list("offer")) == "Offer.s"
    assert scope_of(Action.EXPIRE_HOLDS, Target.list("transfer")) == "Transfer.u"
