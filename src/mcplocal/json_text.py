"""JSON read strictly, with the original text of each member kept.

A gateway that re-serializes what it passes on loses data: big integers, float spellings, unknown members. So members are
read together with the text they stand in, and that text is what is spliced into the next message. Two readers of one text
must never disagree (a policy that sees one ``name`` and an upstream that runs another): whatever comes from clients may
hold no member twice, at any depth, and nothing that is not JSON (``NaN``, a byte order mark, a lone number of a million
digits).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.encoder import encode_basestring_ascii
from typing import Any, Final, NamedTuple

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_FIRST: Final = re.compile(r'\{[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*')
_NEXT: Final = re.compile(r'[ \t\n\r]*(?:,[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*|\})')
"""From the end of a value to the beginning of the next, past a name without escapes, which is how nearly all are written."""


class NotJson(ValueError):
    """The text is not JSON as RFC 8259 has it; the sentence says where."""


class Twice(NotJson):
    """A member stands in one object twice."""


class Member(NamedTuple):
    """A member's value, and the text it was read from."""

    value: Any
    text: str


Members = dict[str, Member]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Twice(f"the member {ascii(key)[:80]} stands twice in one object")
            seen.add(key)
    return found


def _no_constant(word: str) -> Any:
    raise NotJson(f"{word} is not JSON")


def _finite(word: str) -> float:
    number = float(word)
    if number in (float("inf"), float("-inf")):
        raise NotJson(f"the number {word[:40]} is larger than can be passed on")
    return number


_unique_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
_plain_decoder = json.JSONDecoder(parse_constant=_no_constant)
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def shown(text: str, longest: int) -> str:
    """Foreign text made safe to keep and to show: what is not printable stands escaped, and at most ``longest`` is left."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text[:longest])
    return safe[:longest]


def decode(body: bytes) -> str:
    """``body`` as text.

    Raises:
        NotJson: it is not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise NotJson(f"byte {error.start} is not UTF-8") from None


def read(text: str, *, unique: bool) -> Any:
    """The one value ``text`` is.

    Args:
        text: the whole text.
        unique: whether a member standing twice in one object, at any depth, is refused.

    Raises:
        NotJson: it is no single JSON value.
    """
    value, end = _value(text, _skip(text, 0), unique)
    if _skip(text, end) != len(text):
        raise NotJson(f"something follows the value at position {end}")
    return value


def read_object(text: str, *, unique: bool, within: Collection[str] = ()) -> Members:
    """The members of the one object ``text`` is, each with its text.

    Args:
        text: the whole text.
        unique: whether a member standing twice in one object, at any depth, is refused; at this depth it always is.
        within: the members whose own members are wanted: the value of such a one, if it is an object, is ``Members``.

    Raises:
        NotJson: it is no object, or a member stands in it twice.
    """
    start = _skip(text, 0)
    if text[start : start + 1] != "{":
        raise NotJson("it is not an object")
    members, end = _members(text, start, unique, within)
    if _skip(text, end) != len(text):
        raise NotJson(f"something follows the object at position {end}")
    return members


def write_object(members: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """One object of members whose values are JSON text already."""
    pairs = members.items() if isinstance(members, Mapping) else members
    return "{" + ",".join([f"{encode_basestring_ascii(key)}:{text}" for key, text in pairs]) + "}"


def write(value: Any) -> str:
    """``value`` as compact JSON in ASCII, which every transport carries.

    Raises:
        ValueError: it holds NaN or an infinity.
    """
    return encode_basestring_ascii(value) if type(value) is str else _encoder.encode(value)


def _skip(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]


def _value(text: str, position: int, unique: bool) -> tuple[Any, int]:
    decoder = _unique_decoder if unique else _plain_decoder
    value: Any
    end: int
    try:
        value, end = decoder.scan_once(text, position)  # type: ignore[attr-defined]
    except StopIteration as stop:
        raise NotJson(f"a value is expected at position {stop.value}") from None
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except ValueError as error:
        raise NotJson(str(error)) from None
    return value, end


def _members(text: str, position: int, unique: bool, within: Collection[str] = ()) -> tuple[Members, int]:
    """Read the object that opens at ``position``."""
    members: Members = {}
    value: Any
    scan = (_unique_decoder if unique else _plain_decoder).scan_once  # type: ignore[attr-defined]
    plain = _FIRST.match(text, position)
    if plain is None:
        position = _skip(text, position + 1)
        if text[position : position + 1] == "}":
            return members, position + 1
        key, start = _key(text, position)
    else:
        key, start = plain[1], plain.end()
    while True:
        if key in within and text[start : start + 1] == "{":
            value, position = _members(text, start, unique)
        else:
            try:
                value, position = scan(text, start)
            except (StopIteration, ValueError, RecursionError):
                _value(text, start, unique)  # says what is wrong
                raise
        if key in members:
            raise Twice(f"the member {ascii(key)[:80]} stands twice in one object")
        members[key] = Member(value, text[start:position])
        plain = _NEXT.match(text, position)
        if plain is None:
            key, start = _key(text, _after_comma(text, position))
        elif (name := plain[1]) is not None:
            key, start = name, plain.end()
        else:
            return members, plain.end()


def _after_comma(text: str, position: int) -> int:
    """Where the next member's name begins, past the comma that must come first."""
    position = _skip(text, position)
    if text[position : position + 1] != ",":
        raise NotJson(f"',' or '}}' is expected at position {position}")
    return _skip(text, position + 1)


def _key(text: str, position: int) -> tuple[str, int]:
    """A member's name, however it is written, and where its value begins."""
    if text[position : position + 1] != '"':
        raise NotJson(f"a member's name is expected at position {position}")
    try:
        key, position = scanstring(text, position + 1, True)
    except ValueError as error:
        raise NotJson(str(error)) from None
    position = _skip(text, position)
    if text[position : position + 1] != ":":
        raise NotJson(f"':' is expected at position {position}")
    return key, _skip(text, position + 1)
