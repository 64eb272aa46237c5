"""The gateway benchmark's server, with one tool more: ``huge`` answers 50 MB of text. Serves until its input ends."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import uvloop
from starlette.types import Receive, Scope, Send

from benchmarks.gateway import upstream

HUGE: Final = "huge"
HUGE_BYTES: Final = 50_000_000
_LINE: Final = "2026-11-26T09:00:00Z worker-17 handled request 4711 in 23 ms, nothing out of the ordinary\n"


@cache
def huge() -> bytes:
    """The result, as it goes over the wire."""
    text = _LINE * (HUGE_BYTES // len(_LINE))
    return json.dumps({"content": [{"type": "text", "text": text}], **upstream.MODERN_MEMBERS}).encode()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request: ``huge`` is one of the other tools to whoever does not ask for it."""
    if scope["type"] != "http" or dict(scope["headers"]).get(b"mcp-name") != HUGE.encode():
        await upstream.app(scope, receive, send)
        return
    body = b""
    while True:
        piece: Any = await receive()
        body += piece["body"]
        if not piece["more_body"]:
            break
    answer = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (json.dumps(json.loads(body)["id"]).encode(), huge())
    headers = [*upstream.HEADS, (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    huge()
    upstream.LISTED[True] = upstream.LISTED[True].replace(b'"tool_003"', f'"{HUGE}"'.encode(), 1)
    uvloop.run(upstream.serve(app))
