"""`sharewell watch`: follow what happens, one JSON object a line, and go on by itself wherever it was cut off."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Annotated

import typer

from sharewell.cli.asking import WHICH, institution_id
from sharewell.cli.client import CredentialFile
from sharewell.cli.explained import explained
from sharewell.client import ApiClient, Credential
from sharewell.domain.happenings import Topic

#: What is printed of each event, beside its cursor, time, kind and decision.
SHOWN = {
    Topic.OFFERS: "offer { id institutionId resource quantity promised remaining availableFrom availableUntil status }",
    Topic.REQUESTS: "request { id institutionId resource requested approved fulfilled urgency neededBy status note }",
    Topic.TRANSFERS: "transfer { id offerId requestId giverId receiverId resource quantity state holdUntil }",
    Topic.PLANS: "allocation { id region resource needed assigned adoptedAt }",
    Topic.ALERTS: """institutionId refused
      surge { id region resource reason until endedAt } deviation { id kind giverId receiverId resource adopted moved }
      override { id kind code giverId receiverId } transfer { id giverId receiverId resource state }
      forecast { institutionId resource state } brokenGlass { id version reason until endedAt }
      policyVersion { number replaces effectiveFrom }""",
}  # fmt: skip


def watch(
    topic: Annotated[Topic, typer.Argument(help="What to follow.")],
    credential: CredentialFile,
    *,
    after: Annotated[
        str | None, typer.Option("--after", help="Cursor of the last event you have; without it, from now on.")
    ] = None,
    institution: Annotated[
        str | None, typer.Option("--institution", help="Only of this institution.", metavar=WHICH)
    ] = None,
    region: Annotated[str | None, typer.Option("--region", help="Only of this region.")] = None,
    resource: Annotated[str | None, typer.Option("--resource", help="Only of the resource with this code.")] = None,
) -> None:
    """Print what happens as it happens, as JSON, until Ctrl-C.

    A connection that breaks off is taken up again after the last event; standard error says from where. Kept in a file,
    the cursor of the last line is where --after goes on another day.
    """
    given = {"institution": institution, "region": region, "resource": resource}
    filters: dict[str, str | None] = {name: value for name, value in given.items() if value is not None}
    if topic in {Topic.PLANS, Topic.ALERTS} and institution is not None:
        raise typer.BadParameter("plans and alerts are not of one institution.", param_hint="--institution")
    query = _query(topic, [*filters])

    def say(place: str | None) -> None:
        typer.echo(f"Following {topic} after {place}; Ctrl-C ends it.", err=True)

    async def follow() -> None:
        async with ApiClient.of(Credential.load(credential)) as client:
            async for data in client.follow(query, filters, after=after, begun=say):
                typer.echo(json.dumps(data["event"], ensure_ascii=False))

    with explained("watch"), suppress(KeyboardInterrupt):
        if institution is not None:
            filters["institution"] = institution_id(credential, institution)
        asyncio.run(follow())


def _query(topic: Topic, filters: list[str]) -> str:
    kinds = {"institution": "UUID", "region": "String", "resource": "String"}
    declared = ", ".join(f"${name}: {kinds[name]}" for name in filters)
    passed = ", ".join(f"{name}: ${name}" for name in filters)
    return (
        f"subscription{f'({declared})' if filters else ''} {{ event: {topic}{f'({passed})' if filters else ''} "
        f"{{ cursor at kind decisionId {SHOWN[topic]} }} }}"
    )
