"""What the gateway sends upstream, what it makes of what comes back, and how little one bad server matters to the others."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tests.gateway.conftest import META, Endpoint, World
from tests.gateway.test_legacy_wire import open_session, request
from tests.gateway.test_story import until
from tests.gateway.upstreams import MODERN, Upstream, served, tool

ERAS = ["modern", "legacy"]
ANNOTATED_TOOL = [
    tool("go") | {"inputSchema": {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}}
]


def one(world: World, upstream: Any, **settings: Any) -> tuple[Endpoint, str]:
    """An endpoint with one server, and the name of its tool ``echo``."""
    project = world.project(up=upstream)
    return world.gateway(**settings).as_(project.token()["token"]), f"{project.servers[0]}__echo"


def result(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["result"]
    return found


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("era", ERAS)
def test_the_era_is_found_once_and_no_call_shakes_hands_again(world: World, era: str) -> None:
    upstream = world.upstream(era=era)
    endpoint, name = one(world, upstream)
    for _ in range(3):
        assert "isError" not in result(endpoint.call(name))
    handshake = ["server/discover"] if era == "modern" else ["server/discover", "initialize", "notifications/initialized"]
    assert [*handshake, "tools/list", "tools/call", "tools/call", "tools/call"] == upstream.methods()


@pytest.mark.requirement("R3")
@pytest.mark.requirement("R22")
@pytest.mark.parametrize("era", ERAS)
def test_nothing_of_the_callers_request_is_forwarded_but_the_call(world: World, era: str) -> None:
    upstream = world.upstream(era=era)
    project = world.project(up={"transport": "streamable-http", "url": upstream.url, "headers": {"X-Key": "configured"}})  # type: ignore[attr-defined]
    endpoint = world.gateway().as_(project.token()["token"])
    meta = {**META, "vendor/x": 1, "traceparent": "00-1-2-3", "progressToken": "mine"}
    sent = {"Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "Mcp-Session-Id": "mine", "X-Secret": "s", "User-Agent": "me"}
    answer = endpoint.modern(
        "tools/call",
        {
            "name": f"{project.servers[0]}__echo",
            "arguments": {"a": 1},
            "_meta": meta,
            "extra": [1],
            "task": {},
        },
        **sent,
    )
    assert answer.status_code == 200, answer.text
    call = upstream.calls()[0]
    assert call.headers["x-key"] == "configured"
    for name in ("authorization", "cookie", "x-forwarded-for", "x-secret"):
        assert name not in call.headers
    assert call.headers.get("mcp-session-id") != "mine"
    assert call.headers["user-agent"].startswith("mcplocal/")
    assert endpoint.bearer is not None
    assert endpoint.bearer not in json.dumps(call.body)
    params = call.body["params"]
    assert ("echo", {"a": 1}, [1]) == (params["name"], params["arguments"], params["extra"])
    assert "task" not in params
    assert (1, "00-1-2-3") == (params["_meta"]["vendor/x"], params["_meta"]["traceparent"])
    assert params["_meta"].get("progressToken") != "mine"
    if era == "modern":
        assert (MODERN, "tools/call", "echo") == tuple(
            call.headers[n] for n in ("mcp-protocol-version", "mcp-method", "mcp-name")
        )
        assert params["_meta"]["io.modelcontextprotocol/clientInfo"]["name"] == "mcplocal"
    else:
        assert not any(key.startswith("io.modelcontextprotocol/") for key in params["_meta"])


STRANGE = (
    '{"content":[{"type":"hologram","beam":[1.50,1E400,12345678901234567890123]},'
    '{"type":"text","text":"\\ud83d\\ude00 \\u0000"}],'
    '"structuredContent":{"n":10000000000000000000000001},"vendor":{"deep":[null,{"x":1.0}]},"_meta":{"a/b":{"c":null}}}'
)


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("era", ERAS)
def test_what_nobody_here_knows_passes_through_as_it_came(world: World, era: str) -> None:
    endpoint, name = one(world, world.upstream(era=era, answer=lambda _: STRANGE))
    for text in (endpoint.call(name).text, in_session(endpoint, name).text):
        for part in ('{"type":"hologram","beam":[1.50,1E400,12345678901234567890123]}', '"n":10000000000000000000000001'):
            assert part in text
        for part in ('"vendor":{"deep":[null,{"x":1.0}]}', '"a/b":{"c":null}', "\\ud83d\\ude00 \\u0000"):
            assert part in text


def in_session(endpoint: Endpoint, name: str, arguments: dict[str, Any] | None = None) -> httpx2.Response:
    """The call in the era of the handshake."""
    return endpoint.post(request("tools/call", {"name": name, "arguments": arguments or {}}), open_session(endpoint))


@pytest.mark.parametrize("era", ERAS)
def test_a_result_has_the_members_of_its_clients_era_and_no_others(world: World, era: str) -> None:
    info = {"io.modelcontextprotocol/serverInfo": {"name": "u"}}
    text = json.dumps({"content": [], "resultType": "complete", "ttlMs": 5, "cacheScope": "public", "_meta": info})
    endpoint, name = one(world, world.upstream(era=era, answer=lambda _: text))
    modern = result(endpoint.call(name))
    assert {"content", "resultType", "_meta"} == set(modern)
    assert modern["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "mcplocal"
    assert {"content": []} == result(in_session(endpoint, name))


def test_a_client_of_the_earlier_era_is_given_objects_only(world: World) -> None:
    tools = [tool("echo", outputSchema={"type": "array"}), tool("other", outputSchema={"type": "object"})]
    answer = '{"content":[{"type":"text","text":"[1]"}],"structuredContent":[1]}'
    endpoint, name = one(world, world.upstream(tools=tools, answer=lambda _: answer))
    assert [1] == result(endpoint.call(name))["structuredContent"]
    assert "structuredContent" not in result(in_session(endpoint, name))
    listed = endpoint.post(request("tools/list"), open_session(endpoint)).json()["result"]["tools"]
    assert [False, True] == ["outputSchema" in one for one in listed]


ODD = {
    "a kind of result nobody knows": '{"resultType":"later","content":[]}',
    "content that is no list": '{"content":{}}',
}


def test_what_is_no_result_becomes_a_failed_one(world: World) -> None:
    upstream = world.upstream()
    endpoint, name = one(world, upstream)
    for case, text in ODD.items():
        upstream.answer = lambda _, text=text: text  # type: ignore[misc]
        assert result(endpoint.call(name))["isError"] is True, case


def test_what_is_not_json_becomes_a_failed_result(world: World) -> None:
    upstream = world.upstream()
    endpoint, name = one(world, upstream)
    for text in ("{", "NaN", "[]"):
        upstream.answer = lambda _, text=text: text  # type: ignore[misc]
        failed = result(endpoint.call(name))
        assert failed["isError"] is True
        assert "may have been carried out" in failed["content"][0]["text"]


@pytest.mark.requirement("R6")
@pytest.mark.requirement("R13")
@pytest.mark.parametrize("era", ERAS)
def test_progress_reaches_the_client_under_its_own_token_and_untouched(world: World, era: str) -> None:
    upstream = world.upstream(era=era, as_stream=3)
    endpoint, name = one(world, upstream)
    answer = endpoint.modern("tools/call", {"name": name, "_meta": {**META, "progressToken": "tok"}})
    assert answer.headers["content-type"] == "text/event-stream"
    assert ("no-store", "no") == (answer.headers["cache-control"], answer.headers["x-accel-buffering"])
    messages = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    progress = [m["params"] for m in messages if m.get("method") == "notifications/progress"]
    assert [{"progressToken": "tok", "progress": n, "note": "x"} for n in range(3)] == progress
    assert messages[-1]["id"] == 1
    unasked = endpoint.call(name)
    assert unasked.headers["content-type"] == "application/json"
    assert "progressToken" not in upstream.calls()[-1].body["params"].get("_meta", {})


def test_a_client_that_takes_no_stream_gets_the_result_alone(world: World) -> None:
    endpoint, name = one(world, world.upstream(as_stream=3))
    answer = endpoint.modern("tools/call", {"name": name, "_meta": {**META, "progressToken": "tok"}}, Accept="application/json")
    assert result(answer)["content"]


@pytest.mark.requirement("R13")
def test_a_call_that_takes_long_shows_signs_of_life(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcplocal.protocol.answering.STREAM_AFTER", 0.1)
    upstream = world.upstream()
    endpoint, name = one(world, upstream)
    endpoint.tools()
    upstream.delay = 0.5
    answer = endpoint.call(name)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text.count(": still here") >= 2
    assert json.loads(answer.text.splitlines()[-2].removeprefix("data: "))["result"]["resultType"] == "complete"


def test_a_server_that_says_no_in_words_of_its_own_is_asked_once(world: World) -> None:
    upstream = world.upstream()
    endpoint, name = one(world, upstream)
    endpoint.tools()
    upstream.call_error = -32000
    answer = endpoint.call(name)
    assert answer.json()["error"]["code"] == -32000
    assert len(upstream.calls()) == 1


@pytest.mark.parametrize(("before", "after"), [("modern", "legacy"), ("legacy", "modern")])
def test_a_server_that_changes_its_era_is_found_out_without_a_failure(world: World, before: str, after: str) -> None:
    upstream = world.upstream(era=before)
    endpoint, name = one(world, upstream)
    assert "isError" not in result(endpoint.call(name))
    upstream.era = after
    upstream.sessions.clear()
    assert "isError" not in result(endpoint.call(name))
    assert "isError" not in result(endpoint.call(name))


@pytest.mark.requirement("R4")
@pytest.mark.requirement("R33")
def test_a_lost_session_is_opened_again_once_for_all_who_wait(world: World) -> None:
    upstream = world.upstream(era="legacy")
    endpoint, name = one(world, upstream)
    assert result(endpoint.call(name))
    upstream.sessions.clear()
    threads = [threading.Thread(target=lambda: answers.append(in_thread(endpoint, name))) for _ in range(5)]
    answers: list[httpx2.Response] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("isError" not in result(answer) for answer in answers)
    assert upstream.methods().count("initialize") == 2


def in_thread(endpoint: Endpoint, name: str) -> httpx2.Response:
    with httpx2.Client(timeout=20, trust_env=False) as http:
        return Endpoint(http, endpoint.url, endpoint.bearer).call(name)


@pytest.mark.requirement("R4")
def test_a_server_that_keeps_losing_the_session_is_not_asked_for_ever(world: World) -> None:
    upstream = world.upstream(era="legacy")
    endpoint, name = one(world, upstream)
    assert result(endpoint.call(name))
    calls = len(upstream.calls())

    class Forgetful(set[str]):
        def __contains__(self, _: object) -> bool:
            return False

    upstream.sessions = Forgetful()
    assert result(endpoint.call(name))["isError"] is True
    assert len(upstream.calls()) - calls == 2


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_call_that_was_sent_is_never_sent_again(world: World, status: int) -> None:
    upstream = world.upstream()
    endpoint, name = one(world, upstream)
    endpoint.tools()
    upstream.fail = status
    assert "may have been carried out" in result(endpoint.call(name))["content"][0]["text"]
    assert len(upstream.calls()) == 1


@pytest.mark.requirement("R11")
def test_a_call_that_takes_too_long_is_given_up(world: World) -> None:
    upstream = world.upstream()
    endpoint, name = one(world, upstream, call_timeout="300ms")
    endpoint.tools()
    upstream.delay = 30
    begun = time.monotonic()
    assert result(endpoint.call(name))["isError"] is True
    assert time.monotonic() - begun < 3
    until(lambda: upstream.gone == 1, 3)


@pytest.mark.requirement("R7")
def test_a_client_that_goes_away_cancels_its_call_in_the_later_era(world: World) -> None:
    upstream = world.upstream()
    endpoint, name = one(world, upstream)
    endpoint.tools()
    upstream.delay = 30
    with pytest.raises(httpx2.ReadTimeout):
        endpoint.post(
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "_meta": META}},
            {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name},
            timeout=0.5,
        )
    until(lambda: upstream.gone == 1, 3)


@pytest.mark.requirement("R7")
def test_a_client_that_goes_away_cancels_nothing_in_the_earlier_era(world: World) -> None:
    upstream = world.upstream()
    events: list[Any] = []
    project = world.project(up=upstream)
    endpoint = world.gateway(on_decision=events.append).as_(project.token()["token"])
    session = open_session(endpoint)
    name = endpoint.post(request("tools/list"), session).json()["result"]["tools"][0]["name"]
    upstream.delay = 0.8
    with pytest.raises(httpx2.ReadTimeout):
        endpoint.post(request("tools/call", {"name": name}), session, timeout=0.2)
    until(lambda: [event["outcome"] for event in events] == ["ok"], 3)
    assert upstream.gone == 0


@pytest.mark.requirement("R14")
@pytest.mark.requirement("R11")
def test_one_dead_server_stalls_the_first_list_and_no_other(world: World) -> None:
    dead, good = world.upstream(delay=60), world.upstream()
    project = world.project(dead=dead, good=good)
    endpoint = world.gateway(list_timeout="1s").as_(project.token()["token"])
    begun = time.monotonic()
    assert "isError" not in result(endpoint.call(f"{project.servers[1]}__echo"))
    assert time.monotonic() - begun < 0.9
    assert endpoint.tools() == [f"{project.servers[1]}__echo"]
    first = time.monotonic() - begun
    assert 0.9 < first < 3
    begun = time.monotonic()
    for _ in range(3):
        assert endpoint.tools() == [f"{project.servers[1]}__echo"]
    assert time.monotonic() - begun < 0.9
    assert dead.methods() == ["server/discover"]
    dead.delay = 0


@pytest.mark.requirement("R16")
def test_many_who_miss_at_once_make_one_upstream_call(world: World) -> None:
    upstream = world.upstream(delay=0.3)
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    threads = [threading.Thread(target=lambda: lists.append(in_thread_list(endpoint))) for _ in range(8)]
    lists: list[int] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [1] * 8 == lists
    assert ["server/discover", "tools/list"] == upstream.methods()


def in_thread_list(endpoint: Endpoint) -> int:
    with httpx2.Client(timeout=20, trust_env=False) as http:
        return len(Endpoint(http, endpoint.url, endpoint.bearer).tools())


@pytest.mark.requirement("R15")
def test_a_server_that_fails_keeps_its_last_good_list(world: World) -> None:
    upstream = world.upstream(list_members={"ttlMs": 0})
    endpoint, name = one(world, upstream)
    assert endpoint.tools() == [name]
    upstream.fail = 500
    time.sleep(1.1)
    assert endpoint.tools() == [name]
    until(lambda: upstream.methods().count("tools/list") == 2, 3)
    assert endpoint.tools() == [name]
    upstream.fail = None


@pytest.mark.requirement("R16")
def test_a_list_that_changed_is_seen_after_its_time(world: World) -> None:
    upstream = world.upstream(list_members={"ttlMs": 0})
    endpoint, name = one(world, upstream)
    assert endpoint.tools() == [name]
    upstream.tools = [tool("new")]
    until(lambda: endpoint.tools() == [name.replace("echo", "new")], 3)
    assert endpoint.call(name).json()["error"]["code"] == -32602


@pytest.mark.requirement("R15")
def test_if_no_server_answers_the_list_is_an_error_and_not_empty(world: World) -> None:
    endpoint, _ = one(world, "http://127.0.0.1:9/mcp")
    answer = endpoint.modern("tools/list")
    assert answer.json()["error"]["code"] == -32603
    assert world.gateway().as_(world.project().token("role:run,resource:servers,name:x")["token"]).tools() == []


@pytest.mark.requirement("R19")
def test_every_page_is_fetched_and_a_circle_is_noticed(world: World) -> None:
    upstream = world.upstream(tools=[tool(f"t{n}") for n in range(7)], pages=3)
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    assert {f"{project.servers[0]}__t{n}" for n in range(7)} == set(endpoint.tools())
    circle = world.upstream(list_members={"nextCursor": "0"})
    endpoint, _ = one(world, circle)
    assert endpoint.modern("tools/list").json()["error"]["code"] == -32603
    assert circle.methods().count("tools/list") <= 2


BAD_TOOLS: list[Any] = [
    "text",
    {"inputSchema": {"type": "object"}},
    tool(""),
    tool("with space"),
    tool("prompt:x"),
    tool("resource:x"),
    tool("star*"),
    tool("ünïcode"),
    tool("echo"),
    tool("echo", description="the same name again"),
    {"name": "no_schema"},
    {"name": "array_schema", "inputSchema": {"type": "array"}},
    {"name": "null_required", "inputSchema": {"type": "object", "required": None}},
    tool("bad_description", description=1),
    {"name": "bad_header", "inputSchema": {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}},
    tool("files/read.all:now"),
]


@pytest.mark.requirement("R18")
def test_a_bad_tool_is_left_out_and_the_others_are_not(world: World) -> None:
    endpoint, name = one(world, world.upstream(tools=BAD_TOOLS))
    listed = endpoint.tools()
    assert name == listed[0]
    assert len(listed) == 2
    assert listed[1].startswith(name.replace("echo", "files_read_all_now_"))
    assert "isError" not in result(endpoint.call(listed[1]))
    server = name.partition("__")[0]
    until(lambda: shown_instance(world, server).get("status") == "DEGRADED", 5)
    assert "null_required is not offered" in shown_instance(world, server)["detail"]


def shown_instance(world: World, server: str) -> dict[str, Any]:
    answer = world.control.admin.get(f"/instances/{server}/tested")
    return answer.json() if answer.status_code == 200 else {}


def test_the_status_of_servers_is_reported(world: World) -> None:
    project = world.project(good=world.upstream(), bad="http://127.0.0.1:9/mcp", far="http://169.254.169.254/mcp")
    endpoint = world.gateway().as_(project.token()["token"])
    endpoint.tools()
    for server, status in zip(project.servers, ("RUNNING", "UNREACHABLE", "ERROR"), strict=True):
        until(lambda server=server, status=status: shown_instance(world, server).get("status") == status, 5)  # type: ignore[misc]
    assert "link-local" in shown_instance(world, project.servers[2])["detail"]


@pytest.mark.requirement("R20")
def test_in_plain_mode_a_name_that_two_servers_claim_is_given_to_neither(world: World) -> None:
    one_, two = world.upstream(tools=[tool("a"), tool("same")]), world.upstream(tools=[tool("b"), tool("same")])
    project = world.project("plain", one=one_, two=two)
    endpoint = world.gateway().as_(project.token()["token"])
    assert ["a", "b"] == endpoint.tools()
    assert "isError" not in result(endpoint.call("b"))
    assert endpoint.call("same").json()["error"]["code"] == -32602


@pytest.mark.requirement("R26")
def test_a_redirect_is_not_followed(world: World) -> None:
    target = world.upstream()

    async def elsewhere(_: Request) -> Response:
        return RedirectResponse(target.url)  # type: ignore[attr-defined]

    base = world.stack.enter_context(served(Starlette(routes=[Route("/mcp", elsewhere, methods=["POST"])])))
    endpoint, _ = one(world, f"{base}/mcp")
    assert "error" in endpoint.modern("tools/list").json()
    assert target.seen == []


@pytest.mark.requirement("R12")
def test_an_answer_over_the_limit_is_not_read_to_its_end(world: World) -> None:
    upstream = world.upstream(answer=lambda _: '{"content":[{"type":"text","text":"' + "x" * 200_000 + '"}]}')
    endpoint, name = one(world, upstream, max_response_bytes=100_000)
    assert result(endpoint.call(name))["isError"] is True
    upstream.as_stream = 0
    assert result(endpoint.call(name))["isError"] is True


@pytest.mark.requirement("R12")
def test_large_results_pass_in_both_forms(world: World) -> None:
    upstream = world.upstream(answer=lambda _: '{"content":[{"type":"text","text":"' + "x" * 5_000_000 + '"}]}')
    endpoint, name = one(world, upstream)
    for as_stream in (None, 0):
        upstream.as_stream = as_stream
        assert len(result(endpoint.call(name))["content"][0]["text"]) == 5_000_000


PRIVATE = [
    "http://127.0.0.1:{port}/mcp",
    "http://localhost:{port}/mcp",
    "http://2130706433:{port}/mcp",
    "http://[::ffff:127.0.0.1]:{port}/mcp",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_loopback_is_reached_only_within_the_networks_given(world: World, url: str) -> None:
    upstream: Upstream = world.upstream()
    port = upstream.url.rpartition(":")[2].partition("/")[0]  # type: ignore[attr-defined]
    endpoint, _ = one(world, url.format(port=port), upstream_networks="10.0.0.0/8")
    assert "error" in endpoint.modern("tools/list").json()
    assert upstream.seen == []


@pytest.mark.requirement("R1")
@pytest.mark.requirement("R2")
def test_a_stateful_server_has_a_connection_of_its_own_for_each_session(world: World) -> None:
    upstream = world.upstream(era="legacy")
    project = world.project(up={"transport": "streamable-http", "url": upstream.url, "stateful": True})  # type: ignore[attr-defined]
    endpoint = world.gateway().as_(project.token()["token"])
    name = f"{project.servers[0]}__echo"
    first, second = open_session(endpoint), open_session(endpoint)
    for session in (first, second, first):
        assert "isError" not in result(endpoint.post(request("tools/call", {"name": name, "arguments": {}}), session))
    used = [call.headers["mcp-session-id"] for call in upstream.calls()]
    assert used[0] == used[2] != used[1]
    endpoint.http.delete(endpoint.url, headers={"Authorization": f"Bearer {endpoint.bearer}", **first})
    until(lambda: used[0] not in upstream.sessions, 3)
    assert used[1] in upstream.sessions
