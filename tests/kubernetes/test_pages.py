"""What the pages about Kubernetes tell people to type: commands and flags exist, and so does whatever they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from tests.kubernetes.rendering import ROOT, Document, overlay
from tests.kubernetes.rules import SECRETS, command_error

PAGES = ("docs/kubernetes.md", "docs/operations.md", "README.md")
KINDS = {"deployment": "Deployment", "job": "Job", "statefulset": "StatefulSet", "service": "Service"}
MADE_BY_THE_EXAMPLE = {("job", "agent"), ("secret", "agent")}
OURS = re.compile(r"^(?:\w+=\S+ )*(mcpctl|mcplocal)\s")


def lines(page: str, languages: str = "sh") -> Iterator[str]:
    """Every line of the shell blocks, comments taken off."""
    for block in re.findall(rf"```{languages}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL):
        yield from (line.strip() for line in re.sub(r"\s+#.*", "", block).splitlines() if line.strip())


def commands(page: str) -> Iterator[str]:
    """Every simple command, pipes and lists taken apart."""
    for line in lines(page):
        yield from (part.strip() for part in re.split(r"\|\||&&|\||;|&(?=\s|$)", line) if part.strip())


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_ours_exists_with_its_flags(page: str) -> None:
    found = [command for command in commands(page) if OURS.match(command)]
    assert [] == [(command, why) for command in found if (why := command_error(_words(command)))]
    assert len(found) > 2


def _words(command: str) -> list[str]:
    words = shlex.split(re.split(r"\s[<>]", command)[0])
    while "=" in words[0]:
        words.pop(0)
    return words


@pytest.mark.parametrize("page", PAGES[:2])
def test_every_kubectl_command_names_what_the_manifests_have(page: str) -> None:
    documents: list[Document] = overlay("production")
    there = {
        (kind, document["metadata"]["name"])
        for kind, long in KINDS.items()
        for document in documents
        if document["kind"] == long
    }
    there |= {("secret", name) for name in SECRETS} | MADE_BY_THE_EXAMPLE
    asked = [command for command in commands(page) if command.startswith("kubectl ")]
    named = set()
    for command in asked:
        for directory in re.findall(r"(?:apply|diff) -k (\S+)", command):
            assert (ROOT / directory / "kustomization.yaml").is_file(), command
        for kind, name in re.findall(
            r"\b(deployment|job|statefulset|service|secret)[/ ](?:generic )?([a-z][a-z-]+)\b", command
        ):
            named.add((kind, name))
        namespace = re.search(r"-n (\S+)", command)
        assert namespace is None or namespace[1] in ("mcpctl", "mcpctl-dev", "agents"), command
    assert set() == named - there
    assert len(named) > 3


def test_every_key_of_a_secret_that_is_read_is_there() -> None:
    text = "".join((ROOT / page).read_text() for page in PAGES)
    read = re.findall(r"get secret (\S+) -o jsonpath='\{\.data\.([\w-]+)\}'", text)
    assert [] == [(name, key) for name, key in read if key not in SECRETS[name]]
    assert read
