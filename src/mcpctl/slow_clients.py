"""Clients that take their time: HTTP/1.1 with a limit on the head of a request and on how long a client may dawdle.

A request that comes whole, as nearly all do, costs nothing more: no timer is set for it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from mcpctl.errors import HeadTooLarge, Problem, TooSlow
from mcpctl.http_protocol import HttpProtocol

LARGEST_HEAD: Final = 64 << 10
"""Bytes of request line and headers."""


class PatientProtocol(HttpProtocol):
    """Gives up a connection whose client sends, or takes, nothing that leads anywhere for ``patience`` seconds."""

    patience: float = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._in_head = False
        self._in_request = False
        self._head_size = 0
        self._parts = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve, and to wait for the first request."""
        super().connection_made(transport)
        self._reading = self.loop.call_later(self.patience, self._give_up_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; a request that has begun and is not yet whole is waited for."""
        self._parts = 1 if self._in_request else 0
        super().data_received(data)
        if not self._in_request:
            return
        if self._in_head:
            # How much of it is a head that begins behind something else is not known: of one reading at most, and only once.
            if self._parts <= 1:
                self._head_size += len(data)
            if self._head_size > LARGEST_HEAD:
                self._refuse(HeadTooLarge(f"the line and headers of the request are larger than {LARGEST_HEAD} bytes"))
                return
        if self._reading is None:
            self._reading = self.loop.call_later(self.patience, self._give_up_reading)

    def note_beginning(self) -> None:
        """A request begins, whoever sees to it."""
        super().note_beginning()
        # As ``_begin_head`` does it, in one frame less for each request.
        self._in_request = self._in_head = True
        self._head_size = 0
        self._parts += 1

    def on_chunk_header(self) -> None:
        """A chunk of a body begins. If it is the last, header lines may follow; they have the limit of a head."""
        self._begin_head()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._in_head = False
        super().on_body(body)

    def _begin_head(self) -> None:
        self._in_head = True
        self._head_size = 0
        self._parts += 1

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self.note_head()
        super().on_headers_complete()

    def note_head(self) -> None:
        """The head of a request is whole, whoever sees to it."""
        self._in_head = False

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._in_request = False
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client does not take what it is sent as fast as it is sent."""
        super().pause_writing()
        self._watch_writing(self._unsent)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    @property
    def _unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def _watch_writing(self, before: int) -> None:
        self._writing = self.loop.call_later(self.patience, self._look_at_writing, before)

    def _look_at_writing(self, before: int) -> None:
        """Slow is fine; a client that took nothing at all is not waited for."""
        left = self._unsent
        if left < before:
            self._watch_writing(left)
        else:
            self._writing = None
            self.transport.abort()

    def _give_up_reading(self) -> None:
        self._reading = None
        self._refuse(TooSlow(f"the request did not come to its end within {self.patience:g} s"))

    def _refuse(self, problem: Problem) -> None:
        self._in_request = False
        self.refuse(problem)


def protocol(patience: float) -> type[asyncio.Protocol]:
    """The protocol for uvicorn's ``http``, with ``patience`` in seconds."""
    return cast("type[asyncio.Protocol]", type("OwnProtocol", (PatientProtocol,), {"patience": patience}))
