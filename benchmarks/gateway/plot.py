"""The picture: how much slower a call is than a direct one, by contender and kind of call, as SVG without any library."""

from __future__ import annotations

from math import log10
from statistics import median
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.gateway import calls
from benchmarks.gateway.calls import against_direct
from benchmarks.gateway.contenders import DIRECT
from benchmarks.gateway.report import Findings
from benchmarks.tables import ends

WIDTH, LEFT, RIGHT, TOP, BAR, GAP = 820, 250, 70, 50, 14, 18
MOST: Final = 1000.0
COLOURS: Final = ("#1b6ca8", "#2a9d8f", "#e07a5f")
BUDGETS: Final = {calls.SMALL_ONE: 4.0, calls.SMALL_MANY: 3.5, calls.LARGE_ONE: 4.5}


def svg(found: Findings) -> str:
    """The whole picture."""
    names = [name for name in found.calls[calls.SMALL_ONE] if name != DIRECT]
    block = BAR * len(calls.KINDS) + GAP
    height = TOP + block * len(names) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="20" y="20" font-size="14">p50 of a call against a direct one (median, 10th to 90th percentile)</text>',
        *_axis(height - 40),
    ]
    for place, name in enumerate(names):
        top = TOP + block * place
        parts.append(f'<text x="{LEFT - 8}" y="{top + block / 2}" text-anchor="end">{escape(name)}</text>')
        for index, kind in enumerate(calls.KINDS):
            each = against_direct(found.calls[kind.name], name, lambda turns: turns.p50)
            parts += _bar(top + BAR * index, each, COLOURS[index])
    for index, kind in enumerate(calls.KINDS):
        x, colour = _x(BUDGETS[kind.name]), COLOURS[index]
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - 40}" stroke="{colour}" stroke-dasharray="5 4"/>'
        )
        label = f"{kind.name} (dashed: budget of mcplocal, {BUDGETS[kind.name]:g}×)"
        parts.append(f'<text x="{20 + 265 * index}" y="38" fill="{colour}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _bar(y: float, each: list[float], colour: str) -> list[str]:
    middle, (low, high) = median(each), ends(each)
    line = y + BAR / 2
    return [
        f'<rect x="{LEFT}" y="{y + 1}" width="{_x(middle) - LEFT:.1f}" height="{BAR - 3}" fill="{colour}" opacity="0.8"/>',
        f'<line x1="{_x(low):.1f}" x2="{_x(high):.1f}" y1="{line}" y2="{line}" stroke="black"/>',
        f'<text x="{_x(max(high, middle)) + 6:.1f}" y="{y + BAR - 3}">{middle:.3g}×</text>',
    ]


def _axis(bottom: float) -> list[str]:
    parts = []
    for ratio in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000):
        x = _x(ratio)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom}" stroke="#eeeeee"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{ratio}×</text>')
    return parts


def _x(ratio: float) -> float:
    return LEFT + log10(min(max(ratio, 1.0), MOST)) / log10(MOST) * (WIDTH - LEFT - RIGHT)
