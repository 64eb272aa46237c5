"""A small process that outlives the gateway by a moment: it ends the children of a gateway that was killed.

A gateway that is told to stop ends its children itself. One that is killed cannot; a child that looks at its stdin then ends
by itself, another would go on for ever, and so would what it started. The reaper knows the process group of each child. When
its own stdin ends, because the gateway is no more, it gives them a moment to leave and kills those still there.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Final

import structlog

log = structlog.get_logger(__name__)

GRACE: Final = 2.0
"""Seconds that children of a killed gateway have to see the end of their stdin and leave."""

PROGRAM: Final = f"""
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups = set()
for line in iter(sys.stdin.readline, ""):
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
if groups:
    time.sleep({GRACE})
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Reaper:
    """Told of process groups, starts its process with the first of them."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._groups: set[int] = set()
        self._starting = asyncio.Lock()

    async def ready(self) -> None:
        """Make sure that the process runs. If it cannot, children are started all the same, and the log says so."""
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", "-c", PROGRAM),
                    stdin=PIPE,
                    stdout=DEVNULL,
                    stderr=DEVNULL,
                    env={},
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                log.warning("children will not be ended if this gateway is killed", error=type(error).__name__)
                return
            for group in self._groups:
                self._tell(f"+{group}")

    def guard(self, group: int) -> None:
        """End this process group when the gateway is no more."""
        self._groups.add(group)
        self._tell(f"+{group}")

    def release(self, group: int) -> None:
        """This process group has ended; its number may soon be somebody else's."""
        self._groups.discard(group)
        self._tell(f"-{group}")

    async def close(self) -> None:
        """End the process, once every child has been released."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    def _tell(self, what: str) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(what.encode() + b"\n")
