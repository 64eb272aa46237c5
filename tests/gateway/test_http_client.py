"""The client of upstreams, attacked: answers cut anywhere, answers nobody asked for, connections that end at the worst time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcplocal.upstream.answers import UpstreamFailed
from mcplocal.upstream.http_client import HttpClient, Target
from mcplocal.upstream.http_exchange import LONGEST_HEAD, READ_AHEAD, Connection, Response
from mcplocal.upstream.network_guard import NetworkGuard

LOOPBACK = NetworkGuard([ip_network("127.0.0.0/8")])
REQUEST = b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5;x=y\r\nworld\r\n0\r\nContent-Encoding: x\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + SIZED
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nhello world"
WHOLE = {"sized": SIZED, "chunked": CHUNKED, "after interim ones": INTERIM}


class Wire(asyncio.Transport):
    """A transport that keeps what is written and how it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.ended = False
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.ended = True

    close = abort

    def is_closing(self) -> bool:
        return self.ended

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Line:
    """One connection over such a transport, with a request sent."""

    def __init__(self) -> None:
        self.kept = 0
        self.wire = Wire()
        self.connection = Connection(self._keep, lambda _: None)
        self.connection.connection_made(self.wire)
        self.response: Response = self.connection.send(REQUEST)

    def _keep(self, _: Connection) -> None:
        self.kept += 1

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.wire.ended:
                self.connection.data_received(piece)

    async def outcome(self, limit: int = 1 << 20) -> bytes | str:
        """The body, or why there is none; then the response is done with."""
        try:
            await self.response.head()
            return await self.response.body(limit)
        except UpstreamFailed as failure:
            return failure.detail if failure.sent else f"not sent: {failure.detail}"
        finally:
            self.response.close()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(data) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if end > start]


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(min_value=0), max_size=40))
def test_an_answer_reads_the_same_however_it_is_cut(kind: str, places: list[int]) -> None:
    async def check() -> None:
        line = Line()
        line.feed(*cut(WHOLE[kind], places))
        assert await line.outcome() == b"hello world"
        assert (line.kept, line.wire.ended) == (1, False)
        assert "content-encoding" not in line.response.headers

    asyncio.run(check())


@given(st.lists(st.integers(min_value=0), max_size=10), st.booleans())
def test_an_answer_without_a_length_ends_with_its_connection_and_that_is_not_used_again(places: list[int], broke: bool) -> None:
    async def check() -> None:
        line = Line()
        line.feed(*cut(UNTIL_CLOSE, places))
        assert not line.response.is_complete
        line.wire.ended = True
        line.connection.connection_lost(ConnectionResetError() if broke else None)
        assert await line.outcome() == ("the connection broke before it answered" if broke else b"hello world")
        assert line.kept == 0

    asyncio.run(check())


@given(st.sampled_from(sorted(WHOLE)), st.integers(min_value=0))
def test_half_an_answer_is_none(kind: str, place: int) -> None:
    async def check() -> None:
        line = Line()
        whole = WHOLE[kind]
        line.feed(whole[: place % len(whole)])
        line.wire.ended = True
        line.connection.connection_lost(None)
        assert await line.outcome() == "the connection broke before it answered"
        assert line.kept == 0

    asyncio.run(check())


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=5))
def test_no_bytes_make_it_raise_anything_but_a_failure(noise: bytes, places: list[int]) -> None:
    async def check() -> None:
        for data in (noise, SIZED + noise, CHUNKED[:60] + noise):
            line = Line()
            line.feed(*(cut(data, places) if data else []))
            line.connection.connection_lost(None)
            assert isinstance(await line.outcome(), bytes | str)

    asyncio.run(check())


@pytest.mark.requirement("R3")
@given(st.lists(st.integers(min_value=0), max_size=10))
def test_a_second_answer_is_never_taken_for_the_answer_to_the_next_request(places: list[int]) -> None:
    async def check() -> None:
        forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
        line = Line()
        line.feed(*cut(SIZED + forged, places))
        assert await line.outcome() == b"hello world"
        assert (line.kept, line.wire.ended) == (0, True)

    asyncio.run(check())


def test_bytes_that_come_while_nothing_is_asked_end_the_connection() -> None:
    async def check() -> None:
        line = Line()
        line.feed(SIZED)
        assert await line.outcome() == b"hello world"
        assert (line.kept, line.wire.ended) == (1, False)
        line.feed(b"H")
        assert (line.kept, line.wire.ended) == (1, True)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "its answer is not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "its answer is not HTTP"),
        (b"SSH-2.0-x\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * LONGEST_HEAD, "the head of its answer has no end"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (LONGEST_HEAD // 20), "the head of its answer has no end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + b"a" * 2000, "its answer is larger than 1000 bytes"),
    ],
)
def test_an_answer_that_is_none_ends_the_connection(answer: bytes, why: str) -> None:
    async def check() -> None:
        line = Line()
        line.feed(*cut(answer, list(range(0, len(answer), 1400))))
        assert await line.outcome(1000) == why
        assert (line.kept, line.wire.ended) == (0, True)

    asyncio.run(check())


