"""What is refused is on record, whatever the thing that was asked for is called."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

REFUSED = """{ decisions(kind: "access.refused", first: 1) { nodes { actor action subjectId } } }"""


@pytest.mark.parametrize(
    "name", ["e\N{COMBINING ACUTE ACCENT}", "nul\0", "line\nline", "long" * 50_000], ids=["nfd", "nul", "lines", "long"]
)
async def test_a_refusal_of_something_oddly_named_is_on_record_by_the_digest_of_the_name(api: Api, name: str) -> None:
    await api.institution("north")
    answer = await api.send("north", "query ($id: String!) { client(clientId: $id) { name } }", {"id": name})
    assert answer.refusal[0] == "FORBIDDEN"
    (last,) = (await api.ask("regulator", REFUSED))["decisions"]["nodes"]
    digest = hashlib.sha256(name.encode()).hexdigest()
    assert last == {"actor": "north-client", "action": "viewClient", "subjectId": f"sha256:{digest}"}


async def test_a_refusal_of_something_named_as_usual_names_it(api: Api) -> None:
    await api.institution("north")
    answer = await api.send("north", '{ client(clientId: "ward-planner") { name } }')
    assert answer.refusal[0] == "FORBIDDEN"
    (last,) = (await api.ask("regulator", REFUSED))["decisions"]["nodes"]
    assert last["subjectId"] == "ward-planner"


async def test_so_is_a_refusal_of_an_oddly_named_region(api: Api) -> None:
    await api.institution("north")
    asked = {"region": "e\N{COMBINING ACUTE ACCENT}", "resource": "bed.adult", "rule": "UTILITARIAN"}
    answer = await api.do("north", "chooseFairness", **asked)
    assert answer.refusal[0] == "FORBIDDEN"
    (last,) = (await api.ask("regulator", REFUSED))["decisions"]["nodes"]
    assert (last["action"], last["subjectId"].partition(":")[0]) == ("chooseFairness", "sha256")
