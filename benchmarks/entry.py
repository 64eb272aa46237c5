"""How long the STDIO entry takes to be there: ``python -m benchmarks.entry [STARTS]``, fifteen of each kind unless said.

From starting the process to the answer of its first request, ``initialize`` or ``server/discover``, through a gateway elsewhere
and with ``--local``. A client starts one for each project, and some start another to find out about the era.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from benchmarks import processes, provenance
from benchmarks.installation import Installation, installation, wait_for
from benchmarks.rounds import Measured
from benchmarks.sessions import HANDSHAKE
from benchmarks.tables import Verdict, shown, spread, table

STARTS: Final = 15
BUDGET: Final = 1.0
GOAL: Final = 0.5
PROJECT: Final = "notebook"
SERVER: Final = {"transport": "stdio", "command": "python", "args": ["-m", "mcpctl.demo.notes_server"]}
META: Final = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
DISCOVER: Final = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": META}}
FIRST: Final = {"initialize": HANDSHAKE, "server/discover": DISCOVER}


@dataclass
class Starts:
    """Seconds from starting an entry to its first answer: by the clock, and of the processor alone."""

    clock: Measured = field(default_factory=Measured)
    processor: Measured = field(default_factory=Measured)


def started(arguments: list[str], environ: dict[str, str], message: dict[str, Any]) -> tuple[float, float]:
    """Seconds from starting an entry to its first answer: by the clock, and of the processor."""
    command = [str(Path(sys.executable).with_name("mcplocal")), *arguments]
    begun = perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as process:
        to, of = processes.pipes(process)
        to.write(json.dumps(message) + "\n")
        to.flush()
        answer = json.loads(of.readline())
        took = perf_counter() - begun, processes.cpu(process.pid)
        if "result" not in answer:
            raise RuntimeError(f"it answers {answer}")
        to.close()
        process.wait(timeout=30)
    return took


def measure(there: Installation, starts: int) -> dict[tuple[str, str], Starts]:
    """Seconds by kind of entry and first request, in turns."""
    there.send("POST", "/servers", {"name": "notes", **SERVER})
    there.send("POST", "/projects", {"name": PROJECT, "servers": ["notes"]})
    found: dict[tuple[str, str], Starts] = {}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MCPCTL_", "MCPLOCAL_"))}
    with there.gateway() as (_, address):
        wait_for(address)
        session = there.http.headers["Authorization"].removeprefix("Bearer ")
        own = {
            "MCPCTL_CONFIG": str(there.directory / "no-config.json"),
            "MCPCTL_TOKEN": session,
            "MCPCTL_SERVER": f"http://{there.address}",
            "MCPLOCAL_STATE_DIR": str(there.directory / "entry-state"),
        }
        kinds = {"to a gateway": ["--gateway", f"http://{address}"], "--local": ["--local"]}
        for turn in range(starts + 1):
            for kind, arguments in kinds.items():
                for method, message in FIRST.items():
                    clock, processor = started(["--project", PROJECT, *arguments], {**inherited, **own}, message)
                    if turn:  # the first of each reads its files from the disk
                        starts_of = found.setdefault((kind, method), Starts())
                        starts_of.clock.seconds.append(clock)
                        starts_of.processor.seconds.append(processor)
    return found


def _page(found: dict[tuple[str, str], Starts], starts: int, seconds: float, load_before: float) -> str:
    budgets = [
        Verdict(f"{kind}, first {method}, {what}", one.median, shown(one.median), BUDGET, GOAL, " s").row
        for (kind, method), both in found.items()
        for what, one in (("by the clock", both.clock), ("the processor's part", both.processor))
    ]
    rows = [
        f"| {kind} | {method} | {spread(both.clock)} | {shown(max(both.clock.seconds))} | {spread(both.processor)} |"
        for (kind, method), both in found.items()
    ]
    parts = [
        "# The STDIO entry: how long until it answers",
        provenance.lines("make bench-entry", seconds, ("aiohttp", "pydantic", "uvloop"), (), load_before),
        "## Budgets",
        table(("what", "found", "budget", "goal", "met"), budgets),
        f"## {starts} starts of each",
        table(("entry", "first request", "by the clock: median (10th–90th percentile)", "longest", "processor"), rows),
        "From starting the process to the whole answer on its standard output, the interpreter's own start included. With "
        "`--local` that is before the project's servers are started, which the first request about them does. "
        "On a machine that is busy with other things (see its load) the processor's part is what says something.",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Measure, print, write."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else STARTS
    begun, load_before = perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="entry") as directory, installation(Path(directory)) as there:
        found = measure(there, starts)
    text = _page(found, starts, perf_counter() - begun, load_before)
    print(text)
    if len(sys.argv) == 1:
        (provenance.RESULTS / "entry.md").write_text(text)


if __name__ == "__main__":
    main()
