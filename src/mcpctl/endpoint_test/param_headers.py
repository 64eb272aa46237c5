"""``x-mcp-header``: which annotations in a tool's schema are right (MCP 2026-07-28 §Schema Extension)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

ANNOTATION: Final = "x-mcp-header"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def annotated(schema: Any) -> Iterator[tuple[tuple[str, ...] | None, Any, Mapping[str, Any]]]:
    """Every annotation: the path of its property, ``None`` if only other keywords lead there; its value; and the property."""
    pending: list[tuple[Any, tuple[str, ...] | None, bool]] = [(schema, (), False)]
    while pending:
        one, path, is_property = pending.pop()
        if isinstance(one, list):
            pending.extend((item, None, False) for item in one)
        if not isinstance(one, dict):
            continue
        if ANNOTATION in one:
            yield (path if is_property else None), one[ANNOTATION], one
        for key, below in one.items():
            if key == "properties" and isinstance(below, dict):
                pending.extend((value, None if path is None else (*path, name), True) for name, value in below.items())
            elif key not in ("const", "default", "enum", "examples"):
                pending.append((below, None, False))


def wrong_annotation(schema: Any) -> str:
    """What is wrong with the annotations of a schema; empty if nothing is."""
    names: set[str] = set()
    for path, name, holder in annotated(schema):
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            return f"{name!r:.60} cannot be part of a header's name"
        if path is None:
            return f"{name!r} stands where no property is"
        if holder.get("type") not in ("integer", "string", "boolean"):
            return f"{name!r} is on a property that is neither an integer, a string nor a boolean"
        if name.lower() in names:
            return f"{name!r} is there twice"
        names.add(name.lower())
    return ""


def headers_for(schema: Any, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The ``Mcp-Param-`` headers of a call with these arguments."""
    found = []
    for path, name, _ in annotated(schema):
        value: Any = arguments
        for step in path or ():
            value = value.get(step) if isinstance(value, Mapping) else None
        if path and value is not None:
            found.append((f"Mcp-Param-{name}", _written(value)))
    return found


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if text.isascii() and text.isprintable() and text == text.strip() and not text.startswith("=?"):
        return text
    from base64 import b64encode

    return f"=?base64?{b64encode(text.encode()).decode()}?="
