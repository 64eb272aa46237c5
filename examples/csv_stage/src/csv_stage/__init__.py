"""The stage ``csv-table``: text that is CSV as a Markdown table of its first rows, which models read better."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Mapping
from io import StringIO
from typing import Any

from mcplocal.results.stage import StageContext, StageFailed, ToolResult


class CsvTable:
    """See ``mcplocal.results.stage`` for what a stage is."""

    name = "csv-table"
    summary = "Writes text that is CSV as a Markdown table of its first rows."
    options_schema: Mapping[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "maxRows": {
                "type": "integer",
                "minimum": 1,
                "maximum": 10_000,
                "default": 50,
                "description": "rows that are kept, the head not counted",
            }
        },
        "additionalProperties": False,
        "examples": [{"maxRows": 20}],
    }

    async def apply(self, result: ToolResult, options: Mapping[str, Any], _context: StageContext) -> ToolResult:
        """Each text that is CSV becomes a table; all else stays."""
        most = int(options["maxRows"])
        # Reading may take long, and here everybody waits: it goes to a thread.
        return await asyncio.to_thread(result.with_texts, lambda text: table(text, most))


def table(text: str, most: int) -> str:
    """``text`` as a table of at most ``most`` rows; ``text`` itself if it is no CSV of at least two columns and rows.

    Raises:
        StageFailed: a field of it is too long to be read.
    """
    try:
        rows = [row for row in csv.reader(StringIO(text), strict=True) if row]
    except csv.Error as error:
        if "field larger" in str(error):
            raise StageFailed("a field of the CSV is too long") from None
        return text
    if len(rows) < 2 or len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return text
    head, *body = [[field.replace("|", "\\|").replace("\n", " ") for field in row] for row in rows[: most + 1]]
    lines = [head, ["---"] * len(head), *body]
    shown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    left = len(rows) - 1 - len(body)
    return f"{shown}\n[… {left:,} rows left out]" if left else shown


STAGE = CsvTable()
