"""Requests to the endpoint straight from uvicorn's HTTP/1.1, past ASGI.

ASGI's dictionaries, made and taken apart again at both ends, cost a small call a sixth of all its time. So the protocol hands
requests for an endpoint to it directly, and an answer is one piece of bytes; uvicorn still parses, queues what is pipelined,
holds back whoever sends too fast, and counts what is under way when it is told to stop. Everything else (``/healthz``, paths
written in any unusual way) goes the ordinary way, which ends at the same endpoint.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mcpctl import slow_clients
from mcplocal.protocol.exchange import Request
from mcplocal.protocol.head import SHARED, Pairs

AT_ONCE: Final = 16 << 10
"""Bytes of a body that are copied behind their head; larger ones are handed over beside it."""

END: Final = b"\r\n"
CLOSING: Final = b"connection: close\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n"

_ENDPOINT: Final = re.compile(rb"(/mcp|/projects/([A-Za-z0-9._-]+)/mcp)(?:\?.*)?")

Answer = Callable[[Request], Awaitable[None]]
"""Answers one request, whatever goes wrong."""


class DirectRequest(Request):
    """A request whose head has come; it is uvicorn's cycle of request and response, too, and has what is looked at in one.

    Attributes:
        body: what has come of the body.
        more_body: whether more is to come.
        message_event: set when something has happened that somebody may wait for.
        disconnected: whether the client has gone.
        keep_alive: whether the connection may serve another request.
        response_started: whether anything has been answered.
        response_complete: whether all of it has.
    """

    __slots__ = (
        "_connection",
        "_expects_100",
        "body",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
        "response_started",
    )

    def __init__(
        self, connection: EndpointProtocol, method: str, path: str, project: str | None, shared: Pairs, own: Pairs
    ) -> None:
        super().__init__(method, path, project, shared, own, connection.client[0] if connection.client else "unknown")
        self._connection = connection
        self._expects_100 = self.head.expects_100
        self.body = bytearray()
        self.more_body = True
        self.message_event = asyncio.Event()
        self.disconnected = False
        self.keep_alive = connection.parser.get_http_version() != "1.0" and connection.parser.should_keep_alive()
        self.response_started = False
        self.response_complete = False

    def take_whole(self) -> bytes:
        """See ``Request``."""
        if self.more_body or self._expects_100:
            return b""
        found, self.body = bytes(self.body), bytearray()
        return found

    async def read(self, enough: int) -> bytes | None:
        """See ``Request``."""
        if self._expects_100 and not self.response_started:
            self._expects_100 = False
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while self.more_body and not self.disconnected and len(self.body) <= enough:
            await self._something()
        if self.more_body and self.disconnected:
            return None
        found, self.body = bytes(self.body), bytearray()
        return found

    async def gone(self) -> None:
        """See ``Request``."""
        while not self.disconnected and not self.response_complete:
            await self._something()

    async def _something(self) -> None:
        self._connection.flow.resume_reading()
        await self.message_event.wait()
        self.message_event.clear()

    async def respond(self, status: int, head: bytes, body: bytes) -> None:
        """See ``Request``."""
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        self.response_started = True
        head = b"%b%bcontent-length: %d\r\n%b%b" % (
            STATUS_LINE[status],
            self._connection.common_head(),
            len(body),
            head if self.keep_alive else head + CLOSING,
            END,
        )
        if self.method == "HEAD":
            body = b""
        if len(body) <= AT_ONCE:
            self._connection.joined.write_now(head + body)
        else:
            self._connection.joined.write_now(head, body)
        self._complete()

    async def begin_stream(self) -> None:
        """See ``Request``."""
        self.response_started = True
        closing = b"" if self.keep_alive else CLOSING
        await self._write(STATUS_LINE[200] + self._connection.common_head() + self.stream_head + closing + CHUNKED + END)

    async def push(self, data: bytes) -> None:
        """See ``Request``."""
        if data:
            await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_stream(self, data: bytes) -> None:
        """See ``Request``."""
        await self.push(data)
        await self._write(b"0\r\n\r\n")
        if not self.disconnected:
            self._complete()

    async def _write(self, data: bytes) -> None:
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if not self.disconnected:
            self._connection.transport.write(data)

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.on_response_complete()


class EndpointProtocol(slow_clients.PatientProtocol):
    """One connection, whose requests for the endpoint go there directly.

    Attributes:
        answer: the endpoint.
    """

    answer: Answer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._said: tuple[Any, bytes] = (None, b"")
        self._own: list[tuple[bytes, bytes]] = []
        self._has_ended = False
        self._worker: asyncio.Task[None] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._next: DirectRequest | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, and lets go of its last request, which holds it."""
        super().connection_lost(exc)
        self.cycle = cast("Any", None)
        self._has_ended, self._next = True, None
        self._wake()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """A request that had to wait is next."""
        if isinstance(cycle, DirectRequest):
            self._begin(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _begin(self, request: DirectRequest) -> None:
        """Have ``request`` answered, by the task that has answered the one before.

        A task of its own for each would cost what the policy's decision and its audit do together. A task that stays
        cancelled answers nothing more, so a cancellation never reaches a request after the one that it was meant for.
        """
        self.under_way = cast("Any", request)
        self._next = request
        if self._worker is None:
            self._worker = self.loop.create_task(self._work())
        self.tasks.add(self._worker)  # while it has something to do: whoever stops the server waits for these
        self._wake()

    def _wake(self) -> None:
        """Let the worker see what has become of the connection, if it has nothing to do."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _take(self) -> DirectRequest | None:
        found, self._next = self._next, None
        return found

    async def _work(self) -> None:
        """Answer one request after the other, until the connection ends or this task is cancelled.

        What is next by then, a new task answers.
        """
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            while not self._has_ended and not task.cancelling():
                request = self._take()
                if request is None:
                    self.tasks.discard(task)
                    self._waiting = self.loop.create_future()
                    await self._waiting
                    self._waiting = None
                    continue
                try:
                    await type(self).answer(request)
                finally:
                    if not request.response_complete and not request.disconnected:
                        self.transport.close()
                if self._next is not None:
                    await asyncio.sleep(0)  # whoever sends many at once gets one turn of the loop for each, like everybody
        finally:
            self.tasks.discard(task)
            self._worker = self._waiting = None
            if self._next is not None and not self._has_ended:
                self._begin(self._next)

    def common_head(self) -> bytes:
        """The lines that uvicorn puts into every answer: the date, which it makes anew once a second."""
        headers = self.server_state.default_headers
        if self._said[0] is not headers:
            self._said = (headers, b"".join([b"%b: %b\r\n" % pair for pair in headers]))
        return self._said[1]

    def on_message_begin(self) -> None:
        """A request begins. Its ASGI scope is made once it is known to need one."""
        self.note_beginning()
        self.url = b""
        self.headers = []
        self._own = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; it is looked at when all have come."""
        if name in SHARED:
            self.headers.append((name, value))
        else:
            self._own.append((name, value))

    def on_headers_complete(self) -> None:
        """The head has come: whom is it for?"""
        where = _endpoint_in(self.url)
        if where is None or self.parser.should_upgrade():
            url, headers = self.url, [(name.lower(), value) for name, value in self.headers + self._own]
            super().on_message_begin()
            self.url = url
            self.headers += headers
            self._own = []
            self.expect_100_continue = any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
            super().on_headers_complete()
            return
        self.note_head()
        before = self.cycle
        request = DirectRequest(self, self.parser.get_method().decode(), *where, self.headers, self._own)
        self.headers, self._own = [], []
        self.cycle = cast("Any", request)
        if before is None or before.response_complete:
            self._begin(request)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, cast("Any", type(self).answer)))


@lru_cache(maxsize=256)
def _endpoint_in(url: bytes) -> tuple[str, str | None] | None:
    """The path and the project of a URL that is an endpoint's, written as everybody writes it."""
    match = _ENDPOINT.fullmatch(url)
    return (match[1].decode(), match[2].decode() if match[2] is not None else None) if match else None


def protocol(answer: Answer, patience: float) -> type[asyncio.Protocol]:
    """The protocol for uvicorn's ``http``: ``answer`` is the endpoint, ``patience`` the seconds that a client may dawdle."""
    return cast("type[asyncio.Protocol]", type("OwnProtocol", (EndpointProtocol,), {"answer": answer, "patience": patience}))
