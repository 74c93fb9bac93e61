"""The catalogue: four kinds with rules of their own, and GTINs whose check digit is worked out another way here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharewell.domain.errors import Invalid
from sharewell.domain.resources import Resource, ResourceKind, catalogue, gtin_is_valid

BODIES = st.text("0123456789", min_size=13, max_size=13)
KINDS = st.sampled_from(ResourceKind)


def check_digit(body: str) -> str:
    """By the table of the GS1 General Specifications, from the right, one unit after the other to the next ten."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        total += int(digit) if place % 2 else int(digit) * 3
    wanted = 0
    while (total + wanted) % 10:
        wanted += 1
    return str(wanted)


def defined(kind: ResourceKind, **said: Any) -> Resource:
    usual: dict[str, Any] = {"code": "thing.new", "kind": kind, "name": "A thing", "unit": "{each}"}
    needed: dict[ResourceKind, dict[str, Any]] = {
        ResourceKind.DEVICE: {"loan_days": 10},
        ResourceKind.STAFF: {"skill": "intensive-care-nursing"},
    }
    return Resource.define(Resource(**(usual | needed.get(kind, {}) | said)))


@pytest.mark.parametrize(
    "gtin",
    [
        "00614141123452",  # examples printed by GS1
        "10614141543219",
        "09506000134352",
        "00000000000000",
    ],
)
def test_published_gtins_are_valid(gtin: str) -> None:
    assert gtin_is_valid(gtin)


@given(BODIES)
def test_the_check_digit_is_the_one_the_standard_defines_and_no_other(body: str) -> None:
    right = check_digit(body)
    assert [digit for digit in "0123456789" if gtin_is_valid(body + digit)] == [right]


@given(BODIES, st.integers(0, 13), st.integers(1, 9))
def test_one_digit_typed_wrongly_is_always_noticed(body: str, place: int, by: int) -> None:
    gtin = body + check_digit(body)
    wrong = gtin[:place] + str((int(gtin[place]) + by) % 10) + gtin[place + 1 :]
    assert not gtin_is_valid(wrong)


@pytest.mark.parametrize("gtin", ["", "614141123452", "0061414112345", "006141411234522", "0061414112345X", "٠" * 14])
def test_what_has_not_fourteen_ascii_digits_is_no_gtin(gtin: str) -> None:
    assert not gtin_is_valid(gtin)


@given(KINDS)
def test_each_kind_can_be_defined_with_what_it_needs(kind: ResourceKind) -> None:
    assert defined(kind).kind is kind


@pytest.mark.parametrize(
    ("kind", "said", "field"),
    [
        (ResourceKind.STAFF, {"skill": ""}, "skill"),
        (ResourceKind.STAFF, {"skill": "two words"}, "skill"),
        (ResourceKind.PLACE, {"skill": "intensive-care-nursing"}, "skill"),
        (ResourceKind.DEVICE, {"loan_days": 0}, "loanDays"),
        (ResourceKind.DEVICE, {"loan_days": -1}, "loanDays"),
        (ResourceKind.DEVICE, {"loan_days": 367}, "loanDays"),
        (ResourceKind.CONSUMABLE, {"loan_days": 1}, "loanDays"),
        (ResourceKind.PLACE, {"loan_days": -1}, "loanDays"),
        (ResourceKind.CONSUMABLE, {"gtin": "00614141123453"}, "gtin"),
        (ResourceKind.DEVICE, {"gtin": "00614141123452"}, "gtin"),
        (ResourceKind.PLACE, {"unit": ""}, "unit"),
        (ResourceKind.PLACE, {"unit": "{a bed}"}, "unit"),
        (ResourceKind.PLACE, {"unit": "x" * 33}, "unit"),
        (ResourceKind.PLACE, {"code": "Bed"}, "code"),
        (ResourceKind.PLACE, {"name": ""}, "name"),
        (ResourceKind.PLACE, {"name": "a\x00b"}, "name"),
        (ResourceKind.PLACE, {"standard_code": "a\x00b"}, "standardCode"),
        (ResourceKind.PLACE, {"standard_code": "x" * 201}, "standardCode"),
    ],
)
def test_what_is_wrong_is_named(kind: ResourceKind, said: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        defined(kind, **said)
    assert refused.value.field == field


def test_only_a_consumable_carries_a_gtin() -> None:
    assert defined(ResourceKind.CONSUMABLE, gtin="00614141123452").gtin == "00614141123452"


def test_a_name_is_stored_clean() -> None:
    assert defined(ResourceKind.PLACE, name="  Lit e\u0301troit ").name == "Lit étroit"


def test_the_catalogue_everyone_starts_with_has_every_kind_and_passes_its_own_rules() -> None:
    lines = catalogue()
    assert {line.kind for line in lines} == set(ResourceKind)
    assert [Resource.define(line) for line in lines] == list(lines)
    assert len({line.code for line in lines}) == len(lines)
