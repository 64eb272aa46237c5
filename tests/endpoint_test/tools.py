"""The tools the reference lists, with the defects that tools can have."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}


def _tool(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}, **members}


def _nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        found = {"type": "object", "properties": {"x": found}}
    return found


def listed_tools(defect: str, era: str, port: int) -> list[dict[str, Any]]:
    """All tools in an era."""
    region = {"type": "object", "properties": {"region": {**TEXT, "x-mcp-header": "Region"}}}
    said = {"type": "object", "properties": {"said": TEXT}, "required": ["said"]}
    last: dict[str, Any] = _tool("last")
    schema: dict[str, dict[str, Any]] = {
        "schema is no object": {"inputSchema": {"type": "array"}},
        "required is null": {"inputSchema": {"type": "object", "required": None}},
        "schema invalid": {"inputSchema": {"type": "object", "properties": {"x": {"type": "strng"}}}},
        "schema refers to the network": {
            "inputSchema": {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/x.json"}}}
        },
        "schema of draft 7": {"inputSchema": {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}},
        "schema too deep": {"inputSchema": _nested(20)},
        "output schema invalid": {"outputSchema": {"type": "object", "properties": {"x": {"minimum": "one"}}}},
        "header annotation on an object": {
            "inputSchema": {"type": "object", "properties": {"x": {"type": "object", "x-mcp-header": "X"}}}
        },
        "tool without description": {"description": " "},
        "tool name with a blank": {"name": "la st"},
        "tool name with a dot": {"name": "la.st"},
        "tool name twice": {"name": "echo"},
    }
    only: dict[tuple[str, str], dict[str, Any]] = {
        ("modern tool without a name", "modern"): {"name": None},
        ("modern annotation malformed", "modern"): {"annotations": {"readOnlyHint": "yes"}},
        ("legacy annotation malformed", "legacy"): {"annotations": {"readOnlyHint": "yes"}},
        ("legacy output is an array", "legacy"): {"outputSchema": {"type": "array"}},
        ("list depends on the connection", "modern"): {"description": f"On {port}."},
    }
    last |= schema.get(defect, {}) | only.get((defect, era), {})
    echo = _tool("echo", inputSchema=region, outputSchema=said, annotations={"readOnlyHint": True})
    return [echo, _tool("ask"), _tool("third"), _tool("fourth"), last]
