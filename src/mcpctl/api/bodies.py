"""Reading what was sent, strictly: one JSON value in UTF-8, no member twice, no member unknown, no value coerced."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request as HttpRequest

from mcpctl.errors import FieldError, InvalidInput, MalformedBody, TooLarge, UnsupportedMedia, nearest
from mcpctl.wire.shapes import Request

DEEPEST = 32
"""Levels of nesting; no shape needs more than six."""


async def read_json(request: HttpRequest, largest: int) -> Any:
    """The JSON body, or ``None`` if there is no body at all.

    Raises:
        UnsupportedMedia, TooLarge, MalformedBody: as their names say.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > largest:
        raise TooLarge(f"the body has {declared} bytes; the limit is {largest}")
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > largest:
            raise TooLarge(f"the body is larger than the limit of {largest} bytes")
    if not raw:
        return None
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise UnsupportedMedia(f"Content-Type must be application/json, not {media[:100] or 'missing'!r}")
    return parse_json(bytes(raw))


def parse_json(raw: bytes) -> Any:
    """One JSON value.

    Raises:
        MalformedBody: it is not UTF-8, not JSON, nested too deeply, has a member twice, NaN, or half a surrogate pair.
    """
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _depth(raw) > DEEPEST:
        raise MalformedBody(f"the body is nested more than {DEEPEST} levels deep")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_members_once, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise MalformedBody("the body is not valid UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON: {error}") from None
    return value


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    in_string = escaped = False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice!r} stands in it twice")
    return members


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def validate(adapter: TypeAdapter[Any], value: Any) -> Any:
    """``value`` as the shape of ``adapter``.

    Raises:
        InvalidInput: with one entry of ``errors`` for each field that is wrong.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        if value is None:
            raise MalformedBody("a JSON body is needed; see /openapi.json for its members") from None
        raise _refusal(error.errors(include_url=False), adapter) from None


def validate_query(shape: type[Request] | None, pairs: Iterable[tuple[str, str]]) -> Any:
    """The query as ``shape``; no parameter twice, none unknown.

    Raises:
        InvalidInput: with one entry of ``errors`` for each parameter that is wrong.
    """
    given: dict[str, str] = {}
    for key, value in pairs:
        if key in given:
            raise InvalidInput(
                f"the parameter {key!r} stands in the query twice", errors=[FieldError(key, "it stands there twice")]
            )
        given[key] = value
    if shape is None:
        if given:
            key = next(iter(given))
            raise InvalidInput(f"there is no parameter {key!r} here", errors=[FieldError(key, "unknown parameter")])
        return None
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False), TypeAdapter(shape)) from None


def _refusal(details: list[ErrorDetails], adapter: TypeAdapter[Any]) -> InvalidInput:
    members = _members(adapter)
    errors = []
    for detail in details[:50]:
        where = ".".join(
            str(part) for part in detail["loc"] if not str(part).startswith(("function-", "list[", "constrained-"))
        )
        last = str(detail["loc"][-1]) if detail["loc"] else ""
        if detail["type"] == "extra_forbidden":
            errors.append(FieldError(where, "unknown member", nearest(last, members)))
        else:
            message = detail["msg"].removeprefix("Value error, ")
            errors.append(FieldError(where or "body", message[:1].lower() + message[1:]))
    return InvalidInput("; ".join(_sentence(error) for error in errors), errors=errors)


def _sentence(error: FieldError) -> str:
    hint = f"; did you mean {error.nearest!r}?" if error.nearest else ""
    return f"{error.field}: {error.message}{hint}"


def _members(adapter: TypeAdapter[Any]) -> list[str]:
    schema = adapter.json_schema(by_alias=True)
    shapes = [schema, *schema.get("$defs", {}).values()]
    return sorted({name for shape in shapes for name in shape.get("properties", {})})
