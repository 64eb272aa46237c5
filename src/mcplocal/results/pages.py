"""Text that is read page by page: kept in a file, given only to who made the call, for a while.

A cursor is 24 random bytes and the number of a page. The file's name is a keyed hash over the random part, the subject and the
project, so for anybody else, and in another project, there is no such file. Every page has a mark of its own; a damaged one is
none. The text stands first in the file, then a table of where pages begin and of their marks, then the head and its mark.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hmac import compare_digest
from secrets import token_urlsafe
from struct import Struct
from time import time
from typing import Final

import msgspec

from mcplocal.results.cache_key import CacheKeys
from mcplocal.results.private_directory import PrivateDirectory

_PAGE: Final = Struct(">Q32s")
_TAIL: Final = Struct(">I32s")
_CURSOR: Final = re.compile(r"([A-Za-z0-9_-]{32})\.([1-9]\d{0,6})")

BREAK_WITHIN: Final = 5
"""A page ends at a line's end if there is one in its last fifth."""


class _Head(msgspec.Struct):
    until: float
    tool: str
    shape: str
    pages: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text is from.

    Attributes:
        tool: the exposed name of the tool that gave it.
        shape: says by which stages it went.
    """

    tool: str
    shape: str


_head: Final = msgspec.json.Decoder(_Head)


@dataclass(frozen=True, slots=True)
class Kept:
    """A text that was kept.

    Attributes:
        token: the part of its cursors that cannot be guessed.
        name: of the file.
        first: its first page.
        count: how many pages it has.
        until: when they can be read no more, in Unix seconds.
    """

    token: str
    name: str
    first: str
    count: int
    until: float

    def cursor(self, number: int) -> str:
        """The cursor of the page of that number; the first is 1."""
        return f"{self.token}.{number}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        text: it.
        number: the first page has 1.
        count: how many there are.
        of: where the text is from.
        following: the cursor of the next one.
    """

    text: str
    number: int
    count: int
    of: Origin
    following: str | None


class Pages:
    """Keeps texts and gives their pages. Its methods may be called in any thread."""

    def __init__(self, directory: PrivateDirectory, keys: CacheKeys) -> None:
        """Keep them in ``directory``."""
        self._directory = directory
        self._keys = keys

    def keep(self, text: Iterable[str], page_chars: int, ttl: float, of: Origin, bound_to: tuple[str, str]) -> Kept:
        """Keep ``text``.

        Args:
            text: all of it, the first page too, in pieces.
            page_chars: characters of a page, at most.
            ttl: seconds for which it can be read.
            of: where it is from.
            bound_to: the subject and the project that may read it.

        Raises:
            NotKept: it cannot be.
        """
        token, until = token_urlsafe(24), time() + ttl
        name = self._name(token, bound_to)
        table = bytearray()
        count = 0
        first = ""

        def pieces() -> Iterator[bytes]:
            nonlocal count, first
            place = 0
            for page in paged(text, page_chars):
                count += 1
                first = first or page
                data = page.encode("utf-8", "surrogatepass")
                table.extend(_PAGE.pack(place, self._keys.mark(name, b"page", str(count).encode(), data)))
                place += len(data)
                yield data
            table.extend(_PAGE.pack(place, b""))
            head = json.dumps({"until": until, "tool": of.tool, "shape": of.shape, "pages": count}).encode()
            yield bytes(table)
            yield head
            yield _TAIL.pack(len(head), self._keys.mark(name, b"head", table, head))

        self._directory.write(name, pieces())
        return Kept(token, name, first, count, until)

    def page(self, cursor: str, bound_to: tuple[str, str]) -> Page | None:
        """The page of ``cursor``; ``None`` if there is none for whom it is asked, or not any more."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            return None
        token, number = match[1], int(match[2])
        name = self._name(token, bound_to)
        descriptor = self._directory.open(name)
        if descriptor is None:
            return None
        try:
            return self._read(descriptor, name, token, number)
        except Exception:  # whatever can be wrong with bytes from a disk
            self._directory.remove(name)
            return None
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int, name: str, token: str, number: int) -> Page | None:
        end = os.fstat(descriptor).st_size - _TAIL.size
        length, mark = _TAIL.unpack(os.pread(descriptor, _TAIL.size, end))
        written = os.pread(descriptor, length, end - length)
        head = _head.decode(written)
        begin = end - length - _PAGE.size * (head.pages + 1)
        table = os.pread(descriptor, _PAGE.size * (head.pages + 1), begin)
        if not compare_digest(mark, self._keys.mark(name, b"head", table, written)):
            raise ValueError("the head is damaged")
        if time() >= head.until:
            self._directory.remove(name)
            return None
        if number > head.pages:
            return None
        place, marked = _PAGE.unpack_from(table, _PAGE.size * (number - 1))
        following, _ = _PAGE.unpack_from(table, _PAGE.size * number)
        data = os.pread(descriptor, following - place, place)
        if not compare_digest(marked, self._keys.mark(name, b"page", str(number).encode(), data)):
            raise ValueError("the page is damaged")
        more = f"{token}.{number + 1}" if number < head.pages else None
        return Page(data.decode("utf-8", "surrogatepass"), number, head.pages, Origin(head.tool, head.shape), more)

    def _name(self, token: str, bound_to: tuple[str, str]) -> str:
        return self._keys.name("page", token, *bound_to)


def paged(text: Iterable[str], page_chars: int) -> Iterator[str]:
    """The pieces ``text`` as pages of at most ``page_chars`` characters; together they are the same."""
    rest, place = "", 0
    for piece in text:
        rest, place = rest[place:] + piece, 0
        while len(rest) - place > page_chars:
            end = place + page_chars
            line = rest.rfind("\n", end - page_chars // BREAK_WITHIN, end)
            end = end if line < 0 else line + 1
            yield rest[place:end]
            place = end
    if place < len(rest):
        yield rest[place:]
