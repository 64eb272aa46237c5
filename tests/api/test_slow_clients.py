"""Clients that dawdle hold nobody's connection for ever, at the control plane as at the gateway."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mcpctl.server.listener import Listener

PATIENCE = 0.3
MUCH = 64 << 20


async def _echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _much(_request: Request) -> Response:
    return PlainTextResponse("x" * MUCH)


async def _busy(_request: Request) -> Response:
    """What is sent meanwhile is read at once."""
    time.sleep(PATIENCE / 3)  # noqa: ASYNC251 - it is to hold everybody up
    return PlainTextResponse("x")


async def _name(request: Request) -> Response:
    return PlainTextResponse(request.headers.get("x-name", "nobody"))


@pytest.fixture
def port() -> Iterator[int]:
    app = Starlette(
        routes=[
            Route("/", _echo, methods=["GET", "POST"]),
            Route("/much", _much),
            Route("/name", _name, methods=["POST"]),
            Route("/busy", _busy),
        ]
    )
    listener = Listener(app, "127.0.0.1", 0, PATIENCE)
    thread = threading.Thread(target=lambda: asyncio.run(listener.serve_until_stopped()), daemon=True)
    thread.start()
    while not listener.started:
        time.sleep(0.01)
    yield int(listener.address.rpartition(":")[2])
    listener.stop()
    thread.join(15)


def everything(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"],
)
def test_a_request_that_never_ends_is_a_problem_and_the_end_of_the_connection(port: int, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(begun)
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in head
    assert "too_slow" == json.loads(body)["code"]


def test_a_head_without_end_is_a_problem(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"x" * (70 << 10))
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert "head_too_large" == json.loads(body)["code"]


@pytest.mark.parametrize("line", [b"A: b\r\n", b"xxxxxx"])
def test_header_lines_behind_a_body_have_the_limit_of_a_head(port: int, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
        for _ in range(4):
            time.sleep(PATIENCE / 10)
            connection.sendall(line * 4000)
        assert everything(connection).startswith(b"HTTP/1.1 431 ")


def test_header_lines_behind_a_body_are_none_of_the_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        head = b"POST /name HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"0\r\nX-Name: other\r\n\r\n")
        assert everything(connection).endswith(b"nobody")


def test_a_body_is_not_counted_as_the_head_behind_it(port: int) -> None:
    much = 100 << 10
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % much + b"x" * much
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(PATIENCE / 6)
        connection.sendall(post + post[:10])
        time.sleep(PATIENCE / 2)
        connection.sendall(post[10:].replace(b"Host: x", b"Host: x\r\nConnection: close"))
        assert everything(connection).count(b"HTTP/1.1 200 ") == 3


def test_chunks_of_a_body_are_not_counted_as_a_head(port: int) -> None:
    chunk = b"ea60\r\n" + b"x" * 60_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (chunk * 3 + chunk[:6], chunk[6:] + chunk[:6], chunk[6:] + b"0\r\n\r\n"):
            connection.sendall(piece)
            time.sleep(PATIENCE / 6)
        assert everything(connection).endswith(b"300000")


def test_who_takes_nothing_of_an_answer_is_not_waited_for(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(4 * PATIENCE)
        found = 0
        with suppress(ConnectionResetError):
            while piece := connection.recv(1 << 20):
                found += len(piece)
        assert found < MUCH, "it was given up"


def test_who_is_slow_and_gets_on_is_served(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for piece in (b"POST / HTTP/1.1\r\nHost: x\r\n", b"Connection: close\r\nContent-Length: 3\r\n\r\n", b"ab", b"c"):
            connection.sendall(piece)
            time.sleep(PATIENCE / 6)
        assert everything(connection).endswith(b"3")
