"""Trying a weakening: a copy of the tree, one defence taken out of it, its tests run there, and the defence put back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, Literal

from tests.weakenings import witness
from tests.weakenings.planted import ROOT, WEAKENED_DIRECTORIES, NotApplicable, Weakening

COPIED: Final = (*WEAKENED_DIRECTORIES, "tests", "pyproject.toml", "README.md", "LICENSE")

LONGEST: Final = 300.0
"""Seconds after which a trial is given up."""

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

    def baseline(self, tests: Sequence[str], jobs: int) -> str:
        """Run ``tests`` as they are; what is wrong, or nothing if all are green."""
        spread = ["-n", str(jobs), "--dist", "loadfile"] if jobs > 1 else []
        code, seen, output = self._pytest(None, [*spread, *tests], patience=LONGEST * 4)
        if code == 0 and not seen.get("broken"):
            return ""
        return str(seen.get("broken") or output.strip()[-3000:] or f"pytest ended with {code}")

    def trial(self, weakening: Weakening) -> Trial:
        """Take the defence out, run its tests, put it back."""
        begun = monotonic()
        try:
            with self._without(weakening):
                code, seen, output = self._pytest(weakening.module, ["-x", *weakening.tests], patience=LONGEST)
        except NotApplicable as error:
            return Trial(weakening, "BROKEN", because=str(error))
        seconds = monotonic() - begun
        if seen.get("broken") or code not in (0, 1) or bool(seen.get("failed")) != (code == 1):
            because = str(seen.get("broken") or output.strip()[-800:] or f"pytest ended with {code}")
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

    def _pytest(self, module: str | None, what: Sequence[str], patience: float) -> tuple[int, dict[str, object], str]:
        outcome = self.directory / "outcome.json"
        outcome.unlink(missing_ok=True)
        environment = {
            **os.environ,
            # mcpctl is installed from the tree itself: the copy must come before it, in child processes too.
            "PYTHONPATH": os.pathsep.join([str(self.directory / "src"), str(self.directory)]),
            witness.OUTCOME: str(outcome),
            witness.MODULE: module or "",
        }
        plugins = ["-p", witness.__name__, "-p", "no:cacheprovider", "-p", "no:schemathesis"]  # the last takes long to import
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", *plugins, *what]
        try:
            done = subprocess.run(
                command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=patience, check=False
            )
        except subprocess.TimeoutExpired:
            return -1, {"broken": f"no end after {patience:.0f} seconds"}, ""
        seen: dict[str, object] = json.loads(outcome.read_text()) if outcome.is_file() else {}
        return done.returncode, seen, done.stdout + done.stderr


def _forget_compiled(path: Path) -> None:
    """Python trusts a compiled file by size and second, and a weakening may change neither."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
