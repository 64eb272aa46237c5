"""Options held against the JSON Schema of their stage, and what is wrong said in words."""

from __future__ import annotations

from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from mcpctl.errors import nearest
from mcpctl.proxy_models.builtin import StageDescription

MOST_ERRORS: Final = 20

# JSON Schema calls 8000.0 an integer; whoever counts characters with it does not.
_Strict: Final = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)

_TYPES: Final = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def wrong_options(stage: StageDescription, options: dict[str, Any]) -> list[tuple[str, str]]:
    """Whatever breaks the stage's schema: a path that begins with a dot, and a sentence. References are never fetched."""
    found = list[tuple[str, str]]()
    for error in _Strict(stage.options_schema, registry=Registry()).iter_errors(options):
        path = "".join(f".{str(part)[:80]}" for part in error.absolute_path)
        found += [(f"{path}{below}", why) for below, why in _said(error, stage)]
        if len(found) >= MOST_ERRORS:
            break
    return sorted(set(found))[:MOST_ERRORS]


def _said(error: ValidationError, stage: StageDescription) -> list[tuple[str, str]]:
    value, limit, rule = error.instance, error.validator_value, error.validator
    if rule == "additionalProperties" and limit is False:
        members = list(error.schema.get("properties", {}))
        return [
            (f".{name[:80]}", _unknown(stage if not error.absolute_path else None, name, members))
            for name in value
            if name not in members
        ]
    if rule == "required":
        return [(f".{name}", "it is missing") for name in limit if name not in value]
    if rule == "type":
        kinds = [limit] if isinstance(limit, str) else limit
        return [("", f"it must be {' or '.join(_TYPES.get(kind, kind) for kind in kinds)}")]
    if rule == "enum":
        close = (
            nearest(value, limit)
            if isinstance(value, str) and len(value) <= 80 and all(isinstance(x, str) for x in limit)
            else None
        )
        return [("", f"it must be one of {', '.join(map(str, limit))}" + (f"; did you mean {close!r}?" if close else ""))]
    simple = {
        "minimum": "it must be {} or more",
        "maximum": "it must be {} or less",
        "minLength": "it must have {} characters or more",
        "maxLength": "it must have {} characters or fewer",
        "minItems": "it must have {} members or more",
        "maxItems": "it must have {} members or fewer",
    }
    if isinstance(rule, str) and rule in simple:
        return [("", simple[rule].format(limit))]
    if rule == "uniqueItems":
        return [("", "one stands there twice")]
    if rule == "pattern" and isinstance(said := error.schema.get("description"), str):
        return [("", f"it is not what it must be: {said}")]
    return [("", error.message[:300])]


def _unknown(stage: StageDescription | None, name: str, members: list[str]) -> str:
    close = nearest(name, members) if len(name) <= 80 else None
    # Case is what people get wrong in camelCase, and what the comparison of lower-case letters does not see.
    close = next((member for member in members if member.lower() == name.lower()), close)
    hint = f"did you mean {close!r}?" if close else f"there is {', '.join(members) or 'none'}"
    return f"{stage.name} has no such option; {hint}" if stage is not None else f"unknown member; {hint}"
