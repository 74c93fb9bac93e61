"""The published JSON Schemas and the readers agree on what an instance and a plan are."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # comes with kubernetes-validate

from sharewell.domain import canonical
from sharewell.domain.allocation import (
    Instance,
    Movement,
    Plan,
    Reason,
    Reserve,
    Rule,
    Status,
    check_certificate,
    check_plan,
)
from sharewell.domain.errors import Invalid
from sharewell.domain.horizon import Aim, Horizon
from sharewell.domain.horizon_rows import Gate
from sharewell.domain.requests import RaiseReason
from sharewell.domain.resources import ResourceKind
from sharewell.domain.schedule import Cause, Schedule
from sharewell_workers.solving import solve, solve_horizon

Build = Callable[..., Instance]
Instances = Callable[..., st.SearchStrategy[Instance]]

READERS: dict[str, Callable[[Any], object]] = {
    "instance-1": Instance.from_json, "instance-2": Instance.from_json, "plan-1": Plan.from_json,
    "horizon-1": Horizon.from_json, "horizon-2": Horizon.from_json, "schedule-1": Schedule.from_json,
}  # fmt: skip


SECOND = {
    "reserves": (Reserve(category="burns", share=300),), "in_force": (Movement(offer="o", request="r", quantity=2),)
}  # fmt: skip


@cache
def schema(name: str) -> Draft202012Validator:
    document = json.loads((files("sharewell_schema") / "json_schemas" / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_written_fits_the_schemas(instances: Instances, data: st.DataObject) -> None:
    instance = data.draw(instances(sides=4, most=6, rules=tuple(Rule)))
    schema("instance-2").validate(json.loads(json.dumps(instance.to_json())))
    schema("plan-1").validate(json.loads(json.dumps(solve(instance).to_json())))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_written_over_a_horizon_fits_the_schemas_and_is_read_back(
    horizons: Callable[..., st.SearchStrategy[Horizon]], data: st.DataObject
) -> None:
    horizon = data.draw(horizons(kinds=tuple(ResourceKind)))
    schedule = solve_horizon(horizon)
    horizon = replace(horizon, in_force=schedule.shipments)
    which = "horizon-2" if horizon.gates else "horizon-1"
    for name, document in ((which, horizon), ("schedule-1", schedule)):
        written = json.loads(json.dumps(document.to_json()))
        schema(name).validate(written)
        assert READERS[name](written) == document


def test_the_closed_lists_are_the_same() -> None:
    instance, plan = (schema(name).schema["properties"] for name in ("instance-2", "plan-1"))
    assert instance["fairness"]["properties"]["rule"]["enum"] == list(Rule)
    assert instance["kind"]["enum"] == list(ResourceKind)
    assert instance["receivers"]["items"]["properties"]["raise_reason"]["enum"] == ["", *RaiseReason]
    assert plan["unfilled"]["items"]["properties"]["code"]["enum"] == list(Reason)
    assert plan["solver"]["properties"]["status"]["enum"] == list(Status)
    horizon, schedule = (schema(name).schema["properties"] for name in ("horizon-2", "schedule-1"))
    assert horizon["aims"]["items"]["enum"] == list(Aim)
    assert horizon["items"]["items"]["properties"]["kind"]["enum"] == list(ResourceKind)
    assert schedule["unmet"]["items"]["properties"]["code"]["enum"] == list(Cause)
    assert schedule["search"]["properties"]["status"]["enum"] == list(Status)


def paths(value: object, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Ways to every member and item of a document."""
    found = [way]
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        found += paths(item, (*way, key))
    return found


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=200, deadline=None)
@given(
    data=st.data(), wrong=st.sampled_from([None, -1, 1.5, 2**53, "", " ", "x y", [], {}, True, "2026-02-30T00:00:00Z"])
)
def test_what_the_schema_refuses_the_reader_refuses(
    an_instance: Build, a_horizon: Callable[..., Horizon], name: str, data: st.DataObject, wrong: object
) -> None:
    made = an_instance({"o": 3, "p": 1}, {"r": (4, 2), "s": 3}, **(SECOND if name != "instance-1" else {"version": 1}))
    ahead = a_horizon()
    gated = replace(ahead, gates=(Gate(site="champignac", item="mask", gives=(9, 0, 0, 0), takes=(0, 0, 0, 0)),))
    documents: dict[str, Callable[[], Instance | Plan | Horizon | Schedule]] = {
        "instance-1": lambda: made, "instance-2": lambda: made, "plan-1": lambda: solve(made),
        "horizon-1": lambda: ahead, "horizon-2": lambda: gated, "schedule-1": lambda: solve_horizon(ahead),
    }  # fmt: skip
    document = json.loads(json.dumps(documents[name]().to_json()))
    *way, last = data.draw(st.sampled_from(paths(document)[1:]))
    changed = copy.deepcopy(document)
    at = changed
    for step in way:
        at = at[step]
    at[last] = wrong
    if not schema(name).is_valid(changed):
        with pytest.raises(Invalid):
            READERS[name](changed)


def test_an_instance_of_the_first_format_is_still_read_written_and_checked() -> None:
    vectors = Path(__file__).parents[2] / "vectors" / "allocation"
    written = (vectors / "instance-1.json").read_bytes()
    instance, plan = Instance.read(written), Plan.read((vectors / "plan-1.json").read_bytes())
    schema("instance-1").validate(json.loads(written))
    assert (instance.version, canonical.encode(instance.to_json())) == (1, written.strip())
    check_plan(instance, plan)
    check_certificate(instance, plan)


def test_the_first_format_has_no_place_for_what_the_second_added(an_instance: Build) -> None:
    with pytest.raises(Invalid, match="version 1 has no reserves"):
        an_instance({"o": 3}, {"r": 4}, version=1, reserves=(Reserve(category="burns", share=300),))
    document = an_instance({"o": 3}, {"r": 4}, version=1).to_json()
    with pytest.raises(Invalid, match="reserves is not a known field"):
        Instance.from_json({**document, "reserves": []})
