"""The official suite: installed from npm at exact versions, its scenarios and which of them are required, and a run of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML
from tests.interop.packages import npm_modules

from benchmarks.conformance.scoreboard import NOT_RUN, REQUIRED, Outcome

PACKAGE: Final = "@modelcontextprotocol/conformance"
EARLIER, LATER = "0.1.16", "0.2.0-alpha.12"
LEGACY, MODERN = "2025-11-25", "2026-07-28"

NODE: Final = "24.21.0"
"""From npm, where the installed one is older than what the suite needs."""

OLDEST_NODE: Final = 22
LONGEST: Final = 900.0
"""Seconds for all scenarios of a version at a revision: the earlier one bounds none of them itself."""


@dataclass(frozen=True)
class Edition:
    """The scenarios for servers of one version, at one revision of the protocol."""

    version: str
    revision: str

    def scenarios(self) -> dict[str, str]:
        """By name, in the suite's order, ``required`` or why it counts for nothing.

        The earlier version knows no such difference: all of its scenarios are required.
        """
        if self.version == EARLIER:
            listed = _ran(self.version, ["list", "--server"]).stdout
            return dict.fromkeys(re.findall(r"^ +- (\S+)", listed, re.MULTILINE), REQUIRED)
        requirements = YAML(typ="safe").load(_package(self.version) / "requirements" / f"{self.revision}.yaml")
        besides = {one["scenario"]: str(one["reason"]) for one in requirements["not_scored"] if one["leg"] == "server"}
        return dict.fromkeys(requirements["server"], REQUIRED) | besides

    def run(self, url: str, names: Sequence[str], only: str | None) -> dict[str, Outcome]:
        """What became of each of these scenarios against the server there; of ``only`` that one alone."""
        with tempfile.TemporaryDirectory(prefix="conformance") as directory:
            said = _ran(self.version, ["server", "--url", url, "--output-dir", directory, *self._which(only)])
            found = dict(_outcomes(Path(directory)))
        if set(names) - set(found):
            print(said.stderr, file=sys.stderr, flush=True)
        missing = Outcome(failures=(f"{NOT_RUN}: the suite ended before it, with {said.returncode}",))
        return {name: found.get(name, missing) for name in names}

    def _which(self, only: str | None) -> list[str]:
        if only is None:
            return ["--suite", "all"] if self.version == EARLIER else ["--requirements", self.revision]
        at_revision = [] if self.version == EARLIER else ["--spec-version", self.revision, "--force"]
        return ["--scenario", only, *at_revision]


EDITIONS: Final = (Edition(EARLIER, LEGACY), Edition(LATER, LEGACY), Edition(LATER, MODERN))


def _outcomes(directory: Path) -> Iterable[tuple[str, Outcome]]:
    for written in directory.glob("*/checks.json"):
        if named := re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\dT:.Z-]+", written.parent.name):
            yield named[1], outcome(json.loads(written.read_text()))


def outcome(checks: Sequence[Mapping[str, object]]) -> Outcome:
    """What the checks of one scenario come to."""

    def told(status: str) -> tuple[str, ...]:
        return tuple(
            f"{check['id']}: {check.get('errorMessage') or check.get('description')}"
            for check in checks
            if check["status"] == status
        )

    passed = sum(check["status"] == "SUCCESS" for check in checks)
    return Outcome(passed, told("FAILURE"), told("WARNING"), told("SKIPPED"))


@cache
def node() -> tuple[str, str]:
    """A node that is new enough: its program, and its version."""
    installed = shutil.which("node") or "node"
    if (version := _version(installed)) and int(version.partition(".")[0]) >= OLDEST_NODE:
        return installed, version
    brought = str(npm_modules("node", _manifest({"node": NODE}), scripts=True) / "node" / "bin" / "node")
    if not (version := _version(brought)):
        raise RuntimeError(f"npm installed node {NODE}, and it does not run here; is ignore-scripts set for npm?")
    return brought, version


def _version(program: str) -> str:
    try:
        return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip().lstrip("v")
    except OSError:
        return ""


def _package(version: str) -> Path:
    """Both versions stand beside each other, each by a name of its own."""
    wanted = {_name(one): f"npm:{PACKAGE}@{one}" for one in (EARLIER, LATER)}
    return npm_modules("conformance", _manifest(wanted)) / _name(version)


def _name(version: str) -> str:
    return f"conformance-{version}"


def _manifest(dependencies: Mapping[str, str]) -> bytes:
    return json.dumps({"private": True, "dependencies": dependencies}).encode()


def _ran(version: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [node()[0], str(_package(version) / "dist" / "index.js"), *arguments]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"ended after {LONGEST:.0f} s")
