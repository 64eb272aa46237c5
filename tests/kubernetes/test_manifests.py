"""The manifests, offline: valid to the letter, by the rules, and the rules notice when they are not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from mcpctl.server import settings as server_settings
from mcplocal import settings as gateway_settings
from tests.kubernetes import reach
from tests.kubernetes.reach import End
from tests.kubernetes.rendering import MANIFESTS, OVERLAYS, ROOT, Document, containers, one, overlay, render
from tests.kubernetes.rules import RULES

CLUSTERS = ("1.30", "1.37")
"""The oldest and the newest version that the manifests are for."""


@pytest.fixture(params=OVERLAYS)
def documents(request: pytest.FixtureRequest) -> list[Document]:
    """Each overlay, rendered."""
    return overlay(request.param)


@pytest.mark.parametrize("version", CLUSTERS)
def test_every_document_is_valid_to_the_letter(documents: list[Document], version: str) -> None:
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
    assert len(documents) > 20


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_kept(documents: list[Document], rule: str) -> None:
    assert [] == list(RULES[rule](documents))


def test_the_image_is_built_as_the_linter_likes_it() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Containerfile"], capture_output=True, text=True, check=False
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def strings(value: Any) -> Iterator[str]:
    """Every text anywhere in a document."""
    if isinstance(value, dict):
        yield from (text for one in value.values() for text in strings(one))
    elif isinstance(value, list):
        yield from (text for one in value for text in strings(one))
    else:
        yield str(value)


@pytest.mark.parametrize(("name", "host"), [("production", "mcp.ad.itaz.eu"), ("dev", "mcp.localhost")])
def test_the_host_is_one_setting_and_all_that_knows_it_follows(name: str, host: str, tmp_path: Path) -> None:
    where = tmp_path / "k8s"
    shutil.copytree(MANIFESTS, where)
    file = where / "overlays" / name / "kustomization.yaml"
    text = file.read_text()
    assert 1 == text.count(host)
    file.write_text(text.replace(host, "tools.example.org"))
    changed = render(where / "overlays" / name)
    assert [] == [text for document in changed for text in strings(document) if host in text]
    for documents, wanted in ((overlay(name), host), (changed, "tools.example.org")):
        ingress = one(documents, "Ingress", "mcp")["spec"]
        assert [wanted] == [rule["host"] for rule in ingress["rules"]]
        assert [wanted] == [host for tls in ingress["tls"] for host in tls["hosts"]]
        settings = one(documents, "ConfigMap", "mcp-settings")
        assert wanted == settings["data"]["host"]
        gateway = one(documents, "Deployment", "mcp")["spec"]["template"]["spec"]["containers"][0]
        environment = {variable["name"]: variable for variable in gateway["env"]}
        of = {"name": settings["metadata"]["name"], "key": "host"}
        assert of == environment["MCP_HOST"]["valueFrom"]["configMapKeyRef"]
        assert "https://$(MCP_HOST)" == environment["MCPLOCAL_PUBLIC_URL"]["value"]
        assert "$(MCP_HOST)" in environment["MCPLOCAL_ALLOWED_HOSTS"]["value"].split(",")
        # A variable is put in only where it is named after it.
        assert [*environment].index("MCP_HOST") < [*environment].index("MCPLOCAL_PUBLIC_URL")


def environment_of(documents: list[Document], name: str) -> dict[str, str]:
    """The variables of a Deployment's container as its cluster sets them."""
    settings = one(documents, "ConfigMap", "mcp-settings")["data"]
    found: dict[str, str] = {}
    for variable in one(documents, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["env"]:
        source = variable.get("valueFrom", {})
        value = settings[source["configMapKeyRef"]["key"]] if "configMapKeyRef" in source else variable.get("value", "mcpctl")
        found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: found[match[1]], value)
    return found


