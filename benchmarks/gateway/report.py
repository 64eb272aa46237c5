"""The findings as one Markdown page: the budgets first, as ratios where they are ratios, then everything measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks import provenance
from benchmarks.gateway import calls, outage
from benchmarks.gateway.calls import LARGE_ONE, SMALL_MANY, SMALL_ONE, Turns, against_direct
from benchmarks.gateway.contenders import DIRECT, MCPLOCAL
from benchmarks.gateway.lifetime import Life
from benchmarks.gateway.outage import Outage
from benchmarks.rounds import Measured
from benchmarks.tables import Verdict, ends, shown, spread, table

MEGA: Final = 1e6
PACKAGES: Final = ("aiohttp", "starlette", "uvicorn", "uvloop", "httptools", "mcp", "fastmcp")


@dataclass
class Findings:
    """Everything one run found out."""

    calls: calls.Findings = field(default_factory=dict)
    warm: Measured = field(default_factory=Measured)
    new: Measured = field(default_factory=Measured)
    life: Life = field(default_factory=Life)
    outage: Outage = field(default_factory=Outage)
    programs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load_before: float = 0.0
    seconds: float = 0.0


def page(found: Findings) -> str:
    """The whole page."""
    parts = [
        "# The gateway: what it costs",
        provenance.lines("make bench-gateway", found.seconds, PACKAGES, found.programs, found.load_before),
        "## Budgets",
        table(("what", "found", "budget", "goal", "met"), [one.row for one in verdicts(found)]),
        "Ratios are medians over the rounds, with the 10th and 90th percentile; every round sets each contender against the "
        "direct calls of the same round.",
        "![](gateway.svg)",
    ]
    for kind in calls.KINDS:
        parts += [f"## {kind.name[0].upper()}{kind.name[1:]}", _calls(found.calls[kind.name])]
    parts += [
        "## Lists, start, memory, outage",
        table(("what", "found"), _others(found)),
        "## Notes",
        "\n".join(f"- {note}" for note in found.notes),
    ]
    return "\n\n".join(parts) + "\n"


def verdicts(found: Findings) -> list[Verdict]:
    """Every budget of the gateway."""
    p50: Callable[[Turns], list[float]] = lambda turns: turns.p50  # noqa: E731 - one of two figures asked for by name
    per_second: Callable[[Turns], list[float]] = lambda turns: turns.per_second  # noqa: E731

    def ratio(what: str, kind: str, of: Callable[[Turns], list[float]], budget: float, goal: float, **more: bool) -> Verdict:
        each = against_direct(found.calls[kind], MCPLOCAL, of)
        low, high = ends(each)
        return Verdict(what, median(each), f"{median(each):.2f} ({low:.2f}–{high:.2f})", budget, goal, "×", **more)

    memory = found.life.memory
    end = memory[max(memory)] / MEGA
    dearer = found.outage.with_dead.median / found.outage.without.median
    over = max(0.0, found.outage.first_list - outage.DEADLINE)
    return [
        ratio("small call against direct, p50, 1 connection", SMALL_ONE, p50, 4, 2.6),
        ratio(f"small call against direct, p50, {calls.MANY} connections", SMALL_MANY, p50, 3.5, 2),
        ratio("100 KB result against direct, p50", LARGE_ONE, p50, 4.5, 3),
        ratio(f"throughput against direct, {calls.MANY} connections", SMALL_MANY, per_second, 0.3, 0.6, more_is_better=True),
        _milliseconds("tools/list of 200 tools, warm, CPU", found.warm, 0.3, 0.1),
        _milliseconds("tools/list of 200 tools, new principal, CPU", found.new, 5, 2),
        Verdict("start to first tools/list", found.life.ready.median, spread(found.life.ready), 1, 0.5, " s"),
        Verdict(f"resident after {max(memory):,} calls", end, f"{end:.1f} MB", 90, 60, " MB"),
        Verdict("calls beside a dead server against calls without one, p50", dearer, f"{dearer:.2f}", 1.1, 1.02, "×"),
        Verdict("the very first list over its deadline", over * 1e3, f"{over * 1e3:.0f} ms", 100, 20, " ms"),
    ]


def _milliseconds(what: str, measured: Measured, budget: float, goal: float) -> Verdict:
    return Verdict(what, measured.median * 1e3, spread(measured), budget, goal, " ms")


def _calls(turns: dict[str, Turns]) -> str:
    rows = []
    for name, one in turns.items():
        slower, faster = "", ""
        if name != DIRECT:
            slower = _against(against_direct(turns, name, lambda turns: turns.p50))
            faster = _against(against_direct(turns, name, lambda turns: turns.per_second))
        rows.append(
            f"| {name} | {shown(median(one.p50))} | {shown(median(one.p99))} | {slower} | "
            f"{median(one.per_second):,.0f} | {faster} | {shown(median(one.cpu))} |"
        )
    heads = ("through", "p50", "p99", "p50 against direct", "calls a second", "throughput against direct", "its CPU for one")
    return table(heads, rows)


def _against(each: list[float]) -> str:
    low, high = ends(each)
    digits = 2 if median(each) < 10 else 0
    return f"{median(each):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def _others(found: Findings) -> Iterable[str]:
    yield f"| tools/list of 200 tools, somebody known, CPU | {spread(found.warm)} |"
    yield f"| the same, somebody never seen | {spread(found.new)} |"
    yield f"| start to first tools/list | {spread(found.life.ready)} |"
    for after, size in found.life.memory.items():
        yield f"| resident after {after:,} calls | {size / MEGA:.1f} MB |"
    yield f"| first list with a dead server among five, which has {outage.DEADLINE:g} s | {shown(found.outage.first_list)} |"
    for what, one in (("with", found.outage.with_dead), ("without", found.outage.without)):
        yield f"| a small call {what} a dead server beside it, p50 / p99 | {shown(one.median)} / {shown(one.quantile(99))} |"
