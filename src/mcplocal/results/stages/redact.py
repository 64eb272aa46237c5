r"""``redact``: takes secrets, and what matches a model's patterns, out of everything a server says.

Strings are looked at as they read, not as they are written: ``\u006dcpctl_pat_…`` is found, also where JSON stands inside a
text, and so is ``mcpctl\_pat\_…``, as Markdown has it. Numbers count as what they look like. All else, and every string that
holds nothing, stays the text it came in. What is base64 by its type (an image's ``data``, a resource's ``blob``) is not looked
into, if it is base64.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any, Final

import msgspec

from mcpctl.proxy_models.detectors import ALWAYS_ON, DETECTORS
from mcpctl.proxy_models.linear_patterns import compiled
from mcplocal.json_text import write, write_object
from mcplocal.results.detectors import IN_SOURCE, Detector, any_of, detector
from mcplocal.results.stage import Block, StageFailed, ToolResult, blocks_of, is_json

_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|(-?\d++)(\.\d++)?+([eE][+-]?\d++)?+', re.DOTALL)
"""Strings and numbers of JSON. In what is no JSON it would look for the end of a string from every quotation mark."""
_SEGMENT: Final = re.compile(r'(?:[^"\\]++|\\.)++', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|([bfnrt!-/:-@\[-`{-~]))")
"""Of JSON and of Markdown, which puts a backslash before any punctuation."""
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LINE_END: Final = re.compile(r"\\.|\n", re.DOTALL)
_BASE64: Final = re.compile(r'"(?:[A-Za-z0-9+/]|\\/|\\[rn])*+={0,2}"')
_SHORTEST_CARD: Final = 13
_BASE64_OF: Final = {"image": "data", "audio": "data"}
DEEPEST: Final = 16
"""How many levels of JSON inside strings of JSON are looked into: each doubles the backslashes, so the last takes 64 KiB."""


class Redactor:
    """Takes out what one ``redact`` stage is told to."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Compile ``options``.

        Raises:
            InvalidInput: a pattern is none.
            KeyError: there is no such detector.
        """
        wanted = set(options.get("detectors", DETECTORS)) | {ALWAYS_ON}
        unknown = wanted - set(DETECTORS)
        if unknown:
            raise KeyError(f"there is no detector {sorted(unknown)}")
        names = tuple(name for name in DETECTORS if name in wanted)
        self._any = any_of(names)
        self._detectors = [detector(name) for name in names]
        self._own = [Detector(one["name"], (compiled(one["pattern"]),)) for one in options.get("patterns", ())]
        self._in_source = [one for one in self._detectors if one.name in IN_SOURCE]
        self._replacement = str(options.get("replacement", "[redacted:{name}]"))

    def result(self, result: ToolResult, until: float) -> ToolResult:
        """``result`` without what is to be taken out.

        Args:
            result: what a tool answered.
            until: a moment of the monotonic clock, after which it is given up.

        Raises:
            StageFailed: it took too long.
        """
        content = tuple(self._block(block, until) for block in result.content)
        structured = None if result.structured is None else self._structured(result.structured, until)
        others = self.members(result.others, until)
        same = structured == result.structured and others == dict(result.others)
        if same and all(new is old for new, old in zip(content, result.content, strict=True)):
            return result
        return replace(result, content=content, structured=structured, others=others)

    def _structured(self, source: str, until: float) -> str | None:
        """``source`` redacted; nothing where a model's pattern is about more than one string or number of it.

        The pattern took out what the text beside it says, and nothing can be cut out across members.
        """
        found = self.source(source, until)
        for spelt in _spellings(found) if self._own else ():
            if monotonic() > until:
                raise StageFailed("it took too long")
            if any(pattern.search(spelt) is not None for one in self._own for pattern in one.patterns):
                return None
        return found

    def members(self, members: Mapping[str, str], until: float) -> dict[str, str]:
        """Members whose values are JSON, names and values redacted."""
        return {self.text(name, until): self.source(value, until) for name, value in members.items()}

    def member(self, name: str, source: str, until: float) -> str:
        """The JSON of the member of that name, redacted; in ``contents`` and ``messages`` base64 is known by its place."""
        if name not in ("contents", "messages") or (parts := blocks_of(source)) is None:
            return self.source(source, until)
        found = [self._resource(part.json, until) if name == "contents" else self._message(part, until) for part in parts]
        same = all(text == part.json for text, part in zip(found, parts, strict=True))
        return source if same else "[" + ",".join(found) + "]"

    def source(self, source: str, until: float) -> str:
        """Valid JSON with its strings, names and long numbers redacted; it stays JSON."""
        return self._source(source, until, DEEPEST)

    def _source(self, source: str, until: float, depth: int) -> str:
        found = _TOKEN.sub(lambda match: self._token(match, until, depth), source)
        return self._replaced(self._in_source, found, until, as_json=True)

    def text(self, text: str, until: float, depth: int = DEEPEST) -> str:
        """A text as a person reads it, redacted."""
        if depth and text.lstrip()[:1] in ("{", "[") and is_json(text):
            text = self._source(text, until, depth - 1)
        elif depth and "\\" in text:
            # Perhaps there is JSON in it, in which a secret can be written with escapes. What a string is cannot be told in
            # any text, so whatever stands between two quotation marks is read as if it were one.
            text = _SEGMENT.sub(lambda match: self._segment(match[0], until, depth - 1), text)
        return self._plain(text, until)

    def _segment(self, segment: str, until: float, depth: int) -> str:
        if "\\" not in segment:
            return segment
        value = _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _ESCAPED.get(match[2], match[2]), segment)
        if value == segment:
            return segment
        found = self.text(value, until, depth)
        if found == value:
            return segment
        # Ends of lines stay as they were written: a text that is no JSON has its own, and a string in it escaped ones.
        ends = [one for one in _LINE_END.findall(segment) if one in ("\n", "\\n")]
        lines = [json.dumps(line, ensure_ascii=False)[1:-1] for line in found.split("\n")]
        if len(ends) != len(lines) - 1:
            ends = ["\n" if "\n" in segment else "\\n"] * (len(lines) - 1)
        return "".join(line + end for line, end in zip(lines, [*ends, ""], strict=True))

    def _token(self, match: re.Match[str], until: float, depth: int) -> str:
        token = match[0]
        if token[0] != '"':
            found = self._number(token, match, until)
            return token if found == token else write(found)
        if "\\" not in token:
            value = token[1:-1]
        else:
            try:
                value = json.loads(token, strict=False)
            except ValueError:
                return token  # no JSON string; it is looked at as the text it is
        found = self.text(value, until, depth)
        return token if found == value else write(found)

    def _number(self, number: str, match: re.Match[str], until: float) -> str:
        whole, fraction, exponent = match[1], match[2], match[3]
        if not self._own and len(whole) < _SHORTEST_CARD:
            return number
        if exponent is None and (fraction is None or not fraction.strip(".0")):
            found = self._plain(whole, until)  # 4111111111111111.0 is that card too
            if found != whole:
                return found
        encoded = number.encode()
        return self._without(self._own, encoded, until, as_json=False).decode("utf-8", "surrogatepass")

    def _block(self, block: Block, until: float) -> Block:
        members = block.members
        if not members:
            return Block(self.source(block.json, until))
        kind = block.kind
        base64 = _BASE64_OF.get(kind or "")
        found: dict[str, str] = {}
        for name, value in members.items():
            if name == "text" and kind == "text" and block.text is not None:
                text = self.text(block.text, until)
                found[name] = value if text == block.text else write(text)
            elif name == "resource" and kind == "resource":
                found[name] = self._resource(value, until)
            elif name == base64 and _BASE64.fullmatch(value):
                found[name] = value
            else:
                found[self.text(name, until)] = self.source(value, until)
        return block if found == members and not _says_twice(block.json, members) else Block(write_object(found))

    def _message(self, message: Block, until: float) -> str:
        members = message.members
        if not members:
            return self.source(message.json, until)
        found = {
            self.text(name, until): self._block(Block(value), until).json if name == "content" else self.source(value, until)
            for name, value in members.items()
        }
        return message.json if found == members and not _says_twice(message.json, members) else write_object(found)

    def _resource(self, source: str, until: float) -> str:
        resource = Block(source).members
        if not resource:
            return self.source(source, until)
        found = {
            self.text(name, until): value if name == "blob" and _BASE64.fullmatch(value) else self.source(value, until)
            for name, value in resource.items()
        }
        return source if found == resource and not _says_twice(source, resource) else write_object(found)

    def _plain(self, text: str, until: float) -> str:
        if monotonic() > until:
            raise StageFailed("it took too long")
        encoded = text.encode("utf-8", "surrogatepass")
        if self._any.search(encoded) is not None:
            encoded = self._without(self._detectors, encoded, until, as_json=False)
        encoded = self._without(self._own, encoded, until, as_json=False) if self._own else encoded
        return encoded.decode("utf-8", "surrogatepass")

    def _replaced(self, detectors: Sequence[Detector], text: str, until: float, *, as_json: bool) -> str:
        if not detectors:
            return text
        encoded = text.encode("utf-8", "surrogatepass")
        return self._without(detectors, encoded, until, as_json=as_json).decode("utf-8", "surrogatepass")

    def _without(self, detectors: Sequence[Detector], text: bytes, until: float, *, as_json: bool) -> bytes:
        for one in detectors:
            put = self._replacement.replace("{name}", one.name)
            into = (write(put)[1:-1] if as_json else put).encode("utf-8", "surrogatepass")
            for pattern in one.patterns:
                text = _cut_out(pattern, text, into, one.passes, until)
        return text


def _cut_out(pattern: Any, text: bytes, into: bytes, passes: Callable[[bytes], bool] | None, until: float) -> bytes:
    group = pattern.groupindex.get("secret", 0)
    pieces: list[bytes] = []
    done = 0
    for match in pattern.finditer(text):
        start, end = match.span(group)
        if start < 0:  # it matched by a branch without that group
            start, end = match.span()
        if start == end or (passes is not None and not passes(text[start:end])):
            continue
        if monotonic() > until:
            raise StageFailed("it took too long")
        pieces += (text[done:start], into)
        done = end
    return b"".join((*pieces, text[done:])) if pieces else text


def _says_twice(source: str, members: Mapping[str, str]) -> bool:
    """Whether a member stands twice in the object ``source``: ``members`` has the last one, and a client may read the first."""
    shortest = 1 + sum(len(json.dumps(name, ensure_ascii=False)) + len(value) + 2 for name, value in members.items())
    if len(source) == shortest:
        return False
    try:
        return bool(json.loads(source, object_pairs_hook=len, strict=False) != len(members))
    except (ValueError, RecursionError):
        return True


def _spellings(source: str) -> Iterator[bytes]:
    """JSON as servers write it into a text, with white space and without."""
    encoded = source.encode("utf-8", "surrogatepass")
    yield encoded
    with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
        for indent in (-1, 0, 2):
            yield msgspec.json.format(encoded, indent=indent)
