"""A tool that is not for the caller: in no list, answered to the byte as an unknown one, and never heard of upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.conftest import META, Endpoint, World
from tests.gateway.test_legacy_wire import open_session, request
from tests.gateway.upstreams import Upstream, tool

ASKED = "as-asked"


def answered(endpoint: Endpoint, name: str, session: dict[str, str] | None, **more: Any) -> tuple[Any, ...]:
    """Everything an answer shows, with the name that was asked for covered."""
    if session is None:
        answer = endpoint.modern("tools/call", {"name": name, "arguments": {"a": 1}, **more})
    else:
        answer = endpoint.post(request("tools/call", {"name": name, "arguments": {"a": 1}, **more}), session)
    headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id", "content-length")}
    return answer.status_code, headers, answer.text.replace(name, ASKED)


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("upstream_era", ["modern", "legacy"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_denied_tool_answers_exactly_as_an_unknown_one_and_its_server_never_hears_of_it(
    world: World, era: str, upstream_era: str
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "x-mcp-header": "A"}}}
    tools = [tool("allowed"), tool("denied"), tool("denied/by.rule"), {"name": "with_header", "inputSchema": schema}]
    upstream, elsewhere = world.upstream(era=upstream_era, tools=tools), world.upstream()
    project = world.project(up=upstream, other=elsewhere)
    server, other = project.servers
    token = project.token(f"role:run,resource:servers,name:{server}/allowed")
    endpoint = world.gateway().as_(token["token"])
    session = open_session(endpoint) if era == "legacy" else None
    listed = endpoint.post(request("tools/list"), session) if session else endpoint.modern("tools/list")
    assert [f"{server}__allowed"] == [one["name"] for one in listed.json()["result"]["tools"]]
    for hidden in ("denied", other, "with_header"):
        assert hidden not in listed.text
    whole = world.gateway().as_(project.token()["token"])
    names = [name for name in whole.tools() if name != f"{server}__allowed"]
    assert len(names) == 4
    before = len(upstream.seen), len(elsewhere.seen)
    variants: list[dict[str, Any]] = [{}, {"_meta": {**META, "progressToken": "p"}}, {"arguments": []}]
    for more in variants:
        unknown = answered(endpoint, f"{server}__nothing", session, **more)
        for name in [*names, f"{server}/denied", f"{server}__", "denied", f"{other}__nothing", "no_such_server__echo"]:
            assert unknown == answered(endpoint, name, session, **more), name
    assert before == (len(upstream.seen), len(elsewhere.seen))
    assert [] == [*upstream.calls(), *elsewhere.calls()]


def everything_seen(*upstreams: Upstream) -> str:
    return json.dumps([(one.method, one.headers, one.body) for upstream in upstreams for one in upstream.seen])


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("upstream_era", ["modern", "legacy"])
def test_no_upstream_ever_sees_a_callers_bearer_or_headers(world: World, upstream_era: str) -> None:
    upstream = world.upstream(era=upstream_era)
    project = world.project(up=upstream)
    token = project.token()
    endpoint = world.gateway().as_(token["token"])
    name = f"{project.servers[0]}__echo"
    session = open_session(endpoint)
    sent = {
        "Cookie": "caller-cookie",
        "X-Caller": "caller-header",
        "Forwarded": "for=caller-forwarded",
        "X-Forwarded-For": "198.51.100.7",
        "Proxy-Authorization": "Basic caller-proxy",
        "Last-Event-ID": "caller-event",
        "Mcp-Param-X": "caller-param",
        "Origin": "http://localhost:1",
        "User-Agent": "caller-agent",
    }
    assert endpoint.modern("tools/list", {}, **sent).status_code == 200
    assert endpoint.modern("tools/call", {"name": name, "arguments": {}}, **sent).status_code == 200
    body = request("tools/call", {"name": name, "arguments": {}}, "caller-id")
    assert endpoint.post(body, {**session, **sent}).status_code == 200
    seen = everything_seen(upstream)
    assert len(upstream.calls()) == 2
    hidden = [token["token"], token["tokenSha"], session["Mcp-Session-Id"], "localhost:1", "198.51.100.7"]
    for word in [*hidden, "caller-", "authorization", "cookie", "forwarded", "last-event-id"]:
        assert word not in seen, word
