"""Schemas of tools: whether one is a schema, and whether a result keeps to it. Nothing is fetched.

A stranger's schema may take for ever or all memory, whatever is counted: ``wrong_schema`` and ``wrong_value`` belong into
``judge_process``. Patterns are not matched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft3Validator, Draft202012Validator, SchemaError
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MOST_STEPS: Final = 20_000
"""References followed while one result is validated."""


LARGEST: Final = 10_000
"""Values in a schema, or in a result, that is still validated."""


class TooMuch(Exception):
    """Validating takes more steps than it may."""


def wrong_schema(schema: Any) -> str:
    """Why ``schema`` is no schema of the dialect it names (2020-12 if it names none); empty if it is one."""
    if not isinstance(schema, dict):
        return f"it is no object but {schema!r:.60}"
    if size(schema)[0] > LARGEST:
        return f"it holds more than {LARGEST} values"
    named = schema.get("$schema")
    try:
        kind = validator_for(schema, default=Draft3Validator) if named else Draft202012Validator
    except (ValueError, TypeError, AttributeError):
        kind = Draft3Validator
    if kind is Draft3Validator and named:
        return f"its dialect {named!r:.100} is unknown"
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        return f"{'/'.join(map(str, error.absolute_path)) or 'it'}: {error.message[:200]}"
    except (RecursionError, Unresolvable, ValueError, TypeError, OverflowError) as error:
        return f"it cannot be read: {str(error)[:200]}"
    return ""


def dialect(schema: Mapping[str, Any]) -> str:
    """The dialect named, without its fragment; that of MCP if none is."""
    found = schema.get("$schema")
    return found.rstrip("#").replace("http://", "https://") if isinstance(found, str) else DIALECT


def references(schema: Any) -> Iterator[str]:
    """Every ``$ref`` and ``$dynamicRef``, wherever it stands."""
    pending = [schema]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            yield from (one[key] for key in ("$ref", "$dynamicRef") if isinstance(one.get(key), str))
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)


def size(schema: Any) -> tuple[int, int]:
    """How many values a schema holds, and how deep it is."""
    level, nodes, depth = [schema], 0, 0
    while level:
        nodes, depth, below = nodes + len(level), depth + 1, list[Any]()
        for one in level:
            below.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        level = below
    return nodes, depth


def wrong_value(schema: Mapping[str, Any], value: Any) -> str:
    """Why ``value`` breaks ``schema``; empty if it does not.

    Raises:
        TooMuch: it cannot be told within ``MOST_STEPS``, or without fetching something.
    """
    if size(schema)[0] > LARGEST or size(value)[0] > LARGEST // 2:
        raise TooMuch("it is too large")
    try:
        base = validator_for(schema, default=Draft202012Validator)
    except (ValueError, TypeError, AttributeError):
        raise TooMuch("its dialect is unknown") from None
    steps = 0

    def follow(validator: Any, reference: Any, instance: Any, subschema: Any) -> Iterator[ValidationError]:
        nonlocal steps
        steps += 1
        if steps > MOST_STEPS:
            raise TooMuch(f"it takes more than {MOST_STEPS} steps")
        yield from base.VALIDATORS["$ref"](validator, reference, instance, subschema) or ()

    def ignore(*_: Any) -> tuple[ValidationError, ...]:
        return ()

    kind = extend(base, {"$ref": follow, "pattern": ignore, "patternProperties": ignore})
    try:
        found = best_match(kind(schema, registry=Registry()).iter_errors(value))
    except (RecursionError, Unresolvable, ValueError, TypeError, OverflowError) as error:
        raise TooMuch(str(error)[:200]) from None
    except Exception as error:
        if type(error).__name__ != "_WrappedReferencingError":  # jsonschema has no public name for it
            raise
        raise TooMuch(str(error)[:200]) from None
    return "" if found is None else f"{'/'.join(map(str, found.absolute_path)) or 'it'}: {found.message[:200]}"
