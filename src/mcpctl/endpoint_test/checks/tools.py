"""T1 to T6: the list of tools, and each tool in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from mcpctl.endpoint_test.check import Check, Finding, Level, check, failed, noted, passed, skipped, warned
from mcpctl.endpoint_test.checks.discover import CACHING, wrong_scope, wrong_ttl, wrong_type
from mcpctl.endpoint_test.endpoint import Endpoint
from mcpctl.endpoint_test.judge import Unjudged
from mcpctl.endpoint_test.lists import legacy_tools, tools
from mcpctl.endpoint_test.param_headers import wrong_annotation
from mcpctl.endpoint_test.tool_schemas import DIALECT, dialect, references, size

TOOLS: Final = "MCP 2026-07-28 server/tools"
LONGEST_PORTABLE: Final = 48
"""Sixty-four, which hosts allow, without a prefix such as ``mcp__<server>__``."""
MOST_NODES, DEEPEST = 2000, 20
LARGE_LIST: Final = 100_000

_ALLOWED = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_PORTABLE = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_PORTABLE}}}")

Tool = dict[str, Any]


def _each(
    id: str,  # noqa: A002
    title: str,
    severity: Level,
    clause: str,
    advice: str,
    wrong: Callable[[Tool], str] | str,
    depends: tuple[str, ...] = ("T1-tools",),
) -> Check:
    """A check of every tool by itself; ``wrong`` may be the member that has to be a schema."""

    async def run(endpoint: Endpoint) -> Finding:
        listed, found, unjudged = (await tools(endpoint)).objects, [], ""
        for tool in listed:
            endpoint.http.left()  # thousands of schemas take their time
            name = f"{tool.get('name')!r:.80}"
            try:
                said = _wrong_schema(endpoint, tool, wrong) if isinstance(wrong, str) else wrong(tool)
            except Unjudged as error:
                unjudged = unjudged or f"{name}: {error}"
                continue
            if said:
                found.append(f"{name}: {said}")
        if not listed:
            return skipped("there are no tools")
        if not found and unjudged:
            return warned(unjudged, (await tools(endpoint)).pages[0])
        if not found:
            return passed(f"{len(listed)} tools")
        more = f" (and {len(found) - 1} more)" if found[1:] else ""
        said, page = endpoint.mask.line(found[0]) + more, (await tools(endpoint)).pages[0]
        return failed(said, page) if severity is Level.FAIL else warned(said, page)

    return Check(id, title, severity, clause, advice, run, depends)


def _wrong_schema(endpoint: Endpoint, tool: Tool, member: str) -> str:
    return endpoint.judge.wrong_schema(tool[member]) if member in tool else ""


@check(
    "T1-tools",
    "The tools can be listed",
    Level.FAIL,
    f"{TOOLS} §Listing Tools",
    "Answer tools/list with an array 'tools' of objects, each with a name.",
    depends=("D1-era",),
)
async def listed(endpoint: Endpoint) -> Finding:
    """To the end, if the server declares tools."""
    if "tools" not in await endpoint.capabilities():
        return skipped("no tools are declared", blocks=True)
    found = await tools(endpoint)
    first = found.pages[0]
    if first.result is None or not isinstance(first.result.get("tools"), list):
        return failed(found.wrong, first)
    wrong = [one for one in found.items if not isinstance(one, dict) or not isinstance(one.get("name"), str) or not one["name"]]
    return failed(f"an item is no tool with a name: {wrong[0]!r:.100}", first) if wrong else passed(f"{len(found.items)} tools")


def _hint(id: str, title: str, clause: str, advice: str, wrong: Callable[[Tool], str]) -> Check:  # noqa: A002
    async def run(endpoint: Endpoint) -> Finding:
        for page in (await tools(endpoint)).pages:
            if said := wrong(page.result or {}):
                return failed(said, page)
        return passed()

    return Check(id, title, Level.FAIL, clause, advice, run, ("T1-tools", "D1-modern"))


HINTS = (
    _hint(
        "T1-result-type",
        "tools/list says that its result is complete",
        "MCP 2026-07-28 basic/index §Results",
        'Add "resultType": "complete".',
        wrong_type,
    ),
    _hint(
        "T1-ttl",
        "tools/list says how long it may be kept",
        CACHING,
        "Send ttlMs on every page; Claude Code drops all tools without it.",
        wrong_ttl,
    ),
    _hint(
        "T1-cache-scope",
        "tools/list says for whom it may be kept",
        CACHING,
        "Send cacheScope on every page; 'private' if the list depends on who asks.",
        wrong_scope,
    ),
)


def _wrong_name(tool: Tool) -> str:
    return "" if _ALLOWED.fullmatch(tool["name"]) else "it is not 1 to 128 of A-Z a-z 0-9 _ . -"


def _wrong_portable_name(tool: Tool) -> str:
    # Names that break the rule itself are T2-name's.
    if not _ALLOWED.fullmatch(tool["name"]) or _PORTABLE.fullmatch(tool["name"]):
        return ""
    return "hosts refuse names with a dot" if "." in tool["name"] else "with its prefix it is longer than hosts allow (64)"


@check(
    "T2-unique",
    "No two tools have the same name",
    Level.FAIL,
    f"{TOOLS} §Tool Names: SHOULD be unique within a server",
    "Rename one; a client calls either, or refuses both.",
    depends=("T1-tools", "T8-paging"),
)
async def unique(endpoint: Endpoint) -> Finding:
    """Over all pages."""
    found = await tools(endpoint)
    twice = [name for name, count in Counter(tool.get("name") for tool in found.objects).items() if count > 1]
    return failed(f"{twice[0]!r:.80} is there twice", found.pages[0]) if twice else passed()


def _wrong_input(tool: Tool) -> str:
    schema = tool.get("inputSchema")
    if not isinstance(schema, dict):
        return f"inputSchema is {schema!r:.60}, not an object"
    return "" if schema.get("type") == "object" else f"the type of inputSchema is {schema.get('type')!r:.60}, not 'object'"


def _wrong_required(tool: Tool) -> str:
    required = tool["inputSchema"].get("required", [])
    right = isinstance(required, list) and all(isinstance(one, str) for one in required)
    return "" if right else f"'required' is {required!r:.60}, not an array of names"


def _wrong_references(tool: Tool) -> str:
    found = [one for name in ("inputSchema", "outputSchema") for one in references(tool.get(name)) if "://" in one]
    return f"it refers to {found[0]!r:.100}" if found else ""


def _old_dialect(tool: Tool) -> str:
    named = [dialect(tool[name]) for name in ("inputSchema", "outputSchema") if isinstance(tool.get(name), dict)]
    old = [one for one in named if one != DIALECT]
    return f"its schema is of {old[0]!r:.100}" if old else ""


def _too_large(tool: Tool) -> str:
    nodes, depth = size(tool.get("inputSchema"))
    return f"its schema has {nodes} values in {depth} levels" if nodes > MOST_NODES or depth > DEEPEST else ""


def _wrong_headers(tool: Tool) -> str:
    return wrong_annotation(tool.get("inputSchema"))


def _without_description(tool: Tool) -> str:
    return "" if isinstance(tool.get("description"), str) and tool["description"].strip() else "it has no description"


SCHEMA_CLAUSE: Final = "MCP 2026-07-28 basic/index §JSON Schema Usage"
EACH = (
    _each(
        "T2-name",
        "Every tool's name is of allowed characters",
        Level.WARN,
        f"{TOOLS} §Tool Names: SHOULD be 1 to 128 of A-Z a-z 0-9 _ - .",
        "Rename the tool.",
        _wrong_name,
    ),
    _each(
        "T2-portable",
        "Every tool's name is one that agents take",
        Level.WARN,
        "Claude Code and model APIs allow [A-Za-z0-9_-]{1,64}, with the prefix mcp__<server>__",
        f"Use up to {LONGEST_PORTABLE} letters, digits, '_' and '-'.",
        _wrong_portable_name,
    ),
    unique,
    _each(
        "T3-object",
        "Every tool's inputSchema is an object of type 'object'",
        Level.FAIL,
        f"{TOOLS} §Tool: inputSchema MUST be a valid JSON Schema object",
        'Write {"type": "object"} for a tool without arguments. Some agents drop the whole server for one such tool.',
        _wrong_input,
    ),
    _each(
        "T3-required",
        "'required' in every inputSchema is an array of names",
        Level.FAIL,
        "JSON Schema 2020-12 validation 6.5.3",
        "Leave 'required' out rather than null. Some agents drop the whole server for one such tool.",
        _wrong_required,
        ("T1-tools", "T3-object"),
    ),
    _each(
        "T3-valid",
        "Every inputSchema is valid in its dialect",
        Level.FAIL,
        f"{SCHEMA_CLAUSE}: MUST be valid, 2020-12 by default",
        "Correct the schema, or name the dialect it is written in with $schema.",
        "inputSchema",
        ("T1-tools", "T3-object", "T3-required"),
    ),
    _each(
        "T3-references",
        "No schema refers to the network",
        Level.FAIL,
        f"{SCHEMA_CLAUSE} §$ref: implementations MUST NOT fetch",
        "Put what is referred to under $defs.",
        _wrong_references,
    ),
    _each(
        "T3-dialect",
        "Schemas are of JSON Schema 2020-12",
        Level.WARN,
        f"{SCHEMA_CLAUSE}: clients need to know 2020-12 only",
        "Generate schemas of 2020-12, and leave $schema out.",
        _old_dialect,
    ),
    _each(
        "T3-size",
        "Schemas are of a size that can be read",
        Level.WARN,
        f"{SCHEMA_CLAUSE} §Security: bounds of depth and size",
        f"Keep below {MOST_NODES} values and {DEEPEST} levels: clients bound what they validate, and every model pays for it.",
        _too_large,
    ),
    _each(
        "T4-valid",
        "Every outputSchema is valid in its dialect",
        Level.FAIL,
        f"{TOOLS} §Output Schema",
        "Correct the schema, or leave it out.",
        "outputSchema",
    ),
    _each(
        "T5-headers",
        "Every x-mcp-header is one that clients can follow",
        Level.FAIL,
        "MCP 2026-07-28 basic/transports/streamable-http §Schema Extension: clients MUST drop the tool otherwise",
        "Use each name once, made of token characters, on integers, strings and booleans under 'properties' only.",
        _wrong_headers,
    ),
    _each(
        "T6-description",
        "Every tool says what it does",
        Level.WARN,
        f"{TOOLS} §Tool: description",
        "Describe the tool; a model chooses by it.",
        _without_description,
    ),
)


@check(
    "T4-legacy",
    "In the handshake era every outputSchema is of type 'object'",
    Level.FAIL,
    "MCP 2025-11-25 server/tools §Output Schema",
    "Leave the outputSchema out in this era if it describes anything else.",
    depends=("D1-legacy", "E3-tools", "T4-valid"),
)
async def legacy_output(endpoint: Endpoint) -> Finding:
    """Looks at the list of that era."""
    found = await legacy_tools(endpoint)
    with_schema = [tool for tool in found.objects if "outputSchema" in tool]
    wrong = [
        tool
        for tool in with_schema
        if not isinstance(tool["outputSchema"], dict) or tool["outputSchema"].get("type") != "object"
    ]
    if not with_schema:
        return skipped("no tool has one")
    return failed(f"that of {wrong[0].get('name')!r:.80} is not", found.pages[0]) if wrong else passed()


@check(
    "T6-size",
    "How much the list of tools costs a model",
    Level.INFO,
    f"{TOOLS}",
    "Describe tools briefly, and offer each agent those it needs.",
    depends=("T1-tools",),
)
async def list_size(endpoint: Endpoint) -> Finding:
    """A token is some four bytes."""
    found = await tools(endpoint)
    total = sum(page.size for page in found.pages)
    return noted(f"{found.count} tools in {total} bytes, some {total // 4} tokens")


CHECKS = (listed, *HINTS, *EACH[:11], legacy_output, *EACH[11:], list_size)
