"""One dead server among five: what it costs the first list, and what it costs calls to the other four."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Final

from benchmarks.gateway import wire
from benchmarks.gateway.contenders import Contender, through
from benchmarks.installation import Installation, wait_for
from benchmarks.processes import Load
from benchmarks.rounds import Measured

ALIVE: Final = ("north", "east", "south", "west")
DEAD: Final = "nowhere"
ROUNDS: Final = 9
SECONDS: Final = 0.3
DEADLINE: Final = 2.0
"""Seconds a list waits for one server (``MCPLOCAL_LIST_TIMEOUT``, 5 unless set): shorter here, to be sooner done."""


@dataclass
class Outage:
    """What was seen: seconds of the first list, and of calls in a project with the dead server and in one without, in turns."""

    first_list: float = 0.0
    with_dead: Measured = field(default_factory=Measured)
    without: Measured = field(default_factory=Measured)


def measure(load: Load, there: Installation, upstream: str) -> Outage:
    """A server that takes connections and never says a word."""
    found = Outage()
    with (
        socket.create_server(("127.0.0.1", 0), backlog=4096) as silent,
        there.gateway(MCPLOCAL_LIST_TIMEOUT=f"{DEADLINE}s") as (process, address),
    ):
        there.project("four", {f"{name}4": upstream for name in ALIVE})
        servers = {f"{name}5": upstream for name in ALIVE} | {DEAD: f"127.0.0.1:{silent.getsockname()[1]}"}
        there.project("five", servers)
        wait_for(address)
        four = _seen_by(there, process.pid, address, "four", [f"{name}4" for name in ALIVE])
        five = _seen_by(there, process.pid, address, "five", list(servers))
        found.first_list = _timed_list(load, five, f"{ALIVE[-1]}5")
        _timed_list(load, four, f"{ALIVE[-1]}4")
        for _ in range(ROUNDS):
            for contender, measured in ((five, found.with_dead), (four, found.without)):
                _, took = load.ask(address, contender.small, seconds=SECONDS, connections=1, expects=wire.SMALL_MARK)
                measured.seconds += took
    return found


def _seen_by(there: Installation, pid: int, address: str, project: str, servers: list[str]) -> Contender:
    return through(project, pid, address, there.token(project, servers)["token"], server=servers[0])


def _timed_list(load: Load, contender: Contender, last: str) -> float:
    mark = f'"{last}__tool_{wire.TOOLS - 1:03}"'
    _, took = load.ask(contender.address, contender.listing, seconds=60, connections=1, most=1, expects=mark)
    return took[0]
