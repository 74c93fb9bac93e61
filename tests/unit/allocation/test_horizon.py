"""A horizon that is not exactly right is refused with the path of what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sharewell.domain.errors import Invalid
from sharewell.domain.horizon import Horizon

Build = Callable[..., Horizon]


def written(build: Build) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(build().to_json()))
    return document


@pytest.mark.parametrize(
    ("way", "value", "path"),
    [
        (("days",), 0, "days"),
        (("days",), 401, "days"),
        (("days",), 2**53, "days"),
        (("days",), True, "days"),
        (("lots", 0, "units"), -1, "lots[0].units"),
        (("lots", 0, "units"), 1.5, "lots[0].units"),
        (("lots", 0, "units"), 10**6 + 1, "lots[0].units"),
        (("lots", 0, "until"), 5, "lots[bobeline,mask,0,5].until"),
        (("lots", 0, "since"), 4, "lots[bobeline,mask,4,4].until"),
        (("standings", 0, "need"), [1, 2], "standings[bobeline,mask].need"),
        (("standings", 0, "need", 1), -1, "standings[0].need[1]"),
        (("standings", 0, "pledge"), 1001, "standings[0].pledge"),
        (("standings", 0, "site"), "zyglotrop", "standings[zyglotrop,mask].site"),
        (("standings", 0, "item"), "glove", "standings[bobeline,glove].item"),
        (("standings", 0), None, "standings[0]"),
        (("lanes", 0, "destination"), "zyglotrop", "lanes[mask,champignac,zyglotrop].destination"),
        (("lanes", 0, "destination"), "champignac", "lanes[mask,champignac,champignac]"),
        (("lanes", 0, "days"), -1, "lanes[0].days"),
        (("lanes", 0, "least"), -1, "lanes[0].least"),
        (("lanes", 0, "charge"), 0.5, "lanes[0].charge"),
        (("lanes", 0, "charge"), 10**6 + 1, "lanes[0].charge"),
        (("items", 0, "kind"), "ship", "items[0].kind"),
        (("items", 0, "stay"), [1000], "items[mask].stay"),
        (("items", 0, "loan_days"), 1, "items[mask].loan_days"),
        (("items", 1, "home_by_end"), 1, "items[ventilator].home_by_end"),
        (("items", 0, "make"), "acme", "lanes[mask,champignac,bobeline].destination"),
        (("aims",), ["moves"], "aims"),
        (("aims",), ["shortage", "shortage"], "aims"),
        (("aims",), ["glory"], "aims[0]"),
        (("substitutes",), [{"item": "mask", "serves": "mask"}], "substitutes"),
        (("substitutes",), [{"item": "mask", "serves": "ventilator"}], "substitutes[mask,ventilator]"),
        (("kits",), [{"item": "mask", "part": "mask", "units": 1}], "kits[mask,mask].part"),
        (("kits",), [{"item": "mask", "part": "glove", "units": 1}], "kits[mask,glove].part"),
        (("kits",), [{"item": "mask", "part": "ventilator", "units": 0}], "kits[0].units"),
        (("kits",), [{"item": "mask", "part": "ventilator", "units": 1}], "lots[bobeline,mask,0,4].item"),
        (("fittings",), [{"item": "mask", "part": "mask", "units": 1}], "fittings[mask,mask].item"),
        (("fittings",), [{"item": "ventilator", "part": "glove", "units": 1}], "fittings[ventilator,glove].part"),
        (("wards",), 3, "wards"),
        (("format",), "sharewell/instance@1", "format"),
        (("surprise",), 1, "surprise"),
    ],
)
def test_what_is_wrong_is_named(a_horizon: Build, way: tuple[str | int, ...], value: object, path: str) -> None:
    document = written(a_horizon)
    document["lots"].insert(0, {"site": "bobeline", "item": "mask", "units": 1, "since": 0, "until": 4})
    Horizon.from_json(document)
    at = document
    for step in way[:-1]:
        at = at[step]  # type: ignore[index]
    at[way[-1]] = value  # type: ignore[index]
    with pytest.raises(Invalid) as refused:
        Horizon.from_json(document)
    assert refused.value.field == path


@pytest.mark.parametrize("name", ["items", "sites", "lots", "standings", "lanes"])
def test_the_same_row_twice_is_refused(a_horizon: Build, name: str) -> None:
    document = written(a_horizon)
    document[name].append(document[name][0])
    with pytest.raises(Invalid, match="stands twice"):
        Horizon.from_json(document)


def with_kits(build: Build, *kits: tuple[str, str, int], **of_item: Any) -> dict[str, Any]:
    document = written(build)
    mask = next(row for row in document["items"] if row["item"] == "mask")
    for name in sorted({kit for kit, _, _ in kits}):
        document["items"].append({**mask, "item": name, **of_item})
    document["kits"] = [{"item": item, "part": part, "units": units} for item, part, units in kits]
    return document


@pytest.mark.parametrize(
    ("kits", "of_item", "path"),
    [
        ([("a", "mask", 1), ("b", "a", 1)], {}, "kits[b,a].part"),
        ([("a", "b", 1), ("b", "a", 1)], {}, "kits[a,b].part"),
        ([("a", "mask", 1)], {"lot_size": 2}, "items[a]"),
        ([("a", "mask", 1)], {"make": "acme"}, "items[a]"),
        ([("a", "mask", 1)], {"kind": "place", "stay": [1000]}, "kits[a,mask]"),
        ([("a", "mask", 1), ("a", "mask", 2)], {}, "kits[a,mask]"),
    ],
)
def test_a_kit_that_cannot_be_put_together_is_refused(
    a_horizon: Build, kits: list[tuple[str, str, int]], of_item: dict[str, Any], path: str
) -> None:
    Horizon.from_json(with_kits(a_horizon, ("a", "mask", 1), ("a", "ventilator", 2), ("b", "mask", 1)))
    with pytest.raises(Invalid) as refused:
        Horizon.from_json(with_kits(a_horizon, *kits, **of_item))
    assert refused.value.field == path


@pytest.mark.parametrize(
    ("name", "row", "path"),
    [
        ("substitutes", {"item": "a", "serves": "mask"}, "substitutes[a,mask].item"),
        ("substitutes", {"item": "mask", "serves": "a"}, "substitutes[mask,a].serves"),
        ("fittings", {"item": "a", "part": "mask", "units": 1}, "fittings[a,mask].item"),
        ("fittings", {"item": "ventilator", "part": "a", "units": 1}, "fittings[ventilator,a].part"),
        ("fittings", {"item": "ventilator", "part": "ventilator", "units": 1}, "fittings[ventilator,ventilator].part"),
    ],
)
def test_a_kit_is_no_thing_of_its_own(a_horizon: Build, name: str, row: dict[str, Any], path: str) -> None:
    document = with_kits(a_horizon, ("a", "mask", 1))
    document[name].append(row)
    with pytest.raises(Invalid) as refused:
        Horizon.from_json(document)
    assert refused.value.field == path


def test_a_kit_does_not_travel(a_horizon: Build) -> None:
    document = with_kits(a_horizon, ("a", "mask", 1))
    standing, lane = (next(row for row in document[name] if row["item"] == "mask") for name in ("standings", "lanes"))
    document["standings"] += [{**standing, "item": "a", "site": site} for site in ("champignac", "bobeline")]
    Horizon.from_json(document)
    document["lanes"].append({**lane, "item": "a"})
    with pytest.raises(Invalid, match="is a kit") as refused:
        Horizon.from_json(document)
    assert refused.value.field == "lanes[a,champignac,bobeline].item"


def test_a_kit_that_takes_too_much_of_one_item_is_refused(a_horizon: Build) -> None:
    document = with_kits(a_horizon, ("a", "ventilator", 10**6))
    document["fittings"] = [{"item": "ventilator", "part": "mask", "units": 2}]
    with pytest.raises(Invalid) as refused:
        Horizon.from_json(document)
    assert refused.value.field == "kits[a]"


def test_a_circle_of_substitutes_is_refused(a_horizon: Build) -> None:
    document = written(a_horizon)
    mask = next(row for row in document["items"] if row["item"] == "mask")
    document["items"] += [{**mask, "item": name} for name in ("ffp2", "ffp3")]
    document["substitutes"] = [
        {"item": one, "serves": other} for one, other in [("mask", "ffp2"), ("ffp2", "ffp3"), ("ffp3", "mask")]
    ]
    with pytest.raises(Invalid, match="in a circle"):
        Horizon.from_json(document)
    document["substitutes"].pop()
    Horizon.from_json(document)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "9007199254740993", "1e3", "0.5"])
def test_numbers_that_machines_read_differently_are_refused(a_horizon: Build, text: str) -> None:
    data = json.dumps(written(a_horizon)).replace('"units": 5', f'"units": {text}')
    with pytest.raises(Invalid):
        Horizon.read(data.encode())


def test_totals_beyond_what_stage_values_can_hold_are_refused(a_horizon: Build) -> None:
    document = written(a_horizon)
    document["days"] = 200
    for row in document["standings"]:
        row["need"] = row["kept"] = [10**6] * 200
    with pytest.raises(Invalid, match="larger units"):
        Horizon.from_json(document)
