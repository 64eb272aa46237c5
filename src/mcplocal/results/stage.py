"""What a stage works on, and what a stage of another package is.

A package offers stages by the entry point group ``mcpctl.stages``: an object with ``name``, ``summary``, ``options_schema``
(a JSON Schema, draft 2020-12, with ``additionalProperties: false``; defaults in it are filled in) and an async ``apply``::

    class Shout:
        name = "shout"
        summary = "Writes text in capital letters."
        options_schema = {"type": "object", "properties": {}, "additionalProperties": False}

        async def apply(self, result: ToolResult, options: Mapping[str, Any], context: StageContext) -> ToolResult:
            return result.with_texts(str.upper)

It runs in the gateway's process and event loop, so it must not block; what takes long goes to a thread. What it is given never
changes: it hands back another result. Whatever it raises, or if it takes longer than ``THIRD_PARTY_TIMEOUT``, the client gets
the result as it was before, with a note. ``StageFailed`` says why in words that the client may read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import msgspec

from mcplocal.heavy_json import without_collector
from mcplocal.json_text import write, write_object

THIRD_PARTY_TIMEOUT: Final = 10.0
"""Seconds a stage of another package may take for one result."""


class StageFailed(Exception):
    """The stage cannot do what it is for. The sentence is shown to the client, in ``_meta``."""


class _Kind(msgspec.Struct):
    type: Any = None


class _Text(msgspec.Struct):
    text: Any = None


class _RawText(msgspec.Struct):
    text: msgspec.Raw


_kind: Final = msgspec.json.Decoder(_Kind)
_text: Final = msgspec.json.Decoder(_Text)
_raw_text: Final = msgspec.json.Decoder(_RawText)
LARGE: Final = 1 << 20
"""Bytes of a text from which on it is read in pieces by who can do with pieces."""
_SPLIT: Final = 1 << 18
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_blocks: Final = msgspec.json.Decoder(list[msgspec.Raw])
_UNREAD: Final = object()
_READS_OTHERWISE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What msgspec does not take and JavaScript writes: half of a surrogate pair."""


