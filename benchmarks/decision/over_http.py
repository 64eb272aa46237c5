"""Introspection and can-i over HTTP against an empty route of the same server, all in turns over the same connections."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import processes
from benchmarks.decision.policies import Household
from benchmarks.load import prepared
from benchmarks.processes import Load, cpu
from benchmarks.rounds import Measured

CONNECTIONS: Final = 32
SECONDS: Final = 0.7
ROUNDS: Final = 9
QUESTION: Final = json.dumps({"action": "run", "resource": "servers", "name": "server-00/get_time"})


@dataclass(frozen=True)
class Target:
    """One request, asked again and again."""

    method: str
    path: str
    body: str = ""


EMPTY_GET: Final = "empty route, GET"
EMPTY_POST: Final = "empty route, POST"
INTROSPECT: Final = "introspect"
AUTHORIZE: Final = "authorize"
HASH: Final = "SHA-256, dict, JSON"
TARGETS: Final[Mapping[str, Target]] = {
    EMPTY_GET: Target("GET", "/empty"),
    INTROSPECT: Target("GET", "/api/v1/mcptokens/introspect"),
    HASH: Target("GET", "/hash"),
    EMPTY_POST: Target("POST", "/empty", QUESTION),
    AUTHORIZE: Target("POST", "/api/v1/authorize", QUESTION),
}
AGAINST: Final = {INTROSPECT: EMPTY_GET, HASH: EMPTY_GET, AUTHORIZE: EMPTY_POST}
"""The same request to the empty route: headers and body cost the same on the wire, and are read or not as the route likes."""


@dataclass
class Route:
    """What one target did, round by round."""

    per_second: list[float] = field(default_factory=list)
    latency: Measured = field(default_factory=Measured)
    server_cpu: list[float] = field(default_factory=list)
    load_cpu: list[float] = field(default_factory=list)


@dataclass
class Served:
    """A running control plane, and load that can be put on it."""

    server: subprocess.Popen[str]
    address: str
    load: Load

    def ask(self, target: Target, home: Household, seconds: float, connections: int = CONNECTIONS) -> tuple[float, list[float]]:
        """Keep asking; how long that was in seconds, and how long each answer took."""
        headers = {"Authorization": f"Bearer {home.bearer}"}
        if target.body:
            headers["Content-Type"] = "application/json"
        request = prepared(target.method, target.path, self.address, headers, target.body)
        return self.load.ask(self.address, request, seconds=seconds, connections=connections)

    @property
    def resident(self) -> int:
        """Bytes of memory of the control plane."""
        return processes.resident(self.server.pid)


@contextmanager
def served(database_url: str, policy_directory: Path) -> Iterator[Served]:
    """The control plane on this database and the load, each in a process of its own, until the block ends."""
    with processes.module("benchmarks.decision.served", database_url, str(policy_directory)) as server:
        address = processes.pipes(server)[1].readline().strip().removeprefix("http://")
        with processes.load() as load:
            yield Served(server, address, load)


def measure(running: Served, home: Household) -> dict[str, Route]:
    """All targets in turns."""
    routes = {name: Route() for name in TARGETS}
    for target in TARGETS.values():
        running.ask(target, home, 0.2)
    for _ in range(ROUNDS):
        for name, target in TARGETS.items():
            before = cpu(running.server.pid), cpu(running.load.process.pid)
            seconds, took = running.ask(target, home, SECONDS)
            route = routes[name]
            route.per_second.append(len(took) / seconds)
            route.latency.seconds += took
            route.server_cpu.append((cpu(running.server.pid) - before[0]) / len(took))
            route.load_cpu.append((cpu(running.load.process.pid) - before[1]) / len(took))
    return routes


def ratio(routes: Mapping[str, Route], name: str) -> tuple[float, list[float]]:
    """Throughput against the empty route, round by round: the median, and all of them."""
    pairs = zip(routes[name].per_second, routes[AGAINST[name]].per_second, strict=True)
    each = [one / other for one, other in pairs]
    return median(each), each


def remember(running: Served, homes: list[Household]) -> None:
    """Have the control plane answer each of these tokens at least once, so it remembers them."""
    for home in homes:
        running.ask(TARGETS[INTROSPECT], home, 0, 1)
        running.ask(TARGETS[AUTHORIZE], home, 0, 1)
