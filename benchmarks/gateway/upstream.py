"""A hand-made MCP server, in a process of its own: as little as answers both eras. Prints its address, serves until its input ends.

What is behind a gateway must cost less than the gateway, or it is what is measured. So: prepared results, one write an
answer, no framework. ``wait`` reports progress and never ends, ``echo`` answers little, ``read_file`` a hundred kilobytes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final, cast

import uvloop

from benchmarks.gateway.wire import (
    LARGE,
    LARGE_BYTES,
    LARGE_MARK,
    LEGACY,
    MODERN,
    SMALL,
    SMALL_MARK,
    TOOLS,
    VERSION_KEY,
    WAITING,
)

Json = dict[str, Any]

PROGRESS_EVERY: Final = 0.1
"""Seconds between two reports of ``wait``."""

SERVER: Final = {"name": "by-hand", "version": "1"}
MODERN_MEMBERS: Final = {"resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": SERVER}}
CACHED: Final = {"ttlMs": 300_000, "cacheScope": "public"}


def _tool(name: str, number: int) -> Json:
    """A tool with a schema of the usual size."""
    properties = {
        name: {"type": kind, "description": f"The {name} to use; see the manual for what else there is to know of it."}
        for name, kind in (("city", "string"), ("days", "integer"), ("units", "string"), ("country", "string"))
    }
    return {
        "name": name,
        "title": f"Tool number {number}",
        "description": "Gives what is known of a place for a number of days, in the units asked for. " * 3,
        "inputSchema": {"type": "object", "properties": properties, "required": ["city"]},
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }


def _results(result: Json, cached: Json | None = None) -> dict[bool, bytes]:
    """A result as bytes, by whether the request was of the modern era."""
    return {True: json.dumps({**result, **MODERN_MEMBERS, **(cached or {})}).encode(), False: json.dumps(result).encode()}


def _text(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}], "isError": False}


_line = "a line of a file as it might be read, with nothing in it that is worth the reading\n"
_NAMES = [SMALL, LARGE, WAITING, *(f"tool_{number:03}" for number in range(3, TOOLS))]
LISTED: Final = _results({"tools": [_tool(name, number) for number, name in enumerate(_NAMES)]}, CACHED)
CALLED: Final = {
    SMALL: _results(_text(f"Firenze: {SMALL_MARK}")),
    LARGE: _results(_text(_line * (LARGE_BYTES // len(_line)) + LARGE_MARK)),
}
DISCOVERED: Final = _results({"supportedVersions": [MODERN], "capabilities": {"tools": {}}}, CACHED)
INITIALIZED: Final = _results({"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": SERVER})
PONG: Final = _results({})

HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
NO_METHOD: Final = b"HTTP/1.1 405 Method Not Allowed\r\nallow: POST\r\ncontent-length: 0\r\n\r\n"
STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        """Wait for the first request."""
        self.buffer = b""
        self.telling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waited does so no more."""
        if self.telling is not None:
            self.telling.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self.buffer += data
        while True:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            size = int(length) if length else 0
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            self._answer(json.loads(rest[:size])) if head.startswith(b"POST") else self.transport.write(NO_METHOD)

    def _answer(self, message: Json) -> None:
        if "id" not in message:
            return self.transport.write(ACCEPTED)
        params = message.get("params", {})
        meta = params.get("_meta", {})
        modern = VERSION_KEY in meta
        match message["method"]:
            case "tools/call" if params["name"] == WAITING:
                self.telling = asyncio.ensure_future(self._tell(meta.get("progressToken")))
                return None
            case "tools/call":
                result = CALLED.get(params["name"], CALLED[SMALL])[modern]
            case "tools/list":
                result = LISTED[modern]
            case "server/discover":
                result = DISCOVERED[True]
            case "initialize":
                result = INITIALIZED[False]
            case _:
                result = PONG[modern]
        body = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (json.dumps(message["id"]).encode(), result)
        return self.transport.write(HEAD % len(body) + body)

    async def _tell(self, token: Any) -> None:
        self.transport.write(STREAM)
        progress = 0
        while True:
            progress += 1
            params = {"progressToken": token, "progress": progress}
            event = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).encode()
            chunk = b"data: %b\n\n" % event
            self.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await asyncio.sleep(PROGRESS_EVERY)


async def serve() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
    print("{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
