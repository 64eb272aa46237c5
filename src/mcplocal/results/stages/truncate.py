"""``truncate``: keeps so many characters of each text, and says how many are gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcplocal.results.stage import Block, ToolResult


def truncated(result: ToolResult, options: Mapping[str, Any]) -> ToolResult:
    """``result`` with no text longer than ``maxChars``, the notes on what is gone apart.

    Structured content that is longer is left out, as half of it would mean something else; where the text does not say it too,
    it becomes text, and is cut as such.
    """
    most, keep = int(options["maxChars"]), str(options["keep"])
    return as_text(result, most).with_texts(lambda text: text if len(text) <= most else _cut(text, most, keep))


def as_text(result: ToolResult, most: int) -> ToolResult:
    """``result``, its structured content as text if that has more than ``most`` characters and no text has."""
    structured = result.structured
    if structured is None or len(structured) <= most:
        return result
    if any(block.is_large_text or len(block.text or "") > most for block in result.content):
        return result
    return result.with_content((*result.content, Block.of_text(structured)))


def _cut(text: str, most: int, keep: str) -> str:
    note = f"[… {len(text) - most:,} characters left out]"
    if keep == "tail":
        return f"{note}\n{text[-most:]}"
    if keep == "both":
        head = (most + 1) // 2
        return f"{text[:head]}\n{note}\n{text[len(text) - (most - head) :]}"
    return f"{text[:most]}\n{note}"
