"""Reading what was sent, strictly: one JSON value in UTF-8, no member twice, no member unknown, no value coerced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from math import isinf
from typing import Any, Final, NoReturn

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from mcpctl.errors import FieldError, InvalidInput, MalformedBody, TooLarge, UnsupportedMedia, nearest
from mcpctl.policy.vocabulary import shown
from mcpctl.wire.shapes import Request

DEEPEST: Final = 32
"""Levels of nesting; no shape needs more than six."""

MOST_MEMBERS: Final = 1000
"""Members of one object; no shape takes more than 200."""

MOST_ERRORS: Final = 50
"""Entries of ``errors`` in one answer."""

NUL: Final = "the character NUL is not allowed"


async def read_json(request: HttpRequest, largest: int) -> Any:
    """The JSON body, or ``None`` if there is no body at all.

    Raises:
        UnsupportedMedia, TooLarge, MalformedBody: as their names say.
    """
    declared = header(request, b"content-length")
    if declared.isdigit() and int(declared) > largest:
        raise TooLarge(f"the body has {declared} bytes; the limit is {largest}")
    raw = await _body(request, largest)
    if not raw:
        return None
    media = header(request, b"content-type").partition(";")[0].strip().lower()
    if media != "application/json":
        raise UnsupportedMedia(f"Content-Type must be application/json, not {media[:100] or 'missing'!r}")
    return parse_json(raw)


def header(request: HttpRequest, name: bytes) -> str:
    """The first header of this lower-case name, or nothing. Starlette's mapping takes several times as long to say so."""
    for key, value in request.scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return ""


async def _body(request: HttpRequest, largest: int) -> bytes:
    # Starlette's own stream is a generator that ends with an empty piece: for a small body that is half of what reading costs.
    pieces = bytearray()
    while True:
        event = await request.receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces += event.get("body", b"")
        if len(pieces) > largest:
            raise TooLarge(f"the body is larger than the limit of {largest} bytes")
        if not event.get("more_body", False):
            return bytes(pieces)


def refuse_body(value: Any) -> None:
    """Go on only if nothing was sent, or an object with nothing in it.

    Raises:
        MalformedBody: something was.
    """
    if value not in (None, {}):
        raise MalformedBody("no body belongs here")


def parse_json(raw: bytes) -> Any:
    """One JSON value.

    Raises:
        MalformedBody: it is not UTF-8, not JSON, nested too deeply, has a member twice, NaN, or half a surrogate pair.
        InvalidInput: a text or the name of a member in it holds NUL.
    """
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _depth(raw) > DEEPEST:
        raise MalformedBody(f"the body is nested more than {DEEPEST} levels deep")
    try:
        value = _JSON.decode(raw.decode("utf-8"))
        if b"\\u" in raw:  # an escape is the only way for half a surrogate pair to come in
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise MalformedBody("the body is not valid UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON: {error}") from None
    if b"\\u0000" in raw:  # likewise for NUL
        _refuse_nul(value)
    return value


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    # Neither what is between quotation marks nor anything else but brackets says how deep it is: few bytes are left of many.
    for byte in _STRING.sub(b"", raw).translate(None, _NO_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_MEMBERS:  # each would cost an error of its own
        raise ValueError(f"an object in it has more than {MOST_MEMBERS} members")
    members = dict(pairs)
    if len(members) != len(pairs):
        seen = set[str]()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the member {shown(twice)} stands in it twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"{shown(text)} is too large a number")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_JSON: Final = json.JSONDecoder(object_pairs_hook=_members_once, parse_constant=_refuse_constant, parse_float=_finite)


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
        details = error.errors(include_url=False, include_input=False)
        raise _refusal(details, adapter, value) from None


def _refuse_nul(value: Any) -> None:
    """No text anywhere holds NUL: PostgreSQL cannot keep it, and elsewhere it ends strings early. No name of a member may."""
    errors = [FieldError(field or "body", NUL) for field in _with_nul(value, "")]
    if errors:
        raise InvalidInput("; ".join(_sentence(error) for error in errors[:MOST_ERRORS]), errors=errors[:MOST_ERRORS])


