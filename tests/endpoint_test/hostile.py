"""Servers that mean harm, on a bare socket: each is a way to answer, chosen by the path."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.endpoint_test.hostile_schemas import LAUGHS, OUTPUTS, SCHEMAS

JSON = b"content-type: application/json\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_NUMBERS = itertools.count()
META = "io.modelcontextprotocol/"

Answers = Callable[[dict[str, Any], str], AsyncIterator[bytes]]


def whole(body: bytes, more: bytes = b"", length: int | None = None, status: bytes = b"200 OK") -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\n%s%scontent-length: %d\r\n\r\n%s" % (status, JSON, more, size, body)


def result(message: dict[str, Any], **members: Any) -> bytes:
    complete = {"resultType": "complete", "ttlMs": 1, "cacheScope": "public", **members}
    return json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": complete}).encode()


def discovered(message: dict[str, Any]) -> bytes:
    return result(message, supportedVersions=["2026-07-28"], capabilities={"tools": {}})


def listing(
    tools: Callable[[int, str], Any],
    structured: Any = None,
    called: Callable[[dict[str, Any]], bytes] | None = None,
) -> Answers:
    """Right in all but what its tools are, or what a call of one is answered with."""
    numbers = itertools.count()

    async def answers(message: dict[str, Any], base: str) -> AsyncIterator[bytes]:
        method = message.get("method")
        if method == "server/discover":
            yield whole(discovered(message))
        elif method == "tools/list":
            yield whole(result(message, **tools(next(numbers), base)))
        elif method == "tools/call":
            given = {"a": ["x"] * 50} if structured is None else structured
            yield called(message) if called else whole(result(message, content=[], structuredContent=given))
        else:
            yield whole(b"", status=b"404 Not Found")

    return answers


def same(*parts: bytes) -> Answers:
    async def answers(_: dict[str, Any], __: str) -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return answers


def endless(first: bytes, part: bytes, pause: float = 0.0) -> Answers:
    async def answers(_: dict[str, Any], __: str) -> AsyncIterator[bytes]:
        yield first
        while True:
            yield part
            await asyncio.sleep(pause)

    return answers


def redirecting(place: Callable[[str], str]) -> Answers:
    async def answers(_: dict[str, Any], base: str) -> AsyncIterator[bytes]:
        yield whole(b"", f"location: {place(base)}\r\n".encode(), status=b"307 Temporary Redirect")

    return answers


def wrong_content(message: dict[str, Any]) -> bytes:
    return whole(result(message, content=[{"type": "x"}] * 9000))


def progressing(message: dict[str, Any]) -> bytes:
    """Progress of four hundred digits, where it was asked for."""
    token = message["params"]["_meta"].get("progressToken")
    params = {"progressToken": token, "progress": 10**400}
    event = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).encode()
    return STREAM + (b"data: %s\n\n" % event if token else b"") + b"data: " + result(message, content=[]) + b"\n\n"


async def limiting(message: dict[str, Any], _: str) -> AsyncIterator[bytes]:
    """A session whose end is always put off."""
    if message.get("method") == "initialize":
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "a", "version": "1"}}
        yield whole(result(message, **about), b"mcp-session-id: s%d\r\n" % next(_NUMBERS))
    elif message.get("method") == "notifications/initialized":
        yield whole(b"", status=b"202 Accepted")
    else:
        yield whole(b"", b"retry-after: 9\r\n", status=b"429 Too Many")


def _output(schema: Any, structured: Any) -> Answers:
    return listing(lambda *_: {"tools": [tool(outputSchema=schema)]}, structured)


def _schema(schema: Any) -> Answers:
    return listing(lambda *_: {"tools": [tool(outputSchema=schema)]}, {"a": [3]})


def tool(**members: Any) -> dict[str, Any]:
    return {"name": "a", "inputSchema": {"type": "object"}, **members}


MANY = {f"p{n}": {"type": "x"} for n in range(20_000)}
SLOW_PATTERN = {"type": "object", "properties": {"a": {"items": {"pattern": "^(a+)+$"}}}}
CHUNKED = b"HTTP/1.1 200 OK\r\n" + JSON + b"transfer-encoding: chunked\r\n\r\n"

WAYS: dict[str, Answers] = {
    "nothing": endless(b"", b"", 0.05),
    "closes": same(),
    "no-http": same(b"\x00\xff" * 500),
    "slow-head": endless(b"HTTP/1.1 200 OK\r\nx-slow: ", b"a", 0.02),
    "endless-head": endless(b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n" * 500),
    "endless-line": endless(b"HTTP/1.1 200 OK\r\nx-a: ", b"b" * 8192),
    "endless-early-answers": endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50),
    "endless-body": endless(CHUNKED, b"2000\r\n" + b" " * 8192 + b"\r\n"),
    "slow-body": endless(b"HTTP/1.1 200 OK\r\n" + JSON + b"content-length: 99999\r\n\r\n", b" ", 0.02),
    "endless-events": endless(STREAM, b'data: {"jsonrpc":"2.0","method":"notifications/x"}\n\n' * 50),
    "endless-event": endless(STREAM + b"data: ", b"a" * 8192),
    "endless-comments": endless(STREAM, b": hello\n\n", 0.02),
    "gigantic": same(whole(b"[" + b"1," * 3_000_000 + b"1]")),
    "many-values": same(whole(b"[" + b"[]," * 1_300_000 + b"[]]")),
    "deep": same(whole(b"[" * 100_000 + b"]" * 100_000)),
    "deep-objects": same(whole(b'{"a":' * 900 + b"1" + b"}" * 900)),
    "huge-number": same(whole(b'{"result":' + b"9" * 100_000 + b"}")),
    "many-names": same(whole(b"{" + b",".join(b'"n%d":1' % n for n in range(200_000)) + b',"n199999":2}')),
    "not-utf-8": same(whole(b'{"jsonrpc":"2.0","id":1,"result":{"x":"\xff\xfe\xed\xa0\x80"}}')),
    "longer-than-it-is": same(whole(b'{"jsonrpc":"2.0"', length=5000)),
    "shorter-than-it-is": same(whole(b'{"jsonrpc":"2.0","id":1,"result":{}}', length=5)),
    "two-lengths": same(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\n1234567"),
    "negative-length": same(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n"),
    "bad-chunk": same(CHUNKED + b"zz\r\nabc\r\n"),
    "bomb": same(whole(gzip.compress(b" " * 50_000_000), b"content-encoding: gzip\r\n")),
    "circle": redirecting(lambda base: f"{base}/circle/mcp"),
    "circle-of-many": redirecting(lambda base: f"{base}/circle-of-many/mcp?{next(_NUMBERS)}"),
    "abroad": redirecting(lambda base: base.replace("127.0.0.1", "localhost") + "/abroad/mcp"),
    "to-a-user": redirecting(lambda base: base.replace("://", "://me:secret@") + "/to-a-user/x"),
    "no-address": redirecting(lambda _: "http://[::1"),
    "escape-sequences": same(whole(b"", b"server: \x1b]0;owned\x07\r\n", status=b"401 \x1b[2J")),
    "to-metadata-service": same(
        whole(b"", b'www-authenticate: Bearer resource_metadata="http://169.254.169.254/latest"\r\n', status=b"401 No")
    ),
    "to-a-private-address": same(
        whole(b"", b'www-authenticate: Bearer resource_metadata="https://169.254.169.254/latest"\r\n', status=b"401 No")
    ),
    "to-a-file": same(whole(b"", b'www-authenticate: Bearer resource_metadata="file:///etc/passwd"\r\n', status=b"401 No")),
    "endless-pages": listing(lambda number, _: {"tools": [tool()], "nextCursor": f"c{number}"}),
    "ten-thousand-tools": listing(lambda *_: {"tools": [{"name": 1, "inputSchema": 7}] * 10_000}),
    "ref-to-the-network": listing(lambda _, base: {"tools": [tool(outputSchema={"$ref": f"{base}/fetched"})]}),
    "ref-to-itself": listing(lambda *_: {"tools": [tool(outputSchema={"type": "object", "$ref": "#"})]}),
    "billion-laughs": listing(
        lambda *_: {"tools": [tool(outputSchema={"type": "object", "$ref": "#/$defs/l0", "$defs": {**LAUGHS, "l40": {}}})]}
    ),
    "slow-pattern": listing(lambda *_: {"tools": [tool(outputSchema=SLOW_PATTERN)]}),
    "huge-schema": listing(
        lambda *_: {
            "tools": [tool(inputSchema={"type": "object", "properties": {f"p{n}": {"type": "x"} for n in range(20_000)}})]
        }
    ),
}

WAYS |= {name: _output(*pair) for name, pair in OUTPUTS.items()}
WAYS |= {name: _schema(schema) for name, schema in SCHEMAS.items()}
WAYS |= {
    "long-wrong-content": listing(lambda *_: {"tools": [tool()]}, called=wrong_content),
    "half-a-cursor": listing(lambda *_: {"tools": [tool()], "nextCursor": "\ud800"}),
    "progress-of-much": listing(lambda *_: {"tools": [tool()]}, called=progressing),
    "fat-pages": listing(lambda n, _: {"tools": [tool(description="x" * 4_000_000, title=str(n))], "nextCursor": f"c{n}"}),
    "fat-and-many": listing(lambda n, _: {"tools": [tool(inputSchema=MANY)] * 2, "nextCursor": f"c{n}"}),
    "limits-the-end": limiting,
}


@contextmanager
def hostile_server() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The address, and what was asked: the Host and the path of each request."""
    heard: list[tuple[str, str]] = []
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    port = 0

    async def serve() -> None:
        nonlocal port
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await stopped.wait()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head.splitlines()[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            heard.append((headers.get("host", ""), head.split(" ", 2)[1]))
            try:
                message = json.loads(body or b"{}")
            except (ValueError, RecursionError):
                message = {}
            way = head.split("/", 2)[1]
            answers = WAYS.get(way, same(whole(b"", status=b"404 Not Found")))
            async for part in answers(message if isinstance(message, dict) else {}, f"http://127.0.0.1:{port}"):
                writer.write(part)
                await writer.drain()
                if writer.is_closing():
                    break
                await asyncio.sleep(0)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    stopped = asyncio.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{port}", heard
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(timeout=10)
