"""What has ended is gone at once: a gateway collects garbage rarely, so what it leaves in circles it keeps for a long time."""

from __future__ import annotations

import gc
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mcpctl.slow_clients import PatientProtocol
from mcplocal.protocol.exchange import Request
from mcplocal.protocol.http_sse import HttpSse, _Stream
from mcplocal.protocol.legacy import Session
from mcplocal.protocol.listening import Listening
from mcplocal.vigil import Watched
from tests.gateway.conftest import Endpoint, World
from tests.gateway.test_http_sse import opened, put, serving
from tests.gateway.test_legacy_wire import open_session, request
from tests.gateway.test_open_streams import listening, messages, subscribed
from tests.gateway.test_story import until

KINDS = (Session, Listening, Watched, Request, _Stream)
TIMES = 5


def alive() -> Counter[str]:
    """How many there are of what comes and goes."""
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KINDS))


@contextmanager
def nobody_collects() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def a_session(endpoint: Endpoint) -> None:
    session = open_session(endpoint)
    assert "result" in endpoint.post(request("tools/list"), session).json()
    end(endpoint, session)


def a_stream_of_a_session(endpoint: Endpoint) -> None:
    session = open_session(endpoint)
    with listening(endpoint, session) as lines:
        end(endpoint, session)
        until(lambda: "END" in lines, 5)


def a_subscription(endpoint: Endpoint) -> None:
    with subscribed(endpoint, {"toolsListChanged": True}) as lines:
        assert messages(lines)


def end(endpoint: Endpoint, session: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {endpoint.bearer}", **session}
    assert 204 == endpoint.http.delete(endpoint.url, headers=headers).status_code


@pytest.mark.parametrize("use", [a_session, a_stream_of_a_session, a_subscription])
def test_what_has_ended_leaves_nothing_to_collect(
    world: World, use: Callable[[Endpoint], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcplocal.protocol.listening.SIGN_OF_LIFE", 0.05)
    endpoint = world.gateway().as_(world.project(up=world.upstream()).token()["token"])
    use(endpoint)
    with nobody_collects():
        before = alive()
        for _ in range(TIMES):
            use(endpoint)
        until(lambda: alive() <= before, 3)


def test_a_stream_of_http_sse_leaves_nothing_to_collect(world: World) -> None:
    project = world.project(up=world.upstream())
    with serving(world, put(world.tmp_path / "token", project.token()["token"])) as url:

        def use() -> None:
            with opened(url) as stream:
                stream.shake_hands().ask(request("tools/list"))

        use()
        with nobody_collects():
            before = alive()
            for _ in range(TIMES):
                use()
            until(lambda: alive() <= before, 3)


def test_a_connection_that_its_client_tears_down_is_gone_too(world: World) -> None:
    project = world.project(up=world.upstream())
    with serving(world, put(world.tmp_path / "token", project.token()["token"])) as url:
        host, _, port = url.removeprefix("http://").removesuffix("/sse").partition(":")

        def connections() -> int:
            return sum(isinstance(one, PatientProtocol) and isinstance(one.app, HttpSse) for one in gc.get_objects())

        with nobody_collects():
            for _ in range(TIMES):
                with socket.create_connection((host, int(port))) as connection:
                    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                    assert b" 404 " in connection.recv(1 << 16)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            until(lambda: connections() == 0, 3)
