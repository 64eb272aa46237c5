"""Taking turns: everything that is compared is run in the same rounds, so whatever else the machine does hits all of it.

The clock is the thread's processor time: nothing timed here waits for anything but the processor, and what other programs
take of it is theirs to answer for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import thread_time
from typing import Final

TURN_SECONDS: Final = 0.03
"""How long one turn is meant to last."""

TOO_SLOW: Final = 2.0
"""Seconds for one call past which a size is left out."""

Work = Callable[[int], Callable[[], object]]
"""Makes everything ready to do the thing that many times; what it returns does it, and only that is timed."""


@dataclass
class Measured:
    """Seconds, one per turn or per call."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median."""
        return median(self.seconds)

    def quantile(self, percent: int) -> float:
        """The given percentile; of few values the nearest."""
        if len(self.seconds) < 2:
            return self.median
        return quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


def in_turns(works: Mapping[str, Work], rounds: int, seconds_each: float) -> dict[str, Measured]:
    """The seconds one call of each takes, in up to ``rounds`` turns.

    Args:
        works: what to run, by name.
        rounds: turns of each.
        seconds_each: after so long a work gets no further turn, though at least three.
    """
    calls = {name: _calls_per_turn(work) for name, work in works.items()}
    found = {name: Measured() for name in works}
    spent = dict.fromkeys(works, 0.0)
    for turn in range(rounds):
        for name, work in works.items():
            if turn >= 3 and spent[name] > seconds_each:
                continue
            took = _timed(work(calls[name]))
            spent[name] += took
            found[name].seconds.append(took / calls[name])
    return found


def _calls_per_turn(work: Work) -> int:
    calls = 1
    while True:
        took = _timed(work(calls))
        if took > TURN_SECONDS / 4:
            return max(1, round(calls * TURN_SECONDS / took))
        calls *= 4


def _timed(run: Callable[[], object]) -> float:
    begun = thread_time()
    run()
    return thread_time() - begun
