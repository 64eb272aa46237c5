"""``paginate``: the first page of a long text, and how to read the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcplocal.json_text import write
from mcplocal.results.pages import Kept
from mcplocal.results.private_directory import NotKept
from mcplocal.results.stage import Block, StageFailed, ToolResult
from mcplocal.results.stages.truncate import as_text
from mcplocal.shapes import PAGE_TOOL

Keep = Callable[[str, int, float], Awaitable[Kept]]
"""Keeps a text: characters of a page, and seconds. Raises ``NotKept``."""


async def paginated(result: ToolResult, options: Mapping[str, Any], keep: Keep) -> ToolResult:
    """``result`` with the first page of its text, if that is longer than a page.

    Several texts are read as one, a line's end between them; all other content stays on the first page.

    Raises:
        StageFailed: the text cannot be kept.
    """
    page_chars = int(options["pageChars"])
    result = as_text(result, page_chars)
    texts = result.texts
    if sum(map(len, texts)) <= page_chars:
        return result
    try:
        kept = await keep(texts[0] if len(texts) == 1 else "\n".join(texts), page_chars, float(options["ttlSeconds"]))
    except NotKept as error:
        raise StageFailed(f"the rest cannot be kept: {error}") from None
    content: list[Block] = []
    first: Block | None = None
    for block in result.content:
        if block.text is None:
            content.append(block)
        elif first is None:
            first = block
            content.append(block.with_text(kept.first))
    return result.with_content((*content, Block.of_text(how_to_go_on(1, kept.count, kept.cursor(2)))))


def how_to_go_on(number: int, count: int, following: str | None) -> str:
    """What stands below a page."""
    if following is None:
        return f"[Page {number:,} of {count:,}, the last one.]"
    return f"[Page {number:,} of {count:,}. To read on, call {PAGE_TOOL} with {write({'cursor': following})}]"
