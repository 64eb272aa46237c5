"""What must be so in every rendered manifest, each rule a function from documents to findings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import click

from mcpctl.kubernetes.first_secrets import ADMIN_PASSWORD, CREDENTIAL, DATABASE_PASSWORD, DATABASE_URL, SECRET_KEY
from mcpctl.main import cli as mcpctl
from mcpctl.services.lifetimes import grace
from mcpctl.settings import NAMES
from mcplocal.main import cli as mcplocal
from mcplocal.serve import DRAIN
from mcplocal.settings import PREFIX, Settings
from tests.kubernetes.rendering import Document, containers, pods, services_of

Rule = Callable[[Sequence[Document]], Iterator[str]]

SECRETS = {
    "mcpctl": {ADMIN_PASSWORD, SECRET_KEY},
    "mcpctl-gateway": {CREDENTIAL},
    "mcpctl-database": {DATABASE_PASSWORD, DATABASE_URL},
    "mcp-smoke-test": {"token"},
}
"""Every Secret that pods may name, with its keys; the bootstrap Job makes all but the last."""

WITH_ACCOUNT = {"Job/mcpctl-bootstrap", "Job/mcpctl-rotation"}
KNOWN = {*NAMES, *(PREFIX + name.upper() for name in Settings.model_fields)}
PROGRAMS = {"mcpctl": mcpctl, "mcplocal": mcplocal}
VOLUMES = {"secret", "emptyDir", "persistentVolumeClaim", "configMap"}
HEARD_OF = 5
"""Seconds until everybody has heard that a pod goes."""
PUT_AWAY = 10
"""Seconds from the last answer to the end: servers are ended and the audit is handed over."""
LOOKS_SECRET = re.compile(r"mcpctl_(pat|ses)_|password|://[^/]*:[^/]*@|BEGIN .*PRIVATE", re.IGNORECASE)


def runs_as_nobody_and_writes_nowhere(documents: Sequence[Document]) -> Iterator[str]:
    for where, container, pod in containers(documents):
        of_pod, own = pod.get("securityContext", {}), container.get("securityContext", {})
        for member, wanted in (("runAsNonRoot", True), ("seccompProfile", {"type": "RuntimeDefault"})):
            if own.get(member, of_pod.get(member)) != wanted:
                yield f"{where}: {member} is not {wanted}"
        if not own.get("runAsUser", of_pod.get("runAsUser", 0)):
            yield f"{where}: it may run as root"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{where}: it can write to its root"
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield f"{where}: it can gain privileges"
        if own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{where}: it has capabilities"


def shares_nothing_with_its_node(documents: Sequence[Document]) -> Iterator[str]:
    for where, template in pods(documents):
        pod = template["spec"]
        yield from (f"{where}: {member}" for member in ("hostNetwork", "hostPID", "hostIPC") if pod.get(member))
        for volume in pod.get("volumes", ()):
            (kind,) = volume.keys() - {"name"}
            if kind not in VOLUMES:
                yield f"{where}: the volume {volume['name']} is of kind {kind}"
            if kind == "emptyDir" and "sizeLimit" not in volume[kind]:
                yield f"{where}: the volume {volume['name']} has no limit"


def only_the_jobs_that_write_secrets_have_an_account(documents: Sequence[Document]) -> Iterator[str]:
    for where, template in pods(documents):
        pod = template["spec"]
        if pod.get("automountServiceAccountToken") is not (where in WITH_ACCOUNT):
            yield f"{where}: automountServiceAccountToken"
        if pod.get("enableServiceLinks") is not False:
            yield f"{where}: enableServiceLinks"


def its_account_may_the_least(documents: Sequence[Document]) -> Iterator[str]:
    for document in documents:
        if document["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{document['kind']}/{document['metadata']['name']}: it is good for the whole cluster"
        for rule in document.get("rules", ()) if document["kind"] == "Role" else ():
            if rule["resources"] != ["secrets"] or rule["apiGroups"] != [""]:
                yield f"it may touch {rule['resources']}"
            if not set(rule["verbs"]) <= ({"get", "patch"} if rule.get("resourceNames") else {"create"}):
                yield f"it may {rule['verbs']} {rule.get('resourceNames', 'all')}"


def secrets_are_named_and_never_written_down(documents: Sequence[Document]) -> Iterator[str]:
    for document in documents:
        if document["kind"] == "Secret":
            yield f"Secret/{document['metadata']['name']} stands in the manifests"
        for key, value in document.get("data", {}).items() if document["kind"] == "ConfigMap" else ():
            if LOOKS_SECRET.search(f"{key}={value}"):
                yield f"ConfigMap/{document['metadata']['name']}: {key}"
    for where, container, pod in containers(documents):
        for variable in container.get("env", ()):
            if "value" in variable and not variable["name"].endswith("_FILE") and LOOKS_SECRET.search(str(variable)):
                yield f"{where}: {variable['name']} holds a secret"
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference is not None:
                yield f"{where}: {variable['name']} puts a secret into the environment: mount it"
        if any(LOOKS_SECRET.search(word) for word in container.get("args", ()) if not word.startswith("/run/secrets/")):
            yield f"{where}: a secret among its arguments"
        for volume in pod.get("volumes", ()):
            secret = volume.get("secret")
            if secret is None:
                continue
            if secret.get("optional"):
                yield f"{where}: it does not wait for the Secret {secret['secretName']}"
            if secret.get("defaultMode") != 0o440:
                yield f"{where}: the files of {secret['secretName']} may be read by others"
            if secret["secretName"] not in SECRETS:
                yield f"{where}: nobody makes the Secret {secret['secretName']}"


def files_of_secrets_are_there(documents: Sequence[Document]) -> Iterator[str]:
    for where, container, pod in containers(documents):
        volumes = {volume["name"]: volume.get("secret") for volume in pod.get("volumes", ())}
        there = set()
        for mount in container.get("volumeMounts", ()):
            if (secret := volumes.get(mount["name"])) is not None:
                keys = (
                    {item["path"] for item in secret["items"]}
                    if "items" in secret
                    else SECRETS.get(secret["secretName"], set())
                )
                there |= {f"{mount['mountPath']}/{key}" for key in keys}
                if not mount.get("readOnly"):
                    yield f"{where}: {mount['mountPath']} is mounted writable"
        words = [str(variable.get("value", "")) for variable in container.get("env", ())] + container.get("args", [])
        yield from (f"{where}: there is no {word}" for word in words if word.startswith("/run/secrets/") and word not in there)


def images_have_a_version(documents: Sequence[Document]) -> Iterator[str]:
    for where, container, _ in containers(documents):
        tag = container["image"].partition("@")[0].rpartition("/")[2].partition(":")[2]
        if tag in ("", "latest") and "@sha256:" not in container["image"]:
            yield f"{where}: {container['image']}"


def what_serves_is_probed_and_limited(documents: Sequence[Document]) -> Iterator[str]:
    for where, container in services_of(documents):
        yield from (
            f"{where}: no {probe}" for probe in ("startupProbe", "readinessProbe", "livenessProbe") if probe not in container
        )
    for where, container, _ in containers(documents):
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
            yield f"{where}: no requests, or no limit of memory"


def what_serves_has_time_to_drain(documents: Sequence[Document]) -> Iterator[str]:
    for where, container, pod in ours_that_serve(documents):
        setting = f"{container['args'][0].upper()}_DRAIN_DELAY"
        delay = next((grace(one["value"], setting).total_seconds() for one in container["env"] if one["name"] == setting), 0)
        if delay < HEARD_OF:
            yield f"{where}: {setting} is {delay:g} s"
        asleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if asleep + delay + DRAIN + PUT_AWAY > pod.get("terminationGracePeriodSeconds", 30):
            yield f"{where}: it is killed while it drains"


def metrics_are_shown_where_they_are_looked_for(documents: Sequence[Document]) -> Iterator[str]:
    notes = {where: template["metadata"].get("annotations", {}) for where, template in pods(documents)}
    for where, container, _ in ours_that_serve(documents):
        setting = f"{container['args'][0].upper()}_METRICS_LISTEN"
        shown = [one["value"].rpartition(":")[2] for one in container["env"] if one["name"] == setting]
        ports = [str(port["containerPort"]) for port in container["ports"] if port["name"] == "metrics"]
        looked_for = notes[where.rpartition("/")[0]]
        if looked_for.get("prometheus.io/scrape") != "true":
            yield f"{where}: nobody is told of its metrics"
        if not shown or not ports == shown == [looked_for.get("prometheus.io/port")]:
            yield f"{where}: metrics are shown on {shown}, the port is {ports}, and {looked_for} says another"


def ours_that_serve(documents: Sequence[Document]) -> Iterator[tuple[str, Document, Document]]:
    """The containers of the two programs, with their pods' specs; not those of Jobs."""
    for where, container, pod in containers(documents):
        if where.startswith("Deployment/") and container.get("args", [""])[0] in PROGRAMS:
            yield where, container, pod


