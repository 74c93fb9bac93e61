"""Login and name of a person who has no access any more are erased by a ground of law; the log still knows the id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest
from tests.postgres.gateway.conftest import OpenPlatform
from tests.postgres.gateway.test_grants import decisions
from tests.postgres.gateway.test_passkeys import enrolled, opened
from tests.postgres.gateway.test_sharing_commands import admin_of, refused, said

from sharewell.audit.reconcile import reconcile
from sharewell.domain.errors import Conflict
from sharewell.domain.people import PersonDraft
from sharewell.domain.principals import Role
from sharewell.domain.subjects import ERASED, Ground
from sharewell.wiring import operator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres.conftest import Connection
    from tests.postgres.gateway.conftest import App, FrontDoor


async def test_nothing_is_left_of_an_erased_person_but_what_entries_need(
    door: FrontDoor, app: App, owner: Connection
) -> None:
    authenticator, person = await enrolled(door)
    people = door.parts.people
    with pytest.raises(Conflict, match="disable the person first"):
        await people.erase(operator(), person, Ground.OBJECTION)
    await people.disable(operator(), person)
    done = await people.erase(operator(), person, Ground.OBJECTION)
    (erased,) = await decisions(door, "person.erased")
    assert (erased.id, erased.subject_id) == (done.decision, str(person))
    assert (erased.details["ground"], erased.details["article"]) == ("objection", "17(1)(c)")

    (row,) = await owner.fetch("select * from oauth.person")
    assert "smurfette" not in str(row).lower()
    assert (row["password_hash"], row["totp_secret"], row["invitation_hash"]) == (None, None, None)
    assert await owner.fetchval("select count(*) from oauth.passkey") == 0
    found = await people.find(person)
    assert found is not None
    assert (found.login, found.name, found.roles) == (ERASED, ERASED, frozenset({Role.REGULATOR}))
    page = await opened(door, app)
    assert (await page.send(authenticator.get(page.options))).status_code == 400
    for again in (people.erase(operator(), person, Ground.OBJECTION), people.invite_again(operator(), person)):
        with pytest.raises(Conflict):
            await again
    assert (await reconcile(owner)).complete


async def test_the_login_of_an_erased_person_is_free_for_another(door: FrontDoor) -> None:
    people, draft = door.parts.people, PersonDraft(login="brainy", name="B", roles=frozenset({Role.REGULATOR}))
    for _ in range(2):
        done, _ = await people.register(operator(), draft)
        await people.disable(operator(), done.subject.id)
        await people.erase(operator(), done.subject.id, Ground.NO_LONGER_NEEDED)
    assert len(await decisions(door, "person.erased")) == 2


@pytest.mark.parametrize(
    "change",
    [
        "name = 'Somebody else'",
        "login = 'another'",
        "erased_by = decision_id, login = '[erased] ' || id, name = '[erased]', totp_step = 0",
    ],
)
@pytest.mark.parametrize("erased", [False, True])
async def test_no_login_or_name_changes_but_by_an_erasure_whoever_writes_to_the_table(
    door: FrontDoor, owner: Connection, change: str, *, erased: bool
) -> None:
    _, person = await enrolled(door)
    await door.parts.people.disable(operator(), person)
    if erased:
        await door.parts.people.erase(operator(), person, Ground.UNLAWFUL)
    with pytest.raises(asyncpg.PostgresError, match="by an erasure only"):
        await owner.execute(f"update oauth.person set {change}")


async def test_an_admin_erases_a_person_at_the_command_line(open_platform: OpenPlatform, tmp_path: Path) -> None:
    async with open_platform() as platform:
        admin = await admin_of(platform, tmp_path)
        await said("person", "invite", "smurfette", "Smurfette", "-c", admin, "--role", "regulator")
        person = (await said("person", "list", "-c", admin)).partition("\t")[0]
        erase = ("person", "erase", person, "-c", admin, "--ground", "objection")
        assert "disable the person first" in await refused(*erase)
        await said("person", "disable", person, "-c", admin)
        await said(*erase)
        listed = await said("person", "list", "-c", admin)
        assert listed.strip().split("\t") == [person, "disabled", "regulator", "passkeys=0", ERASED, ERASED]
        assert "erased already" in await refused(*erase)
        review = await said("client", "query", "-c", admin, "{ accessReview(first: 50) { nodes { id name } } }")
        assert f'"name": "{ERASED}"' in review
        assert "smurfette" not in review.lower()
