"""What commands share that ask a running platform over GraphQL with a credential file."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from sharewell.client import ApiClient, ApiError, Credential

PATIENCE = 10.0  #: seconds for which a request is sent again
BY_CODE = "query ($code: String!) { institutions(filter: {codes: [$code]}, first: 1) { nodes { id } } }"
WHICH = "ID|CODE"  #: how help writes an option that `institution_id` reads


def ask(credential: Path, text: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The data of one query. Raises `ApiError` where there is none."""

    async def once() -> dict[str, Any]:
        async with ApiClient.of(Credential.load(credential), patience=PATIENCE) as client:
            return await client.graphql(text, variables)

    return asyncio.run(once())


def every(credential: Path, text: str, name: str, variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every item of the connection `name`, page by page; the query takes `$after` and selects `pageInfo`."""

    async def fetch() -> list[dict[str, Any]]:
        async with ApiClient.of(Credential.load(credential), patience=PATIENCE, timeout=60.0) as client:
            return [node async for page in _pages(client, text, name, variables) for node in page]

    return asyncio.run(fetch())


def do(credential: Path, name: str, asked: Mapping[str, Any], select: str) -> dict[str, Any]:
    """What became of the mutation `name`, sent with an idempotency key of its own."""
    text = f"mutation ($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{ {select} }} }}"
    given = {"input": {"idempotencyKey": f"{name} {secrets.token_hex(8)}", **asked}}
    done: dict[str, Any] = ask(credential, text, given)[name]
    return done


def institution_id(credential: Path, named: str | None) -> str | None:
    """The id of the institution that somebody named by id or code; None for none.

    Raises `ApiError` where none has that code for this client.
    """
    if named is None or _is_id(named):
        return named
    found = ask(credential, BY_CODE, {"code": named})["institutions"]["nodes"]
    if not found:
        raise ApiError(
            f"no institution has the code {named!r}; `{{ institutions {{ nodes {{ code name }} }} }}` lists them."
        )
    return str(found[0]["id"])


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


async def _pages(
    client: ApiClient, text: str, name: str, variables: Mapping[str, Any]
) -> AsyncIterator[list[dict[str, Any]]]:
    after = None
    while True:
        page = (await client.graphql(text, {**variables, "after": after}))[name]
        yield page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return
        after = page["pageInfo"]["endCursor"]
