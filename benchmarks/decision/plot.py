"""The picture: cost of one decision by number of lines, both axes logarithmic, as SVG without any library."""

from __future__ import annotations

from math import log10
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.decision import in_process
from benchmarks.decision.report import Findings

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 820, 460, 70, 40, 250, 50
FASTEST, SLOWEST = 1e-7, 10.0
COLOURS: Final = ("#1b6ca8", "#0b3954", "#2a9d8f", "#6a994e", "#c1121f", "#e07a5f", "#8d6a9f", "#888888", "#b08900")
BUDGETS: Final = {in_process.REMEMBERED: 1e-6, in_process.FRESH: 15e-6}


def svg(found: Findings) -> str:
    """The whole picture."""
    names = list(dict.fromkeys(name for size in found.sizes for name in found.by_size[size]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">One decision, by lines in the policy (median; dashed: budget)</text>',
        *_axes(found),
    ]
    for index, name in enumerate(names):
        colour = COLOURS[index % len(COLOURS)]
        points = [(size, one.median) for size in found.sizes if (one := found.at(size, name))]
        drawn = " ".join(f"{_x(found, size):.1f},{_y(seconds):.1f}" for size, seconds in points)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{_x(found, size):.1f}" cy="{_y(seconds):.1f}" r="3" fill="{colour}"/>' for size, seconds in points
        ]
        parts.append(f'<text x="{WIDTH - RIGHT + 18}" y="{TOP + 12 + 18 * index}" fill="{colour}">{escape(name)}</text>')
        if budget := BUDGETS.get(name):
            y = _y(budget)
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-dasharray="5 4"/>'
            )
    return "\n".join([*parts, "</svg>\n"])


def _axes(found: Findings) -> list[str]:
    parts = []
    for size in found.sizes:
        x = _x(found, size)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eeeeee"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size:,}</text>')
    for power in range(round(log10(FASTEST)), round(log10(SLOWEST)) + 1):
        y = _y(10.0**power)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eeeeee"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_shown(power)}</text>')
    return parts


def _shown(power: int) -> str:
    unit, factor = ("s", 0) if power >= 0 else ("ms", 3) if power >= -3 else ("µs", 6)
    return f"{10.0 ** (power + factor):g} {unit}"


def _x(found: Findings, size: int) -> float:
    first, last = log10(found.sizes[0]), log10(found.sizes[-1])
    share = (log10(size) - first) / (last - first) if last > first else 0.5
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(seconds: float) -> float:
    share = (log10(seconds) - log10(FASTEST)) / (log10(SLOWEST) - log10(FASTEST))
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
