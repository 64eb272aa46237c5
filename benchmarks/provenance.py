"""Where a result comes from: when, from which commit, with which versions, on what machine. Each page of results begins so."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"


def lines(command: str, seconds: float, packages: Iterable[str], also: Iterable[str], load_before: float) -> str:
    """A Markdown list.

    Args:
        command: what makes the page anew.
        seconds: how long that took.
        packages: distributions whose installed versions matter.
        also: other programs with their versions.
        load_before: the machine's load average when it began; on a busy machine times are worth less.
    """
    return "\n".join(
        (
            f"- made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC from commit {commit()}, in {seconds:.0f} s (`{command}`)",
            f"- {', '.join((f'{platform.python_implementation()} {platform.python_version()}', *also))}",
            f"- {', '.join(f'{name} {_version(name)}' for name in packages)}",
            f"- {os.cpu_count()} CPUs ({_processor()}); load average {load_before:.2f} before the run",
        )
    )


def commit() -> str:
    """The commit the tree is at, and whether its sources differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = " and uncommitted changes under src" if git("status", "--porcelain", "src") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        about = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in about if line.startswith("model name")), platform.machine())
