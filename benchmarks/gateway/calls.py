"""Calls through each contender in turns: a small one over one and over many connections, and one with a large result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

from benchmarks.gateway import wire
from benchmarks.gateway.contenders import DIRECT, Contender
from benchmarks.processes import Load, cpu
from benchmarks.rounds import Measured

MANY: Final = 32
ROUNDS: Final = 9
SECONDS: Final = 0.4


@dataclass(frozen=True)
class Kind:
    """One kind of call."""

    name: str
    connections: int
    request: Callable[[Contender], str]
    mark: str


SMALL_ONE: Final = "small, 1 connection"
SMALL_MANY: Final = f"small, {MANY} connections"
LARGE_ONE: Final = "100 KB, 1 connection"
KINDS: Final = (
    Kind(SMALL_ONE, 1, lambda contender: contender.small, wire.SMALL_MARK),
    Kind(SMALL_MANY, MANY, lambda contender: contender.small, wire.SMALL_MARK),
    Kind(LARGE_ONE, 1, lambda contender: contender.large, wire.LARGE_MARK),
)


@dataclass
class Turns:
    """What one contender did with one kind of call, turn by turn."""

    latency: Measured = field(default_factory=Measured)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def note(self, seconds: float, took: list[float], spent: float) -> None:
        """Take one turn: how long it was, how long each answer took, and the contender's processor time."""
        self.latency.seconds += took
        self.p50.append(median(took))
        self.p99.append(quantiles(took, n=100, method="inclusive")[98] if len(took) > 1 else took[0])
        self.per_second.append(len(took) / seconds)
        self.cpu.append(spent / len(took))


Findings = dict[str, dict[str, Turns]]
"""By kind of call, by contender."""


def measure(load: Load, contenders: Sequence[Contender]) -> Findings:
    """All contenders in turns, round after round, so that whatever else the machine does hits all of them."""
    found: Findings = {kind.name: {contender.name: Turns() for contender in contenders} for kind in KINDS}
    for contender in contenders:
        for kind in KINDS:
            load.ask(contender.address, kind.request(contender), seconds=0.2, connections=kind.connections, expects=kind.mark)
    for _ in range(ROUNDS):
        for kind in KINDS:
            for contender in contenders:
                before = cpu(contender.pid)
                seconds, took = load.ask(
                    contender.address, kind.request(contender), seconds=SECONDS, connections=kind.connections, expects=kind.mark
                )
                found[kind.name][contender.name].note(seconds, took, cpu(contender.pid) - before)
    return found


def against_direct(turns: Mapping[str, Turns], name: str, of: Callable[[Turns], list[float]]) -> list[float]:
    """A figure of a contender against the direct calls of the same round, for each round."""
    return [one / other for one, other in zip(of(turns[name]), of(turns[DIRECT]), strict=True)]
