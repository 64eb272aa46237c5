"""``compact-json``: text that is JSON, and structured content, without white space. Numbers stay spelt as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from mcplocal.json_text import write, write_object
from mcplocal.results.stage import ToolResult

_NULL_MEMBER: Final = re.compile(r'("(?:[^"\\]++|\\.)*+")(:null(?=[,}]),?+)?', re.DOTALL)
_LAST_COMMA: Final = re.compile(r'("(?:[^"\\]++|\\.)*+")|,(?=\})', re.DOTALL)


def compacted(result: ToolResult, options: Mapping[str, Any]) -> ToolResult:
    """``result`` with its JSON compact, and without members that are null if ``dropNulls`` says so."""
    drop = bool(options["dropNulls"])
    content = tuple(
        block if (text := block.text) is None else block.with_text(compact(text, drop_nulls=drop)) for block in result.content
    )
    structured = None if result.structured is None else compact(result.structured, drop_nulls=drop)
    if (name := result.repeated) is not None:
        text = next(text for block in content if (text := block.text) is not None)
        structured = write_object({name: write(text)})
    return replace(result, content=content, structured=structured)


def compact(text: str, *, drop_nulls: bool) -> str:
    """``text`` without white space if it is an object or a list in JSON; else ``text``."""
    if text.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return text
    try:
        encoded = text.encode()
        msgspec.json.decode(encoded, type=msgspec.Raw)
        found = msgspec.json.format(encoded, indent=-1).decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return text
    if drop_nulls:
        found = _LAST_COMMA.sub(r"\1", _NULL_MEMBER.sub(lambda match: "" if match[2] else match[1], found))
    return found
