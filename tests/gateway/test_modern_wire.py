"""The era of the per-request envelope, on the wire: codes, statuses and headers (2026-07-28, Streamable HTTP)."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.gateway.conftest import META, Endpoint, World
from tests.gateway.upstreams import MODERN, Upstream, tool

HEADERS = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}


@pytest.fixture
def upstream(world: World) -> Upstream:
    return world.upstream()


@pytest.fixture
def endpoint(world: World, upstream: Upstream) -> Endpoint:
    return world.gateway().as_(world.project(up=upstream).token()["token"])


def listing(meta: Any = META, **members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}, **members}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in META.items() if not name.endswith(key)}


ENVELOPES = {
    "the version is missing": (listing(without("protocolVersion")), HEADERS, 400, -32602),
    "the capabilities are missing": (listing(without("clientCapabilities")), HEADERS, 400, -32602),
    "the capabilities are no object": (
        listing({**META, "io.modelcontextprotocol/clientCapabilities": 1}),
        HEADERS,
        400,
        -32602,
    ),
    "there is no _meta": ({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, HEADERS, 400, -32602),
    "_meta is no object": (listing([]), HEADERS, 400, -32602),
    "the version header is missing": (listing(), {"Mcp-Method": "tools/list"}, 400, -32020),
    "the version header differs": (listing(), {**HEADERS, "MCP-Protocol-Version": "2025-11-25"}, 400, -32020),
    "the method header is missing": (listing(), {"MCP-Protocol-Version": MODERN}, 400, -32020),
    "the method header differs": (listing(), {**HEADERS, "Mcp-Method": "tools/call"}, 400, -32020),
    "the method header differs in case": (listing(), {**HEADERS, "Mcp-Method": "Tools/List"}, 400, -32020),
    "the version is not spoken here": (
        listing({**META, "io.modelcontextprotocol/protocolVersion": "1900-01-01"}),
        {**HEADERS, "MCP-Protocol-Version": "1900-01-01"},
        400,
        -32022,
    ),
    "the method is unknown": (listing(method="tasks/list"), {**HEADERS, "Mcp-Method": "tasks/list"}, 404, -32601),
    "the method is of the other era": (listing(method="ping"), {**HEADERS, "Mcp-Method": "ping"}, 404, -32601),
    "initialize carries an envelope": (listing(method="initialize"), {**HEADERS, "Mcp-Method": "initialize"}, 404, -32601),
    "the cursor is bogus": (listing() | {"params": {"_meta": META, "cursor": "x"}}, HEADERS, 400, -32602),
    "all is well": (listing(), HEADERS, 200, None),
    "header names are case-insensitive": (listing(), {k.upper(): v for k, v in HEADERS.items()}, 200, None),
    "a session id is ignored": (listing(), {**HEADERS, "Mcp-Session-Id": "x", "Last-Event-ID": "1"}, 200, None),
}


def test_each_envelope_is_answered_as_the_revision_says(endpoint: Endpoint) -> None:
    for case, (body, headers, status, code) in ENVELOPES.items():
        answer = endpoint.post(body, headers)
        found = answer.json()
        assert (status, code) == (answer.status_code, found.get("error", {}).get("code")), (case, answer.text)
        assert found["id"] == 1, case
        assert "mcp-session-id" not in answer.headers, case


def test_white_space_around_a_header_value_does_not_count(endpoint: Endpoint) -> None:
    address = endpoint.url.removeprefix("http://").partition("/")[0]
    with closing(HTTPConnection(address, timeout=10)) as connection:  # httpx would not send such a value
        headers = {name: f" \t{value} \t " for name, value in HEADERS.items()}
        headers |= {"Authorization": f"Bearer {endpoint.bearer}", "Content-Type": "application/json"}
        connection.request("POST", "/mcp", json.dumps(listing()), headers)
        assert connection.getresponse().status == 200


def test_an_unspoken_version_is_told_what_is_spoken(endpoint: Endpoint) -> None:
    asked = listing({**META, "io.modelcontextprotocol/protocolVersion": "1900-01-01"})
    answer = endpoint.post(asked, {**HEADERS, "MCP-Protocol-Version": "1900-01-01"}).json()
    assert {"supported": [MODERN], "requested": "1900-01-01"} == answer["error"]["data"]


def test_a_routing_header_that_stands_twice_is_refused(endpoint: Endpoint) -> None:
    pairs = [("Content-Type", "application/json"), ("Authorization", f"Bearer {endpoint.bearer}"), *HEADERS.items()]
    doubled = [*pairs, ("Mcp-Method", "tools/list")]
    answer = endpoint.http.post(endpoint.url, content=json.dumps(listing()), headers=doubled)
    assert (400, -32020) == (answer.status_code, answer.json()["error"]["code"])


def test_the_name_header_repeats_the_name(endpoint: Endpoint) -> None:
    name = endpoint.tools()[0]
    call = {"name": name, "arguments": {}}
    encoded = f"=?base64?{b64encode(name.encode()).decode()}?="
    for said, status in ((name, 200), (encoded, 200), (name.upper(), 400), ("=?base64?!!?=", 400), ("", 400)):
        answer = endpoint.modern("tools/call", call, Mcp_Name=said)
        assert status == answer.status_code, (said, answer.text)
        assert status == 200 or answer.json()["error"]["code"] == -32020
    missing = endpoint.post(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": META, **call}},
        {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call"},
    )
    assert (400, -32020) == (missing.status_code, missing.json()["error"]["code"])


def test_discover_says_what_the_gateway_is(endpoint: Endpoint) -> None:
    result = endpoint.modern("server/discover").json()["result"]
    assert [MODERN] == result["supportedVersions"]
    found = result["capabilities"]
    assert {"tools", "prompts", "resources"} == {name for name, of in found.items() if of.get("listChanged") is True}
    assert {"tools", "prompts", "resources", "completions", "logging"} == set(found)
    assert ("complete", "private") == (result["resultType"], result["cacheScope"])
    assert isinstance(result["ttlMs"], int)
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "mcplocal"


def test_a_list_is_private_and_good_for_a_second(endpoint: Endpoint) -> None:
    result = endpoint.modern("tools/list").json()["result"]
    assert ("complete", 1000, "private") == (result["resultType"], result["ttlMs"], result["cacheScope"])


def test_a_notification_is_taken_and_nothing_follows(endpoint: Endpoint, upstream: Upstream) -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"_meta": META, "requestId": 1}}
    answer = endpoint.post(body, {"MCP-Protocol-Version": MODERN})
    assert (202, b"") == (answer.status_code, answer.content)
    assert upstream.seen == []


def test_a_posted_response_is_refused(endpoint: Endpoint) -> None:
    answer = endpoint.post({"jsonrpc": "2.0", "id": 1, "result": {}}, {"MCP-Protocol-Version": MODERN})
    assert (400, -32600) == (answer.status_code, answer.json()["error"]["code"])


def test_get_and_delete_are_not_allowed(endpoint: Endpoint) -> None:
    for method in ("GET", "DELETE", "PUT", "PATCH", "OPTIONS"):
        answer = endpoint.http.request(method, endpoint.url, headers={"Authorization": f"Bearer {endpoint.bearer}"})
        assert answer.status_code == 405
        assert "POST" in answer.headers["allow"]


ANNOTATED = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "n": {"type": "integer", "x-mcp-header": "N"}},
}


def test_arguments_that_the_schema_wants_in_headers_are_checked_and_made_anew(world: World) -> None:
    upstream = world.upstream(tools=[tool("go") | {"inputSchema": ANNOTATED}])
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    call = {"name": f"{project.servers[0]}__go", "arguments": {"region": "ü", "n": 7}}
    wrapped = f"=?base64?{b64encode('ü'.encode()).decode()}?="
    for headers, status in (
        ({"Mcp_Param_Region": wrapped, "Mcp_Param_N": "7"}, 200),
        ({"Mcp_Param_Region": wrapped, "Mcp_Param_N": "7.0"}, 200),
        ({"Mcp_Param_Region": wrapped}, 400),
        ({"Mcp_Param_Region": "u", "Mcp_Param_N": "7"}, 400),
        ({"Mcp_Param_Region": wrapped, "Mcp_Param_N": "8"}, 400),
    ):
        answer = endpoint.modern("tools/call", call, **headers)
        assert status == answer.status_code, (headers, answer.text)
        assert status == 200 or answer.json()["error"]["code"] == -32020
    assert len(upstream.calls()) == 2
    assert {(wrapped, "7")} == {(one.headers["mcp-param-region"], one.headers["mcp-param-n"]) for one in upstream.calls()}
    absent = endpoint.modern("tools/call", {**call, "arguments": {}}, Mcp_Param_Region="eu")
    assert (400, -32020) == (absent.status_code, absent.json()["error"]["code"])


def test_a_refused_tool_answers_like_an_unknown_one_whatever_its_headers(world: World) -> None:
    upstream = world.upstream(tools=[tool("go") | {"inputSchema": ANNOTATED}, tool("other")])
    project = world.project(up=upstream)
    server = project.servers[0]
    endpoint = world.gateway().as_(project.token(f"role:run,resource:servers,name:{server}/other")["token"])
    answers = []
    for name in (f"{server}__go", f"{server}__gone"):
        answer = endpoint.modern("tools/call", {"name": name, "arguments": {"region": "eu"}})
        answers.append(
            (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["message"].replace(name, ""))
        )
    assert answers[0] == answers[1]
    assert upstream.calls() == []
