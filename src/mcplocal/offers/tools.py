"""What makes a tool one that can be offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcpctl.policy.names import is_tool_name
from mcplocal.names import ASKABLE, Ref
from mcplocal.offers.entries import OPTIONAL, Entry, NotOffered, body_without, check_members
from mcplocal.param_headers import annotated
from mcplocal.wire import Era

MEMBERS: Final = (*OPTIONAL, ("outputSchema", dict, "an object"))


def tool(server: str, raw: dict[str, Any]) -> Entry:
    """The tool ``raw`` of ``server``.

    Raises:
        NotOffered: it cannot be offered.
        InvalidSchema: an annotation of its schemas breaks a rule.
    """
    name = raw["name"]
    if not is_tool_name(name):
        raise NotOffered(f"a tool's name is {ASKABLE}")
    check_members(raw, MEMBERS)
    _check_input(raw.get("inputSchema"))
    headers = annotated(raw["inputSchema"])
    output = raw.get("outputSchema")
    annotated(output)
    modern = legacy = body_without(raw, "name")
    plain: Mapping[Era, str] | None = None
    if "outputSchema" in raw:
        without = body_without({key: value for key, value in raw.items() if key != "outputSchema"}, "name")
        plain = {Era.MODERN: without, Era.LEGACY: without}
        if output and output.get("type") != "object":
            # Before 2026-07-28 an output schema describes an object, and clients of that time reject anything else.
            legacy = without
    hints = raw.get("annotations", {})
    reads = hints.get("readOnlyHint") is True
    return Entry(
        Ref(server, name),
        name,
        "name",
        {Era.MODERN: modern, Era.LEGACY: legacy},
        headers,
        plain_bodies=plain,
        only_reads=reads,
        repeats_safely=reads or hints.get("idempotentHint") is True,
    )


def _check_input(schema: Any) -> None:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise NotOffered("its inputSchema is not of type 'object'")
    if "properties" in schema and not isinstance(schema["properties"], dict):
        raise NotOffered("the properties of its inputSchema are not an object")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise NotOffered("the required of its inputSchema is not a list of names")
