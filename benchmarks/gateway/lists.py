"""What a ``tools/list`` of two hundred tools costs the gateway in processor time: to somebody known, and to somebody new."""

from __future__ import annotations

from typing import Final

from benchmarks.gateway import wire
from benchmarks.gateway.contenders import PROJECT, SERVER, Contender, through
from benchmarks.installation import Installation
from benchmarks.processes import Load, cpu
from benchmarks.rounds import Measured

WARM: Final = 60
WARM_TURNS: Final = 15
NEWCOMERS: Final = 40
LAST_TOOL: Final = f'"{SERVER}__tool_{wire.TOOLS - 1:03}"'


def measure(load: Load, there: Installation, gateway: Contender) -> tuple[Measured, Measured]:
    """Seconds of the gateway's processor time for one list: of a token it knows, and of one it has never seen."""
    warm, new = Measured(), Measured()
    newcomers = [there.token(PROJECT, [SERVER])["token"] for _ in range(NEWCOMERS)]
    for _ in range(WARM_TURNS):
        warm.seconds.append(_spent(load, gateway, WARM))
    for bearer in newcomers:
        new.seconds.append(_spent(load, through("new", gateway.pid, gateway.address, bearer), 1))
    return warm, new


def _spent(load: Load, gateway: Contender, times: int) -> float:
    before = cpu(gateway.pid)
    _, took = load.ask(gateway.address, gateway.listing, seconds=60, connections=1, most=times, expects=LAST_TOOL)
    return (cpu(gateway.pid) - before) / len(took)
