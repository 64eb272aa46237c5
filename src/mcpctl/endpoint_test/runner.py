"""Runs checks one after the other, those first on which others depend, and keeps what came of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from mcpctl.endpoint_test.bounded_http import OutOfTime
from mcpctl.endpoint_test.catalog import BY_ID
from mcpctl.endpoint_test.check import Check, Finding, Level, failed, skipped
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.exchange import Exchange, Shown
from mcpctl.endpoint_test.options import Options

OK, USAGE, FAILED, REFUSED, UNREACHABLE = 0, 1, 2, 3, 4
"""Exit codes."""

REACH: Final = "A1-connect"
CREDENTIAL: Final = "B0-accepted"
SHOWN: Final = 3
"""Exchanges that one outcome shows."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check.

    Attributes:
        check: which.
        level: the verdict.
        said: what was seen, in a sentence; secrets are masked.
        shown: the exchanges, where something is wrong.
        because: the check that this one waited for in vain.
        seconds: how long it took.
    """

    check: Check
    level: Level
    said: str
    shown: tuple[Shown, ...]
    because: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run.

    Attributes:
        url: what was tested.
        outcomes: in the order of the catalog.
        seconds: how long it took.
        out_of_time: the time for the whole run was over before the last check.
        strict: warnings fail.
    """

    url: str
    outcomes: tuple[Outcome, ...]
    seconds: float
    out_of_time: bool
    strict: bool = False

    def count(self, level: Level) -> int:
        """How many came to ``level``."""
        return Counter(one.level for one in self.outcomes)[level]

    @property
    def exit_code(self) -> int:
        """0 all is well, 2 a check failed, 3 a credential is needed or refused, 4 unreachable."""
        wrong = {one.check.id for one in self.outcomes if one.level is Level.FAIL}
        if REACH in wrong:
            return UNREACHABLE
        if CREDENTIAL in wrong:
            return REFUSED
        warned = self.strict and self.count(Level.WARN)
        return FAILED if wrong or warned or self.out_of_time else OK


Watcher = Callable[[Check, int, int], None]


async def run(options: Options, checks: Sequence[Check], *, strict: bool = False, watch: Watcher | None = None) -> Report:
    """Test an endpoint.

    Args:
        options: which, and how.
        checks: those to report. Others on which they depend run as well, and are reported if they are in the way.
        strict: warnings fail.
        watch: told before each check, with its number and how many there are.
    """
    began = monotonic()
    running = _Run(Endpoint(options))
    try:
        for number, check in enumerate(sorted(checks, key=lambda one: one.late), 1):
            if watch is not None:
                watch(check, number, len(checks))
            await running.outcome(check)
    finally:
        await running.endpoint.close()
    wanted = {check.id for check in checks}
    told = [one for id, one in running.outcomes.items() if id in wanted or one.level is Level.FAIL]  # noqa: A001
    order = {id: place for place, id in enumerate(BY_ID)}  # noqa: A001
    told.sort(key=lambda one: order[one.check.id])
    return Report(running.endpoint.mask.text(options.url), tuple(told), monotonic() - began, running.out_of_time, strict)


class _Run:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.outcomes: dict[str, Outcome] = {}
        self.blocking: dict[str, str] = {}
        self.out_of_time = False

    async def outcome(self, check: Check) -> None:
        if check.id in self.outcomes:
            return
        for needed in check.depends:
            await self.outcome(BY_ID[needed])
        began = monotonic()
        in_the_way = next((one for one in check.depends if one in self.blocking), None)
        if in_the_way is not None:
            finding = skipped(f"{in_the_way} is in the way", blocks=True, because=in_the_way)
        else:
            finding = await self._found(check)
        if finding.blocks:
            self.blocking[check.id] = in_the_way or check.id
        wrong = finding.level in (Level.FAIL, Level.WARN)
        shown = tuple(self._shown(one) for one in finding.seen[:SHOWN]) if wrong else ()
        said = self.endpoint.mask.line(finding.said)
        self.outcomes[check.id] = Outcome(check, finding.level, said, shown, finding.because, monotonic() - began)

    def _shown(self, one: Exchange | Shown) -> Shown:
        return one if isinstance(one, Shown) else self.endpoint.mask.show(one)

    async def _found(self, check: Check) -> Finding:
        try:
            return await check.run(self.endpoint)
        except OutOfTime:
            self.out_of_time = True
            return skipped("the time for the whole run is over", blocks=True)
        except RecursionError:
            return failed("the answer is too complicated to be judged")
        except Exception as error:  # a stranger's answer ends a check, and never the run
            return failed(f"the answer could not be judged: {type(error).__name__}")
