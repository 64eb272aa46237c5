"""The id of a request and its trace, from an agent through its gateway to the server and to the control plane."""

from __future__ import annotations

import pytest

from mcpctl import request_ids
from tests.gateway.conftest import META, World
from tests.gateway.test_legacy_wire import open_session
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import one, result
from tests.gateway.upstreams import Upstream
from tests.serving import made
from tests.test_request_ids import PARENT


@pytest.fixture
def upstream(world: World) -> Upstream:
    return world.upstream()


def test_it_is_answered_and_audited_and_only_traceparent_goes_on(world: World, upstream: Upstream) -> None:
    endpoint, name = one(world, upstream)
    answer = endpoint.modern("tools/call", {"name": name, "arguments": {}}, X_Request_Id="mine-1", traceparent=PARENT)
    assert "isError" not in result(answer)
    assert "mine-1" == answer.headers["x-request-id"]
    (call,) = upstream.calls()
    assert PARENT == call.headers["traceparent"]
    assert "x-request-id" not in call.headers
    plain = endpoint.modern("tools/call", {"name": name, "arguments": {}}, traceparent="nonsense")
    assert 32 == len(plain.headers["x-request-id"])
    assert "traceparent" not in upstream.calls()[1].headers
    wanted = {"mine-1", plain.headers["x-request-id"]}

    def audited() -> set[str]:
        items = made(world.control.admin.get("/audit?limit=100"), 200)["items"]
        return {row["requestId"] for row in items if row["server"] == name.partition("__")[0]}

    until(lambda: wanted <= audited(), 10)


def test_no_header_of_a_client_but_traceparent_reaches_a_server(world: World, upstream: Upstream) -> None:
    endpoint, name = one(world, upstream)
    sent = {"traceparent": PARENT, "tracestate": "a=b", "baggage": "c=d", "Cookie": "e=f", "X-Forwarded-For": "1.2.3.4"}
    endpoint.modern("tools/call", {"name": name, "arguments": {}}, **sent)
    (call,) = upstream.calls()
    assert {"traceparent"} == {header.lower() for header in sent} & set(call.headers)


def test_a_problem_of_a_gateway_has_it_too(world: World, upstream: Upstream) -> None:
    endpoint, _ = one(world, upstream)
    for bearer, status in ((None, 401), ("mcpctl_pat_" + "x" * 43, 401)):
        answer = endpoint.as_(bearer).modern("tools/list", X_Request_Id="mine")
        assert (status, "mine") == (answer.status_code, answer.headers["x-request-id"])


def test_what_the_gateway_asks_of_the_control_plane_has_it(world: World, upstream: Upstream) -> None:
    heard: list[str | None] = []
    endpoint, begin = world.gateway().as_(world.project(up=upstream).token()["token"]), request_ids.begin

    def note(given: str | None, traceparent: str | None) -> str:
        heard.append(given)
        return begin(given, traceparent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_ids, "begin", note)
        endpoint.modern("tools/list", X_Request_Id="first-of-all")
    assert 3 <= heard.count("first-of-all"), "its own, introspection and slices"


def test_a_stream_and_an_answer_without_a_body_have_it_too(world: World) -> None:
    upstream = world.upstream(as_stream=2)
    endpoint, name = one(world, upstream)
    params = {"name": name, "arguments": {}, "_meta": {**META, "progressToken": 1}}
    answer = endpoint.modern("tools/call", params, X_Request_Id="streamed")
    assert ("text/event-stream", "streamed") == (answer.headers["content-type"], answer.headers["x-request-id"])
    headers = {**open_session(endpoint), "X-Request-Id": "told"}
    told = endpoint.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, headers)
    assert (202, "told") == (told.status_code, told.headers["x-request-id"])
