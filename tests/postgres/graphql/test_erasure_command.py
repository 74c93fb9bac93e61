"""`sharewell erasure` as an operator runs it: a process of its own, standard output and exit status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.postgres.graphql.conftest import Api

from sharewell.audit.erasure import KEY_FILE, KeyFile

NURSE = {"identifier": "staff-4711", "name": "Ayşe Ünal"}
OPENED = "query ($id: UUID!) { decision(id: $id) { onBehalfOf { name } } }"


class Run:
    """Runs `sharewell erasure ...` over this test's database."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sharewell.cli", "erasure", *arguments, env=self._environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
def run(database_environment: Mapping[str, str]) -> Run:
    return Run(database_environment)


async def pledged(api: Api) -> tuple[str, str]:
    """An institution, and a decision of its on behalf of a nurse."""
    clinic = await api.institution("clinic")
    await api.report("clinic", staffed=20, occupied=5)
    done = await api.done("clinic", "publishOffer", **api.pledge_of(1), onBehalfOf=NURSE)
    return clinic, done["decision"]["id"]


async def test_an_operator_finds_and_erases_a_person_and_the_log_says_by_which_ground(
    api: Api, run: Run, owner: Any
) -> None:
    clinic, decision = await pledged(api)
    status, found, _ = await run("find", "staff-4711", "--institution", clinic)
    subject, _, until = found.partition(" ")
    assert (status, until) == (0, "kept until 2029-02-28\n")
    status, out, err = await run("erase", subject, "--ground", "consent_withdrawn")
    assert (status, err) == (0, "")
    made = UUID(out.rpartition(" ")[2].strip(" .\n"))
    entry = await owner.fetchrow(
        "select kind, actor, subject_id, convert_from(body, 'UTF8')::jsonb #>> '{details,article}' as article"
        " from audit.decision join audit.entry using (staged_id) where id = $1", made,
    )  # fmt: skip
    assert entry is not None
    assert tuple(entry) == ("subject.erased", "operator", subject, "17(1)(b)")
    told = await api.ask("regulator", OPENED, id=decision)
    assert told["decision"]["onBehalfOf"] == {"name": "[erased]"}
    status, _, err = await run("find", "staff-4711", "--institution", clinic)
    assert (status, err.startswith("There is no such person")) == (1, True)
    status, _, err = await run("erase", subject, "--ground", "objection")
    assert (status, "it is erased" in err) == (2, True)


async def test_a_rotation_at_the_command_line_leaves_one_key_and_everything_readable(api: Api, run: Run) -> None:
    _, decision = await pledged(api)
    file = KeyFile(api.people.settings.home / KEY_FILE)
    (old,) = file.ids()
    status, out, _ = await run("rotate-key", "--drop-old")
    (new,) = file.ids()
    assert (status, out) == (0, f"{new} is in use; 1 keys were wrapped anew.\n{old} is forgotten.\n")
    assert new != old
    told = await api.ask("regulator", OPENED, id=decision)
    assert told["decision"]["onBehalfOf"] == {"name": "Ayşe Ünal"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("erase", str(uuid4()), "--ground", "because"), "because"),
        (("find", "staff-1"), "institution"),
        (("remark", str(uuid4()), "--ground", "objection"), "no decision"),
    ],
)
async def test_what_cannot_be_is_said_in_a_sentence(api: Api, run: Run, arguments: tuple[str, ...], says: str) -> None:
    status, out, err = await run(*arguments)
    assert (status, out) == (2, "")
    assert says in err
    assert "Traceback" not in err
