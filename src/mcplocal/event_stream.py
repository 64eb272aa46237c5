"""Server-sent events, read as they come and written in one form (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MEDIA_TYPE: Final = "text/event-stream"
KEEP_ALIVE: Final = b": still here\n\n"

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class Event(NamedTuple):
    """One event: its kind, ``message`` unless it says otherwise, and its data."""

    kind: str
    data: str


class EventTooLong(ValueError):
    """An event is larger than the limit."""


class EventReader:
    """Bytes in, events out. Its cost is linear in the bytes, however they are cut."""

    def __init__(self, limit: int) -> None:
        """Refuse events of more than ``limit`` bytes."""
        self.limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        self._kind = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes.

        Raises:
            EventTooLong: the event under way is larger than the limit.
            UnicodeDecodeError: an event is not UTF-8.
        """
        self._buffer += chunk
        events: list[Event] = []
        start = 0
        for end in _LINE_END.finditer(self._buffer, self._scanned):
            if end.group() == b"\r" and end.end() == len(self._buffer):
                break  # perhaps the first half of \r\n
            if event := self._line(bytes(self._buffer[start : end.start()])):
                events.append(event)
            start = end.end()
        del self._buffer[:start]
        self._scanned = max(0, len(self._buffer) - 1)
        if self._size + len(self._buffer) > self.limit:
            raise EventTooLong(f"an event of more than {self.limit} bytes")
        return events

    def _line(self, line: bytes) -> Event | None:
        if not line:
            event = Event(self._kind or "message", b"\n".join(self._data).decode()) if self._data else None
            self._kind, self._data, self._size = "", [], 0
            return event
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"data":
            self._data.append(value)
            self._size += len(value)
        elif field == b"event":
            self._kind = value.decode(errors="replace")
        return None


def write_event(text: str) -> bytes:
    """One ``message`` event that carries the JSON ``text``."""
    return b"event: message\ndata: " + one_line(text).encode() + b"\n\n"


def one_line(text: str) -> str:
    """The same JSON on one line: outside of strings a line end is but white space, and inside it cannot stand."""
    return text.replace("\r", " ").replace("\n", " ") if "\n" in text or "\r" in text else text
