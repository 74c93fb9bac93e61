"""Render the part of kustomize that k8s/ uses, and refuse the rest, so that manifests are tested without a cluster.

Where `kubectl` is installed, a test compares this with what `kubectl kustomize` makes of the same folders.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Document: TypeAlias = dict[str, Any]

KNOWN = {"apiVersion", "kind", "resources", "namespace", "labels", "images", "patches"}
CLUSTER_WIDE = {"Namespace"}


class CannotRender(Exception):
    """The folder uses something this renderer does not know, or that cannot be meant."""


def render(folder: Path) -> list[Document]:
    """The documents that `kubectl apply --kustomize folder` would send."""
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if strange := set(plan) - KNOWN:
        raise CannotRender(f"{folder}: {sorted(strange)} is not supported")
    documents = [document for name in plan["resources"] for document in read(folder / name)]
    for patch in plan.get("patches", []):
        apply_patch(documents, patch)
    for document in documents:
        if "namespace" in plan and document["kind"] not in CLUSTER_WIDE:
            document["metadata"]["namespace"] = plan["namespace"]
        for labels in plan.get("labels", []):
            add_labels(document, labels)
        for image in plan.get("images", []):
            name_image(document, image)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    if len(set(names)) != len(names):
        raise CannotRender(f"{folder}: something is there twice: {names}")
    return documents


def read(path: Path) -> list[Document]:
    if path.is_dir():
        return render(path)
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def add_labels(document: Document, labels: Mapping[str, Any]) -> None:
    if strange := set(labels) - {"pairs", "includeTemplates"}:
        raise CannotRender(f"labels: {sorted(strange)} is not supported")
    document["metadata"].setdefault("labels", {}).update(labels["pairs"])
    template = document.get("spec", {}).get("template")
    if labels.get("includeTemplates") and template:
        template["metadata"].setdefault("labels", {}).update(labels["pairs"])


def name_image(document: Document, image: Mapping[str, str]) -> None:
    if strange := set(image) - {"name", "newName", "newTag"}:
        raise CannotRender(f"images: {sorted(strange)} is not supported")
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
        if container["image"].partition(":")[0] == image["name"]:
            container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"


def apply_patch(documents: Sequence[Document], patch: Mapping[str, Any]) -> None:
    """Apply a JSON patch (RFC 6902) to every document that its target selects, of which there must be one."""
    if set(patch) != {"target", "patch"}:
        raise CannotRender("a patch needs a target and an inline patch, and nothing else")
    operations = yaml.safe_load(patch["patch"])
    if not isinstance(operations, list):
        raise CannotRender(f"the patch for {patch['target']} is not a list of JSON patch operations")
    chosen = [document for document in documents if selected(document, patch["target"])]
    if not chosen:
        raise CannotRender(f"nothing matches {patch['target']}")
    for document in chosen:
        for operation in operations:
            operate(document, copy.deepcopy(operation))


def selected(document: Document, target: Mapping[str, str]) -> bool:
    if strange := set(target) - {"kind", "name", "labelSelector"}:
        raise CannotRender(f"target: {sorted(strange)} is not supported")
    label, _, value = target.get("labelSelector", "").partition("=")
    return (
        re.fullmatch(target["kind"], document["kind"]) is not None
        and re.fullmatch(target.get("name", ".*"), document["metadata"]["name"]) is not None
        and (not label or document["metadata"].get("labels", {}).get(label) == value)
    )


def operate(document: Document, operation: Mapping[str, Any]) -> None:
    *parents, last = steps(operation["path"])
    place: Any = document
    for step in parents:
        place = place[int(step)] if isinstance(place, list) else place[step]
    key: Any = last
    if isinstance(place, list):
        key = len(place) if last == "-" else int(last)
    if operation["op"] == "add" and isinstance(place, list):
        place.insert(key, operation["value"])
    elif operation["op"] == "add":
        place[key] = operation["value"]
    elif operation["op"] == "replace" and isinstance(place, dict):
        if key not in place:
            raise CannotRender(f"there is no {operation['path']} to replace")
        place[key] = operation["value"]
    else:
        raise CannotRender(f"operation {operation['op']} is not supported")


def steps(pointer: str) -> Iterator[str]:
    if not pointer.startswith("/"):
        raise CannotRender(f"{pointer} is no JSON pointer")
    return (step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/"))