def test_a_stream_nobody_reads_makes_the_server_wait_and_goes_on_when_somebody_does() -> None:
    async def check() -> None:
        line = Line()
        line.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"a" * 65536
        for _ in range(READ_AHEAD // 65536 + 1):
            line.feed(b"10000\r\n" + piece + b"\r\n")
        assert (line.wire.paused, line.wire.ended) == (True, False)
        await line.response.head()
        assert len(await anext(line.response.chunks())) > READ_AHEAD
        assert (line.wire.paused, line.wire.ended) == (False, False)
        line.response.close()
        assert (line.kept, line.wire.ended) == (0, True)

    asyncio.run(check())


def test_a_large_answer_of_which_much_came_before_anybody_looked_is_read_to_its_end() -> None:
    async def check() -> None:
        line = Line()
        half = b"a" * (READ_AHEAD + 1)
        line.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(half)), half)
        waits = [line.wire.paused]
        outcome = asyncio.create_task(line.outcome(1 << 30))
        await asyncio.sleep(0)
        waits.append(line.wire.paused)
        assert [True, False] == waits
        line.feed(half)
        assert 2 * half == await outcome

    asyncio.run(check())


@pytest.mark.parametrize("version", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"])
def test_a_connection_the_server_does_not_mean_to_keep_is_not_kept(version: bytes) -> None:
    async def check() -> None:
        line = Line()
        line.feed(version + b"Content-Length: 2\r\n\r\n{}")
        assert await line.outcome() == b"{}"
        assert (line.kept, line.wire.ended) == (0, True)

    asyncio.run(check())


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()


async def _asked(client: HttpClient, port: int) -> bytes:
    response = await client.send(Target.of(f"http://127.0.0.1:{port}/mcp"), REQUEST, None)
    try:
        return await response.body(1 << 20)
    finally:
        response.close()


@pytest.mark.anyio
async def test_a_connection_is_used_again_and_one_the_server_ended_is_not() -> None:
    connections, requests = 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, requests
        connections += 1
        for _ in range(2):
            await reader.readexactly(len(REQUEST))
            requests += 1
            writer.write(SIZED)
        writer.close()

    async with server(serve) as port:
        client = HttpClient(LOOPBACK, 5)
        for _ in range(6):
            assert await _asked(client, port) == b"hello world"
            await asyncio.sleep(0.02)
        assert (connections, requests) == (3, 6)
        await client.close()


@pytest.mark.requirement("R10")
@pytest.mark.anyio
async def test_a_request_whose_bytes_were_sent_is_never_sent_again() -> None:
    received = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readexactly(len(REQUEST))
        received += 1
        if received == 1:
            writer.write(SIZED)
            await reader.readexactly(len(REQUEST))
            received += 1
        writer.close()

    async with server(serve) as port:
        client = HttpClient(LOOPBACK, 5)
        assert await _asked(client, port) == b"hello world"
        with pytest.raises(UpstreamFailed, match="the connection broke") as failure:
            await _asked(client, port)
        assert (received, failure.value.sent) == (2, True)
        await client.close()


@pytest.mark.anyio
async def test_who_stops_waiting_cuts_the_connection_so_the_server_hears_of_it() -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(REQUEST))
        with suppress(ConnectionResetError):
            assert await reader.read(1) == b""
        gone.set()
        writer.close()

    async with server(serve) as port:
        client = HttpClient(LOOPBACK, 5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await _asked(client, port)
        async with asyncio.timeout(5):
            await gone.wait()
        await client.close()


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "017700000001"])
async def test_an_address_outside_the_allowed_networks_is_not_connected_to_however_it_is_written(host: str) -> None:
    connections = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    async with server(serve) as port:
        client = HttpClient(NetworkGuard(), 5)
        with pytest.raises(UpstreamFailed, match="may not connect there") as failure:
            await client.send(Target.of(f"http://{host}:{port}/mcp"), REQUEST, None)
        assert (failure.value.lasting, failure.value.sent, connections) == (True, False, 0)


@pytest.mark.anyio
async def test_plain_text_where_tls_is_due_and_nobody_where_somebody_is_due_are_failures_before_anything_was_sent() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(SIZED)
        writer.close()

    client = HttpClient(LOOPBACK, 5)
    async with server(serve) as port:
        with pytest.raises(UpstreamFailed, match="TLS") as failure:
            await client.send(Target.of(f"https://127.0.0.1:{port}/mcp"), REQUEST, None)
        assert not failure.value.sent
    with pytest.raises(UpstreamFailed, match="nothing accepts connections") as failure:
        await client.send(Target.of(f"http://127.0.0.1:{port}/mcp"), REQUEST, None)
    assert not failure.value.sent


@pytest.mark.parametrize("url", ["", "x", "ftp://x/", "http://", "http://[::1", "http://x:99999/"])
def test_what_is_no_url_is_a_lasting_failure(url: str) -> None:
    with pytest.raises(UpstreamFailed, match="its URL is not valid") as failure:
        Target.of(url)
    assert failure.value.lasting


def test_a_target_says_of_itself_what_a_browser_would() -> None:
    assert Target.of("http://Example.com") == Target("example.com", 80, False, "example.com", "/")
    assert Target.of("https://[::1]:8443/a b?x=%20y#z") == Target("::1", 8443, True, "[::1]:8443", "/a%20b?x=%20y")
