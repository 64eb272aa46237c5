"""Running ``mcpctl`` in this process, with a configuration of its own, against a recording or a real control plane."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcpctl.client.contexts import Context, changing
from mcpctl.main import program
from tests.cli.recording import Recording, recording_server


@dataclass(frozen=True)
class Ran:
    """What one command came to."""

    code: int
    out: str
    err: str


class Mcpctl:
    """``mcpctl`` as one person uses it: a home of its own, no terminal."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.config = home / "mcpctl" / "config.json"
        self.patch = patch
        self._capture = capture

    def __call__(self, *arguments: str, stdin: str = "") -> Ran:
        """Run one command line."""
        self._capture.readouterr()
        with self.patch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
            code = program(arguments)
        said = self._capture.readouterr()
        return Ran(code, said.out, said.err)

    def ok(self, *arguments: str, stdin: str = "") -> str:
        """The standard output of a command that must succeed."""
        ran = self(*arguments, stdin=stdin)
        assert ran.code == 0, ran
        return ran.out

    def use(self, server: str, token: str | None = "mcpctl_ses_test", project: str | None = None) -> None:
        """Be logged in to ``server``."""
        with changing(self.config) as contexts:
            contexts.by_name["test"] = Context(server, token=token, project=project, user="admin")
            contexts.current = "test"

    def file(self, name: str, text: str) -> str:
        """The path of a file that holds ``text``."""
        path = self.home / name
        path.write_text(text)
        return str(path)


@pytest.fixture
def mcpctl(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Mcpctl:
    """``mcpctl`` with an empty configuration and none of the variables of whoever runs the tests."""
    for name in [*os.environ]:
        if name.startswith("MCPCTL_") or name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")
    return Mcpctl(home, capsys, monkeypatch)


@pytest.fixture(scope="session")
def recording_process() -> Iterator[Recording]:
    """One recording server for all tests of this process."""
    with recording_server() as found:
        yield found


@pytest.fixture
def recording(recording_process: Recording) -> Recording:
    """A recording server that has heard nothing yet."""
    recording_process.say({})
    recording_process.slow = 0.0
    return recording_process