def settings_and_commands_exist(documents: Sequence[Document]) -> Iterator[str]:
    for where, container, _ in containers(documents):
        for variable in container.get("env", ()):
            if variable["name"].startswith(("MCPCTL_", "MCPLOCAL_")) and variable["name"] not in KNOWN:
                yield f"{where}: {variable['name']} is not a setting"
        args = container.get("args", [])
        if container["image"].startswith("mcpctl") and (why := command_error(args)):
            yield f"{where}: {why}"


def command_error(words: Sequence[str]) -> str | None:
    """Why these words are no command of ours; commands are found and their flags read, nothing is carried out."""
    program = PROGRAMS.get(words[0]) if words else None
    if program is None:
        return f"{' '.join(words)!r} is none of our programs"
    try:
        context = program.make_context(words[0], list(words[1:]))
        while isinstance(context.command, click.Group) and context._protected_args + context.args:
            name, command, rest = context.command.resolve_command(context, context._protected_args + context.args)
            assert command is not None
            context = command.make_context(name, rest, parent=context)
    except click.exceptions.Exit:
        return None
    except (click.ClickException, Exception) as error:
        return error.format_message() if isinstance(error, click.ClickException) else str(error)
    return None


def selectors_find_what_they_mean(documents: Sequence[Document]) -> Iterator[str]:
    labels = {where: template["metadata"]["labels"] for where, template in pods(documents)}
    ports = {
        (where.rpartition("/")[0], port["name"]): port["containerPort"]
        for where, container, _ in containers(documents)
        for port in container.get("ports", ())
    }
    for document in documents:
        kind, name, spec = document["kind"], document["metadata"]["name"], document.get("spec", {})
        selector = spec.get("selector", {}) if kind == "Service" else spec.get("selector", {}).get("matchLabels", {})
        if kind in ("Service", "PodDisruptionBudget"):
            found = [where for where, has in labels.items() if selector.items() <= has.items()]
            if len(found) != 1:
                yield f"{kind}/{name} selects {found}"
            for port in spec.get("ports", ()):
                if not any((where, port["targetPort"]) in ports for where in found):
                    yield f"Service/{name}: nothing listens on {port['targetPort']}"
        if kind in ("Deployment", "StatefulSet") and not selector.items() <= labels[f"{kind}/{name}"].items():
            yield f"{kind}/{name} does not select its own pods"


