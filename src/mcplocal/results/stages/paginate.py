"""``paginate``: the first page of a long text, and how to read the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

from mcplocal.json_text import write
from mcplocal.results.pages import Kept
from mcplocal.results.private_directory import NotKept
from mcplocal.results.stage import Block, StageFailed, ToolResult
from mcplocal.results.stages.truncate import as_text
from mcplocal.shapes import PAGE_TOOL

Keep = Callable[[Iterable[str], int, float], Awaitable[Kept]]
"""Keeps a text, given in pieces: characters of a page, and seconds. Raises ``NotKept``."""


async def paginated(result: ToolResult, options: Mapping[str, Any], keep: Keep) -> ToolResult:
    """``result`` with the first page of its text, if that is longer than a page.

    Several texts are read as one, a line's end between them; all other content stays on the first page.

    Raises:
        StageFailed: the text cannot be kept.
    """
    page_chars = int(options["pageChars"])
    result = as_text(result, page_chars)
    # A large text is never there as a whole beside the answer that it stands in.
    large = any(block.is_large_text for block in result.content)
    if not large and sum(map(len, result.texts)) <= page_chars:
        return result
    try:
        kept = await keep(_pieces(result), page_chars, float(options["ttlSeconds"]))
    except NotKept as error:
        raise StageFailed(f"the rest cannot be kept: {error}") from None
    content: list[Block] = []
    first: Block | None = None
    for block in result.content:
        if not is_text(block):
            content.append(block)
        elif first is None:
            first = block
            content.append(Block.of_text(kept.first) if block.is_large_text else block.with_text(kept.first))
    if kept.count == 1:  # it was large as JSON and is not as text
        return result
    return result.with_content((*content, Block.of_text(how_to_go_on(1, kept.count, kept.cursor(2)))))


def is_text(block: Block) -> bool:
    """Whether it is a block of text, found out without reading a large one."""
    return block.is_large_text or block.text is not None


def _pieces(result: ToolResult) -> Iterator[str]:
    """Its texts, a line's end between them, in pieces."""
    for number, block in enumerate(block for block in result.content if is_text(block)):
        if number:
            yield "\n"
        yield from block.pieces()


def how_to_go_on(number: int, count: int, following: str | None) -> str:
    """What stands below a page."""
    if following is None:
        return f"[Page {number:,} of {count:,}, the last one.]"
    return f"[Page {number:,} of {count:,}. To read on, call {PAGE_TOOL} with {write({'cursor': following})}]"
