"""The era of the handshake, on the wire: sessions that belong to one principal (2025-11-25, Transports and Lifecycle)."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx2
import pytest

from tests.gateway.conftest import Endpoint, World
from tests.gateway.test_story import until
from tests.gateway.upstreams import MODERN, Upstream

VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]


def initialize(version: str = "2025-11-25") -> dict[str, Any]:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


def open_session(endpoint: Endpoint) -> dict[str, str]:
    answer = endpoint.post(initialize())
    session = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    assert endpoint.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, session).status_code == 202
    return session


def request(method: str, params: dict[str, Any] | None = None, identity: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "method": method, **({"params": params} if params is not None else {})}


@pytest.fixture
def upstream(world: World) -> Upstream:
    return world.upstream()


@pytest.fixture
def endpoint(world: World, upstream: Upstream) -> Endpoint:
    return world.gateway().as_(world.project(up=upstream).token()["token"])


def test_the_version_asked_for_is_spoken_and_another_is_offered_ours(endpoint: Endpoint) -> None:
    for asked, spoken in [(version, version) for version in VERSIONS] + [("1999-01-01", VERSIONS[-1]), (MODERN, VERSIONS[-1])]:
        answer = endpoint.post(initialize(asked))
        assert (200, spoken) == (answer.status_code, answer.json()["result"]["protocolVersion"])
        found = answer.json()["result"]["capabilities"]
        assert {"tools", "prompts", "resources"} == {name for name, of in found.items() if of.get("listChanged") is True}
        assert {"tools", "prompts", "resources", "completions", "logging"} == set(found)
        session = answer.headers["mcp-session-id"]
        assert len(session) >= 32
        assert all(0x21 <= ord(character) <= 0x7E for character in session)


def test_in_a_session_requests_are_answered_with_200_and_their_errors_inside(endpoint: Endpoint) -> None:
    session = open_session(endpoint)
    name = endpoint.post(request("tools/list"), session).json()["result"]["tools"][0]["name"]
    for body, code in (
        (request("ping"), None),
        (request("tools/list", {}), None),
        (request("tools/call", {"name": name, "arguments": {}}), None),
        (request("tools/call", {"name": "nothing"}), -32602),
        (request("tools/call", {"arguments": {}}), -32602),
        (request("tools/call", {"name": name, "arguments": []}), -32602),
        (request("tools/list", {"cursor": "x"}), -32602),
        (request("prompts/list"), None),
        (request("resources/list"), None),
        (request("resources/subscribe", {"uri": "a:b"}), -32002),
        (request("resources/subscribe", {}), -32602),
        (request("resources/unsubscribe", {"uri": "a:b"}), None),
        (request("resources/unsubscribe", {"uri": 1}), -32602),
        (request("logging/setLevel", {"level": "info"}), None),
        (request("logging/setLevel", {"level": "loud"}), -32602),
        (request("server/discover"), -32601),
        (request("ping", identity="text"), None),
    ):
        answer = endpoint.post(body, session)
        found = answer.json()
        assert (200, code, body["id"]) == (answer.status_code, found.get("error", {}).get("code"), found["id"]), answer.text


def test_a_list_has_no_members_of_the_later_era(endpoint: Endpoint) -> None:
    result = endpoint.post(request("tools/list"), open_session(endpoint)).json()["result"]
    assert {"tools"} == set(result)


def test_without_a_session_a_request_is_told_to_shake_hands(endpoint: Endpoint) -> None:
    for headers in ({}, {"MCP-Protocol-Version": "2025-06-18"}):
        answer = endpoint.post(request("tools/list"), headers)
        assert (400, -32600) == (answer.status_code, answer.json()["error"]["code"])
        assert "initialize" in answer.json()["error"]["message"]


@pytest.mark.requirement("R1")
@pytest.mark.requirement("R4")
def test_a_session_of_somebody_else_does_not_exist(world: World, upstream: Upstream) -> None:
    project = world.project(up=upstream)
    gateway = world.gateway()
    one, other = gateway.as_(project.token()["token"]), gateway.as_(project.token()["token"])
    session = open_session(one)
    assert one.post(request("ping"), session).status_code == 200
    for stranger, headers in ((other, session), (one, {"Mcp-Session-Id": "made-up"})):
        answer = stranger.post(request("ping"), headers)
        assert (404, "there is no such session: send initialize again") == (
            answer.status_code,
            answer.json()["error"]["message"],
        )
        ended = stranger.http.delete(stranger.url, headers={"Authorization": f"Bearer {stranger.bearer}", **headers})
        assert ended.status_code == 404
    assert one.post(request("ping"), session).status_code == 200


def test_delete_ends_a_session(endpoint: Endpoint) -> None:
    session = open_session(endpoint)
    headers = {"Authorization": f"Bearer {endpoint.bearer}", **session}
    assert endpoint.http.delete(endpoint.url, headers=headers).status_code == 204
    assert endpoint.post(request("ping"), session).status_code == 404
    assert endpoint.http.delete(endpoint.url, headers=headers).status_code == 404


def test_an_unknown_version_in_a_session_is_refused(endpoint: Endpoint) -> None:
    answer = endpoint.post(request("ping"), {**open_session(endpoint), "MCP-Protocol-Version": "1900-01-01"})
    assert answer.status_code == 400


def test_the_idlest_session_makes_room(world: World, upstream: Upstream) -> None:
    endpoint = world.gateway(max_sessions=2).as_(world.project(up=upstream).token()["token"])
    sessions = [open_session(endpoint) for _ in range(3)]
    assert [404, 200, 200] == [endpoint.post(request("ping"), session).status_code for session in sessions]


@pytest.mark.requirement("R4")
def test_an_idle_session_ends(world: World, upstream: Upstream) -> None:
    endpoint = world.gateway(idle_timeout="200ms").as_(world.project(up=upstream).token()["token"])
    session = open_session(endpoint)
    time.sleep(0.3)
    assert endpoint.post(request("ping"), session).status_code == 404


@pytest.mark.requirement("R3")
def test_the_same_id_twice_at_once_is_answered_twice(world: World) -> None:
    upstream = world.upstream(delay=0.2)
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    session = open_session(endpoint)
    name = endpoint.post(request("tools/list"), session).json()["result"]["tools"][0]["name"]
    texts: dict[str, str] = {}

    def call(word: str) -> None:
        body = request("tools/call", {"name": name, "arguments": {"word": word}})
        answer = httpx2.post(
            endpoint.url, json=body, headers={"Authorization": f"Bearer {endpoint.bearer}", **session}, timeout=10
        )
        texts[word] = answer.json()["result"]["content"][0]["text"]

    threads = [threading.Thread(target=call, args=(word,)) for word in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {word: f'{{"word": "{word}"}}' for word in ("one", "two", "three")} == texts


@pytest.mark.requirement("R7")
def test_a_cancelled_request_ends_and_the_upstream_is_let_go(world: World) -> None:
    upstream = world.upstream()
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    session = open_session(endpoint)
    name = endpoint.post(request("tools/list"), session).json()["result"]["tools"][0]["name"]
    upstream.delay = 20
    answers: list[httpx2.Response] = []
    body = request("tools/call", {"name": name}, 77)
    headers = {"Authorization": f"Bearer {endpoint.bearer}", **session}
    thread = threading.Thread(target=lambda: answers.append(httpx2.post(endpoint.url, json=body, headers=headers, timeout=10)))
    thread.start()
    until(lambda: len(upstream.calls()) == 1, 5)
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}}
    assert endpoint.post(cancel, session).status_code == 202
    thread.join(5)
    assert answers[0].json()["error"]["code"] == -32800
    upstream.delay = 0
