"""What is under way when rights end: calls, queued calls, progress and open streams stop within the second too."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import httpx2
import pytest

from tests.gateway.conftest import META, Endpoint, Project, World
from tests.gateway.test_legacy_wire import open_session, request
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import result
from tests.gateway.upstreams import MODERN, Upstream, prompt, resource, template
from tests.serving import made

SLOW = 20.0
"""Seconds the upstream takes, far more than a revocation may."""


class Running:
    """A call in a thread of its own: every line of its answer with the moment it came."""

    def __init__(self, endpoint: Endpoint, name: str, **meta: Any) -> None:
        self.lines: list[tuple[float, str]] = []
        self.ended: float | None = None
        self.status = 0
        self._endpoint = endpoint
        params = {"name": name, "arguments": {}, "_meta": {**META, **meta}}
        self._body = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}
        self._headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        headers = {
            "Authorization": f"Bearer {self._endpoint.bearer}",
            "Accept": "application/json, text/event-stream",
            **self._headers,
        }
        with (
            httpx2.Client(timeout=60, trust_env=False) as http,
            http.stream("POST", self._endpoint.url, json=self._body, headers=headers) as answer,
        ):
            self.status = answer.status_code
            for line in answer.iter_lines():
                self.lines.append((time.monotonic(), line))
        self.ended = time.monotonic()

    def join(self) -> str:
        """The text of the answer once it has ended."""
        self._thread.join(30)
        assert self.ended is not None
        return "\n".join(line for _, line in self.lines)


def revoked(project: Project, token: dict[str, Any], endpoint: Endpoint) -> None:
    project.revoke(token)


def owned(project: Project) -> dict[str, Any]:
    """A token whose owner holds just what it takes, by one definition."""
    server, name = project.servers[0], f"erin-{project.name}"
    run = f"role:run,resource:servers,name:{server}"
    view, create = (f"role:{role},name:{project.name}" for role in ("view,resource:projects", "create,resource:mcptokens"))
    owner = project.control.user(name, view, create)
    allow_again(project)
    return made(owner.post("/mcptokens", {"name": "hers", "project": project.name, "bindings": [run]}))


def allow_again(project: Project) -> None:
    body = {"name": f"run-{project.name}", "subjects": [f"User:erin-{project.name}"]}
    run = {"roleBindings": [f"role:run,resource:servers,name:{project.servers[0]}"]}
    made(project.control.admin.post("/rbac", {**body, **run}))


def narrowed(project: Project, _: dict[str, Any], endpoint: Endpoint) -> None:
    assert project.control.admin.delete(f"/rbac/run-{project.name}").status_code == 204


def disabled(project: Project, _: dict[str, Any], endpoint: Endpoint) -> None:
    assert project.control.admin.patch(f"/users/erin-{project.name}", {"disabled": True}).status_code == 200


def detached(project: Project, _: dict[str, Any], endpoint: Endpoint) -> None:
    path = f"/projects/{project.name}/servers/{project.servers[0]}"
    assert project.control.admin.delete(path).status_code == 200


def rotated(project: Project, token: dict[str, Any], endpoint: Endpoint) -> None:
    assert project.control.admin.post(f"/mcptokens/{token['id']}/rotate", {}).status_code == 200


def deleted(project: Project, _: dict[str, Any], endpoint: Endpoint) -> None:
    assert project.control.admin.delete(f"/projects/{project.name}").status_code == 204


LOSSES: list[Callable[[Project, dict[str, Any], Endpoint], None]] = [revoked, narrowed, disabled, detached, rotated, deleted]


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_call_under_way_ends_within_a_second_of_its_right(world: World, era: str, lose: Callable[..., None]) -> None:
    upstream = world.upstream(era=era)
    project = world.project(up=upstream)
    token = owned(project)
    endpoint = world.gateway().as_(token["token"])
    name = f"{project.servers[0]}__echo"
    assert "isError" not in result(endpoint.call(name))
    upstream.delay = SLOW
    running = Running(endpoint, name)
    until(lambda: len(upstream.calls()) == 2, 5)
    lost = time.monotonic()
    lose(project, token, endpoint)
    text = running.join()
    assert running.ended is not None
    assert running.ended - lost < 1.5  # a second, and what losing it took
    assert -32602 == json.loads(text)["error"]["code"]
    assert "Unknown tool" in text
    until(lambda: upstream.gone == 1 or "notifications/cancelled" in upstream.methods(), 3)


def test_no_progress_is_told_to_somebody_whose_token_was_revoked(world: World) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    token = project.token()
    endpoint = world.gateway().as_(token["token"])
    name = f"{project.servers[0]}__echo"
    endpoint.tools()
    upstream.drip = 0.05
    running = Running(endpoint, name, progressToken="p")
    until(lambda: sum("notifications/progress" in line for _, line in running.lines) > 3, 5)
    lost = time.monotonic()
    project.revoke(token)
    running.join()
    last = max(at for at, line in running.lines if "notifications/progress" in line)
    assert last - lost < 1.0
    assert "Unknown tool" in running.lines[-2][1]


def test_a_call_under_way_ends_when_its_token_expires(world: World) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token(ttl="3s")["token"])
    name = f"{project.servers[0]}__echo"
    endpoint.tools()
    upstream.delay = SLOW
    begun = time.monotonic()
    running = Running(endpoint, name)
    assert "Unknown tool" in running.join()
    assert running.ended is not None
    assert running.ended - begun < 4.5


def test_a_call_that_waits_for_its_server_ends_with_its_right_and_is_never_sent(world: World) -> None:
    upstream = world.upstream(era="legacy")
    project = world.project(up={"transport": "streamable-http", "url": upstream.url, "stateful": True})  # type: ignore[attr-defined]
    token = project.token()
    endpoint = world.gateway().as_(token["token"])
    name = f"{project.servers[0]}__echo"
    assert endpoint.tools() == [name]
    upstream.delay = SLOW
    handshakes = len(upstream.seen)
    running = Running(endpoint, name)
    until(lambda: len(upstream.seen) > handshakes, 5)
    lost = time.monotonic()
    project.revoke(token)
    assert "Unknown tool" in running.join()
    assert running.ended is not None
    assert running.ended - lost < 1.5
    upstream.delay = 0
    assert upstream.calls() == []


def test_calls_of_others_go_on(world: World) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    one, other = project.token(), project.token()
    gateway = world.gateway()
    name = f"{project.servers[0]}__echo"
    for token in (one, other):
        assert gateway.as_(token["token"]).tools() == [name]
    upstream.delay = 2.5
    running = [Running(gateway.as_(token["token"]), name) for token in (one, other)]
    until(lambda: len(upstream.calls()) == 2, 5)
    project.revoke(one)
    assert ["error", "result"] == [next(key for key in ("error", "result") if key in json.loads(r.join())) for r in running]


@pytest.mark.parametrize("trust", [0, 30])
def test_in_an_outage_calls_under_way_go_on_only_as_long_as_anybody_is_trusted(world: World, trust: int) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    relay = world.relay()
    endpoint = world.gateway(control_plane=relay.address, trust_for=trust).as_(project.token()["token"])
    name = f"{project.servers[0]}__echo"
    assert endpoint.tools() == [name]
    upstream.delay = 4
    running = Running(endpoint, name)
    until(lambda: len(upstream.calls()) == 1, 5)
    relay.stall()
    assert ("Unknown tool" in running.join()) == (trust == 0)


@pytest.mark.parametrize("delay", [1.7, 5])
def test_a_slow_line_to_the_control_plane_delays_no_revocation(world: World, delay: float) -> None:
    """The heartbeat comes as often as ever, only later: whoever counts arrivals takes it for fresh.

    A line slower than two seconds is given up before it says anything, so the shorter delay is the one that arrives.
    """
    upstream = world.upstream()
    project = world.project(up=upstream)
    token = project.token()
    relay = world.relay()
    relay.delay_watch(delay)
    endpoint = world.gateway(control_plane=relay.address).as_(token["token"])
    name = f"{project.servers[0]}__echo"
    until(lambda: endpoint.call(name).status_code == 200, 10)
    time.sleep(6)
    assert endpoint.call(name).status_code == 200
    project.revoke(token)
    lost = time.monotonic()
    while endpoint.call(name).status_code != 401:
        assert time.monotonic() - lost < 1.0


def test_changes_that_come_in_another_order_are_all_heard(world: World) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    tokens = [project.token() for _ in range(5)]
    relay = world.relay()
    gateway = world.gateway(control_plane=relay.address)
    name = f"{project.servers[0]}__echo"
    for token in tokens:
        assert gateway.as_(token["token"]).call(name).status_code == 200
    relay.swap_watch()
    for token in tokens:
        project.revoke(token)
        time.sleep(0.02)
        gateway.as_(token["token"]).call(name)
    time.sleep(1)
    assert [401] * len(tokens) == [gateway.as_(token["token"]).call(name).status_code for token in tokens]


@contextmanager
def stream(endpoint: Endpoint, method: str, body: str, first: str, headers: dict[str, str]) -> Iterator[list[str]]:
    """The lines of a stream, as they come, from the line that holds ``first`` on; ``END`` is the last of them."""
    host, _, port = endpoint.url.removeprefix("http://").partition("/")[0].partition(":")
    sent = {"Host": host, "Authorization": f"Bearer {endpoint.bearer}", "Accept": "application/json, text/event-stream"}
    sent |= {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    lines: list[str] = []

    def read(connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as stream:
            while (line := stream.readline()) not in (b"", b"0\r\n"):
                lines.append(line.decode().rstrip())
        lines.append("END")

    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{method} /mcp HTTP/1.1\r\n{head}\r\n{body}".encode())
        thread = threading.Thread(target=read, args=(connection,), daemon=True)
        thread.start()
        until(lambda: any(first in line for line in lines), 3)
        assert {"HTTP/1.1 200 OK", "content-type: text/event-stream"} <= set(lines)
        try:
            yield lines
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def listening(endpoint: Endpoint, session: dict[str, str]) -> AbstractContextManager[list[str]]:
    """The stream of a session."""
    return stream(endpoint, "GET", "", ": still here", session)


def subscribed(endpoint: Endpoint, wanted: dict[str, Any], identity: str | int = "s-1") -> AbstractContextManager[list[str]]:
    """The stream of a subscription of the later era."""
    params = {"_meta": META, "notifications": wanted}
    body = json.dumps({"jsonrpc": "2.0", "id": identity, "method": "subscriptions/listen", "params": params})
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "subscriptions/listen"}
    return stream(endpoint, "POST", body, "notifications/subscriptions/acknowledged", headers)


def messages(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def told(lines: list[str]) -> int:
    """How often the stream said that the list has changed."""
    return sum("notifications/tools/list_changed" in line for line in lines)


@pytest.fixture
def upstream(world: World) -> Upstream:
    return world.upstream(list_members={"ttlMs": 1000})


@pytest.mark.requirement("R8")
def test_a_session_hears_that_its_list_has_changed_and_only_then(world: World, upstream: Upstream) -> None:
    project = world.project(up=upstream)
    server = project.servers[0]
    endpoint = world.gateway().as_(owned(project)["token"])
    session = open_session(endpoint)
    with listening(endpoint, session) as lines:
        made(world.control.admin.post("/users", {"name": f"other-{project.name}", "password": "a long password"}))
        time.sleep(1)
        assert told(lines) == 0
        narrowed(project, {}, endpoint)
        until(lambda: told(lines) == 1, 2)
        assert endpoint.post(request("tools/list"), session).json()["result"]["tools"] == []
        allow_again(project)
        until(lambda: told(lines) == 2, 2)
        listed = endpoint.post(request("tools/list"), session).json()["result"]["tools"]
        assert [f"{server}__echo"] == [tool["name"] for tool in listed]
        data = next(line for line in lines if line.startswith("data: "))
        assert {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"} == json.loads(data.removeprefix("data: "))


@pytest.mark.requirement("R8")
def test_what_a_server_calls_changed_is_asked_again_and_passed_on(world: World) -> None:
    upstream = world.upstream(as_stream=0)
    project = world.project(up=upstream)
    server = project.servers[0]
    endpoint = world.gateway().as_(project.token()["token"])
    session = open_session(endpoint)
    assert endpoint.tools() == [f"{server}__echo"]
    with listening(endpoint, session) as lines:
        upstream.tools = [*upstream.tools, {"name": "new", "inputSchema": {"type": "object"}}]
        upstream.says_changed = ("tools",)
        assert endpoint.post(request("tools/call", {"name": f"{server}__echo", "arguments": {}}), session).status_code == 200
        until(lambda: told(lines) == 1, 4)
        assert endpoint.tools() == [f"{server}__echo", f"{server}__new"]


def test_a_session_hears_of_the_prompts_and_resources_that_somebody_has_asked_for(world: World) -> None:
    upstream = world.upstream(as_stream=0, prompts=[prompt("old")], resources=[resource("old:1")])
    project = world.project(up=upstream)
    server = project.servers[0]
    endpoint = world.gateway().as_(project.token()["token"])
    session = open_session(endpoint)
    with listening(endpoint, session) as lines:
        assert (1, 1, []) == (len(endpoint.prompts()), len(endpoint.resources()), endpoint.templates())
        time.sleep(0.5)
        assert not any("list_changed" in line for line in lines)  # what nobody had seen has not changed
        upstream.prompts, upstream.templates = [prompt("new")], [template("new:{x}")]
        upstream.says_changed = ("prompts", "resources")
        assert endpoint.call(f"{server}__echo").status_code == 200
        until(lambda: sum("prompts/list_changed" in line for line in lines) == 1, 4)
        until(lambda: sum("resources/list_changed" in line for line in lines) == 1, 4)
        assert [f"{server}__new"] == endpoint.prompts()
        assert ["new:{x}"] == endpoint.templates()
        assert told(lines) == 0


def test_a_subscription_says_what_it_honours_and_tells_that_and_no_more(world: World) -> None:
    upstream = world.upstream(as_stream=0, prompts=[prompt("old")])
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    assert (1, 1) == (len(endpoint.tools()), len(endpoint.prompts()))
    wanted = {"promptsListChanged": True, "toolsListChanged": False, "resourceSubscriptions": ["a:b"], "new": True}
    with subscribed(endpoint, wanted, 7) as lines:
        meta = {"io.modelcontextprotocol/subscriptionId": 7}
        (acknowledged,) = messages(lines)
        assert {"notifications": {"promptsListChanged": True}, "_meta": meta} == acknowledged["params"]
        upstream.tools, upstream.prompts = [{"name": "new", "inputSchema": {"type": "object"}}], [prompt("new")]
        upstream.says_changed = ("tools", "prompts")
        assert endpoint.call(f"{project.servers[0]}__echo").status_code == 200
        until(lambda: len(messages(lines)) == 2, 4)
        changed = {"jsonrpc": "2.0", "method": "notifications/prompts/list_changed", "params": {"_meta": meta}}
        assert changed == messages(lines)[1]
        until(lambda: [f"{project.servers[0]}__new"] == endpoint.tools(), 4)
        time.sleep(0.3)
        assert 2 == len(messages(lines)), "it did not opt in to tools"


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("lose", [revoked, deleted, rotated])
def test_a_subscription_ends_with_an_answer_within_a_second_of_its_token(
    world: World, upstream: Upstream, lose: Callable[..., None]
) -> None:
    project = world.project(up=upstream)
    token = project.token()
    endpoint = world.gateway().as_(token["token"])
    with subscribed(endpoint, {"toolsListChanged": True}) as lines:
        lose(project, token, endpoint)
        until(lambda: lines[-1] == "END", 1.0)
        last = messages(lines)[-1]
        assert ("s-1", "complete") == (last["id"], last["result"]["resultType"])
        assert "s-1" == last["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"]


def test_a_principal_has_as_many_subscriptions_as_sessions_and_others_have_their_own(world: World, upstream: Upstream) -> None:
    project = world.project(up=upstream)
    gateway = world.gateway(max_sessions=2)
    one, other = (gateway.as_(project.token()["token"]) for _ in range(2))
    wanted = {"toolsListChanged": True}
    with subscribed(one, wanted) as first, subscribed(one, wanted):
        refused = one.modern("subscriptions/listen", {"notifications": wanted})
        assert (400, -32600) == (refused.status_code, refused.json()["error"]["code"])
        with subscribed(other, wanted):
            assert first[-1] != "END"
    time.sleep(0.5)  # until it has been noticed that these two are gone
    with subscribed(one, wanted):
        pass


@pytest.mark.parametrize("wanted", [None, [], "toolsListChanged"])
def test_a_subscription_to_nothing_that_can_be_read_is_refused(world: World, upstream: Upstream, wanted: Any) -> None:
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    answer = endpoint.modern("subscriptions/listen", {"notifications": wanted})
    assert (400, -32602) == (answer.status_code, answer.json()["error"]["code"])


@pytest.mark.parametrize("lose", [revoked, narrowed, detached])
def test_a_read_under_way_ends_within_a_second_of_its_right(world: World, lose: Callable[..., None]) -> None:
    upstream = world.upstream(resources=[], templates=[template("a:{x}")])
    project = world.project(up=upstream)
    token = owned(project)
    endpoint = world.gateway().as_(token["token"])
    assert "contents" in result(endpoint.read("a:1"))
    upstream.delay = SLOW
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(endpoint.read, "a:1")
        until(lambda: len(upstream.calls("resources/read")) == 2, 5)
        lost = time.monotonic()
        lose(project, token, endpoint)
        error = reading.result(10).json()["error"]
    assert time.monotonic() - lost < 1.5
    assert (-32602, True) == (error["code"], error["message"].startswith("Unknown resource"))
    until(lambda: upstream.gone == 1, 3)


@pytest.mark.parametrize("lose", [revoked, deleted, rotated])
def test_a_stream_ends_within_a_second_of_its_token(world: World, upstream: Upstream, lose: Callable[..., None]) -> None:
    project = world.project(up=upstream)
    token = project.token()
    endpoint = world.gateway().as_(token["token"])
    with listening(endpoint, open_session(endpoint)) as lines:
        lose(project, token, endpoint)
        until(lambda: lines[-1] == "END", 1.0)


def test_a_stream_ends_with_its_session_and_a_newer_one_takes_its_place(world: World, upstream: Upstream) -> None:
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    session = open_session(endpoint)
    with listening(endpoint, session) as older, listening(endpoint, session) as newer:
        until(lambda: older[-1] == "END", 3)
        assert newer[-1] != "END"
        headers = {"Authorization": f"Bearer {endpoint.bearer}", **session}
        assert endpoint.http.delete(endpoint.url, headers=headers).status_code == 204
        until(lambda: newer[-1] == "END", 3)


@pytest.mark.requirement("R1")
def test_a_stream_belongs_to_a_session_of_ones_own(world: World, upstream: Upstream) -> None:
    project = world.project(up=upstream)
    gateway = world.gateway()
    one, other = (gateway.as_(project.token()["token"]) for _ in range(2))
    session = open_session(one)
    for who, headers, status in (
        (one, {}, 405),
        (one, {"Mcp-Session-Id": "made-up"}, 404),
        (other, session, 404),
        (one, {**session, "Accept": "application/json"}, 406),
        (gateway.as_(None), session, 401),
    ):
        bearer = {"Authorization": f"Bearer {who.bearer}"} if who.bearer else {}
        answer = who.http.get(who.url, headers={"Accept": "text/event-stream", **bearer, **headers})
        assert status == answer.status_code, answer.text


def test_a_session_with_an_open_stream_is_not_idle(world: World, upstream: Upstream) -> None:
    project = world.project(up=upstream)
    endpoint = world.gateway(idle_timeout="300ms").as_(project.token()["token"])
    session = open_session(endpoint)
    with listening(endpoint, session):
        time.sleep(0.8)
        assert endpoint.post(request("ping"), session).status_code == 200