def _with_nul(value: Any, field: str) -> Iterator[str]:
    if isinstance(value, str):
        if "\0" in value:
            yield field
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _with_nul(member, f"{field}.{_short(name)}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _with_nul(item, f"{field}.{index}".lstrip("."))


def validate_query(shape: type[Request] | None, pairs: Iterable[tuple[str, str]]) -> Any:
    """The query as ``shape``; no parameter twice, none unknown.

    Raises:
        InvalidInput: with one entry of ``errors`` for each parameter that is wrong.
    """
    given: dict[str, str] = {}
    for key, value in pairs:
        if key in given:
            raise InvalidInput(
                f"the parameter {shown(key)} stands in the query twice",
                errors=[FieldError(_short(key), "it stands there twice")],
            )
        if "\0" in key + value:
            raise InvalidInput(f"the parameter {shown(key)}: {NUL}", errors=[FieldError(_short(key), NUL)])
        given[key] = value
    if shape is None:
        if given:
            key = next(iter(given))
            raise InvalidInput(
                f"there is no parameter {shown(key)} here", errors=[FieldError(_short(key), "unknown parameter")]
            )
        return None
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise _refusal(details, TypeAdapter(shape), given) from None


def check_path(params: Mapping[str, str]) -> None:
    """Refuse a path that no name could make.

    Raises:
        InvalidInput: naming the part of the path.
    """
    for name, value in params.items():
        if "\0" in value:
            raise InvalidInput(f"{name}: {NUL}", errors=[FieldError(name, NUL)])


def _refusal(details: list[ErrorDetails], adapter: TypeAdapter[Any], value: Any) -> InvalidInput:
    placed = [(detail, *_where(detail["loc"], value)) for detail in details]
    members = _members(adapter)
    errors: dict[tuple[str, str], FieldError] = {}
    # An alternative of another kind (a list where an object was sent) says nothing, unless there is nothing else to say.
    for detail, where, _ in [one for one in placed if one[2]] or placed:
        if detail["type"] == "extra_forbidden":
            last = str(detail["loc"][-1])
            error = FieldError(where, "unknown member", nearest(last, members) if len(last) <= 80 else None)
        else:
            error = FieldError(where or "body", _in_words(detail))
        errors.setdefault((error.field, error.message), error)
        if len(errors) == MOST_ERRORS:
            break
    return InvalidInput("; ".join(_sentence(error) for error in errors.values()), errors=list(errors.values()))


_IN_WORDS: Final = {
    "missing": "it is missing",
    "model_type": "it must be an object",
    "model_attributes_type": "it must be an object",
    "dict_type": "it must be an object",
    "list_type": "it must be a list",
    "string_type": "it must be text",
    "bool_type": "it must be true or false",
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "float_type": "it must be a number",
    "literal_error": "it must be {expected}",
    "string_too_short": "it must have {min_length} characters or more",
    "string_too_long": "it must have {max_length} characters or fewer",
    "too_short": "it must have {min_length} members or more",
    "too_long": "it must have {max_length} members or fewer",
    "greater_than_equal": "it must be {ge} or more",
    "less_than_equal": "it must be {le} or less",
    "union_tag_invalid": "its {discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "it must name its {discriminator}",
}
"""What pydantic says by its type of error, in words that name no class of ours."""


def _in_words(detail: ErrorDetails) -> str:
    if (said := _IN_WORDS.get(detail["type"])) is not None:
        return said.format_map(detail.get("ctx", {}))
    message = detail["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _where(loc: tuple[int | str, ...], value: Any) -> tuple[str, bool]:
    """The path of what is wrong as its sender knows it, and whether what is said there is of the kind that was sent.

    Where a union was tried, pydantic puts the name of each alternative in between.
    """
    found, fits = list[str](), True
    for place, part in enumerate(loc):
        last = place == len(loc) - 1
        if isinstance(value, dict) and isinstance(part, str) and (part in value or (last and not _is_alternative(part))):
            found.append(_short(part))
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            found.append(str(part))
            value = value[part] if part < len(value) else None
        elif isinstance(part, str) and _is_alternative(part):
            fits = fits and part.startswith("list[") == isinstance(value, list)
    return ".".join(found), fits


def _is_alternative(part: str) -> bool:
    """Whether this names an alternative of a union: a type, in pydantic's words. No member of ours begins in upper case."""
    return part[:1].isupper() or part.startswith(("function-", "list[", "constrained-")) or part in ("str", "int", "float")


def _short(name: str) -> str:
    return name if len(name) <= 80 else name[:77] + "..."


def _sentence(error: FieldError) -> str:
    hint = f"; did you mean {error.nearest!r}?" if error.nearest else ""
    return f"{error.field}: {error.message}{hint}"


def _members(adapter: TypeAdapter[Any]) -> list[str]:
    schema = adapter.json_schema(by_alias=True)
    shapes = [schema, *schema.get("$defs", {}).values()]
    return sorted({name for shape in shapes for name in shape.get("properties", {})})
