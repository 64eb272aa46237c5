"""What pages of results are made of: a budget and what was found, a table, a number with its unit, a median with its spread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import quantiles

from benchmarks.rounds import Measured


@dataclass(frozen=True)
class Verdict:
    """One budget and what was found."""

    what: str
    found: float
    shown: str
    budget: float
    goal: float
    unit: str
    more_is_better: bool = False

    @property
    def row(self) -> str:
        """As a row of the table."""
        sign = "≥" if self.more_is_better else "≤"
        better = self._within(self.goal), self._within(self.budget)
        verdict = "goal" if better[0] else "budget" if better[1] else "**missed**"
        return f"| {self.what} | {self.shown} | {sign} {self.budget:g}{self.unit} | {self.goal:g}{self.unit} | {verdict} |"

    def _within(self, limit: float) -> bool:
        return self.found >= limit if self.more_is_better else self.found <= limit


def table(heads: Iterable[str], rows: Iterable[str]) -> str:
    """A Markdown table; each row is one already."""
    heads = list(heads)
    return "\n".join((f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows))


def spread(one: Measured | None) -> str:
    """The median, and the 10th and 90th percentile."""
    if one is None:
        return "–"
    return f"{shown(one.median)} ({shown(one.quantile(10))}–{shown(one.quantile(90))})"


def shown(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            value = seconds * factor
            return f"{value:.2f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    raise AssertionError("microseconds are the last resort")


def ends(values: list[float]) -> tuple[float, float]:
    """The 10th and 90th percentile."""
    cuts = quantiles(values, n=10, method="inclusive")
    return cuts[0], cuts[-1]
