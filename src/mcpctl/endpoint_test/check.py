"""What a check is, and what comes of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpctl.endpoint_test.endpoint import Endpoint
    from mcpctl.endpoint_test.exchange import Exchange, Shown


class Level(StrEnum):
    """What came of a check. ``FAIL`` breaks a rule; ``WARN`` departs from advice, and fails the run with ``--strict``."""

    PASS = "pass"  # noqa: S105 - no password
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        level: what came of it.
        said: one sentence on what was seen; may be empty when all is well.
        seen: the exchanges that show it.
        blocks: checks that depend on this one cannot be judged now.
        because: the check this one waited for in vain.
    """

    level: Level
    said: str = ""
    seen: tuple[Exchange | Shown, ...] = ()
    blocks: bool = False
    because: str | None = None


Run = Callable[["Endpoint"], Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        id: family, number and a word: ``M3-method-missing``. ``M3`` and ``M`` select all that begin so.
        title: what is true when it passes.
        severity: the worst it can come to.
        clause: where the rule stands. ``MCP 2026-07-28 …`` and ``MCP 2025-11-25 …`` are pages of the specification.
        advice: what to do when it does not pass.
        run: judges an endpoint.
        depends: checks without which this one cannot be judged; it is skipped when one of them blocks.
        opt_in: runs only when ``--only`` names it.
        late: looks at what others have seen, and so runs after them.
    """

    id: str
    title: str
    severity: Level
    clause: str
    advice: str
    run: Run
    depends: tuple[str, ...] = ()
    opt_in: bool = False
    late: bool = False

    @property
    def family(self) -> str:
        """The letter the identifier begins with."""
        return self.id[0]

    def is_meant_by(self, word: str) -> bool:
        """Whether ``word`` is this check's identifier, its number or its family."""
        return word in (self.id, self.id.partition("-")[0], self.family)


def check(
    id: str,  # noqa: A002
    title: str,
    severity: Level,
    clause: str,
    advice: str,
    *,
    depends: tuple[str, ...] = (),
    opt_in: bool = False,
    late: bool = False,
) -> Callable[[Run], Check]:
    """Make the decorated function a check."""

    def made(run: Run) -> Check:
        return Check(id, title, severity, clause, advice, run, depends, opt_in, late)

    return made


def passed(said: str = "", *seen: Exchange | Shown) -> Finding:
    """All is well."""
    return Finding(Level.PASS, said, seen)


def noted(said: str, *seen: Exchange | Shown) -> Finding:
    """Worth knowing, and no judgement."""
    return Finding(Level.INFO, said, seen)


def warned(said: str, *seen: Exchange | Shown, blocks: bool = False) -> Finding:
    """Against advice."""
    return Finding(Level.WARN, said, seen, blocks)


def failed(said: str, *seen: Exchange | Shown) -> Finding:
    """Against a rule."""
    return Finding(Level.FAIL, said, seen, blocks=True)


def skipped(said: str, *, blocks: bool = False, because: str | None = None) -> Finding:
    """Does not apply here, or could not be judged."""
    return Finding(Level.SKIP, said, (), blocks, because)
