"""The deprecated transport HTTP+SSE (MCP 2024-11-05): one listener on loopback, one token from a file, for clients that speak
nothing else; and what keeps it from being a way around anything."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client

from mcpctl.errors import InvalidSetting
from mcplocal.protocol import http_sse, listening
from mcplocal.serve import serve
from tests.gateway.conftest import META, World
from tests.gateway.test_bridge import COMMAND
from tests.gateway.test_legacy_wire import initialize, request
from tests.gateway.test_story import until
from tests.gateway.upstreams import tool

JSON = {"Content-Type": "application/json"}


def put(path: Path, token: str, mode: int = 0o600) -> Path:
    path.write_text(token + "\n")
    path.chmod(mode)
    return path


@contextmanager
def serving(world: World, file: Path, **settings: Any) -> Iterator[str]:
    """A gateway with that listener; yields the URL of its stream."""
    urls: list[str] = []
    ready, found = threading.Event(), list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()
    configured = world.settings(sse_listen="127.0.0.1:0", sse_token_file=file, **settings)

    async def run() -> None:
        stop = asyncio.Event()
        found.append((asyncio.get_running_loop(), stop))
        await serve(configured, on_sse_ready=urls.append, on_ready=lambda _: ready.set(), stop=stop)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        assert ready.wait(10)
        yield urls[0]
    finally:
        ((loop, stop),) = found
        loop.call_soon_threadsafe(stop.set)
        thread.join(15)
    assert not thread.is_alive()


class Open:
    """One open stream, by hand: its events as they come, and where to post."""

    def __init__(self, url: str, **headers: str) -> None:
        self.base = url.removesuffix("/sse")
        host, _, port = self.base.removeprefix("http://").partition(":")
        self.events: list[tuple[str, str]] = []
        self.status = 0
        self.ended = threading.Event()
        self._connection = socket.create_connection((host, int(port)), timeout=30)
        sent = {"Host": f"{host}:{port}", "Accept": "text/event-stream", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self._connection.sendall(f"GET /sse HTTP/1.1\r\n{head}\r\n".encode())
        threading.Thread(target=self._read, daemon=True).start()
        until(lambda: self.status not in (0, 200) or bool(self.events), 5)

    def _read(self) -> None:
        kind = ""
        with suppress(OSError), self._connection.makefile("rb") as stream:
            self.status = int(stream.readline().split()[1] or 0)
            while (line := stream.readline()) not in (b"", b"0\r\n"):
                text = line.decode().rstrip("\r\n")
                if text.startswith("event: "):
                    kind = text.removeprefix("event: ")
                elif text.startswith("data: "):
                    self.events.append((kind, text.removeprefix("data: ")))
                elif text.startswith(": "):
                    self.events.append(("comment", text))
        self.ended.set()

    @property
    def where(self) -> str:
        kind, data = self.events[0]
        assert kind == "endpoint"
        return self.base + data

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(data) for kind, data in self.events if kind == "message"]

    def post(self, body: Any, **headers: str) -> httpx2.Response:
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        return httpx2.post(self.where, content=content, headers={**JSON, **headers}, timeout=30, trust_env=False)

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        assert (202, "") == ((answer := self.post(body)).status_code, answer.text)
        until(lambda: any(found.get("id") == body["id"] for found in self.messages()), 10)
        return next(found for found in self.messages() if found.get("id") == body["id"])

    def shake_hands(self) -> Open:
        assert "result" in self.ask(initialize("2024-11-05"))
        assert self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}).status_code == 202
        return self

    def close(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


@contextmanager
def opened(url: str, **headers: str) -> Iterator[Open]:
    stream = Open(url, **headers)
    try:
        yield stream
    finally:
        stream.close()


def status_of(url: str, **headers: str) -> int:
    """What the wish for a stream is answered with."""
    with opened(url, **headers) as stream:
        return stream.status


def calling(name: str, identity: Any = 7, **arguments: Any) -> dict[str, Any]:
    return request("tools/call", {"name": name, "arguments": arguments}, identity)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_sdk_client_without_a_header_lists_and_calls_what_the_token_in_the_file_may(world: World, mode: str) -> None:
    upstream = world.upstream(tools=[tool("echo"), tool("other")])
    project = world.project(up=upstream)
    name = project.servers[0]
    file = put(world.tmp_path / "token", project.token(f"role:run,resource:servers,name:{name}/echo")["token"])

    async def run(url: str) -> None:
        async with Client(sse_client(url), mode=mode) as client:
            assert [f"{name}__echo"] == [listed.name for listed in (await client.list_tools()).tools]
            called = await client.call_tool(f"{name}__echo", {"a": "ü"})
            assert {"a": "ü"} == json.loads(called.content[0].text)  # type: ignore[union-attr]
            assert client.server_info is not None
            assert project.name == client.server_info.name  # by which these clients tell servers apart
            with pytest.raises(Exception, match="Unknown tool"):
                await client.call_tool(f"{name}__other", {})

    with serving(world, file) as url:
        asyncio.run(run(url))
    assert ["echo"] == [seen.body["params"]["name"] for seen in upstream.calls()]


def test_each_use_is_audited_as_the_tokens_own(world: World) -> None:
    project = world.project(up=world.upstream())
    token = project.token()
    with serving(world, put(world.tmp_path / "token", token["token"])) as url, opened(url) as stream:
        stream.shake_hands().ask(calling(f"{project.servers[0]}__echo"))
        stream.ask(calling("nothing", 8))
    rows = world.control.admin.get(f"/audit?project={project.name}").json()["items"]
    told = [(row["tokenName"], row["allowed"]) for row in rows if row["action"] == "tools/call" or row.get("tool")]
    assert sorted([(token["name"], False), (token["name"], True)]) == sorted(told)


def test_progress_comes_before_its_answer_under_the_clients_own_token(world: World) -> None:
    project = world.project(up=world.upstream(as_stream=3))
    with serving(world, put(world.tmp_path / "token", project.token()["token"])) as url, opened(url) as stream:
        body = calling(f"{project.servers[0]}__echo")
        body["params"]["_meta"] = {"progressToken": "mine"}
        stream.shake_hands().ask(body)
        *progress, last = stream.messages()[1:]
        assert [("mine", n) for n in range(3)] == [(m["params"]["progressToken"], m["params"]["progress"]) for m in progress]
        assert 7 == last["id"]


@pytest.mark.requirement("R8")
def test_a_client_hears_that_its_list_has_changed(world: World) -> None:
    upstream = world.upstream(list_members={"ttlMs": 1000})
    project = world.project(up=upstream)
    with serving(world, put(world.tmp_path / "token", project.token()["token"])) as url, opened(url) as stream:
        stream.shake_hands().ask(request("tools/list"))
        upstream.tools.append(tool("more"))
        until(
            lambda: (
                stream.ask(request("tools/list", identity=time.monotonic_ns())) is not None
                and any(m.get("method") == "notifications/tools/list_changed" for m in stream.messages())
            ),
            10,
        )


@pytest.mark.requirement("R7")
def test_a_cancelled_request_is_not_answered_and_its_server_is_let_go(world: World) -> None:
    upstream = world.upstream(delay=0)
    project = world.project(up=upstream)
    with serving(world, put(world.tmp_path / "token", project.token()["token"])) as url, opened(url) as stream:
        stream.shake_hands().ask(request("tools/list"))
        upstream.delay = 20
        assert 202 == stream.post(calling(f"{project.servers[0]}__echo")).status_code
        until(lambda: bool(upstream.calls()), 5)
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
        assert 202 == stream.post(cancelled).status_code
        until(lambda: upstream.gone == 1, 5)
        assert [] == [m for m in stream.messages() if m.get("id") == 7]


@pytest.mark.requirement("R13")
def test_a_stream_shows_signs_of_life(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listening.SIGN_OF_LIFE <= 15
    monkeypatch.setattr(http_sse, "SIGN_OF_LIFE", 0.05)
    project = world.project(up=world.upstream())
    with serving(world, put(world.tmp_path / "token", project.token()["token"])) as url, opened(url) as stream:
        until(lambda: sum(kind == "comment" for kind, _ in stream.events) >= 2, 5)


@pytest.mark.parametrize("lose", ["the token", "the project"])
def test_a_stream_and_what_runs_on_it_end_within_a_second_of_the_token(world: World, lose: str) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    token = project.token()
    with serving(world, put(world.tmp_path / "token", token["token"])) as url, opened(url) as stream, opened(url) as idle:
        stream.shake_hands().ask(request("tools/list"))
        upstream.delay = 20
        stream.post(calling(f"{project.servers[0]}__echo"))
        until(lambda: bool(upstream.calls()), 5)
        if lose == "the token":
            project.revoke(token)
        else:
            assert world.control.admin.delete(f"/projects/{project.name}").status_code == 204
        assert stream.ended.wait(1)
        assert idle.ended.wait(1)
        until(lambda: upstream.gone == 1, 5)
        assert status_of(url) in (404, 503)
        assert [] == [m for m in stream.messages() if m.get("id") == 7]


def test_a_new_token_in_the_file_counts_at_once_and_streams_of_the_old_one_take_nothing_more(world: World) -> None:
    project = world.project(up=world.upstream())
    old, new = project.token(), project.token()
    file = put(world.tmp_path / "token", old["token"])
    with serving(world, file) as url, opened(url) as before:
        before.shake_hands()
        put(file, new["token"])
        with opened(url) as after:
            assert "result" in after.shake_hands().ask(request("tools/list"))
            assert 404 == before.post(request("tools/list")).status_code
        project.revoke(new)
        until(lambda: status_of(url) == 503, 5)
        put(file, old["token"])  # what was refused is read anew, too
        with opened(url) as again:
            assert 200 == again.status


def test_a_stream_ends_once_the_file_names_another_token_or_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_sse, "SIGN_OF_LIFE", 0.1)
    project = world.project(up=world.upstream())
    file = put(world.tmp_path / "token", project.token()["token"])
    with serving(world, file) as url:
        with opened(url) as stream:
            put(file, project.token()["token"])
            assert stream.ended.wait(3)
        with opened(url) as stream:
            file.unlink()
            assert stream.ended.wait(3)
        assert 503 == status_of(url)


@pytest.mark.requirement("R1")
def test_a_session_is_a_streams_own_and_ends_with_it(world: World) -> None:
    project = world.project(up=world.upstream())
    with serving(world, put(world.tmp_path / "token", project.token()["token"])) as url:
        with opened(url) as one, opened(url) as other:
            assert len(one.where.partition("session_id=")[2]) >= 32
            assert one.where != other.where
            one.shake_hands()
            assert -32600 == other.ask(request("tools/list"))["error"]["code"]  # no handshake but the neighbour's
            assert {} == other.ask(request("ping", identity=2))["result"]
        where = one.where

        def status(target: str) -> int:
            return httpx2.post(target, content=json.dumps(request("ping")), headers=JSON, trust_env=False).status_code

        until(lambda: status(where) == 404, 5)
        base = where.partition("?")[0]
        assert [404] * 3 == [status(base + query) for query in ("", "?session_id=x", f"?session_id=x&session_id={'y' * 32}")]


def test_the_idlest_stream_makes_room(world: World) -> None:
    project = world.project(up=world.upstream())
    file = put(world.tmp_path / "token", project.token()["token"])
    with serving(world, file, max_sessions=2) as url, opened(url) as one, opened(url) as two:
        one.shake_hands()
        with opened(url) as three:
            assert two.ended.wait(3)
            assert "result" in one.ask(request("ping", identity=5))
            assert 200 == three.status


def test_requests_of_one_stream_at_once_are_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_sse, "AT_ONCE", 2)
    upstream = world.upstream()
    project = world.project(up=upstream)
    with serving(world, put(world.tmp_path / "token", project.token()["token"])) as url, opened(url) as stream:
        stream.shake_hands().ask(request("tools/list"))
        upstream.delay = 20
        name = f"{project.servers[0]}__echo"
        assert [202, 202, 429] == [stream.post(calling(name, n)).status_code for n in range(10, 13)]


BAD: dict[str, tuple[dict[str, str], int]] = {
    "a foreign host": ({"Host": "evil.example"}, 421),
    "a host that another listener allows": ({"Host": "mcp.example"}, 421),
    "a foreign origin": ({"Origin": "https://evil.example"}, 403),
    "an origin that another listener allows": ({"Origin": "https://app.example"}, 403),
    "an origin that is null": ({"Origin": "null"}, 403),
    "another bearer": ({"Authorization": "Bearer mcpctl_pat_" + "x" * 43}, 401),
    "no bearer that is one": ({"Authorization": "Basic eDp5"}, 401),
    "no wish for a stream": ({"Accept": "*/*"}, 406),
}


@pytest.fixture
def url(world: World) -> Iterator[str]:
    project = world.project(up=world.upstream())
    file = put(world.tmp_path / "token", project.token()["token"])
    with serving(world, file, allowed_hosts="mcp.example", allowed_origins="https://app.example") as url:
        yield url


@pytest.mark.requirement("R28")
def test_a_stream_is_refused_to_whom_it_is_not_for(url: str) -> None:
    assert {case: status for case, (_, status) in BAD.items()} == {
        case: status_of(url, **headers) for case, (headers, _) in BAD.items()
    }
    with opened(url, Origin=url.removesuffix("/sse")) as own:
        assert 200 == own.status


def test_messages_are_refused_before_their_body_is_read_and_said_to_be_what_is_wrong_with_them(url: str) -> None:
    with opened(url) as stream:
        stream.shake_hands()
        refused = {case: (headers, status) for case, (headers, status) in BAD.items() if "Accept" not in headers}
        assert {case: status for case, (_, status) in refused.items()} == {
            case: stream.post("not JSON", **headers).status_code for case, (headers, _) in refused.items()
        }
        assert 415 == stream.post(request("ping"), **{"Content-Type": "text/plain"}).status_code
        for body, code in (("{", -32700), ("[]", -32600), ('{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600)):
            answer = stream.post(body)
            assert (400, code) == (answer.status_code, answer.json()["error"]["code"])
        assert 413 == stream.post(b'"' + b"x" * (4 << 20) + b'"').status_code
        assert -32600 == stream.ask(request("server/discover", {"_meta": META}, "later era"))["error"]["code"]
        assert -32601 == stream.ask(request("tasks/list", {}, "unknown"))["error"]["code"]
        others = [("GET", "/messages", 405), ("POST", "/sse", 405), ("DELETE", "/sse", 405), ("GET", "/mcp", 404)]
        base = url.removesuffix("/sse")
        statuses = [httpx2.request(method, base + path, trust_env=False).status_code for method, path, _ in others]
        assert [status for *_, status in others] == statuses


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sse_listen": "127.0.0.1:8472"}, "go together"),
        ({"sse_token_file": "token"}, "go together"),
        ({"sse_listen": "0.0.0.0:8472", "sse_token_file": "token"}, "not a loopback address"),
        ({"sse_listen": ":8472", "sse_token_file": "token"}, "not a loopback address"),
        ({"sse_listen": "192.168.1.2:8472", "sse_token_file": "token"}, "not a loopback address"),
        ({"sse_listen": "[::]:8472", "sse_token_file": "token"}, "not a loopback address"),
        ({"sse_listen": "mcp.example:8472", "sse_token_file": "token"}, "not a loopback address"),
        ({"sse_listen": "127.0.0.1", "sse_token_file": "token"}, "such as 127.0.0.1:8472"),
    ],
)
def test_it_is_served_on_loopback_alone_and_as_somebody(world: World, given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        world.settings(**given)


def test_loopback_has_many_spellings(world: World) -> None:
    for listen in ("127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1"):
        assert listen == world.settings(sse_listen=listen, sse_token_file="token").sse_listen
    assert world.settings().sse_listen is None


def test_the_program_says_where_it_serves_and_refuses_to_start_with_a_file_that_others_read(world: World) -> None:
    file = put(world.tmp_path / "token", world.project(up=world.upstream()).token()["token"])
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MCPLOCAL_")}
    environ |= {
        "MCPLOCAL_CONTROL_PLANE": world.control.address,
        "MCPLOCAL_CREDENTIAL_FILE": str(world.credential),
        "MCPLOCAL_STATE_DIR": str(world.tmp_path / "state"),
        "MCPLOCAL_SSE_LISTEN": "127.0.0.1:0",
        "MCPLOCAL_SSE_TOKEN_FILE": str(file),
    }
    command = [*COMMAND, "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stderr is not None
            while not (line := process.stderr.readline()).startswith("mcplocal serves "):
                assert line
            assert "as the token in" in line
            with opened(line.split()[2]) as stream:
                assert 200 == stream.status
                process.terminate()
                assert stream.ended.wait(5)
            assert 0 == process.wait(15)
        finally:
            process.kill()
    file.chmod(0o644)
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=20)
    assert 2 == done.returncode
    assert "chmod 600" in done.stderr
