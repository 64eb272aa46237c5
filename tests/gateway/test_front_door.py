"""Before any message: who asks, by which name, with what kind of body."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from mcpctl.errors import InvalidSetting
from mcplocal.protocol.slowdown import FREE, Slowdown
from mcplocal.serve import build_app
from tests.gateway.conftest import META, Endpoint, World
from tests.gateway.upstreams import MODERN, Upstream

LISTING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
HEADERS = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}


@pytest.fixture
def upstream(world: World) -> Upstream:
    return world.upstream()


@pytest.fixture
def endpoint(world: World, upstream: Upstream) -> Endpoint:
    return world.gateway().as_(world.project(up=upstream).token()["token"])


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_missing_bearer_is_told_apart_from_a_bad_one_and_no_more(endpoint: Endpoint, method: str) -> None:
    missing = endpoint.http.request(method, endpoint.url, content=b"not json")
    assert (401, "Bearer") == (missing.status_code, missing.headers["www-authenticate"])
    for bearer in ("Bearer mcpctl_pat_" + "0" * 43, "Bearer nonsense", "Basic YTpi", "Bearer", "mcpctl_pat_" + "0" * 43):
        bad = endpoint.http.request(method, endpoint.url, headers={"Authorization": bearer})
        assert (401, 'Bearer error="invalid_token"') == (bad.status_code, bad.headers["www-authenticate"])
        assert "invalid_credential" == bad.json()["code"]


def test_two_bearers_are_none(endpoint: Endpoint) -> None:
    good = ("Authorization", f"Bearer {endpoint.bearer}")
    for pair in ([good, good], [good, ("Authorization", "Bearer x")]):
        assert endpoint.http.post(endpoint.url, json=LISTING, headers=pair).status_code == 401


def test_a_bearer_in_the_query_is_none(endpoint: Endpoint) -> None:
    assert endpoint.http.post(f"{endpoint.url}?access_token={endpoint.bearer}", json=LISTING).status_code == 401


@pytest.mark.requirement("R28")
def test_the_answer_to_a_stranger_does_not_wait_for_the_body(endpoint: Endpoint) -> None:
    host, _, port = endpoint.url.removeprefix("http://").partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


HOSTS = {
    "localhost": 200,
    "localhost:1234": 200,
    "127.0.0.1": 200,
    "[::1]:80": 200,
    "evil.example": 421,
    "127.0.0.1.evil.example": 421,
    "192.0.2.7": 421,
    "localhost@evil.example": 421,
    "localhost/x": 421,
    "named.example": 200,
}


@pytest.mark.requirement("R28")
def test_a_foreign_host_is_refused_before_anything_else(world: World, upstream: Upstream) -> None:
    endpoint = world.gateway(allowed_hosts="named.example").as_(world.project(up=upstream).token()["token"])
    for host, status in HOSTS.items():
        assert (host, status) == (host, endpoint.post(LISTING, {**HEADERS, "Host": host}).status_code)
        assert status == 200 or endpoint.as_(None).post(LISTING, {"Host": host}).status_code == status


ORIGINS = {
    "http://localhost:6274": 200,
    "https://app.example": 200,
    "http://app.example": 403,
    "https://evil.example": 403,
    "null": 403,
    "": 403,
    "http://localhost.evil.example": 403,
    "https://app.example.evil.example": 403,
    "file://": 403,
}


@pytest.mark.requirement("R28")
def test_a_foreign_origin_is_refused(world: World, upstream: Upstream) -> None:
    endpoint = world.gateway(allowed_origins="https://app.example").as_(world.project(up=upstream).token()["token"])
    for origin, status in ORIGINS.items():
        assert (origin, status) == (origin, endpoint.post(LISTING, {**HEADERS, "Origin": origin}).status_code)


MEDIA: dict[str, int] = {
    "application/json": 200,
    "Application/JSON": 200,
    "application/json; charset=utf-8": 200,
    "application/json; charset=utf-16": 415,
    "text/plain": 415,
    "application/jsonx": 415,
    "": 415,
}


def test_only_json_is_read(endpoint: Endpoint, upstream: Upstream) -> None:
    for media, status in MEDIA.items():
        assert (media, status) == (media, endpoint.post(LISTING, {**HEADERS, "Content-Type": media}).status_code)


ACCEPTS = {
    "application/json, text/event-stream": 200,
    "application/json": 200,
    "*/*": 200,
    "application/*": 200,
    "text/event-stream": 406,
    "text/html": 406,
    "application/json;q=0": 406,
}


def test_a_client_that_takes_no_json_is_told(endpoint: Endpoint) -> None:
    for accept, status in ACCEPTS.items():
        assert (accept, status) == (accept, endpoint.post(LISTING, {**HEADERS, "Accept": accept}).status_code)


CALL = json.dumps(LISTING).replace('{"_meta"', '{"name":"a","name":"b","_meta"')
BODIES: dict[str, tuple[str | bytes, int]] = {
    "nothing": ("", -32700),
    "no JSON": ("{", -32700),
    "something after it": (json.dumps(LISTING) + "{}", -32700),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(LISTING).encode(), -32700),
    "no UTF-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700),
    "UTF-16": (json.dumps(LISTING).encode("utf-16"), -32700),
    "a member twice": ('{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}', -32700),
    "a parameter twice": (CALL, -32700),
    "a member twice deep down": ('{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":{"b":[{"c":1,"c":2}]}}}', -32700),
    "NaN": ('{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}', -32700),
    "a control character in a string": ('{"jsonrpc":"2.0","id":1,"method":"a\nb"}', -32700),
    "depth without end": ("[" * 40_000, -32700),
    "depth inside": ('{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":' + '{"a":' * 20_000 + "1" + "}" * 20_002, -32700),
    "a number without end": ('{"jsonrpc":"2.0","id":' + "1" * 5000 + ',"method":"x"}', -32700),
    "a batch": (json.dumps([LISTING]), -32600),
    "a string": ('"x"', -32600),
    "another version of JSON-RPC": (json.dumps(LISTING | {"jsonrpc": "1.0"}), -32600),
    "no method": ('{"jsonrpc":"2.0","id":1}', -32600),
    "a method that is no string": (json.dumps(LISTING | {"method": 1}), -32600),
    "an id of null": (json.dumps(LISTING | {"id": None}), -32600),
    "an id of true": (json.dumps(LISTING | {"id": True}), -32600),
    "an id with a fraction": (json.dumps(LISTING | {"id": 1.5}), -32600),
    "params that are a list": (json.dumps(LISTING | {"params": []}), -32600),
    "more values than are read": ('{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":[' + "[]," * 50_000 + "1]}}", -32600),
    "members in another case": ('{"jsonrpc":"2.0","id":1,"Method":"tools/list"}', -32600),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_no_single_message_is_refused(endpoint: Endpoint, upstream: Upstream, case: str) -> None:
    body, code = BODIES[case]
    answer = endpoint.post(body, HEADERS)
    assert (400, code) == (answer.status_code, answer.json()["error"]["code"]), answer.text
    assert upstream.calls() == []


@pytest.mark.requirement("R12")
def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not(world: World, upstream: Upstream) -> None:
    endpoint = world.gateway(max_request_bytes=2000).as_(world.project(up=upstream).token()["token"])
    large = json.dumps(LISTING | {"params": {"_meta": META, "x": "y" * 2000}})
    assert endpoint.post(large, HEADERS).status_code == 413
    chunked = endpoint.http.post(
        endpoint.url,
        content=iter([large[:500].encode(), large[500:].encode()]),
        headers={"Authorization": f"Bearer {endpoint.bearer}", "Content-Type": "application/json", **HEADERS},
    )
    assert chunked.status_code == 413
    assert "2000 bytes" in chunked.json()["detail"]


@pytest.mark.requirement("R23")
def test_a_project_that_is_not_the_tokens_own_does_not_exist(world: World, upstream: Upstream) -> None:
    own, other = world.project(up=upstream), world.project(up=upstream)
    endpoint = world.gateway().as_(own.token()["token"])
    paths = {f"/projects/{own.name}/mcp": 200, f"/projects/{other.name}/mcp": 404, "/projects/nothing/mcp": 404}
    paths |= {"/projects/Bad%20Name/mcp": 404, "/projects/*/mcp": 404, "/mcp/": 404, "/MCP": 404, "/mcp": 200, "//mcp": 404}
    for path, status in paths.items():
        assert (path, status) == (path, endpoint.at(path).post(LISTING, HEADERS).status_code)


def test_a_person_reaches_the_projects_it_may_view_and_no_other(world: World, upstream: Upstream) -> None:
    seen, unseen = world.project(up=upstream), world.project(up=upstream)
    person = world.control.user(f"dave-{seen.name}", f"role:view,resource:projects,name:{seen.name}")
    gateway = world.gateway().as_(person.bearer)
    without = gateway.post(LISTING, HEADERS)
    assert (404, True) == (without.status_code, "/projects/<project>/mcp" in without.json()["detail"])
    assert 200 == gateway.at(f"/projects/{seen.name}/mcp").post(LISTING, HEADERS).status_code
    assert 404 == gateway.at(f"/projects/{unseen.name}/mcp").post(LISTING, HEADERS).status_code
    at_home = world.gateway(project=seen.name).as_(person.bearer)
    assert at_home.tools() == []


def test_health_needs_no_bearer_and_says_nothing(endpoint: Endpoint) -> None:
    assert (200, b"") == ((answer := endpoint.http.get(endpoint.at("/healthz").url)).status_code, answer.content)
    assert {"ready": True} == endpoint.http.get(endpoint.at("/readyz").url).json()


def test_who_keeps_failing_is_slowed_down_and_never_locked_out() -> None:
    slowdown = Slowdown()
    delays = [slowdown.delay("a") for _ in range(20)]
    assert [0.0] * FREE == delays[:FREE]
    assert delays == sorted(delays)
    assert delays[-1] == 2.0
    assert slowdown.delay("b") == 0.0


def test_a_gateway_without_a_credential_does_not_start(world: World) -> None:
    with pytest.raises(InvalidSetting, match="MCPLOCAL_CREDENTIAL_FILE"):
        build_app(world.settings(credential_file=None))


@pytest.mark.requirement("R30")
def test_no_answer_names_an_upstream_or_a_bearer(world: World) -> None:
    project = world.project(up="http://127.0.0.1:9/secret-path")
    endpoint = world.gateway().as_(project.token()["token"])
    answers: list[Any] = [endpoint.modern("tools/list"), endpoint.call(f"{project.servers[0]}__x")]
    for answer in answers:
        assert "secret-path" not in answer.text
        assert ":9" not in answer.text
        assert str(endpoint.bearer) not in answer.text
