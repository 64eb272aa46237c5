"""The property-based tests, many times longer: ``python -m benchmarks.soak [PYTEST ARGUMENTS]``.

Prints what pytest prints, and keeps its end under ``results/``. With arguments of one's own nothing is kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from time import perf_counter
from typing import Final

from benchmarks import provenance

LONGEST: Final = 3600
"""Seconds a single test may take."""

KEPT: Final = 80
"""Lines of the end of the output."""

PACKAGES: Final = ("hypothesis", "schemathesis", "pytest", "casbin", "SQLAlchemy", "starlette")


def main() -> None:
    """Run, print, write; the exit code is pytest's."""
    given = sys.argv[1:]
    load, begun = os.getloadavg()[0], perf_counter()
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "--timeout", str(LONGEST), "-m", "property"]
    command += ["--durations", "20", *given]
    last: deque[str] = deque(maxlen=KEPT)
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "soak"}
    with subprocess.Popen(command, cwd=provenance.ROOT, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            print(line, end="", flush=True)
            if not line.startswith("rootdir:"):  # where the clone lay is nobody's business
                last.append(line)
    if not given:
        about = provenance.lines("make soak", perf_counter() - begun, PACKAGES, [], load)
        provenance.RESULTS.mkdir(exist_ok=True)
        text = f"# Soak: the property-based tests, many times longer\n\n{about}\n\n```\n{''.join(last)}```\n"
        (provenance.RESULTS / "soak.md").write_text(text)
    sys.exit(run.returncode)


if __name__ == "__main__":
    main()
