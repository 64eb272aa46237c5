"""One request and its answer over one HTTP/1.1 connection. The bytes are parsed by llhttp; what they may do is decided here.

An answer that nobody asked for, a second one, a head without end, more than the limit, or anything llhttp does not take ends
the connection. A connection is used again only if an answer came to its end on it and the server means to keep it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple, cast

import httptools

from mcplocal.header_names import lower_name
from mcplocal.upstream.answers import UpstreamFailed

LONGEST_HEAD: Final = 64 << 10
"""Bytes of head that are read before a server is taken to be out of its mind."""

LOOKED_AT: Final = frozenset(("content-type", "content-encoding", "content-length", "transfer-encoding", "mcp-session-id"))
"""Headers of an answer that anything depends on; servers send twice as many."""

LARGE: Final = 1 << 20
"""Bytes of a body from which on its pieces are put together as they come."""

READ_AHEAD: Final = 256 << 10
"""Bytes of a stream that wait for whoever reads it; past that the server waits."""


class Deadline(NamedTuple):
    """The time of the loop by which all of an answer must have come, and how many seconds that was from the beginning."""

    at: float
    seconds: float


class Response:
    """An answer on its way.

    Attributes:
        status: the HTTP status.
        headers: those of ``LOOKED_AT`` by lower-case name; of one that stands more than once, the last.
        deadline: when all of it must have come; ``None`` if others see to that.
    """

    __slots__ = ("_chunks", "_complete", "_connection", "_error", "_limit", "_size", "_waiter", "deadline", "headers", "status")

    def __init__(self, connection: Connection) -> None:
        """Nothing of it has come."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.deadline: Deadline | None = None
        self._connection = connection
        self._chunks: list[bytes | bytearray] = []
        self._size = 0
        self._limit: int | None = None
        self._complete = False
        self._error: UpstreamFailed | None = None
        self._waiter: asyncio.Future[None] | None = None

    def look_at_deadline(self, now: float) -> None:
        """Be broken if not all of it has come in time."""
        if self.deadline is not None and self.deadline.at <= now and not self._complete:
            self.end(UpstreamFailed(f"no answer within {self.deadline.seconds:g} s", sent=True))
            self._connection.cut()

    async def body(self, limit: int) -> bytes:
        """All of it.

        Raises:
            UpstreamFailed: it is larger than ``limit`` bytes, or the connection broke.
        """
        self._limit = limit
        self._check_limit()
        self._connection.go_on()  # it may have had to wait before anybody said that all of it is wanted
        while not self._complete and self._error is None:
            await self._more()
        if self._error is not None:
            raise self._error
        chunks, self._chunks = self._chunks, []
        return chunks[0] if len(chunks) == 1 and isinstance(chunks[0], bytes) else b"".join(chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its pieces as they come; the server waits when they are not taken.

        Raises:
            UpstreamFailed: the connection broke.
        """
        while True:
            if self._chunks:
                taken, self._chunks, self._size = b"".join(self._chunks), [], 0
                self._connection.go_on()
                yield taken
            elif self._error is not None:
                raise self._error
            elif self._complete:
                return
            else:
                await self._more()

    def close(self) -> None:
        """Be done with it: its connection is kept if all of it has come, and cut otherwise."""
        self._connection.release(self)

    async def head(self) -> None:
        """Wait until status and headers are known."""
        while not self.status and self._error is None:
            # As ``_more`` does it; here every call waits, and a frame less is one less to go through when it comes.
            self._waiter = waiter = asyncio.get_running_loop().create_future()
            try:
                await waiter
            finally:
                self._waiter = None
        if self._error is not None and not self.status:
            raise self._error

    async def _more(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take(self, piece: bytes) -> None:
        """A piece of the body has come."""
        self._size += len(piece)
        if self._size > LARGE and self._limit is not None:
            # Put together as it comes: thousands of pieces would be as much memory again, and stay with the process.
            if len(self._chunks) != 1 or not isinstance(self._chunks[0], bytearray):
                self._chunks = [bytearray(b"".join(self._chunks))]
            self._chunks[0] += piece
        else:
            self._chunks.append(piece)
        if self._limit is not None:
            self._check_limit()
        else:
            if self._size > READ_AHEAD:
                self._connection.wait()
            self.wake()

    def end(self, error: UpstreamFailed | None = None) -> None:
        """All of it has come, or no more will."""
        if error is None:
            self._complete = True
        elif not self._complete and self._error is None:
            self._error = error
        self.wake()

    def wake(self) -> None:
        """Whoever waits has something to look at."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def is_complete(self) -> bool:
        """Whether all of it has come."""
        return self._complete

    def _check_limit(self) -> None:
        if self._limit is not None and self._size > self._limit:
            self._chunks.clear()
            self.end(UpstreamFailed(f"its answer is larger than {self._limit} bytes", sent=True))
            self._connection.cut()


class Connection(asyncio.Protocol):
    """One connection to an upstream: one request at a time."""

    def __init__(self, keep: Callable[[Connection], None], forget: Callable[[Connection], None]) -> None:
        """Call ``keep`` whenever another request may be sent over it, and ``forget`` when it has ended."""
        self._kept = keep
        self._ended = forget
        self._parser = httptools.HttpResponseParser(self)
        self._response: Response | None = None
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._until_close = False
        self._keep = False
        self._waiting = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    @property
    def under_way(self) -> Response | None:
        """The answer that has not been done with."""
        return self._response

    def send(self, request: bytes) -> Response:
        """Send a whole request; from here on the server may act on it."""
        self._response = response = Response(self)
        self._head_size, self._keep = 0, False
        self._transport.write(request)
        return response

    @property
    def is_usable(self) -> bool:
        """Whether another request may go over it."""
        return not self._transport.is_closing()

    def release(self, response: Response) -> None:
        """``response`` is done with."""
        if self._response is response:
            self._response = None
            if response.is_complete and self._keep and self.is_usable:
                self.go_on()
                self._kept(self)
            else:
                self.cut()

    def cut(self) -> None:
        """End it at once."""
        self._keep = False
        self._transport.abort()

    def wait(self) -> None:
        """Let the server wait."""
        if not self._waiting and self.is_usable:
            self._waiting = True
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read on."""
        if self._waiting:
            self._waiting = False
            if self.is_usable:
                self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take bytes; such as nobody asked for end the connection."""
        response = self._response
        if response is None:
            return self.cut()
        if not response.status:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._broke(response, "its answer is not HTTP")
        if not response.status and self._head_size > LONGEST_HEAD:
            self._broke(response, "the head of its answer has no end")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has ended it, or the network has."""
        self._ended(self)
        response = self._response
        if response is not None and not response.is_complete:
            whole = exc is None and response.status and self._until_close
            response.end(None if whole else UpstreamFailed("the connection broke before it answered", sent=True))

    def _broke(self, response: Response, why: str) -> None:
        response.end(UpstreamFailed(why, sent=True))
        self.cut()

    # What llhttp calls.

    def on_message_begin(self) -> None:
        """A message begins; a second one was not asked for."""
        self._headers = {}
        if self._response is None or self._response.is_complete:
            self._keep = False
            self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        known = lower_name(name)
        if known in LOOKED_AT:
            self._headers[known] = value.decode("latin-1").strip(" \t")

    def on_headers_complete(self) -> None:
        """The head has ended. An interim one says nothing."""
        response, status = self._response, self._parser.get_status_code()
        if response is None or response.is_complete or status < 200:
            return
        headers = self._headers
        bodiless = status in (204, 304) or "content-length" in headers or "transfer-encoding" in headers
        self._until_close = not bodiless
        response.status, response.headers = status, headers
        self._headers = {}  # what trailers say is not a header
        response.wake()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        if self._response is not None and not self._response.is_complete:
            self._response.take(piece)

    def on_message_complete(self) -> None:
        """The message has ended."""
        response = self._response
        if response is not None and response.status and not response.is_complete:
            self._keep = self._parser.should_keep_alive()
            response.end()
