"""``python -m benchmarks.endpoint_test``: how long ``mcpctl test mcp`` takes, with all its checks, on loopback."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Final

from tests.endpoint_test.messages import GOOD
from tests.endpoint_test.serving import Reference
from tests.endpoint_test.test_compliant import MODES, SDK_SCRIPT, program
from tests.gateway.upstreams import served

ROUNDS: Final = 5
BUDGET: Final = 5.0
"""Seconds for one run, starting the interpreter included."""
RESULT: Final = Path(__file__).parent / "results" / "endpoint_test.md"


def seconds(url: str, call: str) -> list[float]:
    """How long each of some runs took."""
    argv = [sys.executable, "-m", "mcpctl", "test", "mcp", url, "--call", call, "-o", "json"]
    took = []
    for _ in range(ROUNDS):
        began = monotonic()
        subprocess.run(argv, env={**os.environ, "MCPCTL_TEST_TOKEN": GOOD}, capture_output=True, check=False)
        took.append(monotonic() - began)
    return took


def main() -> int:
    """Measure, print, and write the table; 1 if the budget is broken."""
    measured: dict[str, list[float]] = {}
    with served(Reference()) as address:
        measured["the reference of the tests"] = seconds(f"{address}/none/mcp", 'echo={"region": "eu"}')
    for mode, options in MODES.items():
        with TemporaryDirectory() as directory, program(sys.executable, SDK_SCRIPT, Path(directory), options) as url:
            measured[f"the Python SDK, {mode}"] = seconds(url, 'add={"a": 1, "b": 2}')
    rows = [f"| {name} | {statistics.median(took):.2f} | {max(took):.2f} |" for name, took in measured.items()]
    text = "\n".join(
        [
            "# How long `mcpctl test mcp` takes",
            "",
            f"All checks, with a call, {ROUNDS} runs each, on loopback; starting the program is part of it.",
            f"Budget: {BUDGET:.0f} s. Python {sys.version.split()[0]}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}.",
            "",
            "| endpoint | median, s | longest, s |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )
    RESULT.write_text(text)
    print(text)
    return int(max(max(took) for took in measured.values()) > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
