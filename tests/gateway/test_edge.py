"""Whoever is outside: clients that dawdle, heads without end, strangers who look for a way in, addresses in disguise."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from mcpctl.errors import InvalidSetting
from mcplocal.protocol.slowdown import FREE, Slowdown
from mcplocal.serve import serve
from tests.gateway.conftest import META, Endpoint, World
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import result, shown_instance
from tests.gateway.upstreams import MODERN

PATIENCE = 1.0
LISTING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}})


@contextmanager
def listening(world: World, **settings: Any) -> Iterator[tuple[str, int]]:
    """``mcplocal serve`` in a thread of its own, with its own HTTP; yields host and port."""
    address: list[str] = []
    stopping: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stop = asyncio.Event()
        stopping.append((asyncio.get_running_loop(), stop))
        await serve(world.settings(client_timeout=PATIENCE, **settings), on_ready=address.append, stop=stop)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    until(lambda: bool(address), 10)
    host, _, port = address[0].removeprefix("http://").partition(":")
    try:
        yield host, int(port)
    finally:
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)


@pytest.fixture
def where(world: World) -> Iterator[tuple[str, int]]:
    with listening(world) as address:
        yield address


def head(length: int, bearer: str = "", **more: str) -> bytes:
    headers = {"Host": "localhost", "Content-Type": "application/json", "Accept": "application/json", **more}
    headers |= {"Content-Length": str(length), "MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}
    headers |= {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return ("POST /mcp HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode()


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    found = b""
    with suppress(ConnectionError):
        while data := connection.recv(1 << 16):
            found += data
    return found


DAWDLING = {
    "says nothing": [b""],
    "stops in its first line": [b"POST /m"],
    "stops in its headers": [head(0)[:-2]],
    "sends a header every now and then": [b"POST /mcp HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 40],
}


@pytest.mark.parametrize("case", DAWDLING)
def test_a_head_that_does_not_come_is_not_waited_for(where: tuple[str, int], case: str) -> None:
    with socket.create_connection(where, timeout=10) as connection:
        begun = time.monotonic()

        def send() -> None:
            with suppress(OSError):
                for piece in DAWDLING[case]:
                    connection.sendall(piece)
                    time.sleep(0.2)

        threading.Thread(target=send, daemon=True).start()
        assert everything(connection).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun < PATIENCE + 2


def test_a_body_that_does_not_come_is_not_waited_for(world: World, where: tuple[str, int]) -> None:
    token = world.project(up=world.upstream()).token()["token"]
    for sent in (b"", b'{"jsonrpc'):
        with socket.create_connection(where, timeout=10) as connection:
            begun = time.monotonic()
            connection.sendall(head(1000, token) + sent)
            assert everything(connection).startswith(b"HTTP/1.1 408 ")
            assert time.monotonic() - begun < PATIENCE + 2


def test_a_stranger_who_drips_a_body_after_its_answer_is_cut_off(where: tuple[str, int]) -> None:
    with socket.create_connection(where, timeout=10) as connection:
        begun = time.monotonic()
        connection.sendall(head(100_000))

        def drip() -> None:
            with suppress(OSError):
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        assert everything(connection).startswith(b"HTTP/1.1 401 ")
        assert time.monotonic() - begun < PATIENCE + 2


@pytest.mark.parametrize("piece", [b"X-A: " + b"b" * 1000 + b"\r\n", b"b" * 1000])
def test_a_head_without_end_is_refused(where: tuple[str, int], piece: bytes) -> None:
    with socket.create_connection(where, timeout=10) as connection:
        connection.sendall(b"POST /mcp HTTP/1.1\r\nX-Long: ")
        sent = 0
        with suppress(ConnectionError):
            while sent < 10_000_000:
                connection.sendall(piece)
                sent += len(piece)
        assert sent < 10_000_000
        with suppress(ConnectionError):
            assert connection.recv(100)[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400", b"")


def test_a_client_that_takes_its_time_between_requests_is_no_dawdler(world: World, where: tuple[str, int]) -> None:
    token = world.project(up=world.upstream()).token()["token"]
    with socket.create_connection(where, timeout=10) as connection:
        for pause in (PATIENCE / 2, PATIENCE * 1.5, 0):
            connection.sendall(head(len(LISTING), token) + LISTING.encode())
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
            time.sleep(pause)


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off_and_a_slow_one_is_not(world: World) -> None:
    size = 16_000_000
    text = '{"content":[{"type":"text","text":"' + "x" * size + '"}]}'
    project = world.project(up=world.upstream(answer=lambda _: text))
    token, name = project.token()["token"], f"{project.servers[0]}__echo"
    params = {"_meta": META, "name": name, "arguments": {}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    request = head(len(body), token, **{"Mcp-Name": name}).replace(b"tools/list", b"tools/call") + body
    with listening(world) as where:
        for pause in (0.0, 0.01):
            with socket.create_connection(where, timeout=30) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
                connection.sendall(request)
                taken, begun = 0, time.monotonic()
                if not pause:
                    time.sleep(PATIENCE * 4)
                with suppress(ConnectionError):
                    while data := connection.recv(1 << 20):
                        taken += len(data)
                        time.sleep(pause if time.monotonic() - begun < PATIENCE * 3 else 0)
                        if taken > size:
                            break
            assert (taken > size) == bool(pause)


def test_bad_bearers_of_one_source_are_answered_later_and_later_and_a_good_one_at_once(world: World) -> None:
    project = world.project(up=world.upstream())
    endpoint = world.gateway().as_(project.token()["token"])
    stranger = endpoint.as_("mcpctl_pat_" + "0" * 43)
    endpoint.tools()
    for _ in range(FREE + 4):
        assert stranger.modern("tools/list").status_code == 401
    begun = time.monotonic()
    assert stranger.modern("tools/list").status_code == 401
    assert time.monotonic() - begun > 0.3
    begun = time.monotonic()
    assert endpoint.modern("tools/list").status_code == 200
    assert time.monotonic() - begun < 0.3


def test_behind_a_trusted_proxy_bad_bearers_of_one_client_do_not_slow_down_another(world: World) -> None:
    for trusted, said, slowed in (("127.0.0.0/8", "203.0.113.7", False), ("10.0.0.0/8", "203.0.113.7", True)):
        stranger = world.gateway(trusted_proxies=trusted).as_("mcpctl_pat_" + "0" * 43)
        for _ in range(FREE + 4):
            assert stranger.modern("tools/list", X_Forwarded_For="198.51.100.1").status_code == 401
        begun = time.monotonic()
        assert stranger.modern("tools/list", X_Forwarded_For=said).status_code == 401
        assert slowed == (time.monotonic() - begun > 0.3), trusted
        begun = time.monotonic()
        assert stranger.modern("tools/list", X_Forwarded_For="203.0.113.9, 198.51.100.1").status_code == 401
        assert time.monotonic() - begun > 0.3, "what a client writes itself does not make it another"


def test_a_network_of_ipv6_is_one_source() -> None:
    slowdown = Slowdown()
    delays = [slowdown.delay(f"2001:db8:0:1::{n:x}") for n in range(FREE + 1)]
    assert delays[-1] > 0
    assert slowdown.delay("2001:db8:0:2::1") == 0.0


METADATA = "/.well-known/oauth-protected-resource"
ISSUER = "https://login.example.com"
PUBLIC = "https://mcp.example.com"


def test_without_authorization_servers_there_is_no_metadata_and_a_bare_challenge(world: World) -> None:
    endpoint = world.gateway()
    assert "Bearer" == endpoint.post(LISTING).headers["www-authenticate"]
    for path in (METADATA, f"{METADATA}/mcp"):
        assert endpoint.http.get(endpoint.at(path).url).status_code == 404


def test_with_authorization_servers_a_challenge_leads_to_the_metadata(world: World) -> None:
    endpoint = world.gateway(authorization_servers=ISSUER, public_url=PUBLIC + "/")
    for path, resource in (("/mcp", "/mcp"), ("/projects/p1/mcp", "/projects/p1/mcp"), ("/projects/none/mcp",) * 2):
        for bearer, said in ((None, "Bearer "), ("nonsense", 'Bearer error="invalid_token", ')):
            answer = endpoint.at(path).as_(bearer).post(LISTING)
            challenge = f'{said}resource_metadata="{PUBLIC}{METADATA}{resource}"'
            assert (401, challenge) == (answer.status_code, answer.headers["www-authenticate"])
        found = endpoint.http.get(endpoint.at(METADATA + path).url)
        assert 200 == found.status_code
        assert (PUBLIC + resource, [ISSUER], ["header"]) == tuple(
            found.json()[member] for member in ("resource", "authorization_servers", "bearer_methods_supported")
        )
    assert PUBLIC + "/mcp" == endpoint.http.get(endpoint.at(METADATA).url).json()["resource"]
    for path in ("/other", "/projects/Bad%20Name/mcp", "/projects/a/b/mcp", "/mcp/", '/projects/"x"/mcp'):
        assert endpoint.http.get(endpoint.at(METADATA + path).url).status_code == 404
    assert endpoint.http.get(endpoint.at(METADATA).url, headers={"Host": "evil.example"}).status_code == 404


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"authorization_servers": ISSUER}, "MCPLOCAL_PUBLIC_URL"),
        ({"authorization_servers": "login.example.com", "public_url": PUBLIC}, "base URL"),
        ({"authorization_servers": ISSUER, "public_url": "mcp.example.com"}, "MCPLOCAL_PUBLIC_URL"),
        ({"authorization_servers": ISSUER, "public_url": "https://u:p@mcp.example.com"}, "base URL"),
    ],
)
def test_metadata_that_nobody_could_use_is_a_wrong_setting(world: World, given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        world.settings(**given)


DISGUISES = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1.",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[64:ff9b:1:7f00:0:100::]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fec0::1]",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "[::ffff:a9fe:a9fe]",
    "%6c%6f%63%61%6c%68%6f%73%74",
    "user:pass@127.0.0.1",
    "public.example@127.0.0.1",
    "127.0.0.1#@public.example",
    "127.0.0.1\\@public.example",
    "①②⑦.⓪.⓪.①",
]


def test_in_no_disguise_is_an_address_reached_that_is_not_allowed(world: World) -> None:
    """threats 17. What the control plane does not take for a URL cannot be tried; all else must be refused here."""
    upstream = world.upstream()
    port = upstream.url.rpartition(":")[2].partition("/")[0]  # type: ignore[attr-defined]
    admin, names = world.control.admin, list[str]()
    project = world.project()
    for number, disguise in enumerate(DISGUISES):
        scheme_host = f"http://{disguise}"
        url = f"{scheme_host}:{port}/mcp" if "#" not in disguise and "\\" not in disguise else f"{scheme_host}/mcp"
        name = f"d{number}-{project.name}"
        answer = admin.post("/servers", {"name": name, "transport": "streamable-http", "url": url})
        assert answer.status_code in (201, 422), answer.text
        if answer.status_code == 201:
            names.append(name)
            assert admin.put(f"/projects/{project.name}/servers/{name}").status_code == 200
    assert len(names) > 20
    bound = [f"role:run,resource:servers,name:{name}" for name in names]
    endpoint = world.gateway(upstream_networks="10.0.0.0/8").as_(project.token(*bound)["token"])
    assert "error" in endpoint.modern("tools/list").json()
    assert [] == upstream.seen
    for name in names:
        until(lambda name=name: shown_instance(world, name).get("status") in ("ERROR", "UNREACHABLE"), 8)  # type: ignore[misc]


@pytest.mark.requirement("R26")
def test_a_name_that_leads_elsewhere_a_moment_later_is_judged_by_where_it_leads(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name service answers with an address that is allowed, and the next time with one that is not."""
    upstream = world.upstream()
    port = int(upstream.url.rpartition(":")[2].partition("/")[0])  # type: ignore[attr-defined]
    real, asked = socket.getaddrinfo, list[str]()

    def rebinding(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name != "rebinding.example":
            return real(host, *args, **kwargs)
        asked.append(name)
        address = "127.0.0.2" if len(asked) % 2 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    project = world.project(up=f"http://rebinding.example:{port}/mcp")
    gateway = world.gateway(upstream_networks="127.0.0.2/32", list_retry="100ms")
    endpoint: Endpoint = gateway.as_(project.token()["token"])
    for _ in range(6):
        assert "error" in endpoint.modern("tools/list").json()
        time.sleep(0.3)
    assert len(asked) >= 2
    assert [] == upstream.seen


@pytest.mark.requirement("R4")
def test_a_session_that_a_server_forgot_is_opened_again_also_if_it_says_so_with_400(world: World) -> None:
    """Servers made from the older examples of the TypeScript SDK answer so after a restart."""
    upstream = world.upstream(era="legacy", forgets_with=400)
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    name = f"{project.servers[0]}__echo"
    assert "isError" not in result(endpoint.call(name))
    upstream.sessions.clear()
    assert "isError" not in result(endpoint.call(name))
    assert 2 == upstream.methods().count("initialize")
    upstream.call_error = -32000
    assert -32000 == endpoint.call(name).json()["error"]["code"]
