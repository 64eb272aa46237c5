"""An upstream's tools as they come, judged one by one: a bad one is dropped with a reason, never the whole list.

Agents drop a whole server when one tool's schema is not what they expect, so that must not leave the gateway.
Whatever else a tool carries, known or not, is passed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mcpctl.policy.names import BELOW_RULE, is_tool_name
from mcplocal.json_text import write
from mcplocal.names import ToolRef
from mcplocal.param_headers import InvalidSchema, ParamHeader, annotated
from mcplocal.wire import Era

LARGEST_TOOL: Final = 256 << 10
MOST_TOOLS: Final = 2000


class Dropped(NamedTuple):
    """A tool that is not offered, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Tool:
    """One tool, ready to be listed under any name and in both eras.

    Attributes:
        ref: which one.
        bodies: by era, its JSON after the name: ``,"description":…}``.
        param_headers: the arguments its schema wants in headers.
    """

    ref: ToolRef
    bodies: Mapping[Era, str]
    param_headers: tuple[ParamHeader, ...]

    def listed_as(self, name: str, era: Era) -> str:
        """Its JSON in a list, under ``name``."""
        return f'{{"name":{write(name)}{self.bodies[era]}'


def judge(server: str, listed: Sequence[Any]) -> tuple[tuple[Tool, ...], tuple[Dropped, ...]]:
    """The tools that can be offered, in their order, and those that cannot."""
    tools: dict[str, Tool] = {}
    dropped: list[Dropped] = []
    for raw in listed:
        name = raw.get("name") if isinstance(raw, dict) else None
        shown = ascii(name)[:100] if not isinstance(name, str) else name[:100]
        try:
            if len(tools) >= MOST_TOOLS:
                raise InvalidSchema(f"the server lists more than {MOST_TOOLS} tools")
            if isinstance(name, str) and name in tools:
                raise InvalidSchema("the server lists this name twice; the first is used")
            tool = _tool(server, raw)
        except InvalidSchema as reason:
            dropped.append(Dropped(shown, str(reason)))
        else:
            tools[tool.ref.tool] = tool
    return tuple(tools.values()), tuple(dropped)


def _tool(server: str, raw: Any) -> Tool:
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        raise InvalidSchema("it has no name")
    if not is_tool_name(raw["name"]):
        raise InvalidSchema(f"a tool's name is {BELOW_RULE.removesuffix(', which may end in one *')}")
    for member, kind, what in (
        ("title", str, "a string"),
        ("description", str, "a string"),
        ("annotations", dict, "an object"),
        ("icons", list, "a list"),
        ("outputSchema", dict, "an object"),
        ("_meta", dict, "an object"),
    ):
        if member in raw and not isinstance(raw[member], kind):
            raise InvalidSchema(f"its {member} is not {what}")
    _check_input(raw.get("inputSchema"))
    headers = annotated(raw["inputSchema"])
    annotated(raw.get("outputSchema"))
    modern = {key: value for key, value in raw.items() if key != "name"}
    output = modern.get("outputSchema")
    # Before 2026-07-28 an output schema describes an object, and clients of that time reject anything else.
    legacy = {k: v for k, v in modern.items() if k != "outputSchema"} if output and output.get("type") != "object" else modern
    try:
        bodies = {Era.MODERN: "," + write(modern)[1:], Era.LEGACY: "," + write(legacy)[1:]}
    except (ValueError, RecursionError):
        raise InvalidSchema("it is nested too deeply") from None
    if len(bodies[Era.MODERN]) > LARGEST_TOOL:
        raise InvalidSchema(f"its description is larger than {LARGEST_TOOL} bytes")
    return Tool(ToolRef(server, raw["name"]), bodies, headers)


def _check_input(schema: Any) -> None:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise InvalidSchema("its inputSchema is not of type 'object'")
    if "properties" in schema and not isinstance(schema["properties"], dict):
        raise InvalidSchema("the properties of its inputSchema are not an object")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise InvalidSchema("the required of its inputSchema is not a list of names")
