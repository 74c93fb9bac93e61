"""Instances as documents: what is written is read back, and what is wrong is refused by its path."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharewell.domain import canonical
from sharewell.domain.allocation import Fairness, Instance, Lane, Owner, Plan, Receiver, Rule
from sharewell.domain.errors import Invalid
from sharewell_workers.solving import solve

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_an_instance_survives_being_written_and_read(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=4, most=9, rules=tuple(Rule)))
    read = Instance.read(canonical.encode(instance.to_json()))
    assert read == instance
    assert read.hash == instance.hash == hashlib.sha256(canonical.encode(instance.to_json())).hexdigest()


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_plan_survives_being_written_and_read(instances: Instances, data: st.DataObject) -> None:
    plan = solve(data.draw(instances(sides=4, most=9, rules=tuple(Rule))))
    assert Plan.read(canonical.encode(plan.to_json())) == plan


def test_a_plan_hash_leaves_out_what_was_measured_on_the_way(an_instance: Build) -> None:
    document: dict[str, Any] = dict(solve(an_instance({"o": 2}, {"r": 3})).to_json())
    slower = {**document, "solver": {**document["solver"], "milliseconds": 123456}}
    assert Plan.from_json(slower).hash == Plan.from_json(document).hash
    other = {**document, "unfilled": []}
    assert Plan.from_json(other).hash != Plan.from_json(document).hash


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of the document: dots name members, numbers places; the last value is put there."""

    def change(document: dict[str, Any]) -> None:
        *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        at: Any = document
        for step in way:
            at = at[step]
        at[last] = value

    return change


def _drop(path: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        first, second, third = path.split(".")
        del document[first][int(second)][third]

    return change


def _twice(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document[name].append(document[name][0])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (_set("owners.0.stock", -1), "owners[0].stock"),
        (_set("owners.0.stock", 2**53), "owners[0].stock"),
        (_set("owners.0.quantity", 1.5), "owners[0].quantity"),
        (_set("owners.0.quantity", float("nan")), "owners[0].quantity"),
        (_set("owners.0.quantity", True), "owners[0].quantity"),
        (_set("owners.0.quantity", "3"), "owners[0].quantity"),
        (_set("owners.0.offer", ""), "owners[0].offer"),
        (_set("owners.0.colour", "red"), "owners[0].colour"),
        (_drop("owners.0.own_need"), "owners[0].own_need"),
        (_set("owners", {}), "owners"),
        (_set("owners.0", 7), "owners[0]"),
        (_twice("owners"), "owners"),
        (_set("receivers.0.need", -1), "receivers[0].need"),
        (_set("receivers.0.urgency", 6), "receivers[0].urgency"),
        (_set("receivers.0.weight", 999), "receivers[0].weight"),
        (_set("receivers.0.asked", 1), "receivers[r].asked"),
        (_twice("receivers"), "receivers"),
        (_set("lanes.0.offer", "nowhere"), "lanes[nowhere,r].offer"),
        (_set("lanes.0.request", "nowhere"), "lanes[o,nowhere].request"),
        (_set("lanes.0.cap", -1), "lanes[0].cap"),
        (_set("lanes.0.metres", 10**9), "lanes[0].metres"),
        (_twice("lanes"), "lanes"),
        (_set("receivers.0.institution", "at-o"), "lanes[o,r]"),
        (_set("fairness.rule", "mine first"), "fairness.rule"),
        (_set("fairness.alpha", 4001), "fairness.alpha"),
        (_set("fairness.theta", 1001), "fairness.theta"),
        (_set("fairness.buckets", 0), "fairness.buckets"),
        (_set("fairness.urgency_weights", [1, 2, 3]), "fairness.urgency_weights"),
        (_set("fairness.urgency_weights", [5, 4, 3, 2, 1]), "fairness.urgency_weights"),
        (_set("at", "yesterday"), "at"),
        (_set("at", "2026-01-31T12:00:00"), "at"),
        (_set("kind", "wish"), "kind"),
        (_set("format", "sharewell/instance@0"), "format"),
        (_set("resource", "Bed Adult"), "resource"),
    ],
)
def test_a_malformed_document_is_refused_by_its_path(
    an_instance: Build, change: Callable[[dict[str, Any]], None], field: str
) -> None:
    document = copy.deepcopy(dict(an_instance({"o": 3}, {"r": 5}).to_json()))
    change(document)
    with pytest.raises(Invalid) as refused:
        Instance.from_json(document)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{", b'{"at": 1, "at": 2}', b'{"at": NaN}', b'{"at": 1e9}', b'{"at": 9007199254740992}', b"\xff"],
)
def test_bytes_that_are_no_such_document_are_refused(text: bytes) -> None:
    with pytest.raises(Invalid):
        Instance.read(text)


def test_offers_of_one_institution_state_the_same_stock(an_instance: Build) -> None:
    owners = (
        Owner(offer="a", institution="at-o", quantity=1, stock=5),
        Owner(offer="b", institution="at-o", quantity=1, stock=6),
    )
    with pytest.raises(Invalid, match="differs from another offer of institution at-o"):
        an_instance({}, {"r": 1}, owners=owners)


def test_a_time_without_zone_is_refused(an_instance: Build) -> None:
    with pytest.raises(Invalid, match="at has no time zone"):
        an_instance({}, {}, at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_totals_beyond_what_a_stage_value_can_hold_are_refused(an_instance: Build) -> None:
    receivers = tuple(Receiver(request=f"r{i}", institution="at-r", need=1_000_000, urgency=1) for i in range(101))
    with pytest.raises(Invalid, match="count in larger units"):
        an_instance({}, {}, receivers=receivers)


def test_parts_are_joined_by_lanes_with_room_and_by_institutions(an_instance: Build) -> None:
    instance = an_instance(
        {"a": 1, "b": 1, "c": 1, "idle": 0},
        {"r": 1, "s": 1, "t": 1, "alone": 1},
        lanes={("a", "r"): 1, ("b", "s"): 1, ("c", "t"): 1, ("idle", "r"): 1, ("idle", "t"): 1, ("c", "r"): 1},
        caps={("c", "r"): 0},
    )
    shared = tuple(
        Owner(offer=row.offer, institution="at-ab" if row.offer in "ab" else row.institution, quantity=row.quantity,
              stock=5, minimum_kept=row.minimum_kept if row.offer != "idle" else 5)
        for row in instance.owners
    )  # fmt: skip
    joined = Instance.from_json({**instance.to_json(), "owners": [row.to_json() for row in shared]})
    parts = [({o.offer for o in p.owners}, {r.request for r in p.receivers}, len(p.lanes)) for p in joined.parts]
    assert parts == [({"a", "b"}, {"r", "s"}, 2), ({"c"}, {"t"}, 1)]


def test_a_fairness_choice_is_part_of_the_hash(an_instance: Build) -> None:
    hashes = {
        an_instance({"o": 1}, {"r": 1}, fairness=choice).hash
        for choice in (Fairness(), Fairness(theta=900), Fairness(alpha=1000), Fairness(rule=Rule.LEXIMIN))
    }
    assert len(hashes) == 4


def test_a_lane_of_an_instance_knows_its_room(an_instance: Build) -> None:
    instance = an_instance({"o": 3}, {"r": 5}, caps={("o", "r"): 2})
    assert instance.room(Lane(offer="o", request="r", cap=2, metres=1, hours=1)) == 2
    assert instance.room(Lane(offer="o", request="r", cap=9, metres=1, hours=1)) == 3
