"""Rows in aligned columns: plain text in a pipe, wrapped within their columns on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mcpctl.cli.terminal import is_terminal, may_color, printable


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, headers: bool = True) -> None:
    """Print ``rows`` under ``titles``, with neither frames nor truncation."""
    clean = [[printable(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        _print_wrapped(titles, clean, headers)
    else:
        for line in plain_lines([list(titles), *clean] if headers else clean):
            print(line)


def plain_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows with every column as wide as its widest cell and three blanks between, as kubectl does."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _print_wrapped(titles: Sequence[str], rows: Sequence[Sequence[str]], headers: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 3, 0, 0),
        show_header=headers,
        header_style="bold" if may_color(sys.stdout) else "",
    )
    for number, title in enumerate(titles):
        # The first column names the thing and is what people copy, so it is never broken.
        table.add_column(title, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(no_color=not may_color(sys.stdout), highlight=False, markup=False, emoji=False)
    console.print(table)
