"""A minimal MCP server of both eras, in a process of its own. Prints its address, serves until its input ends.

A raw application on uvicorn with prepared results: what is behind a gateway must cost less than the gateway, or it is what is
measured. Less still would be a protocol by hand, but then every ratio would be against something nobody runs: uvicorn is
what serves MCP in Python. ``wait`` reports progress and does not end, ``echo`` answers little, ``read_file`` 100 kB.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any, Final

import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

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

LONGEST_WAIT: Final = 300.0

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

HEADS: Final = [(b"content-type", b"application/json")]
STREAM: Final = [(b"content-type", b"text/event-stream")]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        return None
    if scope["method"] != "POST":
        return await _send(send, 405, b"")
    body = b""
    while True:
        piece = await receive()
        body += piece["body"]
        if not piece["more_body"]:
            break
    message = json.loads(body)
    if "id" not in message:
        return await _send(send, 202, b"")
    params = message.get("params", {})
    meta = params.get("_meta", {})
    modern = VERSION_KEY in meta
    match message["method"]:
        case "tools/call" if params["name"] == WAITING:
            return await _tell(send, meta.get("progressToken"))
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
    return await _send(send, 200, b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (json.dumps(message["id"]).encode(), result))


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [*HEADS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _tell(send: Send, token: Any) -> None:
    """Report progress until the client has gone: uvicorn drops what is sent to nobody, so not for ever either."""
    await send({"type": "http.response.start", "status": 200, "headers": STREAM})
    for progress in range(1, round(LONGEST_WAIT / PROGRESS_EVERY)):
        params = {"progressToken": token, "progress": progress}
        event = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).encode()
        await send({"type": "http.response.body", "body": b"data: %b\n\n" % event, "more_body": True})
        await asyncio.sleep(PROGRESS_EVERY)


async def serve(app: ASGIApp = app) -> None:
    """Serve ``app`` until standard input ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        config = uvicorn.Config(
            app,
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=600,
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        print("{}:{}".format(*listening.getsockname()), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = server.force_exit = True  # whoever still waits for progress does so no more
        await running


if __name__ == "__main__":
    uvloop.run(serve())