def every_pod_is_behind_a_policy(documents: Sequence[Document]) -> Iterator[str]:
    policies = [document["spec"] for document in documents if document["kind"] == "NetworkPolicy"]
    for where, template in pods(documents):
        labels = template["metadata"]["labels"]
        for direction in ("Ingress", "Egress"):
            if not any(
                direction in policy["policyTypes"] and policy["podSelector"].get("matchLabels", {}).items() <= labels.items()
                for policy in policies
            ):
                yield f"{where}: {direction} is open"


def everything_is_in_the_namespace(documents: Sequence[Document]) -> Iterator[str]:
    (namespace,) = (document for document in documents if document["kind"] == "Namespace")
    name = namespace["metadata"]["name"]
    if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        yield f"Namespace/{name} does not enforce the restricted standard"
    for document in documents:
        if document is not namespace and document["metadata"].get("namespace") != name:
            yield f"{document['kind']}/{document['metadata']['name']} is in no namespace of ours"


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        runs_as_nobody_and_writes_nowhere,
        shares_nothing_with_its_node,
        only_the_jobs_that_write_secrets_have_an_account,
        its_account_may_the_least,
        secrets_are_named_and_never_written_down,
        files_of_secrets_are_there,
        images_have_a_version,
        what_serves_is_probed_and_limited,
        what_serves_has_time_to_drain,
        metrics_are_shown_where_they_are_looked_for,
        settings_and_commands_exist,
        selectors_find_what_they_mean,
        every_pod_is_behind_a_policy,
        everything_is_in_the_namespace,
    )
}
