"""The short way to the endpoint and the ordinary one, through ASGI: to a client they are one."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from mcpctl.http_protocol import HttpProtocol
from mcpctl.server.listener import Listener
from mcplocal.protocol import http1
from mcplocal.protocol.exchange import Request
from mcplocal.protocol.http1 import EndpointProtocol, _endpoint_in
from tests.gateway.conftest import META, Endpoint, World
from tests.gateway.test_edge import LISTING
from tests.gateway.upstreams import MODERN

SHORT, ORDINARY = "/mcp", "/%6dcp"
GET = b"GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n"


def request(token: str, path: str, body: str = LISTING, method: str = "POST", version: str = "1.1", **more: str) -> bytes:
    headers = {"Host": "localhost", "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list", "Authorization": f"Bearer {token}"} | more
    headers |= {"Content-Length": str(len(body))} if body and "Transfer-Encoding" not in headers else {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    return f"{method} {path} HTTP/{version}\r\n{lines}\r\n{body}".encode()


def slow(token: str, path: str) -> bytes:
    params = {"name": "echo", "arguments": {}, "_meta": {**META, "progressToken": "p"}}
    call = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
    return request(token, path, call, Connection="close", **{"Mcp-Method": "tools/call", "Mcp-Name": "echo"})


CASES: dict[str, Callable[[str, str], bytes]] = {
    "a list": lambda token, path: request(token, path, Connection="close"),
    "a list, asked for with a query": lambda token, path: request(token, path + "?a=b", Connection="close"),
    "three at once": lambda token, path: request(token, path) * 2 + request(token, path, Connection="close"),
    "a client of HTTP/1.0": lambda token, path: request(token, path, version="1.0"),
    "a body in chunks": lambda token, path: request(
        token, path, f"{len(LISTING):x}\r\n{LISTING}\r\n0\r\n\r\n", Connection="close", **{"Transfer-Encoding": "chunked"}
    ),
    "a body that waits to be asked for": lambda token, path: request(token, path, Expect="100-continue", Connection="close"),
    "an upgrade nobody offers": lambda token, path: request(token, path, Connection="upgrade, close", Upgrade="h2c"),
    "only the head": lambda token, path: request(token, path, "", "HEAD", Connection="close"),
    "a method of no use": lambda token, path: request(token, path, "", "PUT", Connection="close"),
    "no bearer": lambda token, path: request(token, path, Connection="close", Authorization=""),
    "no JSON": lambda token, path: request(token, path, "{", Connection="close"),
    "another host": lambda token, path: request(token, path, Connection="close", Host="elsewhere.example"),
    "a stream": slow,
    "a notification": lambda token, path: request(
        token, path, json.dumps({"jsonrpc": "2.0", "method": "notifications/x", "params": {"_meta": META}}), Connection="close"
    ),
}


def answered(address: tuple[str, int], sent: bytes) -> bytes:
    """All that comes back, without what differs from request to request."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(sent)
        found = b""
        with suppress(ConnectionError):
            while data := connection.recv(1 << 16):
                found += data
    return re.sub(rb"(?i)(date|x-request-id): [^\r]*", rb"\1", found)


@pytest.fixture
def endpoint(world: World) -> Endpoint:
    upstream = world.upstream(as_stream=2)
    return world.gateway().as_(world.project("plain", up=upstream).token()["token"])


@pytest.mark.parametrize("case", CASES)
def test_both_ways_answer_the_same_bytes(endpoint: Endpoint, case: str) -> None:
    host, _, port = endpoint.url.split("/")[2].partition(":")
    token = endpoint.bearer or ""
    ways = [answered((host, int(port)), CASES[case](token, path)) for path in (ORDINARY, SHORT)]
    assert ways[0] == ways[1]
    assert ways[0].startswith(b"HTTP/1.1 ")
    assert ways[0].count(b"notifications/progress") == (2 if case == "a stream" else 0)


URLS = {
    b"/mcp": ("/mcp", None),
    b"/mcp?x=/projects/a/mcp": ("/mcp", None),
    b"/projects/a.b/mcp": ("/projects/a.b/mcp", "a.b"),
    b"/mcp/": None,
    b"//mcp": None,
    b"/MCP": None,
    b"/mcp#x": None,
    b"/projects/a/b/mcp": None,
    b"/projects//mcp": None,
    b"/projects/%61/mcp": None,
    b"/projects/a/mcp\n": None,
    b"/mcp\n": None,
    b"http://localhost/mcp": None,
    b"*": None,
}


@pytest.mark.parametrize("url", URLS)
def test_the_short_way_is_for_an_endpoint_as_everybody_writes_it(url: bytes) -> None:
    assert URLS[url] == _endpoint_in(url)


async def _app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
    else:
        while True:
            said = (await receive())["type"]
            await send({"type": f"{said}.complete"})
            if said == "lifespan.shutdown":
                return


@asynccontextmanager
async def served(http: type[asyncio.Protocol], keep_alive: int = 75) -> AsyncIterator[tuple[str, int]]:
    """``_app`` behind ``http``; yields host and port."""
    listener = Listener(_app, "127.0.0.1", 0, http=http)
    listener.config.timeout_keep_alive = keep_alive
    serving = asyncio.create_task(listener.serve_until_stopped())
    await soon(lambda: listener.started)
    try:
        yield listener.socket.getsockname()[:2]
    finally:
        listener.stop()
        await serving


