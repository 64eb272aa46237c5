"""Rows in aligned columns: plain text in a pipe, wrapped within their columns on a terminal."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Final

import rich_click as click

from mcpctl.cli.terminal import is_terminal, may_color, printable

GAP: Final = "   "
"""Between columns, as kubectl does."""

_PIECES: Final = (
    re.compile(r"\S+"),
    re.compile(r"[^\s,;]+[,;]*|[,;]+"),
    re.compile(r"[^\s,;:/=@._-]+[,;:/=@._-]*|[,;:/=@._-]+"),
    re.compile(r"\S{1,8}"),
)
"""What stays in one piece, from the kindest way to break a cell to the last: words, members of a list, parts of a name."""


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, headers: bool = True) -> None:
    """Print ``rows`` under ``titles``, with neither frames nor truncation."""
    clean = [[printable(cell) for cell in row] for row in rows]
    if not is_terminal(sys.stdout):
        for line in plain_lines([list(titles), *clean] if headers else clean):
            print(line)
        return
    lines = wrapped_lines([list(titles), *clean] if headers else clean, shutil.get_terminal_size().columns)
    for number, row in enumerate(lines):
        for line in row:
            print(click.style(line, bold=True) if number == 0 and headers and may_color(sys.stdout) else line)


def plain_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows with every column as wide as its widest cell and three blanks between, as kubectl does."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(row, widths) for row in rows]


def wrapped_lines(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """The lines of each row, none wider than ``width`` if that can be: cells take several lines where there is no room.

    The first column names the thing and is what people copy, so it is never broken.
    """
    if not rows:
        return []
    columns = list(zip(*rows, strict=True))
    widths, ways = _shared_out(columns, width - len(GAP) * (len(columns) - 1))
    wrapped = [[_wrapped(cell, *how) for cell, *how in zip(row, widths, ways, strict=True)] for row in rows]
    return [
        [
            _line([cell[number] if number < len(cell) else "" for cell in row], widths)
            for number in range(max(1, *map(len, row)))
        ]
        for row in wrapped
    ]


def _shared_out(columns: Sequence[Sequence[str]], room: int) -> tuple[list[int], list[int]]:
    """How wide each column is, and the way its cells are broken: the kindest for which all of them fit into ``room``."""
    most = [max(map(len, column)) for column in columns]
    ways = [0] * len(columns)
    least = [most[0], *(_longest(column, 0) for column in columns[1:])]
    while sum(least) > room:
        # The widest gives way first, and only as far as it must.
        harder = [
            (least[place], place)
            for place in range(1, len(columns))
            if ways[place] + 1 < len(_PIECES)
            and any(_longest(columns[place], way) < least[place] for way in _after(ways[place]))
        ]
        if not harder:
            break
        place = max(harder)[1]
        ways[place] += 1
        least[place] = _longest(columns[place], ways[place])
    widths = list(least)
    for _ in range(max(0, room - sum(least))):
        # What is left goes where a cell is still wrapped, the narrowest of these first.
        wanting = [place for place, width in enumerate(widths) if width < most[place]]
        if not wanting:
            break
        widths[min(wanting, key=lambda place: widths[place])] += 1
    return widths, ways


def _after(way: int) -> Iterable[int]:
    return range(way + 1, len(_PIECES))


def _longest(column: Sequence[str], way: int) -> int:
    return max((len(piece) for cell in column for piece in _PIECES[way].findall(cell)), default=0)


def _wrapped(cell: str, width: int, way: int) -> list[str]:
    """``cell`` in lines of at most ``width``, broken between words and, only where one is too long, in the given way."""
    lines = [""]
    for word in cell.split(" "):
        if len(word) <= width:
            joined = f"{lines[-1]} {word}".lstrip(" ")
            if len(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(word)
            continue
        for number, piece in enumerate(_PIECES[way].findall(word)):
            joined = f"{lines[-1]} {piece}".lstrip(" ") if number == 0 else lines[-1] + piece
            if len(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    return [line for line in lines if line] or [""]


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
