"""``Mcp-Param-…`` headers: arguments that a tool's schema wants repeated in the HTTP request (2026-07-28, ``x-mcp-header``).

A gateway stands on both sides: it checks what a client sent against the body, and makes the headers anew for the upstream.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from mcplocal.wire import PARAM_HEADER

ANNOTATION: Final = "x-mcp-header"
DEEPEST: Final = 64

_SENTINEL: Final = re.compile(r"=\?base64\?(.*)\?=")
_PLAIN: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_INTEGER: Final = re.compile(r"(-?\d+)(?:\.0*)?")
_TYPES: Final = ("string", "integer", "boolean")

_ONE_SCHEMA: Final = frozenset(
    ("items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "unevaluatedProperties", "contentSchema")
) | {"not", "if", "then", "else"}
_SCHEMA_LIST: Final = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_SCHEMA_MAP: Final = frozenset(("patternProperties", "dependentSchemas", "$defs", "definitions"))


class InvalidSchema(ValueError):
    """The schema cannot be used; the sentence says why."""


class ParamHeader(NamedTuple):
    """One argument that is repeated in a header."""

    path: tuple[str, ...]
    header: str
    type: str


def annotated(schema: Any) -> tuple[ParamHeader, ...]:
    """The arguments that ``schema`` wants in headers.

    Raises:
        InvalidSchema: an annotation breaks a rule of the revision, so clients must drop the tool; or it is nested too deeply.
    """
    found: list[ParamHeader] = []
    taken: set[str] = set()
    for path, node in _positions(schema):
        if ANNOTATION not in node:
            continue
        header, kind = node[ANNOTATION], node.get("type")
        if not path:
            raise InvalidSchema(f"{ANNOTATION} stands where no chain of 'properties' leads")
        if not isinstance(header, str) or not _TOKEN.fullmatch(header):
            raise InvalidSchema(f"{ANNOTATION} of {'.'.join(path)} is not a header token")
        if kind not in _TYPES:
            raise InvalidSchema(f"{ANNOTATION} of {'.'.join(path)} is on something other than a string, integer or boolean")
        if header.lower() in taken:
            raise InvalidSchema(f"{ANNOTATION} {header!r} stands twice")
        taken.add(header.lower())
        found.append(ParamHeader(path, header, str(kind)))
    return tuple(found)


def _positions(schema: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Every schema inside ``schema``, with the properties that lead to it, ``None`` where something else leads to it."""
    waiting: list[tuple[tuple[str, ...] | None, Any, int]] = [((), schema, 0)]
    while waiting:
        path, node, depth = waiting.pop()
        if not isinstance(node, dict):
            continue
        if depth > DEEPEST:
            raise InvalidSchema(f"its schema is nested more than {DEEPEST} deep")
        yield path, node
        inner: list[tuple[tuple[str, ...] | None, Any]] = []
        for key, value in node.items():
            if key == "properties" and isinstance(value, dict):
                inner += [((*path, name) if path is not None else None, sub) for name, sub in value.items()]
            elif key in _ONE_SCHEMA:
                inner.append((None, value))
            elif key in _SCHEMA_LIST and isinstance(value, list):
                inner += [(None, sub) for sub in value]
            elif key in _SCHEMA_MAP and isinstance(value, dict):
                inner += [(None, sub) for sub in value.values()]
        waiting += [(where, sub, depth + 1) for where, sub in inner]


def headers_for(wanted: Sequence[ParamHeader], arguments: Any) -> dict[str, str]:
    """The headers that go with ``arguments``."""
    headers = {}
    for param in wanted:
        text = _text_of(_at(arguments, param.path))
        if text is not None:
            headers["Mcp-Param-" + param.header] = encode(text)
    return headers


def mismatch(wanted: Sequence[ParamHeader], arguments: Any, headers: Mapping[str, Sequence[str]]) -> str | None:
    """The first header that does not say what the body says, in a sentence; ``None`` if all do.

    Args:
        wanted: what the tool's schema wants.
        arguments: of the body.
        headers: every header of the request by lower-case name, with all its values.
    """
    for param in wanted:
        name = PARAM_HEADER + param.header.lower()
        values, value = headers.get(name, ()), _at(arguments, param.path)
        text = _text_of(value)
        shown = f"Mcp-Param-{param.header}"
        if len(values) > 1:
            return f"the header {shown} stands twice"
        if text is None:
            if values:
                return f"the header {shown} is there and the argument {'.'.join(param.path)} is not"
            continue
        if not values:
            return f"the header {shown} is missing"
        if not _same(param, value, text, decode(values[0])):
            return f"the header {shown} and the argument {'.'.join(param.path)} differ"
    return None


def encode(text: str) -> str:
    """``text`` as a header value: itself if it survives there, else in the base64 form."""
    if _PLAIN.fullmatch(text) and not _SENTINEL.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'surrogatepass')).decode()}?="


def decode(value: str) -> str | None:
    """What a header value says; ``None`` for a base64 form that is not one. White space around it does not count."""
    value = value.strip(" \t")
    wrapped = _SENTINEL.fullmatch(value)
    if wrapped is None:
        return value
    try:
        raw = base64.b64decode(wrapped[1], validate=True)
        return raw.decode() if base64.b64encode(raw).decode() == wrapped[1] else None
    except (binascii.Error, ValueError):
        return None


def _at(arguments: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(arguments, Mapping):
            return None
        arguments = arguments.get(key)
    return arguments


def _text_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        return None
    try:
        return str(value)
    except ValueError:  # an integer too long for Python to print
        return None


def _same(param: ParamHeader, value: Any, text: str, said: str | None) -> bool:
    if said is None:
        return False
    if param.type == "integer" and not isinstance(value, bool | str) and (number := _INTEGER.fullmatch(said)):
        return len(said) < 400 and int(number[1]) == value
    return said == text
