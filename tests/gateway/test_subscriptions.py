"""Subscriptions to resources: who is told of what, in which words, for how long, in each cell of the matrix of eras."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.gateway.conftest import Endpoint, World
from tests.gateway.speaking import CHILD, speaking
from tests.gateway.test_bridge import Entry, base, entry, local_bearer, modern
from tests.gateway.test_legacy_wire import initialize, open_session, request
from tests.gateway.test_open_streams import detached, listening, messages, narrowed, owned, revoked, subscribed
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import ERAS, result
from tests.gateway.upstreams import resource

UPDATED = "notifications/resources/updated"


class Client:
    """A client of either era that listens and is subscribed to resources."""

    def __init__(self, endpoint: Endpoint, lines: list[str], session: dict[str, str] | None) -> None:
        self.endpoint, self.lines, self.session = endpoint, lines, session

    def told(self) -> list[str]:
        """The URIs it was told of, in order."""
        return [one["params"]["uri"] for one in messages(self.lines) if one.get("method") == UPDATED]

    def acknowledged(self) -> list[str]:
        """In the later era, what it is subscribed to."""
        found: list[str] = messages(self.lines)[0]["params"]["notifications"].get("resourceSubscriptions", [])
        return found


@contextmanager
def client(endpoint: Endpoint, era: str, *uris: str) -> Iterator[Client]:
    """A client that is subscribed to ``uris``."""
    if era == "modern":
        with subscribed(endpoint, {"resourceSubscriptions": list(uris)}) as lines:
            yield Client(endpoint, lines, None)
        return
    session = open_session(endpoint)
    with listening(endpoint, session) as lines:
        for uri in uris:
            assert {} == endpoint.post(request("resources/subscribe", {"uri": uri}), session).json().get("result")
        yield Client(endpoint, lines, session)


class Server:
    """One of the four kinds of servers, and the means to make it speak."""

    def __init__(self, world: World, kind: str) -> None:
        transport, self.era = kind.split()
        self.scripted = speaking(world, era=self.era) if transport == "http" else None
        argv = [*CHILD, self.era]
        self.project = world.project(up=self.scripted or {"transport": "stdio", "command": argv[0], "args": argv[1:]})
        self.gateway = world.gateway(stdio_allow=[[CHILD[0], CHILD[1], "**"]])
        self.endpoint = self.gateway.as_(self.project.token()["token"])

    def say(self, method: str, **params: Any) -> None:
        if self.scripted is not None:
            self.scripted.say(method, **params)
        else:
            self._call("say", method=method, params=params)

    def subscribed(self) -> list[str]:
        if self.scripted is not None:
            return self.scripted.subscribed()
        found: list[str] = json.loads(self._call("subscribed")["content"][0]["text"])
        return found

    def restart(self) -> None:
        if self.scripted is not None:
            self.scripted.cut(forget=True)
        else:
            self.endpoint.call(f"{self.project.servers[0]}__die")

    def _call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return result(self.endpoint.call(f"{self.project.servers[0]}__{tool}", arguments))


SERVERS = ["http legacy", "http modern", "stdio legacy", "stdio modern"]


@pytest.mark.parametrize("kind", SERVERS)
def test_who_is_subscribed_is_told_and_nobody_else_in_every_cell_of_the_matrix(world: World, kind: str) -> None:
    server = Server(world, kind)
    with ExitStack() as stack:
        for era in ERAS:
            one = stack.enter_context(client(server.endpoint, era, "file:///a"))
            other = stack.enter_context(client(server.endpoint, era, "file:///b"))
            assert ["file:///a", "file:///b"] == server.subscribed(), "each resource once, however many clients"
            server.say(UPDATED, uri="file:///a")
            until(lambda one=one: ["file:///a"] == one.told(), 3)  # type: ignore[misc]
            assert [] == other.told()
            if era == "modern":
                assert ["file:///a"] == one.acknowledged()
                assert "s-1" == messages(one.lines)[1]["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
            time.sleep(0.3)  # else the next would be one with this


@pytest.mark.parametrize("kind", SERVERS)
def test_after_a_restart_the_server_is_asked_again_and_clients_are_told_once(world: World, kind: str) -> None:
    server = Server(world, kind)
    with client(server.endpoint, "legacy", "file:///a") as one, client(server.endpoint, "modern", "file:///a") as other:
        server.restart()
        until(lambda: ["file:///a"] == one.told() == other.told(), 8)
        assert ["file:///a"] == server.subscribed()
        time.sleep(0.4)
        server.say(UPDATED, uri="file:///a")
        until(lambda: 2 == len(one.told()) == len(other.told()), 3)


@pytest.mark.parametrize("kind", SERVERS)
def test_the_server_is_left_when_the_last_client_goes(world: World, kind: str) -> None:
    server = Server(world, kind)
    with client(server.endpoint, "modern", "file:///a"):
        with client(server.endpoint, "legacy", "file:///a", "file:///b") as one:
            assert one.session is not None
            for uri in ("file:///b", "file:///b", "file:///never"):
                answer = server.endpoint.post(request("resources/unsubscribe", {"uri": uri}), one.session)
                assert {} == answer.json()["result"]
            until(lambda: ["file:///a"] == server.subscribed(), 3)
            headers = {"Authorization": f"Bearer {server.endpoint.bearer}", **one.session}
            assert 204 == server.endpoint.http.delete(server.endpoint.url, headers=headers).status_code
        assert ["file:///a"] == server.subscribed()
    until(lambda: [] == server.subscribed(), 3)
    until(lambda: server.scripted is None or [] == server.scripted.streams, 3)


@pytest.mark.parametrize("era", ERAS)
def test_what_is_not_there_and_what_is_not_for_the_caller_answer_alike(world: World, era: str) -> None:
    upstream = speaking(world)
    project = world.project(up=upstream)
    binding = f"role:run,resource:servers,name:{project.servers[0]}/resource:file:///a"
    endpoint = world.gateway().as_(project.token(binding)["token"])
    if era == "modern":
        with client(endpoint, era, "file:///b", "file:///nowhere", "file:///a", "file:///a") as one:
            assert ["file:///a"] == one.acknowledged()
    else:
        session = open_session(endpoint)
        answers = []
        for uri in ("file:///b", "file:///x"):
            answer = endpoint.post(request("resources/subscribe", {"uri": uri}), session)
            answers.append(answer.text.replace(uri, "URI"))
        assert -32002 == json.loads(answers[0])["error"]["code"]
        assert answers[0] == answers[1]
    assert "file:///b" not in json.dumps([one.body for one in upstream.seen if "list" not in one.body.get("method", "")])


@pytest.mark.parametrize("lose", [narrowed, revoked, detached])
def test_nothing_is_told_a_second_after_the_right_to_it_has_ended(world: World, lose: Callable[..., None]) -> None:
    upstream = speaking(world)
    project = world.project(up=upstream)
    token = owned(project)
    endpoint = world.gateway().as_(token["token"])
    with client(endpoint, "legacy", "file:///a") as one, client(endpoint, "modern", "file:///a") as other:
        lose(project, token, endpoint)
        until(lambda: [] == upstream.subscribed(), 1.5)
        upstream.update("file:///a")
        time.sleep(0.4)
        assert [] == one.told() == other.told()


def test_what_waited_for_a_client_is_not_told_once_its_right_has_ended(world: World) -> None:
    upstream = speaking(world, era="legacy")
    project = world.project(up=upstream)
    token = owned(project)
    endpoint = world.gateway().as_(token["token"])
    session = open_session(endpoint)
    assert {} == endpoint.post(request("resources/subscribe", {"uri": "file:///a"}), session).json()["result"]
    upstream.update("file:///a")
    time.sleep(0.2)
    narrowed(project, token, endpoint)
    until(lambda: [] == upstream.subscribed(), 1.5)
    with listening(endpoint, session) as lines:
        time.sleep(0.4)
        assert [] == Client(endpoint, lines, session).told()


def test_a_person_hears_nothing_of_a_server_that_was_detached(world: World) -> None:
    """Its own lines still name the server; but it is no server of this endpoint any more."""
    upstream = speaking(world)
    project = world.project(up=upstream)
    run = f"role:run,resource:servers,name:{project.servers[0]}"
    person = world.control.user(f"ann-{project.name}", run, f"role:view,resource:projects,name:{project.name}")
    endpoint = world.gateway(project=project.name).as_(person.bearer)
    with client(endpoint, "legacy", "file:///a") as one, client(endpoint, "modern", "file:///a") as other:
        detached(project, {}, endpoint)
        until(lambda: [] == upstream.subscribed(), 1.5)
        assert [] == one.told() == other.told()


def test_no_update_gets_ahead_of_a_lost_right(world: World) -> None:
    """The server speaks all the time; what comes later than a second after the loss would be too late."""
    upstream = speaking(world, era="legacy")
    project = world.project(up=upstream)
    token = owned(project)
    endpoint = world.gateway().as_(token["token"])
    with client(endpoint, "legacy", "file:///a") as one:
        narrowed(project, token, endpoint)
        lost = time.monotonic()
        while time.monotonic() - lost < 1.0:
            upstream.update("file:///a")
            time.sleep(0.05)
        time.sleep(0.4)
        told = len(one.told())
        for _ in range(5):
            upstream.update("file:///a")
            time.sleep(0.1)
        assert told == len(one.told())


def test_what_two_servers_claim_is_told_under_the_uri_that_the_client_knows(world: World) -> None:
    one, other = speaking(world), speaking(world, era="legacy")
    project = world.project(one=one, other=other)
    endpoint = world.gateway().as_(project.token()["token"])
    first, second = (f"mcplocal://{server}/file:///a" for server in project.servers)
    with client(endpoint, "modern", "file:///a", first) as mine, client(endpoint, "legacy", second) as hers:
        assert [first] == mine.acknowledged()
        other.update("file:///a")
        until(lambda: [second] == hers.told(), 3)
        one.update("file:///a")
        until(lambda: [first] == mine.told(), 3)
        assert [second] == hers.told()


def test_what_is_below_a_resource_is_told_as_that_resource(world: World) -> None:
    upstream = speaking(world, era="legacy")
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    with client(endpoint, "legacy", "file:///dir", "item:1") as one:
        for stream in upstream.streams:
            for uri in ("file:///dir/x/y", "file:///directory", "item:%31"):
                stream.send(json.dumps({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": uri}}))
        until(lambda: ["file:///dir", "item:1"] == one.told(), 3)


def test_an_update_may_come_on_the_stream_of_any_call(world: World) -> None:
    said = json.dumps({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "file:///a"}})
    upstream = speaking(world, era="legacy", stream_status=405, as_stream=0, says_also=(said,))
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    with client(endpoint, "legacy", "file:///a") as one, client(endpoint, "modern", "file:///b") as other:
        assert "isError" not in result(endpoint.call(f"{project.servers[0]}__echo"))
        until(lambda: ["file:///a"] == one.told(), 3)
        assert [] == other.told()


def test_a_resource_that_is_gone_is_told_once_and_left(world: World) -> None:
    upstream = speaking(world, era="legacy")
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    with client(endpoint, "legacy", "file:///a", "file:///b") as one:
        upstream.resources = [resource("file:///b")]
        upstream.say("notifications/resources/list_changed")
        until(lambda: ["file:///a"] == one.told() and ["file:///b"] == upstream.subscribed(), 4)


def test_who_has_no_stream_open_is_told_when_it_opens_one(world: World) -> None:
    upstream = speaking(world, era="legacy")
    endpoint = world.gateway().as_(world.project(up=upstream).token()["token"])
    session = open_session(endpoint)
    assert {} == endpoint.post(request("resources/subscribe", {"uri": "file:///a"}), session).json()["result"]
    for _ in range(3):
        upstream.update("file:///a")
    time.sleep(0.2)
    with listening(endpoint, session) as lines:
        until(lambda: 1 == len(Client(endpoint, lines, session).told()), 3)
        time.sleep(0.5)
        assert 1 == len(Client(endpoint, lines, session).told())


def test_a_session_that_nobody_uses_any_more_lets_its_servers_go(world: World) -> None:
    upstream = speaking(world, era="legacy")
    endpoint = world.gateway(idle_timeout="500ms").as_(world.project(up=upstream).token()["token"])
    assert {} == endpoint.post(request("resources/subscribe", {"uri": "file:///a"}), open_session(endpoint)).json()["result"]
    assert ["file:///a"] == upstream.subscribed()
    until(lambda: [] == upstream.subscribed(), 4)


@pytest.mark.parametrize("upstream_era", ERAS)
def test_a_flood_is_told_a_few_times_a_second_and_costs_nobody_else_anything(world: World, upstream_era: str) -> None:
    upstream = speaking(world, era=upstream_era)
    project = world.project(up=upstream)
    endpoint = world.gateway().as_(project.token()["token"])
    with client(endpoint, "legacy", "file:///a") as one:
        for _ in range(3000):
            upstream.update("file:///a")
        until(lambda: len(one.told()) >= 1, 3)
        for _ in range(20):
            assert "isError" not in result(endpoint.call(f"{project.servers[0]}__echo"))
        time.sleep(1)
        assert 2 <= len(one.told()) <= 10


def test_a_server_that_tells_nothing_says_so(world: World) -> None:
    deaf = speaking(world, era="legacy", declares={"resources": {}})
    refusing = speaking(world, era="modern", refuses=("item:2",), resources=[])
    project = world.project(deaf=deaf, refusing=refusing)
    endpoint = world.gateway().as_(project.token()["token"])
    session = open_session(endpoint)
    for uri in ("file:///a", "item:2"):
        first = f"mcplocal://{project.servers[0 if uri == 'file:///a' else 1]}/{uri}"
        error = endpoint.post(request("resources/subscribe", {"uri": first}), session).json()["error"]
        assert (-32602, "its server does not tell when it changes") == (error["code"], error["message"])


@pytest.mark.parametrize("limit", ["max_subscriptions", "max_subscriptions_in_all"])
def test_there_are_no_more_subscriptions_than_a_client_and_the_gateway_may_have(world: World, limit: str) -> None:
    upstream = speaking(world)
    endpoint = world.gateway(None, **{limit: 2}).as_(world.project(up=upstream).token()["token"])
    session = open_session(endpoint)
    codes = []
    for uri in ("item:1", "item:2", "item:2", "item:3"):
        answer = endpoint.post(request("resources/subscribe", {"uri": uri}), session).json()
        codes.append(answer.get("error", {}).get("code"))
    assert [None, None, None, -32600] == codes
    uris = [f"item:{number}" for number in range(3)]
    refused = endpoint.modern("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}})
    assert (400, -32600) == (refused.status_code, refused.json()["error"]["code"])
    endpoint.post(request("resources/unsubscribe", {"uri": "item:1"}), session)
    assert {} == endpoint.post(request("resources/subscribe", {"uri": "item:3"}), session).json()["result"]
    until(lambda: ["item:2", "item:3"] == upstream.subscribed(), 3)


@pytest.mark.parametrize("wanted", ["file:///a", [1], {"a": 1}])
def test_a_list_of_uris_is_one(world: World, wanted: Any) -> None:
    endpoint = world.gateway().as_(world.project(up=speaking(world)).token()["token"])
    answer = endpoint.modern("subscriptions/listen", {"notifications": {"resourceSubscriptions": wanted}})
    assert (400, -32602) == (answer.status_code, answer.json()["error"]["code"])


def test_that_resources_can_be_subscribed_to_is_said_only_where_it_can_be_true(world: World) -> None:
    gateway = world.gateway()
    for declares, said in (({}, None), ({"resources": {"subscribe": True}}, True)):
        endpoint = gateway.as_(world.project(up=speaking(world, declares=declares)).token()["token"])
        endpoint.tools()  # from then on it is known
        initialized = endpoint.post(request("initialize", {"protocolVersion": "2025-11-25"})).json()["result"]
        found = [result(endpoint.modern("server/discover")), initialized]
        assert [said, said] == [one["capabilities"]["resources"].get("subscribe") for one in found]
        assert [True, True] == [one["capabilities"]["resources"]["listChanged"] for one in found]


@pytest.mark.parametrize("method", ["resources/subscribe", "resources/unsubscribe"])
def test_the_later_era_has_no_such_methods(world: World, method: str) -> None:
    endpoint = world.gateway().as_(world.project(up=speaking(world)).token()["token"])
    answer = endpoint.modern(method, {"uri": "file:///a"})
    assert (404, -32601) == (answer.status_code, answer.json()["error"]["code"])


def test_every_subscription_leaves_an_event(world: World) -> None:
    seen: list[dict[str, Any]] = []
    project = world.project(up=speaking(world))
    endpoint = world.gateway(seen.append).as_(project.token()["token"])
    with client(endpoint, "legacy", "file:///a"), client(endpoint, "modern", "file:///b", "file:///x"):
        found = sorted((one["method"], one["tool"], one["outcome"], one["allowed"]) for one in seen)
    server = project.servers[0]
    assert found == [
        ("resources/subscribe", "resource:file:///a", "ok", True),
        ("subscriptions/listen", "file:///x", "refused", False),
        ("subscriptions/listen", "resource:file:///b", "ok", True),
    ], server


def test_a_stateful_server_tells_each_session_on_a_connection_of_its_own(world: World) -> None:
    upstream = speaking(world, era="legacy")
    body = {"transport": "streamable-http", "url": upstream.url, "stateful": True}  # type: ignore[attr-defined]
    endpoint = world.gateway().as_(world.project(up=body).token()["token"])
    with client(endpoint, "legacy", "file:///a") as one, client(endpoint, "legacy", "file:///a") as other:
        assert ["file:///a"] * 2 == upstream.subscribed()
        stream = next(stream for stream in upstream.streams if stream.session in upstream.in_session)
        stream.send(json.dumps({"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": "file:///a"}}))
        until(lambda: 1 == len(one.told()) + len(other.told()), 3)
        time.sleep(0.3)
        assert 1 == len(one.told()) + len(other.told())


def test_a_server_whose_configuration_changes_is_listened_to_as_it_is_reached_now(world: World) -> None:
    old, new = speaking(world), speaking(world, era="legacy")
    project = world.project(up=old)
    endpoint = world.gateway().as_(project.token()["token"])
    with client(endpoint, "modern", "file:///a") as one:
        assert ["file:///a"] == old.subscribed()
        body = {"transport": "streamable-http", "url": new.url}  # type: ignore[attr-defined]
        assert 200 == world.control.admin.put(f"/servers/{project.servers[0]}", body).status_code
        until(lambda: [] == old.subscribed() and ["file:///a"] == new.subscribed(), 4)
        until(lambda: ["file:///a"] == one.told(), 3)


def heard(running: Entry, method: str) -> dict[str, Any]:
    """The next message of that method; those before it are left."""
    while True:
        message = running.hear()
        if message.get("method") == method:
            return message


def test_over_the_bridge_a_subscription_outlasts_its_session(world: World) -> None:
    upstream = speaking(world, era="legacy")
    gateway = world.gateway(max_sessions=1)
    token = world.project(up=upstream).token()["token"]
    with entry(world, MCPCTL_TOKEN=token, MCPLOCAL_GATEWAY=base(gateway)) as running:
        running.ask(initialize())
        running.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert {} == running.ask(request("resources/subscribe", {"uri": "file:///a"}))["result"]
        until(lambda: 1 == len(upstream.streams), 3)
        upstream.update("file:///a")
        assert {"uri": "file:///a"} == heard(running, UPDATED)["params"]
        open_session(gateway.as_(token))  # for which the only other session makes room
        assert {"uri": "file:///a"} == heard(running, UPDATED)["params"], "some may have been missed"
        until(lambda: ["file:///a"] == upstream.subscribed(), 5)
        time.sleep(0.5)
        upstream.update("file:///a")
        assert {"uri": "file:///a"} == heard(running, UPDATED)["params"]


@pytest.mark.parametrize("kind", ["http modern", "stdio legacy"])
def test_locally_both_eras_are_told_over_the_same_pipes(world: World, kind: str) -> None:
    server = Server(world, kind)
    bearer = local_bearer(world, server.project, f"action:gateway,name:{server.project.name}")
    environ = {
        "MCPCTL_TOKEN": bearer,
        "MCPCTL_SERVER": world.control.address,
        "MCPLOCAL_STATE_DIR": str(world.tmp_path / "local"),
        "MCPLOCAL_UPSTREAM_NETWORKS": "127.0.0.0/8",
        "MCPLOCAL_STDIO_ALLOW": json.dumps([[CHILD[0], CHILD[1], "**"]]),
    }
    updated = {"method": UPDATED, "params": {"uri": "file:///a"}}
    with entry(world, "--local", "--project", server.project.name, **environ) as running:
        running.ask(initialize())
        assert {} == running.ask(request("resources/subscribe", {"uri": "file:///a"}, 1))["result"]
        wanted = {"notifications": {"resourceSubscriptions": ["file:///a", "file:///x"]}}
        acknowledged = running.ask(modern("subscriptions/listen", "sub", **wanted))
        assert ["file:///a"] == acknowledged["params"]["notifications"]["resourceSubscriptions"]
        if server.scripted is not None:
            server.scripted.update("file:///a")
        else:
            name = f"{server.project.servers[0]}__say"
            running.say(modern("tools/call", 3, name=name, arguments=updated))
        heard_in: dict[str | None, str] = {}
        while len(heard_in) < 2:
            params = heard(running, UPDATED)["params"]
            heard_in[params.get("_meta", {}).get("io.modelcontextprotocol/subscriptionId")] = params["uri"]
        assert {None: "file:///a", "sub": "file:///a"} == heard_in
        running.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "sub"}})
        running.say(request("resources/unsubscribe", {"uri": "file:///a"}, 4))
        until(lambda: server.scripted is None or [] == server.subscribed(), 3)
        assert 0 == running.end()
