"""docs/api.md as its readers use it: every snippet is run, and every answer in it is what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from sharewell.client import Credential
from sharewell.domain.clients import ClientDraft
from sharewell.domain.drift import Watch
from sharewell.domain.forecast import Forecast
from sharewell.domain.principals import Role
from sharewell.gateway.app import Parts, build_app
from sharewell.gateway.oauth.keys import load_or_create
from sharewell.gateway.server import bind, serve
from sharewell.services.trials import Attempt
from sharewell.wiring import migrations, operator, worker_caller
from sharewell_schema.view import graphql_app

if TYPE_CHECKING:
    from tests.postgres.graphql.conftest import Api

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
BLOCK = re.compile(r"(?:^(Variables|Answer):\n\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What differs each time: ids, and cursors (22 characters of base64url).
CHANGES = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\w-]{22}")


@dataclass
class Example:
    query: str
    variables: Any = None
    answer: Any = None


def examples() -> list[Example]:
    found: list[Example] = []
    for said, kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "graphql":
            found.append(Example(text))
        elif said == "Variables":
            found[-1].variables = json.loads(text)
        elif said == "Answer":
            found[-1].answer = json.loads(text)
    return found


def snippet(kind: str) -> str:
    (text,) = [text for _, each, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if each == kind]
    return text  # type: ignore[no-any-return]


def lasting(value: Any) -> Any:
    """`value` without what differs each time."""
    if isinstance(value, dict):
        return {name: lasting(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [lasting(inner) for inner in value]
    return CHANGES.sub("*", value) if isinstance(value, str) else value


async def is_forecast(api: Api, institution: UUID) -> None:
    """Adopt a model and what it expects of the clinic tomorrow; thirty such forecasts were judged before."""
    forecaster, services = worker_caller("forecast", "r-3"), api.workers
    values = {  # by horizon and method: tasks, score, score of logarithms, shares held
        (0, "model"): (280, "6.2000", "0.0600", (".51", ".79", ".94")),
        (1, "model"): (40, "5.5000", "0.0500", (".50", ".80", ".95")),
    }
    scores = [
        {"method": method, "horizon": horizon, "tasks": tasks, "wis": wis if method == "model" else "10.0000",
         "log_wis": log if method == "model" else "0.1000",
         "coverage": dict(zip(("500", "800", "950"), held, strict=True))}
        for (horizon, _), (tasks, wis, log, held) in values.items()
        for method in ("model", "in-force", "seasonal-naive", "persistence")
    ]  # fmt: skip
    yesterday = api.at.date() - timedelta(days=1)
    history = await services.forecasts.history("bed.adult")
    attempt = Attempt(
        step_days=1, origin=yesterday, champion="naive", data_sha256="ab" * 32, code={}, training={}, body=b"a model",
        backtest={"scores": scores},
    )  # fmt: skip
    trial = (await services.trials.conclude(forecaster, history, attempt)).subject
    forecast = Forecast(
        institution=institution, resource="bed.adult", signal="need", origin=yesterday,
        target=yesterday + timedelta(days=2), horizon=2, quantiles=((100, 91_500), (500, 98_000), (900, 104_250)),
        model=trial.model,
    )  # fmt: skip
    await services.forecasts.adopt(
        forecaster, history, step_days=1, origin=yesterday, model=trial.model, trial=trial.id, data_sha256="ab" * 32,
        code_sha256="cd" * 32, forecasts=[forecast],
    )  # fmt: skip
    watch = Watch(
        institution=institution, resource="bed.adult", last_target=yesterday, known_at=api.at, judged=30, missed=5
    )
    async with services.database.transaction() as tx:
        await tx.drift.save([(watch, None)])


@pytest.fixture
async def clinic(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A platform on a real port, and the reader's credential file `clinic.json` in the working folder."""
    institution = await api.institution("clinic")
    await is_forecast(api, UUID(institution))
    taken, stop, ready = bind("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    people = api.people
    parts = Parts(
        issuer=address, keys=load_or_create(tmp_path / "keys.json", at=datetime.now(UTC)),
        database=people.database, clients=people.clients, people=people.people, grants=people.grants,
        access=people.access, migrations=migrations(), registry=CollectorRegistry(),
    )  # fmt: skip
    credential = Credential.generate(address, "clinic-bot", ["system/*.cruds"])
    draft = ClientDraft(
        name="Clinic bot", client_id="clinic-bot", roles=frozenset({Role.INSTITUTION}), scopes=credential.scopes,
        jwks=credential.public_jwks, institution=UUID(institution),
    )  # fmt: skip
    await people.clients.register(operator(), draft)
    credential.save(tmp_path / "clinic.json")
    monkeypatch.chdir(tmp_path)
    serving = asyncio.create_task(serve(build_app(parts, graphql_app(people)), taken, stop, ready=ready))
    await ready.wait()
    yield address
    stop.set()
    await serving


async def python_of_the_page() -> tuple[str, Callable[..., Any]]:
    """What the Python snippet prints, and the function it makes."""
    names: dict[str, Any] = {}
    printed = io.StringIO()

    def run() -> None:
        with contextlib.redirect_stdout(printed):
            exec(compile(snippet("python"), str(PAGE), "exec"), names)

    await asyncio.to_thread(run)
    return printed.getvalue(), names["ask"]


async def test_every_answer_on_the_page_is_what_comes_back(api: Api, clinic: str) -> None:
    printed, ask = await python_of_the_page()
    assert "'clientId': 'clinic-bot'" in printed
    run = examples()
    assert len(run) >= 8
    for example in run:
        answer = await asyncio.to_thread(ask, example.query, example.variables)
        assert lasting(answer) == lasting(example.answer), example.query


async def test_the_commands_on_the_page_say_who_one_is(clinic: str) -> None:
    environment = {**os.environ, "SHAREWELL": clinic, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", snippet("bash"), env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    if b"curl: command not found" in err or b"curl: not found" in err:
        pytest.skip("there is no curl on this machine")
    assert process.returncode == 0, err.decode()
    first, _, second = out.decode().partition("}\n{")
    me = {"me": {"clientId": "clinic-bot", "roles": ["INSTITUTION"], "institution": {"code": "clinic"}}}
    assert json.loads(first + "}") == me
    assert json.loads("{" + second) == {"data": me}


def test_every_example_has_an_answer() -> None:
    assert all(example.answer is not None for example in examples())


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    from sharewell_schema import limits, view  # noqa: PLC0415

    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    for said in (
        f"{limits.MOST_CHARACTERS:,} characters", f"{limits.MOST_TOKENS:,} tokens", f"{limits.DEEPEST} levels",
        f"{limits.MOST_FIELDS} fields", f"{limits.MOST_ALIASES} aliases", f"{view.LONGEST_SECONDS:.0f} seconds",
    ):  # fmt: skip
        assert said in page, said
