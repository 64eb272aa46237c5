"""The house rules, executable: the map is true, the reference is current, names and places are where they should be."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mcpctl import errors, settings
from mcpctl.errors import Problem
from mcpctl.policy import vocabulary
from mcpctl.services import metrics as control_plane_metrics
from mcplocal import metrics_page as gateway_metrics

ROOT = Path(__file__).parent.parent
TRACKED = [
    Path(line)
    for line in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "docs" / "write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = ["errors.md", "settings.md", "vocabulary.md", "api.md", "commands.md", "checks.md", "metrics.md", "stages.md"]
PAGES += ["requirements.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_reference_says_what_the_code_says(page: str) -> None:
    """Written in a process of its own: which commands were imported before would show in their help."""
    script = "import docs.write_reference as w, sys; sys.stdout.write(w.rendered(sys.argv[1]))"
    written = subprocess.run([sys.executable, "-c", script, page], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert written == (ROOT / "docs" / page).read_text(), "run 'make docs'"


def test_every_path_that_architecture_names_exists() -> None:
    named = re.findall(r"`((?:src|tests|docs|policies|migrations)/[^`\s…]*)`", ARCHITECTURE)
    assert [] == [path for path in named if not (ROOT / path).exists()]
    assert len(named) > 20


def test_every_test_that_security_names_exists() -> None:
    named = re.findall(r"`(tests/[^`\s:]*)(?:::(\w+))?`", (ROOT / "SECURITY.md").read_text())
    there = {path: (ROOT / path).read_text() if (ROOT / path).is_file() else "" for path, _ in named if (ROOT / path).exists()}
    missing = [(path, name) for path, name in named if path not in there or (name and f"def {name}(" not in there[path])]
    assert [] == missing
    assert len(named) > 30


def test_every_room_has_its_row_in_architecture() -> None:
    rooms = sorted({f"{path.parent}/" for path in TRACKED if path.parts[0] == "src" and path.name == "__init__.py"})
    assert [] == [room for room in rooms if room not in ARCHITECTURE and room != "src/mcpctl/"]


def test_every_word_of_the_policy_is_documented() -> None:
    page = (ROOT / "docs" / "vocabulary.md").read_text()
    words = (*vocabulary.ACTIONS, *vocabulary.OPERATIONS, *vocabulary.RESOURCES, vocabulary.ADMIN)
    assert [] == [word for word in words if f"`{word}`" not in page]


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert [] == [setting.name for setting in settings.SETTINGS if f"`{setting.name}`" not in page]


def test_every_requirement_has_a_test_and_every_number_on_a_test_is_one() -> None:
    pages = reference()
    numbers = [number for section in pages.requirements().values() for number in section if number != "title"]
    assert [f"R{number}" for number in range(1, 35)] == numbers
    assert sorted(numbers) == sorted(pages.proofs())


def every_error(kind: type[Problem] = Problem) -> list[type[Problem]]:
    return [
        kind,
        *(one for below in kind.__subclasses__() if below.__module__ == errors.__name__ for one in every_error(below)),
    ]


def test_every_error_has_a_code_of_its_own_stands_in_the_tree_and_is_documented() -> None:
    page, tree = (ROOT / "docs" / "errors.md").read_text(), errors.__doc__ or ""
    codes = [kind.code for kind in every_error()]
    assert len(codes) == len(set(codes))
    assert [] == [kind.__name__ for kind in every_error() if kind.__name__ not in tree]
    assert [] == [kind.code for kind in every_error() if f"| `{kind.code}` |" not in page]


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager", "misc"])
def test_no_file_is_called_after_nothing(word: str) -> None:
    assert [] == [path for path in TRACKED if path.suffix == ".py" and word in path.stem.lower().split("_")]


def test_no_tracked_file_names_a_package_registry_or_a_path_of_somebodys_machine() -> None:
    hosts = re.compile(r"pypi\.org|files\.pythonhosted|registry\.npmjs|deb\.debian\.org|proxy\.golang", re.IGNORECASE)
    homes = re.compile(r"(?<![\w.])/(?:root|home/\w+|Users/\w+|work/\w+)/")
    found = []
    for path in TRACKED:
        if path.name == "test_house_rules.py" or path.suffix in {".png", ".svg"} or not (ROOT / path).is_file():
            continue
        text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
        found += [f"{path}: {match[0]}" for match in [*hosts.finditer(text), *homes.finditer(text)]]
    assert [] == found


def test_every_metric_is_documented_and_named_as_prometheus_wants_it() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    for metrics in (control_plane_metrics.METRICS, gateway_metrics.METRICS):
        names = [one.name for one in metrics]
        assert len(names) == len(set(names))
        assert [] == [one.name for one in metrics if f"| `{one.name}` | {one.kind} |" not in page]
        assert [] == [one.name for one in metrics if (one.kind == "counter") != one.name.endswith("_total")]
        assert [] == [one.name for one in metrics if one.kind == "histogram" and not one.name.endswith("_seconds")]
        assert [] == [one.name for one in metrics if re.search(r"_(ms|millis|minutes|kb|mb|percent)(_|$)", one.name)]
        assert [] == [one.name for one in metrics if not one.meaning.endswith(".") or not all(one.labels.values())]


def test_the_reference_has_what_every_argument_means_and_the_defaults_of_both_programs() -> None:
    commands = " ".join((ROOT / "docs" / "commands.md").read_text().split())
    settings = (ROOT / "docs" / "settings.md").read_text()
    assert "Arguments: SERVER... Names of the servers." in commands
    assert "Arguments: KIND [NAME...] What to show. KIND/NAME works too." in commands
    for line in ("| `MCPCTL_LISTEN` | server | `127.0.0.1:8470` |", "| `MCPCTL_SESSION_TTL` | server | `12h` |"):
        assert line in settings
