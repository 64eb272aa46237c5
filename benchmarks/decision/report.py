"""The findings as one Markdown page: the budgets first, as ratios where they are ratios, then everything measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks import provenance
from benchmarks.decision import first_decision, in_process, over_http
from benchmarks.decision.over_http import AUTHORIZE, INTROSPECT, Route
from benchmarks.rounds import Measured
from benchmarks.tables import Verdict, ends, shown, spread, table

MICRO: Final = 1e6
PACKAGES: Final = ("casbin", "casbin_sqlalchemy_adapter", "cedarpy", "SQLAlchemy", "starlette", "uvicorn", "uvloop")


@dataclass
class Findings:
    """Everything one run found out."""

    sizes: list[int] = field(default_factory=list)
    by_size: dict[int, dict[str, Measured]] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    databases: list[str] = field(default_factory=list)
    memory: list[tuple[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load_before: float = 0.0
    seconds: float = 0.0

    def at(self, size: int, what: str) -> Measured | None:
        """What was measured at this size, if it was."""
        return self.by_size[size].get(what)

    def worst(self, what: str) -> float:
        """The largest median over all sizes."""
        return max(one.median for size in self.sizes if (one := self.at(size, what)))


def page(found: Findings) -> str:
    """The whole page."""
    parts = [
        "# Decisions: what they cost",
        *_made_from(found),
        "## Budgets",
        table(("what", "found", "budget", "goal", "met"), [one.row for one in verdicts(found)]),
        *_ratios(found),
        "## By number of lines in the policy",
        "Median (10th to 90th percentile) of one call; a token's question, its slice and its owner's having 15 lines each.",
        _by_size(found),
        "![](decision.svg)",
        "## Over HTTP",
        f"{over_http.CONNECTIONS} keep-alive connections, {over_http.ROUNDS} rounds in turns; {found.sizes[-1]:,} lines in the "
        "policy. Each is set against the empty route asked with the very same request, round by round.",
        _http(found.routes),
        "## Memory",
        table(("what", "bytes"), [f"| {what} | {size:,.0f} |" for what, size in found.memory]),
        "## Notes",
        "\n".join(f"- {note}" for note in found.notes),
    ]
    return "\n\n".join(parts) + "\n"


def verdicts(found: Findings) -> list[Verdict]:
    """Every budget of the decision."""
    remembered, fresh = found.worst(in_process.REMEMBERED), found.worst(in_process.FRESH)
    many = found.sizes[-1]
    rows = [
        Verdict("remembered, slowest size", remembered * MICRO, shown(remembered), 1, 0.5, " µs"),
        Verdict("fresh, slowest size", fresh * MICRO, shown(fresh), 15, 6, " µs"),
    ]
    for name in _first_decisions(found):
        if one := found.at(many, name):
            p99 = one.quantile(99) * 1e3
            rows.append(Verdict(f"{name}, {many:,} lines, p99", p99, f"{p99:.2f} ms", 5, 2, " ms"))
    for name in (INTROSPECT, AUTHORIZE):
        if name in found.routes:
            ratio, _ = over_http.ratio(found.routes, name)
            rows.append(Verdict(f"{name} against an empty route", ratio, f"{ratio:.2f}", 0.4, 0.5, "", more_is_better=True))
    return rows


def _ratios(found: Findings) -> Iterable[str]:
    lines = []
    for size in found.sizes:
        stock, fresh = found.at(size, in_process.STOCK), found.at(size, in_process.FRESH)
        if stock and fresh:
            lines.append(f"{stock.median / fresh.median:,.0f}× at {size:,}")
    if lines:
        yield f"Stock Casbin over all lines against a fresh decision (which asks both slices): {', '.join(lines)} lines."
    last = found.by_size[found.sizes[-1]]
    against = [
        f"{name} {last[name].median / last[in_process.FRESH].median:.0f}×"
        for name in (in_process.STOCK_SLICE, in_process.CEDAR)
        if name in last
    ]
    if against:
        yield f"On one slice of 15 lines: {', '.join(against)} a fresh decision, which asks two."


def _made_from(found: Findings) -> Iterable[str]:
    yield provenance.lines("make bench-decision", found.seconds, PACKAGES, found.databases, found.load_before)


def _by_size(found: Findings) -> str:
    names = list(dict.fromkeys(name for size in found.sizes for name in found.by_size[size]))
    rows = []
    for name in names:
        cells = [spread(found.at(size, name)) for size in found.sizes]
        rows.append(f"| {name} | {' | '.join(cells)} |")
        if name in _first_decisions(found):
            p99 = [shown(one.quantile(99)) if (one := found.at(size, name)) else "" for size in found.sizes]
            rows.append(f"| … p99 | {' | '.join(p99)} |")
    return table(("", *(f"{size:,}" for size in found.sizes)), rows)


def _http(routes: Mapping[str, Route]) -> str:
    rows = []
    for name, route in routes.items():
        ratio = ""
        if name in over_http.AGAINST:
            middle, each = over_http.ratio(routes, name)
            low, high = ends(each)
            ratio = f"{middle:.2f} ({low:.2f}–{high:.2f})"
        low, high = ends(route.per_second)
        rows.append(
            f"| {name} | {median(route.per_second):,.0f} ({low:,.0f}–{high:,.0f}) | {ratio} | "
            f"{route.latency.median * 1e3:.2f} / {route.latency.quantile(99) * 1e3:.2f} ms | "
            f"{median(route.server_cpu) * MICRO:.0f} / {median(route.load_cpu) * MICRO:.0f} µs |"
        )
    heads = ("route", "answers a second", "against empty", "p50 / p99", "CPU of server / load for one")
    return table(heads, rows)


def _first_decisions(found: Findings) -> list[str]:
    known = (*in_process_names(), first_decision.ADAPTER, first_decision.ADAPTER_ALONE)
    return [name for name in found.by_size[found.sizes[-1]] if name not in known]


def in_process_names() -> tuple[str, ...]:
    """What is measured in memory alone."""
    return (in_process.REMEMBERED, in_process.FRESH, in_process.STOCK, in_process.STOCK_SLICE, in_process.CEDAR)
