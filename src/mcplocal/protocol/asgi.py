"""Requests to the endpoint as any ASGI server hands them over."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from mcplocal.protocol.exchange import Request
from mcplocal.protocol.head import SHARED


class AsgiRequest(Request):
    """One as any ASGI server hands it over.

    Attributes:
        query: what stands behind the path.
    """

    __slots__ = ("_receive", "_send", "query")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        project = scope.get("path_params", {}).get("project")
        source = client[0] if client else "unknown"
        shared: list[tuple[bytes, bytes]] = []
        own: list[tuple[bytes, bytes]] = []
        for name, value in scope["headers"]:  # servers hand over pairs of any kind
            (shared if name in SHARED else own).append((name, value))
        super().__init__(scope["method"], scope["path"], project, shared, own, source)
        self.query: bytes = scope.get("query_string", b"")
        self._receive = receive
        self._send = send

    async def read(self, enough: int) -> bytes | None:
        """See ``Request``."""
        parts = bytearray()
        while len(parts) <= enough:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                return None
            parts += event.get("body", b"")
            if not event.get("more_body", False):
                break
        return bytes(parts)

    async def gone(self) -> None:
        """See ``Request``."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, status: int, head: bytes, body: bytes) -> None:
        """See ``Request``."""
        headers = [(b"content-length", str(len(body)).encode()), *_pairs(head)]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def begin_stream(self) -> None:
        """See ``Request``."""
        await self._send({"type": "http.response.start", "status": 200, "headers": _pairs(self.stream_head)})

    async def push(self, data: bytes) -> None:
        """See ``Request``."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end_stream(self, data: bytes) -> None:
        """See ``Request``."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})


def _pairs(head: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")) if name]
