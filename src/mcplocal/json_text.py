"""JSON read strictly, with the original text of each member kept.

A gateway that re-serializes what it passes on loses data: big integers, float spellings, unknown members. So members are
kept as the text they stand in, and that text is what is spliced into the next message. Two readers of one text must never
disagree (a policy that sees one ``name`` and an upstream that runs another): whatever comes from clients may hold no member
twice, at any depth, and nothing that is not JSON (``NaN``, a byte order mark, a lone number of a million digits).

msgspec finds the members: it looks through a large result without making objects of it, so one with millions of values holds
up nobody. The standard library reads values, because it can be told to refuse a member that stands twice; only what is
written as msgspec itself would write it needs no such question (``read_compact``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, Final

import msgspec

from mcplocal.heavy_json import is_heavy


class NotJson(ValueError):
    """The text is not JSON as RFC 8259 has it; the sentence says where."""


class Twice(NotJson):
    """A member stands in one object twice."""


class NoObject(NotJson):
    """The text is JSON, and no object."""


UNREAD: Final[Any] = object()
"""Stands for what has not been read."""


class Member:
    """A member as the text it stands in."""

    __slots__ = ("_value", "text")

    def __init__(self, text: str, value: Any = UNREAD) -> None:
        """Keep ``text``, and ``value`` if it has been read."""
        self.text = text
        self._value = value

    @property
    def value(self) -> Any:
        """What it says, read when it is first asked for; ``None`` if that is more than can be read (a number without end)."""
        if self._value is UNREAD:
            self._value = _value_of(self.text)
        return self._value

    @property
    def is_array(self) -> bool:
        """Whether it is a list, however long; it is not read for that."""
        return self.text.startswith("[")

    @property
    def is_object(self) -> bool:
        """Whether it is an object; it is not read for that."""
        return self.text.startswith("{")


Members = dict[str, Member]


class Rpc(msgspec.Struct):
    """A JSON-RPC message as its members, found in one pass, most of them as they were written.

    Attributes:
        jsonrpc: what it says, of whatever type that is, and so with ``method``.
        params: the text of each of its members; ``None`` if it is no object, and so with ``result``.
    """

    jsonrpc: Any = msgspec.UNSET
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: Any = msgspec.UNSET
    params: dict[str, msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    result: dict[str, msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_rpc: Final = msgspec.json.Decoder(Rpc)
_reader: Final = msgspec.json.Decoder()
_writer: Final = msgspec.json.Encoder()
_objects: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_OPENED: Final = ("params", "result")
"""Members whose own members are found in the same pass."""

_SAID: Final = ("jsonrpc", "method")
"""Members that are read in the same pass."""

_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None}
_SHORT: Final = 18
"""Digits of a number that is read at once."""


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


def read_compact(body: bytes) -> Any:
    """What ``body`` says, if writing that gives the same bytes again; else ``UNREAD``, whatever it is.

    What comes back to the byte has lost nothing: no member stood twice in one object, every number is the one that was written,
    every byte was UTF-8. That is proof enough, at a third of what it takes to ask about each object; and most clients write
    compactly.
    """
    try:
        value = _reader.decode(body)
        return value if _writer.encode(value) == body else UNREAD
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return UNREAD


def read(text: str, *, unique: bool) -> Any:
    """The one value ``text`` is.

    Args:
        text: the whole text.
        unique: whether a member standing twice in one object, at any depth, is refused.

    Raises:
        NotJson: it is no single JSON value.
    """
    decoder = _unique_decoder if unique else _plain_decoder
    try:
        # What ``decode`` does for a text that is a value and nothing else, without its two looks for white space.
        value, end = decoder.scan_once(text, 0)  # type: ignore[attr-defined]
        return value if end == len(text) else decoder.decode(text)
    except StopIteration:
        return _read_slowly(decoder, text)
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except ValueError as error:
        raise NotJson(_said(error)) from None


def _read_slowly(decoder: json.JSONDecoder, text: str) -> Any:
    """The value of a text that has white space before it, or of which it must be said what is wrong."""
    try:
        return decoder.decode(text)
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except ValueError as error:
        raise NotJson(_said(error)) from None


def _said(error: ValueError) -> str:
    """What a reader complains of; of the limit that Python sets to numbers, not how to lift it."""
    return str(error) if isinstance(error, json.JSONDecodeError) else "a number in it has more digits than can be read"


def _value_of(text: str) -> Any:
    """What a member's text says: short words, whole numbers and plain strings, which most are, without a reader."""
    if text[:1] == '"' and "\\" not in text:
        return text[1:-1]
    if text in _WORDS:
        return _WORDS[text]
    if len(text) < _SHORT and text.isdecimal() and text.isascii():
        return int(text)
    try:
        return read(text, unique=False)
    except NotJson:
        return None


def read_rpc(text: str | bytes, values: Any = UNREAD) -> Rpc:
    """The members of the one JSON-RPC message ``text`` is; of one that stands twice, the last.

    Args:
        text: the whole text.
        values: the same read, if it has been.

    Raises:
        NotJson: it is no object.
    """
    try:
        return _rpc.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return _rewritten(text, values, error)


def text_of(raw: msgspec.Raw | msgspec.UnsetType) -> str:
    """The text of a member; nothing if it is absent."""
    return "" if raw is msgspec.UNSET else str(raw, "utf-8")


def value_of(raw: msgspec.Raw | msgspec.UnsetType) -> Any:
    """What a member says; ``None`` if it is absent, or more than can be read (a number without end)."""
    return None if raw is msgspec.UNSET else _value_of(str(raw, "utf-8"))


def members_of(raws: Mapping[str, msgspec.Raw]) -> Members:
    """An object of which the members were found."""
    return {key: Member(str(raw, "utf-8")) for key, raw in raws.items()}


def read_objects(text: str) -> list[Members] | None:
    """The members of each object of the list ``text`` is; ``None`` if it is not a list of objects."""
    try:
        found = _objects.decode(text)
        return [members_of(one) for one in found]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _rewritten(text: str | bytes, values: Any, error: Exception) -> Rpc:
    """The members of what msgspec does not take: half of a surrogate pair, which JavaScript writes, or no object at all."""
    if values is UNREAD:
        text = decode(text) if isinstance(text, bytes) else text
        if is_heavy(text):
            raise NotJson(f"{error}")
        values = read(text, unique=False)
    if not isinstance(values, dict):
        raise NoObject("it is not an object")
    try:
        found: dict[str, Any] = {name: _written(name, value) for name, value in values.items() if name in Rpc.__struct_fields__}
    except ValueError as too_large:
        raise NotJson(str(too_large)) from None
    return Rpc(**found)


def _written(name: str, value: Any) -> Any:
    """A member as ``Rpc`` has it."""
    if name in _SAID:
        return value
    if name not in _OPENED:
        return msgspec.Raw(write(value).encode())
    return {key: msgspec.Raw(write(one).encode()) for key, one in value.items()} if isinstance(value, dict) else None


def write_object(members: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """One object of members whose values are JSON text already."""
    return "{" + write_members(members.items() if isinstance(members, Mapping) else members) + "}"


def write_members(members: Iterable[tuple[str, str]]) -> str:
    """The members of an object without its braces, so that others can stand beside them."""
    return ",".join([f"{encode_basestring_ascii(key)}:{text}" for key, text in members])


def write(value: Any) -> str:
    """``value`` as compact JSON in ASCII, which every transport carries.

    Raises:
        ValueError: it holds NaN or an infinity.
    """
    return encode_basestring_ascii(value) if type(value) is str else _encoder.encode(value)
