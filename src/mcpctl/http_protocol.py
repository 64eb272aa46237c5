"""uvicorn's HTTP/1.1 with two differences: one write for one answer, and what is no request is a problem like any other.

uvicorn hands head and body of an answer to the transport one after the other, and each is a system call.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcpctl.errors import MalformedRequest


class _Joining:
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


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection."""
        super().connection_made(cast("asyncio.Transport", _Joining(transport, self.loop)))

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - in words of our own
        """Answer bytes that are no HTTP request, which no application ever sees, and hang up."""
        problem = MalformedRequest("this is no HTTP/1.1 request: its line, a header or its framing cannot be read")
        body = json.dumps(problem.as_json()).encode()
        head = (
            f"HTTP/1.1 {problem.status} Bad Request\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