class Block:
    """One piece of a tool's content: text, an image, a link, or something nobody here knows. It never changes.

    Until something of it is changed it is the very text it came in.
    """

    __slots__ = ("_kind", "_raw", "_text")

    def __init__(self, raw: str | msgspec.Raw) -> None:
        """The block whose JSON is ``raw``, an object."""
        self._raw = raw
        self._kind: Any = _UNREAD
        self._text: Any = _UNREAD

    @classmethod
    def of_text(cls, text: str) -> Block:
        """A block of text."""
        return cls(write({"type": "text", "text": text}))

    @property
    def json(self) -> str:
        """Its JSON."""
        return self._raw if isinstance(self._raw, str) else str(self._raw, "utf-8")

    @property
    def size(self) -> int:
        """About how many bytes its JSON has."""
        return len(self._raw) if isinstance(self._raw, str) else memoryview(self._raw).nbytes

    @property
    def kind(self) -> str | None:
        """Its ``type``."""
        if self._kind is _UNREAD:
            try:
                self._kind = _kind.decode(self._raw).type
            except _READS_OTHERWISE:
                self._kind = self._loaded("type")
        return self._kind if isinstance(self._kind, str) else None

    @property
    def text(self) -> str | None:
        """Its text, if it is a block of text."""
        if self._text is _UNREAD:
            try:
                self._text = _text.decode(self._raw).text if self.kind == "text" else None
            except _READS_OTHERWISE:
                self._text = self._loaded("text")
        return self._text if isinstance(self._text, str) else None

    @property
    def is_large_text(self) -> bool:
        """Whether it is a block of text that takes more memory as a whole than in ``pieces``."""
        return self.size > LARGE and self.kind == "text"

    def pieces(self) -> Iterator[str]:
        """Its text in pieces, of which none is kept."""
        try:
            token = memoryview(_raw_text.decode(self._raw).text) if self.is_large_text else None
        except _READS_OTHERWISE:
            token = None
        if token is None or bytes(token[:1]) != b'"':
            yield self.text or ""
            return
        place, end = 1, len(token) - 1
        while place < end:
            cut = _whole_until(token, place, min(place + _SPLIT, end), end)
            yield msgspec.json.decode(b'"' + bytes(token[place:cut]) + b'"', type=str)
            place = cut

    def with_text(self, text: str) -> Block:
        """The same block with another text; all its other members are as they were."""
        if text == self.text:
            return self
        members = self.members
        members["text"] = write(text)
        return Block(write_object(members))

    @property
    def members(self) -> dict[str, str]:
        """Its members as JSON text; none if it is no object."""
        try:
            return {key: str(raw, "utf-8") for key, raw in _members.decode(self._raw).items()}
        except _READS_OTHERWISE:
            found = _loaded(self.json)
            return {key: write(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def _loaded(self, member: str) -> Any:
        found = _loaded(self.json)
        return found.get(member) if isinstance(found, dict) else None


def _whole_until(token: memoryview, begin: int, cut: int, end: int) -> int:
    """The last place not after ``cut``, or the first after it, where the inside of a JSON string can be parted."""
    while cut < end:
        # Not within a character of several bytes, an escape, or a pair of surrogates.
        if token[cut] & 0xC0 != 0x80:
            last = bytes(token[max(begin, cut - 12) : cut])
            run = len(last) - len(last.rstrip(b"\\"))
            if run == 0 and b"\\u" not in last:
                return cut
        cut += 1
    return end


def blocks_of(content: str) -> tuple[Block, ...] | None:
    """The blocks of the list whose JSON is ``content``; ``None`` if it is no list."""
    try:
        with without_collector():
            return tuple(map(Block, _blocks.decode(content)))
    except _READS_OTHERWISE:
        found = _loaded(content)
        return tuple(Block(write(one)) for one in found) if isinstance(found, list) else None


def is_json(text: str) -> bool:
    """Whether ``text`` is one JSON value."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except _READS_OTHERWISE:
        return False
    return True


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered. It never changes; a stage hands back another one.

    Attributes:
        content: its blocks, in order.
        structured: the JSON of its ``structuredContent``, if it has any.
        is_error: whether the tool says that it failed.
        others: all other members by name, as JSON, ``_meta`` among them; they are passed on.
    """

    content: tuple[Block, ...] = ()
    structured: str | None = None
    is_error: bool = False
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """The texts of its blocks of text."""
        return [text for block in self.content if (text := block.text) is not None]

    @property
    def repeated(self) -> str | None:
        """The name of the one member of the structured content, if it says the text once more and nothing else.

        SDKs send the text of a tool that answers with a string so: ``{"result": TEXT}``.
        """
        if self.structured is None or sum(block.kind == "text" for block in self.content) != 1:
            return None
        members = Block(self.structured).members
        if len(members) != 1:
            return None
        name, value = next(iter(members.items()))
        return name if value[:1] == '"' and _loaded(value) == self.texts[0] else None

    @property
    def size(self) -> int:
        """About how many bytes it has."""
        return sum(block.size for block in self.content) + len(self.structured or "")

    def with_texts(self, change: Callable[[str], str]) -> ToolResult:
        """The same with each text changed.

        Where that changes any, the structured content is left out: it would still say what the text no longer does.
        """
        content = tuple(block if (text := block.text) is None else block.with_text(change(text)) for block in self.content)
        if all(new is old for new, old in zip(content, self.content, strict=True)):
            return self
        return replace(self, content=content, structured=None)

    def with_content(self, content: Iterable[Block], structured: str | None = None) -> ToolResult:
        """The same with other content."""
        return replace(self, content=tuple(content), structured=structured)


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage may know of the call.

    Attributes:
        project: whose endpoint was called.
        server: which server answered.
        tool: its tool, by the server's own name.
    """

    project: str
    server: str
    tool: str


class Stage(Protocol):
    """A stage of another package."""

    @property
    def name(self) -> str:
        """What proxy models call it; the entry point has the same name."""

    @property
    def summary(self) -> str:
        """What it does, in one sentence."""

    @property
    def options_schema(self) -> Mapping[str, Any]:
        """A JSON Schema of its options."""

    async def apply(self, result: ToolResult, options: Mapping[str, Any], context: StageContext) -> ToolResult:
        """The result shaped.

        Args:
            result: as it came from the server, or from the stage before.
            options: as they stand in the model, defaults filled in.
            context: of which call.

        Raises:
            StageFailed: it cannot be; the sentence says why.
        """
