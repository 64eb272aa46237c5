"""What a gateway of MCP must not get wrong, as far as no other module attacks it: see ``docs/requirements.md``."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from mcplocal.protocol import answering, listening
from tests.gateway.conftest import META, Endpoint, World
from tests.gateway.test_legacy_wire import open_session, request
from tests.gateway.test_open_streams import listening as stream_of
from tests.gateway.test_open_streams import told
from tests.gateway.test_stdio_servers import Child
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import ERAS, in_session, one, result, shown_instance
from tests.gateway.upstreams import MODERN, Upstream, served, tool


def all_at_once(work: list[Any]) -> None:
    threads = [threading.Thread(target=one_of_them) for one_of_them in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def url_of(upstream: Upstream) -> str:
    url: str = upstream.url  # type: ignore[attr-defined]
    return url


def events(answer: httpx2.Response) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


@pytest.mark.requirement("R1")
@pytest.mark.requirement("R16")
def test_one_address_with_two_credentials_is_two_servers_that_share_nothing(world: World) -> None:
    upstream = world.upstream(era="legacy")
    for key in ("red", "blue"):
        body = {"transport": "streamable-http", "url": url_of(upstream), "headers": {"X-Key": key}}
        project = world.project(up=body)
        endpoint = world.gateway().as_(project.token()["token"])
        assert "isError" not in result(endpoint.call(f"{project.servers[0]}__echo"))
    used = {(call.headers["x-key"], call.headers["mcp-session-id"]) for call in upstream.calls()}
    assert [("blue", 1), ("red", 1)] == sorted((key, sum(k == key for k, _ in used)) for key, _ in used)
    assert 2 == len({session for _, session in used})
    lists = [seen.headers["x-key"] for seen in upstream.calls("tools/list")]
    assert ["red", "blue"] == lists


@pytest.mark.requirement("R2")
def test_a_server_that_keeps_no_state_has_one_connection_for_everybody(world: World) -> None:
    upstream = world.upstream(era="legacy")
    project = world.project(up=upstream)
    gateway = world.gateway()
    for _ in range(2):
        endpoint = gateway.as_(project.token()["token"])
        assert "isError" not in result(in_session(endpoint, f"{project.servers[0]}__echo"))
    assert 1 == len({call.headers["mcp-session-id"] for call in upstream.calls()})


@pytest.mark.requirement("R3")
@pytest.mark.parametrize("era", ERAS)
def test_clients_with_the_same_ids_and_progress_tokens_never_hear_each_others(world: World, era: str) -> None:
    upstream = world.upstream(era=era, as_stream=2, delay=0.2)
    project = world.project(up=upstream)
    gateway = world.gateway()
    name = f"{project.servers[0]}__echo"
    endpoints = [gateway.as_(project.token()["token"]) for _ in range(4)]
    assert [name] == endpoints[0].tools()
    heard: dict[int, list[dict[str, Any]]] = {}

    def call(number: int) -> None:
        with httpx2.Client(timeout=20, trust_env=False) as http:
            mine = Endpoint(http, endpoints[number].url, endpoints[number].bearer)
            params = {"name": name, "arguments": {"of": number}, "_meta": {**META, "progressToken": 1}}
            heard[number] = events(mine.modern("tools/call", params))

    all_at_once([lambda number=number: call(number) for number in range(4)])
    for number, (*progress, last) in heard.items():
        assert [(1, 0), (1, 1)] == [(told["params"]["progressToken"], told["params"]["progress"]) for told in progress]
        assert {"of": number} == json.loads(last["result"]["content"][0]["text"])
        assert 1 == last["id"]
    calls = [seen.body for seen in upstream.calls()]
    assert 4 == len({json.dumps(call["id"]) for call in calls})
    assert 4 == len({json.dumps(call["params"]["_meta"]["progressToken"]) for call in calls})


class Verbatim(Upstream):
    """Keeps what it is sent as it is written."""

    async def _serve(self, request: Request) -> Response:
        self.bodies = [*getattr(self, "bodies", []), await request.body()]
        return await super()._serve(request)


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("era", ERAS)
def test_what_a_client_says_beside_a_call_arrives_as_it_is_written(world: World, era: str) -> None:
    upstream = Verbatim(era=era)
    upstream.url = world.stack.enter_context(served(upstream.app())) + "/mcp"  # type: ignore[attr-defined]
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    name = f"{project.servers[0]}__echo"
    written = '"vendor/pi":3.141592653589793238462643,"vendor/price":[1.50,1e2,12345678901234567890123]'
    arguments = '{"n":0.10000000000000000000001}'
    params = f'{{"name":"{name}","arguments":{arguments},"_meta":{{{written},{json.dumps(META)[1:]}}}'
    body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}'
    sent = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name}
    assert "result" in endpoint.post(body, sent).json()
    arrived = upstream.bodies[-1].decode()
    for part in (*written.split(',"'), arguments):
        assert part.lstrip('"') in arrived


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("client_era", ERAS)
def test_a_cancelled_call_is_cancelled_at_a_server_of_the_earlier_era_by_the_id_it_knows(world: World, client_era: str) -> None:
    upstream = world.upstream(era="legacy")
    endpoint, name = one(world, upstream)
    endpoint.tools()
    session = open_session(endpoint)
    upstream.delay = 2
    headers = {"Authorization": f"Bearer {endpoint.bearer}", "Accept": "application/json, text/event-stream"}
    if client_era == "modern":
        sent = {**headers, "MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name}
        with pytest.raises(httpx2.ReadTimeout):  # going away is how it is cancelled in that era
            httpx2.post(endpoint.url, json=request("tools/call", {"name": name, "_meta": META}, 77), headers=sent, timeout=0.5)
    else:
        body = request("tools/call", {"name": name}, 77)
        calling = threading.Thread(target=lambda: httpx2.post(endpoint.url, json=body, headers={**headers, **session}))
        calling.start()
        until(lambda: len(upstream.calls()) == 1, 5)
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}}
        assert endpoint.post(cancelled, session).status_code == 202
        calling.join(10)
    upstream.delay = 0
    until(lambda: bool(upstream.calls("notifications/cancelled")), 5)
    (told,), (call,) = upstream.calls("notifications/cancelled"), upstream.calls()
    assert call.body["id"] == told.body["params"]["requestId"]


@pytest.mark.requirement("R8")
def test_a_server_that_says_very_often_that_its_list_has_changed_is_asked_seldom(world: World) -> None:
    upstream = world.upstream(as_stream=0, says_changed=("tools",) * 20)
    endpoint, name = one(world, upstream)
    endpoint.tools()
    with stream_of(endpoint, open_session(endpoint)) as lines:
        upstream.tools = [tool("echo"), tool("new")]
        for _ in range(5):
            assert endpoint.call(name).status_code == 200
        until(lambda: 2 == len(endpoint.tools()), 5)
        until(lambda: told(lines) == 1, 5)
    assert upstream.methods().count("tools/list") <= 4


@pytest.mark.requirement("R9")
@pytest.mark.parametrize("era", ERAS)
def test_a_result_that_breaks_its_own_schema_passes_and_no_list_is_asked_for_on_its_account(world: World, era: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    broken = '{"content":[],"structuredContent":{"n":"many"}}'
    upstream = world.upstream(era=era, tools=[tool("echo", outputSchema=schema)], answer=lambda _: broken)
    endpoint, name = one(world, upstream)
    for answer in (endpoint.call(name), in_session(endpoint, name)):
        assert {"n": "many"} == result(answer)["structuredContent"]
    assert 1 == upstream.methods().count("tools/list")


@pytest.mark.requirement("R9")
def test_calls_at_once_have_each_their_own_headers(world: World) -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    upstream = world.upstream(tools=[{"name": "echo", "inputSchema": schema}], delay=0.1)
    project = world.project(up=upstream)
    name, endpoint = f"{project.servers[0]}__echo", world.gateway().as_(project.token()["token"])
    endpoint.tools()

    def call(region: str) -> None:
        with httpx2.Client(timeout=20, trust_env=False) as http:
            mine = Endpoint(http, endpoint.url, endpoint.bearer)
            params = {"name": name, "arguments": {"region": region}}
            assert mine.modern("tools/call", params, Mcp_Param_Region=region).status_code == 200

    all_at_once([lambda region=f"r{number}": call(region) for number in range(8)])
    seen = [(call.headers["mcp-param-region"], call.body["params"]["arguments"]["region"]) for call in upstream.calls()]
    assert sorted((f"r{number}", f"r{number}") for number in range(8)) == sorted(seen)


@pytest.mark.requirement("R11")
def test_progress_does_not_prolong_the_longest_time_a_call_may_take(world: World) -> None:
    endpoint, name = one(world, world.upstream(drip=0.05), call_timeout="400ms")
    endpoint.tools()
    *progress, last = events(endpoint.modern("tools/call", {"name": name, "_meta": {**META, "progressToken": 1}}))
    assert progress
    assert last["result"]["isError"] is True


@pytest.mark.requirement("R12")
def test_a_result_of_a_child_may_be_one_very_long_line(world: World) -> None:
    child = Child(world, habit="large")
    assert 5_000_000 < len(child.call("look")["content"][0]["text"])
    small = Child(world, habit="large", max_response_bytes=1 << 20)
    assert small.call("look")["isError"] is True


@pytest.mark.requirement("R13")
def test_streams_show_signs_of_life_every_fifteen_seconds_and_number_no_events(world: World) -> None:
    assert answering.STREAM_AFTER <= 15
    assert listening.SIGN_OF_LIFE <= 15
    endpoint, name = one(world, world.upstream(as_stream=2))
    answer = endpoint.modern("tools/call", {"name": name, "_meta": {**META, "progressToken": 1}})
    assert ("text/event-stream", "no-store", "no") == tuple(
        answer.headers[header] for header in ("content-type", "cache-control", "x-accel-buffering")
    )
    assert {"event", "data"} == {line.partition(":")[0] for line in answer.text.splitlines() if line}


@pytest.mark.requirement("R16")
def test_who_asked_first_and_went_away_takes_nothing_from_who_asked_next(world: World) -> None:
    upstream = world.upstream(delay=0.8)
    endpoint, name = one(world, upstream)
    with pytest.raises(httpx2.ReadTimeout):
        endpoint.post(
            request("tools/list", {"_meta": META}), {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}, timeout=0.3
        )
    assert [name] == endpoint.tools()
    assert ["server/discover", "tools/list"] == upstream.methods()
    assert 0 == upstream.gone


@pytest.mark.requirement("R16")
@pytest.mark.requirement("R33")
def test_a_server_that_fails_is_asked_later_and_later(world: World) -> None:
    upstream = world.upstream(fail=500)
    endpoint, _ = one(world, upstream, list_retry="100ms")
    begun = time.monotonic()
    while time.monotonic() - begun < 1.5:
        assert "error" in endpoint.modern("tools/list").json()
        time.sleep(0.01)
    assert 2 <= len(upstream.seen) <= 5  # at once, and after 100, 300, 700 and 1500 ms, or a tenth sooner


@pytest.mark.requirement("R17")
def test_lists_are_in_the_order_of_the_servers_and_then_in_theirs_whoever_answers_first(world: World) -> None:
    slow = world.upstream(tools=[tool("b"), tool("a")], delay=0.3, list_members={"ttlMs": 1})
    quick = world.upstream(tools=[tool("z"), tool("c")], list_members={"ttlMs": 1})
    project = world.project(slow=slow, quick=quick)
    endpoint = world.gateway().as_(project.token()["token"])
    expected = [f"{project.servers[0]}__{name}" for name in ("b", "a")] + [
        f"{project.servers[1]}__{name}" for name in ("z", "c")
    ]
    assert expected == endpoint.tools()
    slow.delay, quick.delay = 0, 0.3
    time.sleep(1.1)
    until(lambda: quick.methods().count("tools/list") >= 2 or endpoint.tools() != expected, 5)
    assert expected == endpoint.tools()


class EmptyCursor(Upstream):
    """Its second page has the empty string for a cursor, which is one like any other."""

    def _list(self, body: dict[str, Any], member: str, entries: list[Any], members: dict[str, Any]) -> Response:
        cursor = body.get("params", {}).get("cursor")
        page = {member: entries[:1], "nextCursor": ""} if cursor is None else {member: entries[1:]}
        text = json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": {**page, **members}})
        return Response(text, media_type="application/json")


@pytest.mark.requirement("R19")
def test_an_empty_cursor_is_a_cursor(world: World) -> None:
    upstream = EmptyCursor(tools=[tool("first"), tool("second")])
    upstream.url = world.stack.enter_context(served(upstream.app())) + "/mcp"  # type: ignore[attr-defined]
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    assert [f"{project.servers[0]}__first", f"{project.servers[0]}__second"] == endpoint.tools()


@pytest.mark.requirement("R23")
def test_the_id_of_a_session_is_no_credential(world: World) -> None:
    project = world.project(up=world.upstream())
    token = project.token()
    gateway = world.gateway()
    owner = gateway.as_(token["token"])
    session = open_session(owner)
    assert 200 == owner.post(request("ping"), session).status_code
    for bearer in (None, "mcpctl_pat_" + "x" * 43):
        assert 401 == gateway.as_(bearer).post(request("ping"), session).status_code
    project.revoke(token)
    until(lambda: owner.post(request("ping"), session).status_code == 401, 2)


@pytest.mark.requirement("R25")
def test_nobodys_consent_is_asked_for_here(world: World) -> None:
    endpoint = world.gateway(authorization_servers="https://id.example", public_url="https://mcp.example")
    base = endpoint.url.removesuffix("/mcp")
    paths = ("authorize", "token", "register", "oauth2/authorize", "callback", ".well-known/oauth-authorization-server")
    assert [404] * len(paths) == [endpoint.http.get(f"{base}/{path}").status_code for path in paths]
    document = endpoint.http.get(f"{base}/.well-known/oauth-protected-resource/mcp").json()
    assert ["https://id.example"] == document["authorization_servers"]


@pytest.mark.requirement("R26")
def test_nothing_that_a_server_points_to_is_fetched(world: World) -> None:
    elsewhere = world.upstream()
    pointer = url_of(elsewhere)
    schema = {"type": "object", "properties": {"a": {"$ref": f"{pointer}/schema.json"}}}
    pointing = tool("echo", icons=[{"src": f"{pointer}/icon.png"}])
    pointing["inputSchema"] = schema
    link = {"type": "resource_link", "uri": f"{pointer}/file", "name": "f"}
    upstream = world.upstream(tools=[pointing, tool("other")], answer=lambda _: json.dumps({"content": [link]}))
    endpoint, name = one(world, upstream)
    endpoint.tools()
    assert [link] == result(endpoint.call(name.replace("echo", "other")))["content"]
    endpoint.call(name)
    assert [] == elsewhere.seen


@pytest.mark.requirement("R31")
def test_one_child_serves_many_calls(world: World) -> None:
    child = Child(world)
    assert 1 == len({child.look()["pid"] for _ in range(4)})


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_its_credential_is_not_asked_again_and_again(world: World, status: int) -> None:
    upstream = world.upstream(fail=status)
    endpoint, name = one(world, upstream, list_retry="10ms", probe_interval="1s")
    for _ in range(10):
        assert "error" in endpoint.modern("tools/list").json()
        time.sleep(0.15)
    assert len(upstream.seen) <= 2
    server = name.partition("__")[0]
    until(lambda: shown_instance(world, server).get("status") == "ERROR", 5)
    assert "credential" in shown_instance(world, server)["detail"]


@pytest.mark.requirement("R33")
def test_one_failed_health_check_takes_nothing_away(world: World) -> None:
    upstream = world.upstream(list_members={"ttlMs": 1})
    endpoint, name = one(world, upstream, probe_interval="1s")
    assert [name] == endpoint.tools()
    upstream.fail = 500
    until(lambda: upstream.methods().count("tools/list") >= 2, 5)
    upstream.fail = None
    assert [name] == endpoint.tools()
    assert "isError" not in result(endpoint.call(name))


@pytest.mark.requirement("R34")
@pytest.mark.parametrize("era", ERAS)
def test_no_tool_is_ever_called_to_see_whether_its_server_lives(world: World, era: str) -> None:
    upstream = world.upstream(era=era, list_members={"ttlMs": 1})
    endpoint, _ = one(world, upstream, probe_interval="1s")
    endpoint.tools()
    until(lambda: upstream.methods().count("tools/list") >= 2, 10)
    assert [] == upstream.calls()
