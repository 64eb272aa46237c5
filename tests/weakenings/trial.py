"""Trying a weakening: a copy of the tree, one defence taken out of it, its tests run there, and the defence put back."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, Literal

from tests.weakenings import warm, witness
from tests.weakenings.planted import ROOT, WEAKENED_DIRECTORIES, NotApplicable, Weakening

COPIED: Final = (*WEAKENED_DIRECTORIES, "tests", "pyproject.toml", "README.md", "LICENSE")

LONGEST: Final = 300.0
"""Seconds after which a trial is given up."""

PLUGINS: Final = ("-p", witness.__name__, "-p", "no:cacheprovider", "-p", "no:schemathesis")
"""The last takes long to import, and no test named in the list needs it."""

Verdict = Literal["caught", "SURVIVED", "BROKEN"]


@dataclass(frozen=True)
class Trial:
    """What became of one weakening.

    Attributes:
        verdict: ``caught``: a test turned red; ``SURVIVED``: none did; ``BROKEN``: nothing was shown, ``because`` of this.
        by: the test that turned red.
        seconds: of the whole trial, Python's start included.
    """

    weakening: Weakening
    verdict: Verdict
    by: str = ""
    because: str = ""
    seconds: float = 0.0


class Copy:
    """A copy of the tree that may be weakened. The tree itself is never touched."""

    def __init__(self, directory: Path) -> None:
        """Copy what the tests need into ``directory``, which must not exist."""
        self.directory = directory.resolve()
        self.directory.mkdir()
        leave = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.pyc")
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.directory / name, ignore=leave)
            else:
                shutil.copy(source, self.directory / name)
        self._outcome = self.directory / "outcome.json"
        self._output = self.directory / "output.txt"
        self._environment = {
            # mcpctl is installed from the tree itself: the copy must come before it, in child processes too.
            "PYTHONPATH": os.pathsep.join([str(self.directory / "src"), str(self.directory)]),
            witness.OUTCOME: str(self._outcome),
        }
        self._warm: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """End the process that trials are forks of."""
        if self._warm is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._warm.pid, signal.SIGKILL)  # a group of its own, so all that it started
            self._warm.communicate()
            self._warm = None

    def baseline(self, tests: Sequence[str], jobs: int) -> str:
        """Run ``tests`` as they are; what is wrong, or nothing if all are green."""
        spread = ["-n", str(jobs), "--dist", "loadfile"] if jobs > 1 else []
        spread += ["-q", "--tb=short", *PLUGINS]
        command = [sys.executable, "-m", "pytest", *spread, *tests]
        environment = {**os.environ, **self._environment}
        done = subprocess.run(command, cwd=self.directory, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0 and not self._seen().get("broken"):
            return ""
        return str(self._seen().get("broken") or (done.stdout + done.stderr).strip()[-3000:])

    def trial(self, weakening: Weakening) -> Trial:
        """Take the defence out, run its tests, put it back."""
        begun = monotonic()
        try:
            with self._without(weakening):
                code = self._pytest(weakening)
        except NotApplicable as error:
            return Trial(weakening, "BROKEN", because=str(error))
        seconds, seen = monotonic() - begun, self._seen()
        if seen.get("broken") or code not in (0, 1) or bool(seen.get("failed")) != (code == 1):
            because = str(
                seen.get("broken") or self._output.read_text("utf-8", "replace").strip()[-800:] or f"pytest ended with {code}"
            )
            return Trial(weakening, "BROKEN", because=because, seconds=seconds)
        if code == 0:
            return Trial(weakening, "SURVIVED", seconds=seconds)
        return Trial(weakening, "caught", str(seen["failed"]), str(seen["because"]), seconds)

    @contextmanager
    def _without(self, weakening: Weakening) -> Iterator[None]:
        path = self.directory / weakening.file
        if not path.is_file():
            raise NotApplicable(f"{weakening.id}: there is no {weakening.file}")
        whole = path.read_bytes()
        weakened = weakening.applied_to(whole.decode("utf-8"))
        try:
            path.write_text(weakened, encoding="utf-8")
            _forget_compiled(path)
            yield
        finally:
            path.write_bytes(whole)
            _forget_compiled(path)

    def _pytest(self, weakening: Weakening) -> int:
        """Run the tests of a weakening; the exit code of pytest, or -1 if there was no end."""
        self._outcome.unlink(missing_ok=True)
        self._output.write_text("")
        if self._warm is None:
            self._warm = subprocess.Popen(
                [sys.executable, "-m", warm.__name__],
                cwd=self.directory,
                env={**os.environ, **self._environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._answer(self._warm)
        order = {
            "arguments": ["-q", "-x", "--tb=short", *PLUGINS, *weakening.tests],
            "environment": {witness.MODULE: weakening.module or ""},
            "output": str(self._output),
        }
        assert self._warm.stdin is not None
        self._warm.stdin.write(json.dumps(order) + "\n")
        self._warm.stdin.flush()
        code = self._answer(self._warm)
        if code is None:
            self.close()
        return -1 if code is None else int(code)

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> str | None:
        """The next line of ``process``, which answers one line to one order; ``None`` if there is none in time."""
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], LONGEST)
        return process.stdout.readline().strip() or None if readable else None

    def _seen(self) -> dict[str, object]:
        return json.loads(self._outcome.read_text()) if self._outcome.is_file() else {}


def _forget_compiled(path: Path) -> None:
    """Python trusts a compiled file by size and second, and a weakening may change neither."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
