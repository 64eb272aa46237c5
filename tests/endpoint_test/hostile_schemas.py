"""What servers that mean harm list and answer, where it is the schema or a value that does the harm."""

from __future__ import annotations

from typing import Any

ANY = {"type": "object"}
LAUGHS = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}, {"$ref": f"#/$defs/l{n + 1}"}]} for n in range(40)}
DYNAMIC_LAUGHS: dict[str, Any] = {
    f"l{n}": {"$dynamicAnchor": f"l{n}", "allOf": [{"$dynamicRef": f"#l{n + 1}"}, {"$dynamicRef": f"#l{n + 1}"}]}
    for n in range(40)
}
EVIL: dict[str, Any] = {"^(a+)+$": {}}
EVIL_NAME = {"a" * 60 + "!": 1}
DRAFT_4 = "http://json-schema.org/draft-04/schema#"

OUTPUTS: dict[str, tuple[dict[str, Any], Any]] = {
    "slow-property-pattern": ({**ANY, "patternProperties": EVIL, "additionalProperties": False}, EVIL_NAME),
    "slow-unevaluated": ({**ANY, "patternProperties": EVIL, "unevaluatedProperties": False}, EVIL_NAME),
    "dynamic-laughs": ({**ANY, "$dynamicRef": "#l0", "$defs": {**DYNAMIC_LAUGHS, "l40": {"$dynamicAnchor": "l40"}}}, {}),
    "many-by-many": (
        {**ANY, "properties": {"a": {"items": {"anyOf": [{"const": n} for n in range(4800)]}}}},
        {"a": [{} for _ in range(4900)]},
    ),
    "many-unique": (
        {**ANY, "properties": {"a": {"uniqueItems": True}}},
        {"a": [{"x": n} for n in range(2400)]},
    ),
}
"""Output schemas, and structured results that take for ever to validate."""

SCHEMAS: dict[str, Any] = {
    "enum-of-objects": {"$schema": DRAFT_4, **ANY, "enum": [{"a": {"b": n}} for n in range(3300)]},
    "dialect-of-a-number": {**ANY, "$schema": 7},
    "dialect-of-an-object": {**ANY, "$schema": {"a": 1}},
    "dialect-of-no-address": {**ANY, "$schema": "http://[::1"},
    "pattern-too-large": {**ANY, "properties": {"a": {"pattern": "a{99999999999999999999}"}}},
    "multiple-of-much": {**ANY, "properties": {"a": {"items": {"multipleOf": 10**400}}}},
}
"""Schemas that have ended a validator."""
