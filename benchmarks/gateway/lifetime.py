"""A gateway's life: how long until it answers, how much memory it has then, and how much after very many calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter, sleep
from typing import Final

from benchmarks.gateway import wire
from benchmarks.gateway.contenders import PROJECT, SERVER, through
from benchmarks.gateway.lists import LAST_TOOL
from benchmarks.installation import Installation, wait_for
from benchmarks.processes import Load, resident
from benchmarks.rounds import Measured

STARTS: Final = 7
SAMPLE_EVERY: Final = 20_000
CALLS: Final = 100_000
MANY_CALLS: Final = 1_000_000


@dataclass
class Life:
    """What was seen.

    Attributes:
        ready: seconds from starting the process to the answer of its first ``tools/list``, one per start.
        memory: bytes by calls answered.
    """

    ready: Measured = field(default_factory=Measured)
    memory: dict[int, int] = field(default_factory=dict)


def measure(load: Load, there: Installation, calls: int) -> Life:
    """Start gateways one after the other; the last of them answers ``calls`` calls."""
    life = Life()
    bearer = there.token(PROJECT, [SERVER])["token"]
    for start in range(STARTS):
        begun = perf_counter()
        with there.gateway() as (process, address):
            wait_for(address)
            load.ask(
                address,
                through("new", process.pid, address, bearer).listing,
                seconds=60,
                connections=1,
                most=1,
                expects=LAST_TOOL,
            )
            life.ready.seconds.append(perf_counter() - begun)
            if start < STARTS - 1:
                continue
            gateway = through("worked", process.pid, address, bearer)
            life.memory[0] = resident(process.pid)
            done = 0
            while done < calls:
                _, took = load.ask(
                    address, gateway.small, seconds=600, connections=16, most=SAMPLE_EVERY, expects=wire.SMALL_MARK
                )
                done += len(took)
                sleep(0.05)
                life.memory[done] = resident(process.pid)
    return life
