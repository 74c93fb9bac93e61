"""The manifests under k8s/, rendered and checked without a cluster."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import typer
import yaml

from sharewell.audit.trust import own_policy, read_witnessed
from sharewell.cli.main import app
from sharewell.gateway.oauth.issuers import load as load_issuers
from sharewell.settings import Settings
from sharewell_workers.worker import NAMES

if TYPE_CHECKING:
    from tests.unit import kustomize
else:
    spec = importlib.util.spec_from_file_location("kustomize", Path(__file__).with_name("kustomize.py"))
    kustomize = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = kustomize
    spec.loader.exec_module(kustomize)

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = ["overlays/dev", "overlays/dev-outside", "overlays/prod", "overlays/prod-outside"]
FOLDERS = ["base", "postgres", "cluster", *OVERLAYS]
MOUNTED = "/etc/sharewell/outside/"
VERSIONS = ["1.30", kubernetes_validate.latest_version()]  #: the oldest that is promised, and the newest known

#: Kinds of operators, which the Kubernetes schemas do not cover, with the fields of `spec` that we may use.
CUSTOM = {
    "postgresql.cnpg.io/v1 Cluster": {
        "affinity", "bootstrap", "enablePDB", "enableSuperuserAccess", "imageName", "instances", "managed", "plugins",
        "postgresql", "resources", "storage", "walStorage",
    },
    "postgresql.cnpg.io/v1 ScheduledBackup": {
        "backupOwnerReference", "cluster", "immediate", "method", "pluginConfiguration", "schedule",
    },
    "barmancloud.cnpg.io/v1 ObjectStore": {"configuration", "retentionPolicy"},
    "monitoring.coreos.com/v1 PodMonitor": {"podMetricsEndpoints", "selector"},
}  # fmt: skip


def rendered(folder: str) -> list[dict[str, Any]]:
    return kustomize.render(K8S / folder)


def key(document: dict[str, Any]) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def of_kind(folder: str, *kinds: str) -> list[dict[str, Any]]:
    return [document for document in rendered(folder) if document["kind"] in kinds]


def workloads(folder: str) -> Iterator[Any]:
    """Every workload of ours with its pod and containers."""
    for document in of_kind(folder, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"):
        pod = document["spec"]["template"]["spec"]
        yield pytest.param(
            document,
            pod,
            [*pod.get("initContainers", []), *pod["containers"]],
            id=f"{folder}-{document['metadata']['name']}",
        )


WORKLOADS = [param for folder in OVERLAYS for param in workloads(folder)]
each_workload = pytest.mark.parametrize(("document", "pod", "containers"), WORKLOADS)


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed, so there is nothing to compare with"
)
@pytest.mark.parametrize("folder", FOLDERS)
def test_our_rendering_is_what_kubectl_renders(folder: str) -> None:
    command = ["kubectl", "kustomize", str(K8S / folder)]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert sorted(rendered(folder), key=key) == sorted(yaml.safe_load_all(text), key=key)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_document_fits_the_schemas_of_kubernetes(folder: str, version: str) -> None:
    checked = 0
    for document in rendered(folder):
        if f"{document['apiVersion']} {document['kind']}" not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)
            checked += 1
    assert checked or folder == "postgres"


def test_the_check_against_the_schemas_finds_a_misspelt_field() -> None:
    deployment = of_kind("base", "Deployment")[0]
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_operators_kinds_use_only_fields_they_are_known_to_have(folder: str) -> None:
    for document in rendered(folder):
        fields = CUSTOM.get(f"{document['apiVersion']} {document['kind']}")
        if fields is not None:
            assert set(document["spec"]) <= fields


@each_workload
def test_a_workload_runs_without_privileges(document: Any, pod: Any, containers: Any) -> None:
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] >= 10_000
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    for container in containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@each_workload
def test_a_workload_is_limited_and_its_scratch_space_too(document: Any, pod: Any, containers: Any) -> None:
    for container in containers:
        for bound in ("requests", "limits"):
            assert container["resources"][bound].keys() == {"cpu", "memory"}
        assert {"tmp", "home"} <= {mount["name"] for mount in container["volumeMounts"]}
    for volume in pod["volumes"]:
        assert "hostPath" not in volume
        if "emptyDir" in volume:
            assert volume["emptyDir"]["sizeLimit"]


@each_workload
def test_a_process_that_stays_is_probed_on_a_port_it_names(document: Any, pod: Any, containers: Any) -> None:
    if document["kind"] == "Job":
        assert document["spec"]["activeDeadlineSeconds"]
        return
    for container in containers:
        ports = {port["name"] for port in container["ports"]}
        for probe, path in (("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")):
            asked = container[f"{probe}Probe"]["httpGet"]
            assert asked["path"] == path
            assert asked["port"] in ports


@each_workload
def test_a_workload_is_closed_to_the_network_but_for_what_is_named(document: Any, pod: Any, containers: Any) -> None:
    stem = f"overlays/{'dev' if document['metadata']['namespace'].endswith('dev') else 'prod'}"
    labels = document["spec"]["template"]["metadata"]["labels"].items()
    policies = [
        policy["spec"]
        for folder in OVERLAYS
        if folder.startswith(stem)
        for policy in of_kind(folder, "NetworkPolicy")
        if policy["spec"]["podSelector"]["matchLabels"].items() <= labels
    ]
    assert {kind for policy in policies for kind in policy["policyTypes"]} == {"Ingress", "Egress"}
    for policy in policies:
        for rule in [*policy.get("ingress", []), *policy.get("egress", [])]:
            assert rule["ports"]
            assert rule.get("from") or rule.get("to"), "open to everybody"


@each_workload
def test_a_workload_holds_one_database_login_and_only_by_reference(document: Any, pod: Any, containers: Any) -> None:
    (container,) = containers
    component = document["metadata"]["labels"]["app.kubernetes.io/component"]
    role = "migrator" if component == "migrate" else component
    secret = {variable["name"]: variable for variable in container["env"] if "valueFrom" in variable}
    assert secret == {
        f"SHAREWELL_DATABASE_URL_{role.upper()}": {
            "name": f"SHAREWELL_DATABASE_URL_{role.upper()}",
            "valueFrom": {"secretKeyRef": {"name": f"sharewell-database-{role}", "key": "url"}},
        }
    }


@each_workload
def test_only_the_sequencer_can_read_the_key_of_the_log(document: Any, pod: Any, containers: Any) -> None:
    sources = [source for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", [])]
    whole = [
        volume["secret"]["secretName"] for volume in pod["volumes"] if "items" not in volume.get("secret", {"items": 1})
    ]
    items = {item["key"] for source in sources for item in source["secret"]["items"]}
    assert whole == []
    assert ("audit-log.key" in items) == (document["metadata"]["name"] == "sharewell-sequencer")
    assert ("oauth-keys.json" in items) == (document["metadata"]["name"] == "sharewell-gateway")


@each_workload
def test_an_image_says_which_release_it_is(document: Any, pod: Any, containers: Any) -> None:
    for container in containers:
        name, _, tag = container["image"].rpartition(":")
        assert name.endswith("sharewell")
        assert re.fullmatch(r"\d+\.\d+\.\d+", tag)


@pytest.mark.parametrize("folder", OVERLAYS)
def test_whatever_is_referred_to_is_there(folder: str) -> None:
    names = {key(document) for document in rendered(folder)}
    labels = {
        document["metadata"]["name"]: document["spec"]["template"]["metadata"]["labels"].items()
        for document in of_kind(folder, "Deployment", "Job")
    }
    for document in of_kind(folder, "Deployment", "Job"):
        pod = document["spec"]["template"]["spec"]
        assert ("ServiceAccount", pod["serviceAccountName"]) in names
        for container in pod["containers"]:
            for source in container["envFrom"]:
                assert ("ConfigMap", source["configMapRef"]["name"]) in names
            assert {mount["name"] for mount in container["volumeMounts"]} == {
                volume["name"] for volume in pod["volumes"]
            }
    for document in of_kind(folder, "Deployment", "Service", "PodDisruptionBudget"):
        selector = document["spec"]["selector"]
        wanted = selector.get("matchLabels", selector).items()
        assert [name for name in labels if wanted <= labels[name]] == [document["metadata"]["name"]]
    for scaler in of_kind(folder, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in names
        assert "replicas" not in next(d for d in rendered(folder) if key(d) == (target["kind"], target["name"]))["spec"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_secret_is_written_down(folder: str) -> None:
    assert of_kind(folder, "Secret") == []
    text = yaml.safe_dump(rendered(folder))
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text)
    assert "PRIVATE" not in text
    assert not re.search(r"(?i)password:\s*\S", text)


@pytest.mark.parametrize("folder", OVERLAYS)
def test_the_settings_are_ones_the_platform_knows_and_accepts(folder: str) -> None:
    asked: set[str] = set()

    class Watched(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    settings = next(each for each in of_kind(folder, "ConfigMap") if key(each)[1] == "sharewell-settings")
    read = Settings.from_environment(Watched(settings["data"]))
    assert read.host == "0.0.0.0"
    assert settings["data"].keys() <= asked


def test_in_production_the_pods_of_the_ingress_are_believed_and_no_other_network_is() -> None:
    settings = next(each for each in of_kind("overlays/prod", "ConfigMap") if key(each)[1] == "sharewell-settings")
    (believed,) = Settings.from_environment(settings["data"]).trusted_proxies
    assert believed.is_private
    assert believed.prefixlen >= 16


@pytest.mark.parametrize("folder", [folder for folder in OVERLAYS if folder.endswith("-outside")])
def test_what_a_gateway_or_sequencer_needs_of_the_world_outside_is_mounted_and_can_be_read(
    folder: str, tmp_path: Path
) -> None:
    lists = next(each for each in of_kind(folder, "ConfigMap") if key(each)[1] == "sharewell-outside")["data"]
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    named: set[str] = set()
    for document in of_kind(folder, "Deployment"):
        pod = document["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        given = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        here = {name: value.replace(MOUNTED, f"{tmp_path}/") for name, value in given.items()}
        files = {value.removeprefix(MOUNTED) for value in given.values() if value.startswith(MOUNTED)}
        mounted = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "outside"]
        assert mounted == ([MOUNTED.rstrip("/")] if files else [])
        read = Settings.from_environment(here)
        assert (read.issuers_file is None) or load_issuers(read.issuers_file)
        assert own_policy(read.log_policy, tmp_path).quorum_met([]) == (read.log_policy is None)
        assert bool(read_witnessed(read.witness_logs)) == (read.witness_logs is not None)
        named |= files
    assert named == lists.keys()


@pytest.mark.parametrize("folder", [folder for folder in OVERLAYS if folder.endswith("-outside")])
def test_whoever_fetches_from_outside_has_a_way_out_and_nobody_else_has(folder: str) -> None:
    asks = {"SHAREWELL_ISSUERS": "gateway", "SHAREWELL_EGRESS": "gateway", "SHAREWELL_LOG_POLICY": "sequencer"}
    given = {
        (variable["name"], document["metadata"]["labels"]["app.kubernetes.io/component"])
        for document in of_kind(folder, "Deployment")
        for variable in document["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    wanted = {component for name, component in asks.items() if (name, component) in given}
    opened = {
        policy["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component")
        for policy in of_kind(folder, "NetworkPolicy")
        if any("ipBlock" in peer for rule in policy["spec"].get("egress", []) for peer in rule.get("to", []))
    }
    assert opened == wanted


@pytest.mark.parametrize("folder", OVERLAYS)
def test_the_database_takes_the_connections_of_all_replicas(folder: str) -> None:
    (cluster,) = of_kind(folder, "Cluster")
    limits = {role["name"]: role["connectionLimit"] for role in cluster["spec"]["managed"]["roles"]}
    (scaler,) = of_kind(folder, "HorizontalPodAutoscaler")
    replicas = {
        document["metadata"]["name"].replace("-", "_"): document["spec"].get("replicas", scaler["spec"]["maxReplicas"])
        for document in of_kind(folder, "Deployment")
    }
    pools, surge = {"sharewell_gateway": 20, "sharewell_worker": 10, "sharewell_sequencer": 3}, 1
    for role, pool in pools.items():
        assert (replicas[role] + surge) * pool <= limits[role]
    assert sum(limits.values()) + 20 <= int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        ("resources: []\nnameSuffix: -x", "nameSuffix"),
        ("resources: [a.yaml, a.yaml]", "twice"),
        ("resources: [a.yaml]\npatches: [{target: {kind: Pod}, patch: '[]'}]", "nothing matches"),
        ("resources: [a.yaml]\npatches: [{target: {kind: Job}, patch: '{a: 1}'}]", "not a list"),
        ("resources: [a.yaml]\npatches: [{target: {kind: Job}, patch: '[{op: move, path: /a}]'}]", "move"),
        ("resources: [a.yaml]\nlabels: [{pairs: {a: b}, includeSelectors: true}]", "includeSelectors"),
        ("resources: [a.yaml]\nimages: [{name: a, digest: b}]", "digest"),
    ],
)
def test_the_renderer_refuses_what_it_does_not_know(tmp_path: Path, plan: str, fault: str) -> None:
    (tmp_path / "a.yaml").write_text("kind: Job\nmetadata: {name: a}\n")
    (tmp_path / "kustomization.yaml").write_text(plan)
    with pytest.raises(kustomize.CannotRender, match=fault):
        kustomize.render(tmp_path)


@each_workload
def test_the_command_line_knows_what_a_workload_asks_of_it(document: Any, pod: Any, containers: Any) -> None:
    commands: Any = typer.main.get_command(app)
    for container in containers:
        name, *arguments = container["args"]
        parsed = commands.get_command(None, name).make_context(name, arguments).params
        assert parsed.get("metrics_port", 8080) == 8080
        assert set(parsed.get("jobs", "seal").split(",")) <= set(NAMES)


def test_every_job_is_run_by_some_workload() -> None:
    given = [
        container["args"] for _, _, containers in (param.values for param in WORKLOADS) for container in containers
    ]
    jobs = [arguments[arguments.index("--jobs") + 1] for arguments in given if "--jobs" in arguments]
    assert {job for listed in jobs for job in listed.split(",")} == set(NAMES)