async def soon(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110 - nobody says so
            await asyncio.sleep(0.01)


@pytest.mark.anyio
@pytest.mark.parametrize("stray", [b"", b"\r\n"])
async def test_an_idle_connection_is_kept_while_it_is_used_and_ended_when_it_is_not(stray: bytes) -> None:
    async with served(HttpProtocol, keep_alive=1) as address:
        reader, writer = await asyncio.open_connection(*address)
        began = asyncio.get_running_loop().time()
        for _ in range(4):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.4)
        assert asyncio.get_running_loop().time() - began > 1
        writer.write(stray)
        async with asyncio.timeout(10):
            assert b"" == await reader.read()
        writer.close()


@pytest.mark.anyio
async def test_a_stream_whose_client_has_gone_ends_though_a_request_waits_behind_it() -> None:
    ended: list[str] = []

    async def answer(asked: Request) -> None:
        await asked.begin_stream()
        gone = asyncio.create_task(asked.gone())
        while not gone.done():
            await asked.push(b"x")
            await asyncio.sleep(0.01)
        ended.append(asked.path)

    async with served(http1.protocol(answer, 30)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET * 2)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await soon(lambda: bool(ended))
        assert ["/mcp"] == ended, "and what waited is not begun any more"


@pytest.mark.anyio
async def test_nothing_more_is_answered_while_a_client_does_not_take_what_it_was_answered() -> None:
    begun: list[str] = []

    async def answer(asked: Request) -> None:
        begun.append(asked.path)
        await asked.respond(200, b"", b"x" * (1 << 20))

    async with served(http1.protocol(answer, 1)) as address:
        _, writer = await asyncio.open_connection(*address, limit=1)
        writer.write(GET * 100)
        await asyncio.sleep(0.5)
        assert 0 < len(begun) < 50, "as many as the system's own buffers hold"
        writer.close()


@pytest.mark.anyio
@pytest.mark.parametrize("path", [b"/mcp", b"/else"])
async def test_no_more_is_read_while_requests_wait(path: bytes) -> None:
    waiting: list[int] = []

    class Counting(EndpointProtocol):
        def on_response_complete(self) -> None:
            waiting.append(len(self.pipeline))
            super().on_response_complete()

    async def answer(asked: Request) -> None:
        await asked.respond(200, b"", b"")

    Counting.answer = staticmethod(answer)
    one = GET.replace(b"/mcp", path)
    async with served(Counting) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(one * 40_000)
        for _ in range(3000):
            await reader.readuntil(b"\r\n\r\n")
        assert max(waiting) <= (256 << 10) // len(one), "as many as one reading brings"
        writer.transport.abort()


@pytest.mark.anyio
async def test_what_is_no_request_is_not_taken_for_the_answer_to_the_one_before_it() -> None:
    async def answer(asked: Request) -> None:
        await asked.respond(200, b"", b"done")

    async with served(http1.protocol(answer, 30)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET + b"no request\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in head
        assert b"done" == body
        writer.close()


@pytest.mark.anyio
async def test_a_cancellation_is_for_one_request_and_the_ones_behind_it_are_answered() -> None:
    tasks: list[object] = []

    async def answer(asked: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        if len(tasks) == 2:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10)
        await asked.respond(200, b"", b"%d" % len(tasks))

    async with served(http1.protocol(answer, 30)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET * 4)
        for number in (b"1", b"2", b"3", b"4"):
            await reader.readuntil(b"\r\n\r\n")
            assert number == await reader.readexactly(1)
        first, second, third, fourth = tasks
        assert (first, third) == (second, fourth)
        assert first != third, "what has been cancelled answers nothing more"
        writer.close()


@pytest.mark.anyio
async def test_a_request_that_is_cancelled_takes_its_connection_with_it_and_no_other() -> None:
    begun: list[asyncio.Task[object]] = []

    async def answer(asked: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        begun.append(task)
        await asyncio.sleep(10 if len(begun) == 1 else 0)
        await asked.respond(200, b"", b"")

    async with served(http1.protocol(answer, 30)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET * 2)
        await soon(lambda: bool(begun))
        begun[0].cancel()
        assert b"" == await reader.read()
        assert 1 == len(begun)
        reader, other = await asyncio.open_connection(*address)
        other.write(GET)
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        other.close()


@pytest.mark.anyio
async def test_whoever_sends_many_requests_at_once_gets_one_turn_of_the_loop_for_each() -> None:
    answered: list[str] = []

    async def answer(asked: Request) -> None:
        answered.append(asked.path)
        await asked.respond(403, b"", b"")

    async with served(http1.protocol(answer, 30)) as address:
        _, writer = await asyncio.open_connection(*address)
        writer.write(GET * 2000)
        before, most = 0, 0
        while before < 2000:
            await asyncio.sleep(0)
            before, most = len(answered), max(most, len(answered) - before)
        assert most <= 2
        writer.close()
