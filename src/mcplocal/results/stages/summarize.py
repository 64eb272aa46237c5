"""``summarize``: what a language model makes of long text, and where the original can be read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mcplocal.json_text import write
from mcplocal.results.private_directory import NotKept
from mcplocal.results.stage import Block, StageFailed, ToolResult
from mcplocal.results.stages.paginate import Keep
from mcplocal.results.stages.truncate import as_text
from mcplocal.shapes import PAGE_TOOL

ORIGINAL_FOR: Final = 600.0
"""Seconds for which the original can be read."""
ORIGINAL_PAGE: Final = 20_000

Summary = Callable[[str, int, str], Awaitable[str]]
"""Sums up a text: tokens at most, and instructions. Raises ``StageFailed``."""


async def summarized(result: ToolResult, options: Mapping[str, Any], summary: Summary, keep: Keep) -> ToolResult:
    """``result`` with a summary in place of its text, if that has more than ``overChars`` characters.

    Raises:
        StageFailed: there is no summary, or the original cannot be kept: nothing is summed up that cannot be looked at.
    """
    over = int(options["overChars"])
    result = as_text(result, over)
    texts = result.texts
    size = sum(map(len, texts))
    if size <= over:
        return result
    whole = texts[0] if len(texts) == 1 else "\n".join(texts)
    try:
        kept = await keep((whole,), ORIGINAL_PAGE, ORIGINAL_FOR)
    except NotKept as error:
        raise StageFailed(f"the original cannot be kept: {error}") from None
    said = await summary(whole, int(options["maxTokens"]), str(options["instructions"]))
    note = (
        f"[This is a language model's summary of {size:,} characters. "
        f"For the original, call {PAGE_TOOL} with {write({'cursor': kept.cursor(1)})}]"
    )
    others = [block for block in result.content if block.text is None]
    return result.with_content((Block.of_text(said), Block.of_text(note), *others))
