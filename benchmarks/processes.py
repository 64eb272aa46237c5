"""The other processes of a benchmark: started as modules, watched from outside, ended with the block that began them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.provenance import ROOT

NO_END = 1 << 60


@dataclass
class Load:
    """The process of ``benchmarks.load``."""

    process: subprocess.Popen[str]

    def ask(
        self,
        address: str,
        request: str,
        *,
        seconds: float,
        connections: int,
        most: int = NO_END,
        expects: str = "",
        status: int = 200,
    ) -> tuple[float, list[float]]:
        """Keep asking; how long that was in seconds, and how long each answer took.

        Args:
            address: host and port.
            request: head and body, as ``benchmarks.load.prepared`` makes them.
            seconds: how long; each connection asks at least once.
            connections: how many ask at the same time.
            most: answers after which it ends, too.
            expects: what every answer must hold.
            status: what every answer must have.

        Raises:
            RuntimeError: an answer had another status, or not what was expected, or the server hung up.
        """
        order = {
            "address": address,
            "request": request,
            "seconds": seconds,
            "connections": connections,
            "most": most,
            "expects": expects,
            "status": status,
        }
        to, of = pipes(self.process)
        to.write(json.dumps(order) + "\n")
        to.flush()
        if not (line := of.readline()):
            raise RuntimeError("the load ended: its own words are above")
        answer = json.loads(line)
        return answer["seconds"], answer["took"]


def pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    """Standard input and output of a process."""
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@contextmanager
def load() -> Iterator[Load]:
    """Load to put on whatever is asked for, until the block ends."""
    with module("benchmarks.load") as process:
        yield Load(process)


@contextmanager
def module(name: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A Python module that runs until its standard input ends, which it does with the block."""
    command = [sys.executable, "-m", name, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environ) as process:
        try:
            yield process
        finally:
            pipes(process)[0].close()
            process.wait(timeout=30)


@contextmanager
def program(command: list[str], environ: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs until it is told to end, which it is with the block; what it says goes to ``log``."""
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT, env=environ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)


def cpu(pid: int) -> float:
    """Seconds of processor time that the process has had, all its threads together, to the microsecond."""
    times = [task.read_text().split()[0] for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(map(int, times)) / 1e9


def resident(pid: int) -> int:
    """Bytes of memory the process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
