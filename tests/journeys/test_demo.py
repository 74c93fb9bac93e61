"""The commands a newcomer types: they do what they say, and leave nothing running, however they end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.journeys.conftest import PATIENCE_SECONDS, Sharewell, eventually

from sharewell.client import ApiClient, Credential
from sharewell.replay import operations


def test_the_demo_holds_and_leaves_nothing_running(sharewell: Sharewell) -> None:
    done = sharewell.run("demo", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sharewell.processes() == []
    assert "Every step held" in done.stdout
    assert "could not be met by any sharing" in done.stdout
    assert "was told: " in done.stdout
    assert "Traceback" not in done.stderr
    # What it leaves is enough for a stranger.
    folder = sharewell.home / "demo"
    verified = sharewell.run("verify", folder / "bundle.json", "--key", folder / "log.vkey")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_stopped_in_the_middle_leaves_nothing_running(sharewell: Sharewell, how: signal.Signals) -> None:
    demo = sharewell.start("demo", "--once", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert demo.stdout is not None
    assert any("They report" in line for line in demo.stdout)
    assert sharewell.named("serve")
    assert sharewell.named("worker")
    demo.send_signal(how)
    assert demo.wait() == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    if how != signal.SIGKILL:
        assert sharewell.processes() == []
        assert demo.stderr is not None
        assert "Traceback" not in demo.stderr.read()
    assert sharewell.all_end()


def get(sharewell: Sharewell, path: str) -> httpx2.Response:
    return httpx2.get(f"{sharewell.address}{path}", timeout=PATIENCE_SECONDS)


def is_ready(sharewell: Sharewell) -> bool:
    try:
        return get(sharewell, "/readyz").is_success
    except httpx2.TransportError:
        return False


def ask(credential: Path, text: str, **variables: Any) -> Any:
    """What `sharewell client query` would print, without starting a process for it."""

    async def answer() -> Any:
        async with ApiClient.of(Credential.load(credential)) as client:
            return await client.graphql(text, variables)

    return asyncio.run(answer())


def checkpoint_size(sharewell: Sharewell) -> int:
    answer = get(sharewell, "/log/checkpoint")
    return int(answer.text.splitlines()[1]) if answer.is_success else 0


def lines_of(log: Path) -> list[dict[str, Any]]:
    whole, _, _ = log.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def assert_the_id_of_a_request_runs_into_the_workers_log(sharewell: Sharewell, admin: Path, folder: Path) -> None:
    planner = folder / "planner.json"
    sharewell.run("client", "register", "Planner", "--role", "allocator", "-c", admin, "--out", planner)
    token = sharewell.run("client", "token", "-c", planner).stdout.strip()
    variables = {"input": {"idempotencyKey": "one", "region": "palombia", "resource": "bed.adult"}}
    answer = httpx2.post(
        f"{sharewell.address}/graphql", json={"query": operations.START_ALLOCATION, "variables": variables},
        headers={"Authorization": f"Bearer {token}", "X-Request-Id": "ward-7.2026-03-01"}, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert "errors" not in answer.json()
    assert answer.headers["X-Request-Id"] == "ward-7.2026-03-01"

    def events() -> dict[str, str]:
        return {
            line["event"]: line["logger"] for line in lines_of(folder / "log")
            if line.get("request_id") == "ward-7.2026-03-01"
        }  # fmt: skip

    assert eventually(lambda: "job done" in events())
    assert events()["request"] == "sharewell.gateway"
    assert events()["nothing to allocate"] == "sharewell_workers.allocate"


def test_a_platform_serves_its_first_client_and_goes_on_after_a_stop_and_after_a_kill(
    sharewell: Sharewell, tmp_path: Path
) -> None:
    serve, log = sharewell.start("serve", log=tmp_path / "log"), tmp_path / "log"
    assert eventually(lambda: is_ready(sharewell))
    assert get(sharewell, "/healthz").json() == {"status": "ok"}
    admin = tmp_path / "admin.json"
    registered = sharewell.run("client", "register", "Head Office", "--role", "admin", "--bootstrap", "--out", admin)
    assert registered.returncode == 0, registered.stderr
    asked = sharewell.run("client", "query", "-c", admin, "{ me { roles } }")
    assert json.loads(asked.stdout) == {"me": {"roles": ["ADMIN"]}}

    assert eventually(lambda: checkpoint_size(sharewell) > 0)
    vkey = get(sharewell, "/log/vkey").text
    assert get(sharewell, "/log/checkpoint").text.splitlines()[0] == vkey.split("+")[0]
    assert (
        'sharewell_http_request_seconds_count{method="POST",route="/graphql",status="200"} 1.0'
        in get(sharewell, "/metrics").text
    )

    assert_the_id_of_a_request_runs_into_the_workers_log(sharewell, admin, tmp_path)

    # The port is taken: a second platform says so in a sentence, and the first goes on.
    second = sharewell.run("serve")
    assert second.returncode == 2
    assert "SHAREWELL_PORT" in second.stderr
    assert "Traceback" not in second.stderr

    serve.terminate()
    assert serve.wait() == 0
    assert sharewell.processes() == []
    assert not [line for line in lines_of(log) if line["level"] in ("warning", "error", "critical")]

    serve = sharewell.start("serve", log=tmp_path / "log")
    assert eventually(lambda: is_ready(sharewell))
    assert get(sharewell, "/log/vkey").text == vkey
    size = checkpoint_size(sharewell)
    made = {"idempotencyKey": "north", "code": "north", "name": "North", "kind": "HOSPITAL", "region": "palombia"}
    mutation = "mutation ($input: RegisterInstitutionInput!) { registerInstitution(input: $input) { decision { id } } }"
    told = ask(admin, mutation, input=made)
    assert eventually(lambda: checkpoint_size(sharewell) > size)

    serve.kill()
    serve.wait()
    serve = sharewell.start("serve", log=tmp_path / "log")  # at once, while the old worker is still ending
    assert eventually(lambda: is_ready(sharewell))
    assert get(sharewell, "/log/vkey").text == vkey
    assert checkpoint_size(sharewell) > size
    assert ask(admin, mutation, input=made) == told  # what was acknowledged is there

    serve.kill()
    serve.wait()
    assert sharewell.all_end()  # worker and database end with it
