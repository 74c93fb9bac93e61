"""Following what happens, over server-sent events: from where, how far, for whom, and until when."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket as sockets
from collections import Counter
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx2
import pytest
from tests.postgres.following.conftest import BEDS, EVERYTHING, OFFERS, PATIENCE, Message, follow_from, messages, told

from sharewell.authz import Authorizer, shipped_policies
from sharewell.domain import happenings
from sharewell.domain.break_glass import GlassDraft, GlassReason
from sharewell.domain.principals import Caller, Role
from sharewell.domain.surges import SurgeDraft, SurgeReason
from sharewell.domain.visibility import KEEPS
from sharewell.wiring import operator
from sharewell_schema import streams

if TYPE_CHECKING:
    from tests.postgres.following.conftest import Gateway, Open, Region

REQUESTS = "subscription ($after: String) { requests(after: $after) { cursor kind request { id institutionId } } }"
PLANS = "subscription ($after: String) { plans(after: $after) { allocation { id } } }"
EXTRA = """
@id("planners-report-capacity")
@sentence("An allocator says for an institution what it has.")
permit (principal is Sharewell::Caller in Sharewell::Role::"allocator",
  action == Sharewell::Action::"reportCapacity", resource);
"""
TRANSFERS = "subscription ($after: String) { transfers(after: $after) { cursor kind transfer { id state giverId } } }"


async def ending(url: str, token: str, query: str, variables: Any = None, **more: Any) -> list[Message]:
    """All that a stream tells, up to its end."""
    async with aclosing(messages(url, token, query, variables, **more)) as stream:  # type: ignore[type-var]
        return [message async for message in stream]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refusal(said: list[Message]) -> tuple[str, str]:
    """Code and type of the error that a stream ends with."""
    assert said[-1].event == "complete"
    (error,) = said[-2].data["errors"]
    return error["extensions"]["code"], error["extensions"]["type"]


async def test_whoever_is_cut_off_again_and_again_misses_nothing_and_hears_nothing_twice(
    region: Region, open_gateway: Open
) -> None:
    chance = random.Random(6)
    await region.institution("north", beds=200)
    await region.institution("south", beds=200)
    token, published = region.token("north"), []

    async def write(code: str) -> None:
        for _ in range(30):
            published.append(str((await region.pledge(code)).id))
            await asyncio.sleep(chance.random() * 0.02)

    async with open_gateway() as one, open_gateway() as other:
        urls = itertools.cycle([one.url, other.url])
        place, heard = await follow_from(one.url, token), list[str]()
        writing = [asyncio.create_task(write(code)) for code in ("north", "south", "north", "south")]
        while len(heard) < 120:
            # Cut off after some events, at either gateway; now by the argument, now by Last-Event-ID.
            most, by_header = min(chance.randint(1, 25), 120 - len(heard)), chance.random() < 0.5
            given: dict[str, Any] = {"last_id": place} if by_header else {"variables": {"after": place}}
            events = await told(next(urls), token, OFFERS, most=most, **given)
            heard += [event["offer"]["id"] for event in events]
            place = events[-1]["cursor"]
        await asyncio.gather(*writing)
        assert Counter(heard) == Counter(published)
        # Anew and in one go it is the same, in the same order.
        everything = await told(one.url, token, OFFERS, {"after": _beginning()}, most=120)
    assert [event["offer"]["id"] for event in everything] == heard


def _beginning() -> str:
    return "MA"  # place 0, in base64url


async def test_an_institution_hears_of_its_own_requests_and_transfers_and_of_nobody_elses(
    region: Region, gateway: Gateway
) -> None:
    giver, receiver = await region.institution("giver"), await region.institution("receiver", beds=5, occupied=5)
    await region.institution("stranger")
    await region.client("watchdog", Role.REGULATOR)
    hears = {who: region.token(who) for who in ("giver", "receiver", "stranger", "watchdog")}
    start = {"after": await follow_from(gateway.url, hears["giver"])}
    listening = [
        asyncio.create_task(told(gateway.url, hears[who], query, start, most=most))
        for who, query, most in (
            ("receiver", REQUESTS, 2), ("stranger", REQUESTS, 1), ("watchdog", REQUESTS, 3),
            ("giver", TRANSFERS, 1), ("receiver", TRANSFERS, 1), ("watchdog", TRANSFERS, 1),
        )
    ]  # fmt: skip
    from_afar = asyncio.create_task(told(gateway.url, hears["stranger"], TRANSFERS, start, most=1))
    await region.pledge("giver", 3)
    asked = await region.ask("receiver", 2)
    await region.allocate()
    others = await region.ask("stranger", 1)
    own, stranger, all_of_them, given, got, watched = await asyncio.gather(*listening)
    assert {event["request"]["institutionId"] for event in own} == {str(receiver)}
    assert own[0]["request"]["id"] == str(asked.id)
    assert own[1]["kind"] == "plan.adopted"
    assert [event["request"]["id"] for event in stranger] == [str(others.id)]
    assert {event["request"]["institutionId"] for event in all_of_them} >= {str(receiver)}
    assert given == got == watched
    assert (given[0]["kind"], given[0]["transfer"]["state"]) == ("plan.adopted", "HELD")
    assert given[0]["transfer"]["giverId"] == str(giver)
    assert not from_afar.done()
    from_afar.cancel()


async def test_who_comes_late_hears_each_change_of_a_request_that_others_followed(
    region: Region, gateway: Gateway
) -> None:
    await region.institution("giver")
    await region.institution("receiver", beds=5, occupied=5)
    token = region.token("receiver")
    start = {"after": await follow_from(gateway.url, token)}
    await region.pledge("giver", 3)
    asked = await region.ask("receiver", 2)
    await region.allocate()
    (moved,) = await told(gateway.url, token, TRANSFERS, start, most=1)
    transfers, transfer = region.services.transfers, UUID(moved["transfer"]["id"])
    await transfers.confirm(region.callers["giver"], transfer)
    await transfers.dispatch(region.callers["giver"], transfer)
    await transfers.receive(region.callers["receiver"], transfer)
    events = await told(gateway.url, token, REQUESTS, start, most=3)
    assert [event["kind"] for event in events] == ["request.opened", "plan.adopted", "transfer.received"]
    assert {event["request"]["id"] for event in events} == {str(asked.id)}


async def test_what_a_regulator_hears_is_on_record_and_is_never_told_itself(region: Region, gateway: Gateway) -> None:
    clinic = await region.institution("clinic")
    await region.client("watchdog", Role.REGULATOR)
    token = region.token("watchdog")
    start = await follow_from(gateway.url, token)
    offers = [str((await region.pledge("clinic")).id) for _ in range(3)]
    async with aclosing(messages(gateway.url, token, OFFERS, {"after": start})) as stream:  # type: ignore[type-var]
        heard: list[str] = []
        async for message in stream:
            if message.event == "next":
                heard.append(message.data["data"]["offers"]["offer"]["id"])
            if len(heard) == 3:
                break
        quiet = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(1.0)  # its own traces are sealed meanwhile
        assert not quiet.done()
        quiet.cancel()
        await asyncio.wait([quiet])
    assert heard == offers
    (opened,) = [entry for entry in await region.recorded("data.followed") if entry.actor == "watchdog"]
    assert opened.details["topic"] == "offers"
    read = [entry for entry in await region.recorded("data.read") if entry.actor == "watchdog"]
    assert [one for entry in read for one in entry.details["ids"]] == offers
    assert {entry.institution for entry in read} == {clinic}


async def test_whose_client_is_disabled_hears_nothing_more(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    await region.institution("other")
    token = region.token("clinic")
    async with aclosing(messages(gateway.url, token, OFFERS)) as stream:  # type: ignore[type-var]
        assert (await anext(stream)).id is not None
        await region.pledge("other")
        assert (await anext(stream)).event == "next"
        admin = Caller(
            principal="admin", roles=frozenset({Role.ADMIN}), scopes=frozenset({EVERYTHING}), request_id="r-1"
        )
        await region.services.clients.disable(admin, "clinic")
        region.clock.ahead = timedelta(seconds=6)  # a registration is at hand for five
        await region.pledge("other")
        rest = [message async for message in stream]
    assert refusal(rest) == ("UNAUTHENTICATED", "NotAdmitted")
    assert [message.event for message in rest if message.event] == ["next", "complete"]


async def test_a_stream_ends_with_its_token_and_a_new_token_goes_on(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    region.clock.stands = datetime.now(UTC)  # until the stream has begun, however long that takes
    said = []
    async with aclosing(messages(gateway.url, region.token("clinic", seconds=2), OFFERS)) as stream:  # type: ignore[type-var]
        async for message in stream:
            said.append(message)
            region.clock.stands = None
    assert refusal(said) == ("UNAUTHENTICATED", "NotAdmitted")
    offer = await region.pledge("clinic")
    (event,) = await told(gateway.url, region.token("clinic"), OFFERS, most=1, last_id=said[0].id)
    assert event["offer"]["id"] == str(offer.id)


@pytest.mark.parametrize("most", ["MOST_OF_CALLER", "MOST_TOGETHER"])
async def test_there_are_no_more_streams_than_a_client_may_have_nor_than_its_line_may(
    region: Region, open_gateway: Open, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    """A client of ours is a line by itself."""
    monkeypatch.setattr(streams, most, 2)
    await region.institution("clinic")
    await region.institution("other")
    async with open_gateway() as gateway:
        held = [messages(gateway.url, region.token("clinic"), OFFERS) for _ in range(2)]
        for stream in held:
            await anext(stream)
        assert refusal(await ending(gateway.url, region.token("clinic"), OFFERS)) == ("UNAVAILABLE", "TooManyStreams")
        other = messages(gateway.url, region.token("other"), OFFERS)
        await anext(other)
        await held.pop().aclose()  # type: ignore[attr-defined]
        again = None
        while again is None:  # the gateway hears of it a moment later
            await asyncio.sleep(0.05)
            tried = messages(gateway.url, region.token("clinic"), OFFERS)
            again = tried if (await anext(tried)).id is not None else None
            held.append(tried)
        for stream in (*held, other):
            await stream.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("after", ["!", "bm9uc2Vuc2U", "OTk5OTk5OTk5"])
async def test_a_cursor_that_is_none_is_refused(region: Region, gateway: Gateway, after: str) -> None:
    await region.institution("clinic")
    said = await ending(gateway.url, region.token("clinic"), OFFERS, {"after": after})
    assert refusal(said) == ("INVALID", "Invalid")
    assert said[-2].data["errors"][0]["extensions"]["field"] == "after"
    assert "data" not in said[-2].data


async def test_a_cursor_too_far_back_says_to_read_the_list_again(
    region: Region, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await region.institution("clinic")
    await region.pledge("clinic")
    while (await region.services.happenings.end()).entry < 3:
        await asyncio.sleep(0.05)
    monkeypatch.setattr(happenings, "FURTHEST", 2)
    said = await ending(gateway.url, region.token("clinic"), OFFERS, {"after": _beginning()})
    assert refusal(said) == ("INVALID", "CursorTooOld")
    assert "followFrom" in said[-2].data["errors"][0]["message"]


async def test_who_may_not_list_may_not_follow_either(region: Region, gateway: Gateway) -> None:
    await region.client("narrow", Role.REGULATOR, scopes=("system/Request.rs",))
    said = await ending(gateway.url, region.token("narrow"), OFFERS)
    assert refusal(said) == ("FORBIDDEN", "Forbidden")
    assert [entry.action for entry in await region.recorded("access.refused")] == ["viewOffer"]


async def test_one_that_does_not_read_lags_behind_and_keeps_nobody_waiting(region: Region, gateway: Gateway) -> None:
    clinics = ("clinic", "north", "south")
    for clinic in clinics:
        await region.institution(clinic, beds=100)
    await region.client("slow", Role.REGULATOR)
    fields = "id institutionId resource quantity promised remaining publishedAt availableUntil availableFrom"
    wide = " ".join(f"o{n}: offer {{ {fields} }}" for n in range(49))
    query = f"subscription ($after: String) {{ offers(after: $after) {{ cursor {wide} }} }}"
    start = await follow_from(gateway.url, region.token("clinic"))
    # Its end takes next to nothing in, and it does not read on once the stream has begun.
    slow = sockets.socket()
    slow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    slow.connect((host, int(port)))
    body = httpx2.Request("POST", gateway.url, json={"query": query, "variables": {"after": start}}).content
    slow.send(
        b"POST /graphql HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {region.token('slow')}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )  # fmt: skip
    fast = asyncio.create_task(told(gateway.url, region.token("clinic"), OFFERS, {"after": start}, most=300))
    for _ in range(100):
        await asyncio.gather(*map(region.pledge, clinics))
    assert len({event["offer"]["id"] for event in await fast}) == 300
    read = sum(entry.details["count"] for entry in await region.recorded("data.read") if entry.actor == "slow")
    assert read < 300, "what nobody takes was read all the same"
    slow.close()


async def test_streams_end_with_the_gateway_and_go_on_at_another(region: Region, open_gateway: Open) -> None:
    await region.institution("clinic")
    token = region.token("clinic")
    async with open_gateway() as one, open_gateway() as other:
        stream = messages(one.url, token, OFFERS)
        begun = await anext(stream)
        await one.end()
        said = [message async for message in stream]
        assert refusal(said) == ("UNAVAILABLE", "Unavailable")
        offer = await region.pledge("clinic")
        (event,) = await told(other.url, token, OFFERS, most=1, last_id=begun.id)
        assert event["offer"]["id"] == str(offer.id)


async def test_alerts_tell_of_surge_mode_and_to_those_who_may_know_of_what_was_refused(
    region: Region, gateway: Gateway
) -> None:
    await region.institution("clinic")
    await region.client("watchdog", Role.REGULATOR)
    await region.client("head", Role.ADMIN)
    await region.client("planner", Role.ALLOCATOR)
    query = "subscription { alerts { kind refused surge { region inForce reason } } }"
    hears = {who: messages(gateway.url, region.token(who), query) for who in ("clinic", "watchdog", "head")}
    for stream in hears.values():
        await anext(stream)
    planner = Caller(
        principal="planner", roles=frozenset({Role.ALLOCATOR}), scopes=frozenset({EVERYTHING}), request_id="r-1"
    )
    await region.services.surges.declare(
        planner,
        SurgeDraft(region="us-nj", resource=BEDS, reason=SurgeReason.EPIDEMIC_PEAK,
                   until=datetime.now(UTC) + timedelta(hours=2)),
    )  # fmt: skip
    async with httpx2.AsyncClient(headers=bearer(region.token("planner")), timeout=PATIENCE) as http:
        await http.post(f"{gateway.url}/graphql", json={"query": "{ clients { nodes { clientId } } }"})
    for who, stream in hears.items():
        heard: dict[str, Any] = {}
        async for message in stream:
            if message.event == "next":
                event = message.data["data"]["alerts"]
                heard[event["kind"]] = event
            if len(heard) == (1 if who == "clinic" else 2):
                break
        surge = {"region": "us-nj", "inForce": True, "reason": "EPIDEMIC_PEAK"}
        assert heard.pop("surge.declared") == {"kind": "surge.declared", "refused": None, "surge": surge}
        refused = {"kind": "access.refused", "refused": "viewClient", "surge": None}
        assert heard == ({} if who == "clinic" else {"access.refused": refused})
    for stream in hears.values():
        await stream.aclose()  # type: ignore[attr-defined]


async def test_a_regulator_who_follows_alerts_hears_of_a_broken_glass(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    await region.client("watchdog", Role.REGULATOR)
    await region.client("coastal", Role.REGULATOR, jurisdiction=frozenset({"coast"}))
    await region.services.policies.publish(operator())
    admin = Caller(principal="head", roles=frozenset({Role.ADMIN}), scopes=frozenset({EVERYTHING}), request_id="r-1")
    start = {"after": await follow_from(gateway.url, region.token("watchdog"))}
    until = datetime.now(UTC) + timedelta(hours=2)
    draft = GlassDraft(version=1, reason=GlassReason.WRONG_RULE, until=until, remark="Nurses are locked out.")
    glass = (await region.services.break_glass.break_it(admin, draft)).subject
    await region.services.break_glass.end(admin, glass.id)
    query = """subscription ($after: String, $region: String) { alerts(after: $after, region: $region) {
      kind surge { id } brokenGlass { id reason version client } } }"""
    shown = {"id": str(glass.id), "reason": "WRONG_RULE", "version": 1, "client": "head"}
    for who, narrowed in (("watchdog", {}), ("watchdog", {"region": "us-nj"}), ("coastal", {}), ("clinic", {})):
        heard = await told(gateway.url, region.token(who), query, start | narrowed, most=2)
        assert [event["kind"] for event in heard] == ["policy.glass_broken", "policy.glass_ended"]
        assert [(event["brokenGlass"], event["surge"]) for event in heard] == [(shown, None)] * 2


async def test_whoever_reads_versions_hears_of_an_approved_one_that_is_passed_over_and_goes_on_from_there(
    region: Region, gateway: Gateway
) -> None:
    await region.institution("clinic")
    await region.client("watchdog", Role.REGULATOR)
    await region.client("coastal", Role.REGULATOR, jurisdiction=frozenset({"coast"}))
    await region.client("head", Role.ADMIN)
    services = region.services
    await services.policies.publish(operator())
    author, second = (
        Caller(principal=name, roles=frozenset({Role.ADMIN}), scopes=frozenset({EVERYTHING}), request_id="r-1")
        for name in ("author", "second")
    )
    start = {"after": await follow_from(gateway.url, region.token("watchdog"))}
    now = datetime.now(UTC)
    draft = (await services.policy_versions.draft(author, {"extra.cedar": EXTRA}, base=None, why="W.")).subject
    await services.policy_versions.simulate(author, draft.number, since=now - timedelta(hours=1), until=None)
    later = datetime.now(UTC) + timedelta(hours=1)
    await services.policy_versions.approve(
        second, draft.number, policy_set=draft.policy_set, effective_from=later
    )
    services.office.rulebook.own = Authorizer.load(shipped_policies() | {"next.cedar": EXTRA.encode()})
    await services.policies.publish(operator())  # the next release starts
    until = datetime.now(UTC) + timedelta(hours=2)
    glass = GlassDraft(version=1, reason=GlassReason.WRONG_RULE, until=until, remark="Nurses are locked out.")
    await services.break_glass.break_it(author, glass)
    query = """subscription ($after: String, $region: String) { alerts(after: $after, region: $region) {
      cursor kind brokenGlass { version } policyVersion { number state replaces approvedBy steps { state } } } }"""
    states = [{"state": state} for state in ("VALIDATED", "SIMULATED", "APPROVED", "PASSED_OVER")]
    shown = {"number": 2, "state": "PASSED_OVER", "replaces": 1, "approvedBy": "second", "steps": states}
    for who, narrowed in (("watchdog", {}), ("watchdog", {"region": "us-nj"}), ("head", {})):
        passed, broken = await told(gateway.url, region.token(who), query, start | narrowed, most=2)
        assert (passed["kind"], passed["policyVersion"], passed["brokenGlass"]) == ("policy.passed_over", shown, None)
        assert (broken["kind"], broken["policyVersion"]) == ("policy.glass_broken", None)
        (again,) = await told(gateway.url, region.token(who), query, {"after": passed["cursor"]}, most=1)
        assert again == broken
    for who in ("clinic", "coastal"):  # who may read the policies that bind them, and no drafts of any
        (heard,) = await told(gateway.url, region.token(who), query, start, most=1)
        assert heard["kind"] == "policy.glass_broken"


async def test_a_regulator_of_some_regions_hears_what_is_of_these(region: Region, gateway: Gateway) -> None:
    giver, receiver = await region.institution("giver"), await region.institution("receiver", beds=5, occupied=5)
    for name, at in (("local", "us-nj"), ("distant", "us-ny")):
        await region.client(name, Role.REGULATOR, jurisdiction=frozenset({at}))
    start = {"after": await follow_from(gateway.url, region.token("local"))}
    await region.pledge("giver", 3)
    await region.ask("receiver", 2)
    await region.allocate()
    for query, name, owner in ((OFFERS, "offer", giver), (REQUESTS, "request", receiver)):
        (event,) = await told(gateway.url, region.token("local"), query, start, most=1)
        assert event[name]["institutionId"] == str(owner)
    (moved,) = await told(gateway.url, region.token("local"), TRANSFERS, start, most=1)
    assert moved["transfer"]["giverId"] == str(giver)
    # All of it is passed over for the other, who hears of the run alone, which is nobody's.
    async with aclosing(messages(gateway.url, region.token("distant"), OFFERS, start)) as stream:  # type: ignore[type-var]
        assert (await anext(stream)).event == ""
        quiet = asyncio.ensure_future(anext(stream))
        await told(gateway.url, region.token("distant"), PLANS, start, most=1)
        assert not quiet.done() or quiet.result().event != "next"
        quiet.cancel()
        await asyncio.wait([quiet])
    (opened,) = [entry for entry in await region.recorded("data.followed") if entry.details["topic"] == "requests"]
    assert opened.details["regions"] == "us-nj"


async def test_events_leave_out_what_lists_leave_out(region: Region, gateway: Gateway) -> None:
    await region.institution("giver")
    await region.institution("receiver", beds=5, occupied=5)
    await region.institution("stranger")
    await region.client("watchdog", Role.REGULATOR)
    start = {"after": await follow_from(gateway.url, region.token("giver"))}
    await region.pledge("giver", 3)
    await region.ask("receiver", 2)
    await region.allocate()
    run = "id needed assigned withheld measures { __typename } stages { name value } solver { bound }"
    asked = f"{{ allocations {{ nodes {{ {run} }} }} transfers {{ nodes {{ id reason }} }} }}"
    plans = f"subscription ($after: String) {{ plans(after: $after) {{ allocation {{ {run} }} }} }}"
    moves = "subscription ($after: String) { transfers(after: $after) { transfer { id reason } } }"
    seen, reasons = {}, {}
    for who in ("giver", "receiver", "stranger", "watchdog"):
        token = region.token(who)
        async with httpx2.AsyncClient(headers=bearer(token), timeout=PATIENCE) as http:
            listed = (await http.post(f"{gateway.url}/graphql", json={"query": asked})).json()["data"]
        (event,) = await told(gateway.url, token, plans, start, most=1)
        assert [event["allocation"]] == listed["allocations"]["nodes"]
        seen[who] = event["allocation"]
        if who != "stranger":
            (event,) = await told(gateway.url, token, moves, start, most=1)
            assert [event["transfer"]] == listed["transfers"]["nodes"]
            reasons[who] = event["transfer"]["reason"]
    assert (seen["stranger"]["withheld"], seen["stranger"]["assigned"]) == (True, None)
    assert (seen["watchdog"]["withheld"], seen["watchdog"]["assigned"]) == (False, 2)
    assert reasons["giver"] == reasons["watchdog"] != reasons["receiver"]
    assert KEEPS in reasons["giver"]
    assert KEEPS not in reasons["receiver"]


async def test_a_query_is_one_event_and_a_subscription_is_no_plain_answer(region: Region, gateway: Gateway) -> None:
    await region.institution("clinic")
    said = await ending(gateway.url, region.token("clinic"), "{ me { clientId } }")
    assert [message.event for message in said] == ["next", "complete"]
    assert said[0].data == {"data": {"me": {"clientId": "clinic"}}}
    async with httpx2.AsyncClient(headers=bearer(region.token("clinic")), timeout=PATIENCE) as http:
        plain = await http.post(f"{gateway.url}/graphql", json={"query": OFFERS})
    wrong = await ending(gateway.url, region.token("clinic"), "subscription { nothing }")
    assert plain.status_code == 406
    assert refusal(wrong) == ("INVALID", "RequestError")


async def test_a_regulator_of_some_regions_hears_of_surge_mode_there_and_nowhere_else(
    region: Region, gateway: Gateway
) -> None:
    for name, at in (("local", {"us-nj"}), ("distant", {"us-ny"}), ("both", {"us-nj", "us-ny"}), ("all", set())):
        await region.client(name, Role.REGULATOR, jurisdiction=frozenset(at))
    planner = Caller(
        principal="planner", roles=frozenset({Role.ALLOCATOR}), scopes=frozenset({EVERYTHING}), request_id="r-1"
    )
    start = {"after": await follow_from(gateway.url, region.token("local"))}
    until = datetime.now(UTC) + timedelta(hours=2)
    for where in ("us-nj", "us-ny", "us-pa"):
        draft = SurgeDraft(region=where, resource=None, reason=SurgeReason.DISASTER, until=until)
        surge = (await region.services.surges.declare(planner, draft)).subject
        await region.services.surges.end(planner, surge.id)
    query = "subscription ($after: String) { alerts(after: $after) { kind surge { region } } }"
    for who, regions in (
        ("local", ["us-nj"]), ("distant", ["us-ny"]), ("both", ["us-nj", "us-ny"]), ("all", ["us-nj", "us-ny", "us-pa"])
    ):  # fmt: skip
        heard = await told(gateway.url, region.token(who), query, start, most=2 * len(regions))
        assert [event["surge"]["region"] for event in heard] == [at for at in regions for _ in range(2)]
