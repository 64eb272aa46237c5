"""uvicorn's HTTP/1.1 with four differences: one write for one answer, one timer for one connection, what is no request is a
problem like any other, and requests that are sent before earlier ones are answered have an end.

uvicorn hands head and body of an answer to the transport one after the other, and each is a system call; and it sets a timer
after each answer, which the next request takes away again. It knows the request that came last, which need not be the one
that is being answered: whoever sent one more and left would never be missed, and could send more without end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sized
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mcpctl.errors import MalformedRequest, Problem


class Joining:
    """A transport that holds back one piece until the next one comes, but not past this turn of the loop.

    No more than one piece is ever held, so what the transport says of being full is heard at the next.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Hold ``data``, or send it together with what is held."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data) if data else (held,))
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def write_now(self, *pieces: bytes) -> None:
        """Send a whole answer, after what is held."""
        if self._held:
            self._flush()
        if len(pieces) == 1:
            self._transport.write(pieces[0])
        else:
            self._transport.writelines(pieces)

    def is_closing(self) -> bool:
        """Whether the transport is closing. It is asked for each answer, so it does not come by ``__getattr__``."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Flow(FlowControl):
    """Reads no further while requests wait that have been read."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, if nothing waits."""
        if self.read_paused and not self._waiting:
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        under_way: the request that is being answered, or was last.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.under_way: RequestResponseCycle | None = None
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection."""
        self.joined = Joining(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self.joined))
        self.flow = Flow(self.transport, self.pipeline)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, for each request that came over it."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self.under_way is not None and not self.under_way.response_complete:
            self.under_way.disconnected = True
            self.under_way.message_event.set()
        self.under_way = None
        self.pipeline.clear()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        self.note_beginning()
        super().on_message_begin()

    def note_beginning(self) -> None:
        """A request begins, whoever sees to it; the connection is idle no more."""
        self._idle_since = None

    def on_headers_complete(self) -> None:
        """The head of a request is whole; what comes behind its body is not of it."""
        super().on_headers_complete()
        self.headers = []

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.under_way = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on to the next request, or begin to be idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        following = self.pipeline.pop() if self.pipeline else None
        self.flow.resume_reading()
        if following is not None:
            self._start_asgi_task(*following)
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look_at_idling)

    def _look_at_idling(self) -> None:
        """Hang up if nothing has come for as long as that; else look again when it may be so."""
        self._idle_timer = None
        if self._idle_since is None:
            return  # a request is under way, and its answer sets the timer anew
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.timeout_keep_alive_handler()
        else:
            self._idle_timer = self.loop.call_later(left, self._look_at_idling)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - in words of our own
        """Answer bytes that are no HTTP request, which no application ever sees, and hang up."""
        self.refuse(MalformedRequest("this is no HTTP/1.1 request: its line, a header or its framing cannot be read"))

    def refuse(self, problem: Problem) -> None:
        """Hang up; with a word about why, unless it would be taken for the answer to an earlier request or a part of it."""
        busy = self.under_way
        if busy is not None and not busy.response_complete and not busy.response_started and not busy.more_body:
            busy.keep_alive = False  # its answer still goes out, and is the last
            self.pipeline.clear()
            self.flow.pause_reading()
            return
        if busy is None or busy.response_complete or not busy.response_started:
            body = json.dumps(problem.as_json()).encode()
            head = (
                f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\nContent-Type: application/problem+json\r\n"
                f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()
