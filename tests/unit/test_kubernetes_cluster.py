"""The Dask cluster under k8s/cluster: closed, without privileges or secrets, and started with options Dask knows."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit import kustomize
else:
    spec = importlib.util.spec_from_file_location("kustomize", Path(__file__).with_name("kustomize.py"))
    kustomize = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = kustomize
    spec.loader.exec_module(kustomize)

CLUSTER = Path(__file__).parents[2] / "k8s" / "cluster"
DOCUMENTS: list[dict[str, Any]] = kustomize.render(CLUSTER)
WORKLOADS = [document for document in DOCUMENTS if document["kind"] == "Deployment"]

each_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda document: str(document["metadata"]["name"]))


def only_container(workload: dict[str, Any]) -> dict[str, Any]:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(container)


@each_workload
def test_dask_knows_every_option_that_a_workload_is_started_with(workload: dict[str, Any]) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'sharewell[cluster]'")
    container = only_container(workload)
    program, part = container["command"]
    command = [str(Path(sys.executable).with_name(program)), part, "--help"]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for option in (argument.partition("=")[0] for argument in container["args"] if argument.startswith("--")):
        assert option in known


@each_workload
def test_a_workload_runs_without_privileges_and_knows_no_secret(workload: dict[str, Any]) -> None:
    pod, container = workload["spec"]["template"]["spec"], only_container(workload)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert all("valueFrom" not in variable for variable in container["env"])
    assert "envFrom" not in container
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}


@each_workload
def test_a_workload_listens_where_others_may_ask_it(workload: dict[str, Any]) -> None:
    (port,) = only_container(workload)["ports"]
    told = [argument for argument in only_container(workload)["args"] if "port=" in argument]
    assert told[0].endswith(f"={port['containerPort']}")
    allowed = {
        rule["port"]
        for policy in DOCUMENTS
        if policy["kind"] == "NetworkPolicy"
        for way in policy["spec"].get("egress", [])
        for rule in way["ports"]
    }
    assert port["containerPort"] in allowed


def test_nobody_reaches_the_cluster_or_is_reached_by_it_but_for_what_is_named() -> None:
    policies = [document["spec"] for document in DOCUMENTS if document["kind"] == "NetworkPolicy"]
    labels = {"app.kubernetes.io/name": "sharewell-dask"}
    assert {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress", "Egress"]} in policies
    for policy in policies:
        assert policy["podSelector"] == {"matchLabels": labels}
        for rule in [*policy.get("ingress", []), *policy.get("egress", [])]:
            assert rule["ports"]
            assert all("podSelector" in who for who in rule.get("from") or rule["to"])


def test_workers_look_for_the_scheduler_by_the_name_and_port_of_its_service() -> None:
    (service,) = (document for document in DOCUMENTS if document["kind"] == "Service")
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    worker = next(w for w in WORKLOADS if w["metadata"]["name"].endswith("worker"))
    assert only_container(worker)["args"][0] == address