def test_both_programs_take_the_settings_that_they_are_given(
    documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("MCPCTL_", "MCPLOCAL_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "value").write_text("a value of its own")
    for deployment in ("mcpctl", "mcp"):
        for name, value in environment_of(documents, deployment).items():
            monkeypatch.setenv(name, str(tmp_path / "value") if value.startswith("/run/secrets/") else value)
    control_plane = server_settings.load({})
    assert (("0.0.0.0", 9470), 5.0) == (control_plane.metrics_address, control_plane.drain_seconds)
    gateway, host = gateway_settings.load(), one(documents, "Ingress", "mcp")["spec"]["rules"][0]["host"]
    assert (f"https://{host}", "http://mcpctl:8470", ()) == (
        gateway.public_url,
        gateway.control_plane,
        gateway.upstream_networks,
    )
    assert (("0.0.0.0", 9471), 5.0) == (gateway.metrics_address, gateway.drain_delay)
    assert (ip_network("10.244.0.0/16"),) == gateway.trusted_proxies
    assert {host, "mcp", "mcp.mcpctl.svc", "mcp.mcpctl.svc.cluster.local"} <= set(gateway.allowed_hosts)


def test_agents_find_a_service_called_mcp_through_the_ingress_and_stay_with_one_gateway(documents: list[Document]) -> None:
    service, ingress = one(documents, "Service", "mcp"), one(documents, "Ingress", "mcp")
    backends = {path["path"]: path["backend"]["service"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]}
    assert {"/mcp", "/projects", "/.well-known/oauth-protected-resource"} == set(backends)
    assert all({"name": "mcp", "port": {"name": "http"}} == backend for backend in backends.values())
    assert "ClientIP" == service["spec"]["sessionAffinity"]
    assert "$http_authorization" == ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/upstream-hash-by"]
    assert "off" == ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-buffering"]


def test_the_cache_is_a_claim_at_its_place(documents: list[Document]) -> None:
    pod = one(documents, "Deployment", "mcp")["spec"]["template"]["spec"]
    (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == "/var/lib/mcplocal/cache")
    (volume,) = (one for one in pod["volumes"] if one["name"] == mount["name"])
    claim = one(documents, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    replicas = one(documents, "Deployment", "mcp")["spec"]["replicas"]
    assert (["ReadWriteMany"] if replicas > 1 else ["ReadWriteOnce"]) == claim["spec"]["accessModes"]


def test_production_has_several_of_each_on_postgresql_and_one_at_a_time_is_exchanged() -> None:
    documents = overlay("production")
    for name, least in (("mcpctl", 3), ("mcp", 2)):
        spec = one(documents, "Deployment", name)["spec"]
        assert least <= spec["replicas"]
        assert {"maxUnavailable": 0, "maxSurge": 1} == spec["strategy"]["rollingUpdate"]
    control_plane = one(documents, "Deployment", "mcpctl")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "MCPCTL_DATABASE_URL_FILE", "value": "/run/secrets/mcpctl-database/url"} in control_plane["env"]
    assert (
        "--database=postgresql:5432/mcpctl"
        in one(documents, "Job", "mcpctl-bootstrap")["spec"]["template"]["spec"]["containers"][0]["args"]
    )


INTERNET, METADATA, PRIVATE = End(address="203.0.113.7"), End(address="169.254.169.254"), End(address="10.1.2.3")
COMPONENTS = (
    ("external-database", True, "StatefulSet", "postgresql"),
    ("cache-per-pod", False, "PersistentVolumeClaim", "mcp-cache"),
)


@pytest.mark.parametrize(("component", "instead", "kind", "name"), COMPONENTS)
def test_another_database_and_another_cache_are_one_line(
    component: str, instead: bool, kind: str, name: str, tmp_path: Path
) -> None:
    where = tmp_path / "k8s"
    shutil.copytree(MANIFESTS, where)
    file = where / "overlays" / "production" / "kustomization.yaml"
    line = "  - ../../components/postgresql\n"
    text = file.read_text()
    assert 1 == text.count(line)
    added = f"  - ../../components/{component}\n"
    file.write_text(text.replace(line, added if instead else line + added))
    documents = render(where / "overlays" / "production")
    for document in documents:
        kubernetes_validate.validate(document, CLUSTERS[0], strict=True)
    for rule in RULES.values():
        assert [] == list(rule(documents))
    assert [] == [document for document in documents if (document["kind"], document["metadata"]["name"]) == (kind, name)]
    control_plane = End("mcpctl", {"app.kubernetes.io/name": "mcpctl"})
    assert instead == reach.reaches(documents, control_plane, PRIVATE, 5432)
    assert (not instead) == ("--database" in str(one(documents, "Job", "mcpctl-bootstrap")))


def test_two_processes_never_have_one_sqlite_file() -> None:
    spec = one(overlay("dev"), "Deployment", "mcpctl")["spec"]
    assert (1, {"type": "Recreate"}) == (spec["replicas"], spec["strategy"])


def test_what_is_run_by_hand_waits_until_it_is_wanted(documents: list[Document]) -> None:
    job = one(documents, "Job", "mcp-smoke-test")["spec"]
    assert [True, True] == [job["suspend"], one(documents, "Job", "mcpctl-rotation")["spec"]["suspend"]]
    assert ["mcpctl", "test", "mcp"] == job["template"]["spec"]["containers"][0]["args"][:3]


REACHES = (
    ("mcp", "mcpctl", 8470, True),
    ("mcp", "mcpctl", 9470, False),
    ("mcp", "postgresql", 5432, False),
    ("mcp", INTERNET, 443, True),
    ("mcp", INTERNET, 80, False),
    ("mcp", METADATA, 443, False),
    ("mcp", METADATA, 80, False),
    ("mcp", PRIVATE, 443, False),
    ("mcp", End(address="fd00::1"), 443, False),
    ("mcp", End("tools", {"mcpctl/upstream": "allowed"}, {"mcpctl/upstreams": "allowed"}), 8000, True),
    ("mcp", End("tools", {}, {"mcpctl/upstreams": "allowed"}), 8000, False),
    ("mcp", End("other", {"mcpctl/upstream": "allowed"}, {}), 8000, False),
    ("mcpctl", "postgresql", 5432, True),
    ("mcpctl", "mcp", 8471, False),
    ("mcpctl", INTERNET, 443, False),
    ("mcpctl", METADATA, 80, False),
    ("mcpctl-bootstrap", "mcpctl", 8470, True),
    ("mcpctl-bootstrap", "mcp", 8471, False),
    ("mcpctl-bootstrap", "postgresql", 5432, False),
    ("mcpctl-bootstrap", PRIVATE, 443, True),
    ("mcpctl-bootstrap", METADATA, 80, False),
    ("mcp-smoke-test", "mcp", 8471, True),
    ("mcp-smoke-test", "mcpctl", 8470, False),
    ("mcp-smoke-test", INTERNET, 443, False),
    ("postgresql", INTERNET, 443, False),
    ("postgresql", "mcpctl", 8470, False),
    (End("ingress-nginx", {}, {"kubernetes.io/metadata.name": "ingress-nginx"}), "mcp", 8471, True),
    (End("ingress-nginx", {}, {"kubernetes.io/metadata.name": "ingress-nginx"}), "mcpctl", 8470, False),
    (End("agents", {"mcpctl/agent": "allowed"}, {"mcpctl/agents": "allowed"}), "mcp", 8471, True),
    (End("agents", {}, {"mcpctl/agents": "allowed"}), "mcp", 8471, False),
    (End("other", {"mcpctl/agent": "allowed"}, {}), "mcp", 8471, False),
    (End("agents", {"mcpctl/agent": "allowed"}, {"mcpctl/agents": "allowed"}), "mcpctl", 8470, False),
    (End("other", {"app.kubernetes.io/name": "mcp"}, {}), "mcpctl", 8470, False),
    (End("monitoring", {}, {"kubernetes.io/metadata.name": "monitoring"}), "mcpctl", 9470, True),
    (End("monitoring", {}, {"kubernetes.io/metadata.name": "monitoring"}), "mcpctl", 8470, False),
    (End("monitoring", {}, {"kubernetes.io/metadata.name": "monitoring"}), "mcp", 9471, True),
    (End("other", {}, {}), "postgresql", 5432, False),
    (End(address="198.51.100.9"), "mcp", 8471, False),
)


@pytest.mark.parametrize(("source", "target", "port", "may"), REACHES)
def test_who_reaches_whom(source: str | End, target: str | End, port: int, may: bool) -> None:
    def end(of: str | End) -> End:
        return End("mcpctl", {"app.kubernetes.io/name": of}) if isinstance(of, str) else of

    assert may == reach.reaches(overlay("production"), end(source), end(target), port)


POD = ("spec", "template", "spec")
OWN = (*POD, "containers", 0)
DRAINS = "what_serves_has_time_to_drain"
METRICS = "metrics_are_shown_where_they_are_looked_for"
WORDS = "settings_and_commands_exist"
NOBODY = "runs_as_nobody_and_writes_nowhere"
SECRETS = "secrets_are_named_and_never_written_down"
ATTACKS: tuple[tuple[str, str, str, tuple[str | int, ...], Any], ...] = (
    (NOBODY, "Deployment", "mcp", (*OWN, "securityContext", "readOnlyRootFilesystem"), False),
    (NOBODY, "Deployment", "mcp", (*OWN, "securityContext", "runAsUser"), 0),
    (NOBODY, "Deployment", "mcpctl", (*POD, "securityContext", "runAsNonRoot"), False),
    (NOBODY, "StatefulSet", "postgresql", (*OWN, "securityContext", "capabilities"), {"add": ["CHOWN"]}),
    (NOBODY, "Job", "mcpctl-bootstrap", (*POD, "securityContext", "seccompProfile"), None),
    ("shares_nothing_with_its_node", "Deployment", "mcp", (*POD, "hostNetwork"), True),
    ("shares_nothing_with_its_node", "Deployment", "mcp", (*POD, "volumes", 3), {"name": "tmp", "hostPath": {"path": "/"}}),
    ("shares_nothing_with_its_node", "Deployment", "mcp", (*POD, "volumes", 3), {"name": "tmp", "emptyDir": {}}),
    ("only_the_jobs_that_write_secrets_have_an_account", "Deployment", "mcp", (*POD, "automountServiceAccountToken"), True),
    ("only_the_jobs_that_write_secrets_have_an_account", "Deployment", "mcp", (*POD, "enableServiceLinks"), None),
    ("its_account_may_the_least", "Role", "mcpctl-bootstrap", ("rules", 1, "resourceNames"), None),
    ("its_account_may_the_least", "Role", "mcpctl-bootstrap", ("rules", 0, "verbs"), ["create", "list"]),
    ("its_account_may_the_least", "Role", "mcpctl-bootstrap", ("rules", 0, "resources"), ["secrets", "pods"]),
    ("its_account_may_the_least", "Role", "mcpctl-bootstrap", ("kind",), "ClusterRole"),
    (SECRETS, "ConfigMap", "mcp-settings", ("kind",), "Secret"),
    (SECRETS, "ConfigMap", "mcp-settings", ("data", "admin-password"), "x"),
    (SECRETS, "Deployment", "mcpctl", (*OWN, "env", 0), {"name": "MCPCTL_ADMIN_PASSWORD", "value": "x"}),
    (SECRETS, "Deployment", "mcpctl", (*POD, "volumes", 0, "secret", "optional"), True),
    (SECRETS, "Deployment", "mcpctl", (*POD, "volumes", 0, "secret", "defaultMode"), 0o444),
    (SECRETS, "Deployment", "mcpctl", (*POD, "volumes", 0, "secret", "secretName"), "mcpctl2"),
    (SECRETS, "Deployment", "mcpctl", (*OWN, "args", 1), "--database-url=postgresql://a:b@c/d"),
    ("files_of_secrets_are_there", "Deployment", "mcpctl", (*OWN, "env", 0, "value"), "/run/secrets/mcpctl/password"),
    ("files_of_secrets_are_there", "Deployment", "mcpctl", (*OWN, "volumeMounts", 0, "readOnly"), None),
    ("files_of_secrets_are_there", "Job", "mcp-smoke-test", (*OWN, "args", 5), "/run/secrets/mcp-smoke-test/bearer"),
    ("images_have_a_version", "Deployment", "mcp", (*OWN, "image"), "mcpctl:latest"),
    ("images_have_a_version", "Deployment", "mcp", (*OWN, "image"), "registry.example:5000/mcpctl"),
    ("what_serves_is_probed_and_limited", "StatefulSet", "postgresql", (*OWN, "livenessProbe"), None),
    ("what_serves_is_probed_and_limited", "Job", "mcp-smoke-test", (*OWN, "resources", "limits"), {"cpu": 1}),
    (WORDS, "Deployment", "mcp", (*OWN, "env", 7, "name"), "MCPLOCAL_LOG_FROMAT"),
    (WORDS, "Deployment", "mcp", (*OWN, "args"), ["mcplocal", "serv"]),
    (WORDS, "Job", "mcpctl-bootstrap", (*OWN, "args"), ["mcpctl", "bootstrap", "kubernetes", "--datbase=x"]),
    (WORDS, "Job", "mcp-smoke-test", (*OWN, "args", 6), "--allow-http"),
    (DRAINS, "Deployment", "mcp", (*POD, "terminationGracePeriodSeconds"), 15),
    (DRAINS, "Deployment", "mcpctl", (*POD, "terminationGracePeriodSeconds"), 20),
    (DRAINS, "Deployment", "mcp", (*OWN, "lifecycle"), {"preStop": {"sleep": {"seconds": 40}}}),
    (DRAINS, "Deployment", "mcp", (*OWN, "env"), []),
    (METRICS, "Deployment", "mcp", (*OWN, "env"), []),
    (METRICS, "Deployment", "mcp", (*OWN, "ports", 1), {"name": "metrics", "containerPort": 9470}),
    (METRICS, "Deployment", "mcp", (*OWN, "ports", 1), None),
    (METRICS, "Deployment", "mcpctl", ("spec", "template", "metadata", "annotations", "prometheus.io/port"), "8470"),
    (METRICS, "Deployment", "mcp", ("spec", "template", "metadata", "annotations"), {}),
    ("selectors_find_what_they_mean", "Service", "mcp", ("spec", "selector"), {"app": "mcp"}),
    ("selectors_find_what_they_mean", "Service", "mcp", ("spec", "ports", 0, "targetPort"), "https"),
    ("selectors_find_what_they_mean", "PodDisruptionBudget", "mcpctl", ("spec", "selector", "matchLabels"), {}),
    ("every_pod_is_behind_a_policy", "NetworkPolicy", "default-deny", ("spec", "podSelector"), {"matchLabels": {"a": "b"}}),
    ("every_pod_is_behind_a_policy", "NetworkPolicy", "default-deny", ("spec", "policyTypes"), []),
    ("everything_is_in_the_namespace", "Ingress", "mcp", ("metadata", "namespace"), "default"),
    ("everything_is_in_the_namespace", "Namespace", "mcpctl", ("metadata", "labels"), {}),
)  # fmt: skip


@pytest.mark.parametrize(("rule", "kind", "name", "path", "value"), ATTACKS)
def test_every_rule_notices_when_it_is_broken(rule: str, kind: str, name: str, path: tuple[Any, ...], value: Any) -> None:
    documents = deepcopy(overlay("production"))
    where = one(documents, kind, name)
    for step in path[:-1]:
        where = where[step]
    if value is None:
        del where[path[-1]]
    else:
        where[path[-1]] = value
    if rule == "every_pod_is_behind_a_policy":  # the policies of single pods say one direction only
        documents = [one for one in documents if one["kind"] != "NetworkPolicy" or one["metadata"]["name"] == name]
    assert list(RULES[rule](documents))


def test_every_rule_is_attacked() -> None:
    assert set(RULES) == {attack[0] for attack in ATTACKS}


def test_both_programs_and_the_jobs_are_one_image() -> None:
    images = {container["image"] for where, container, _ in containers(overlay("production")) if "postgresql" not in where}
    assert {"mcpctl:0.1.0"} == images
