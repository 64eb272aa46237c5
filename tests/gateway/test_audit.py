"""Every call leaves one event, whoever watches, and none is lost while the control plane is away."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import pytest

from tests.gateway.conftest import World
from tests.gateway.test_story import until
from tests.gateway.upstreams import tool

SECRET = "a very private argument"


def rows(world: World, project: str) -> list[dict[str, Any]]:
    answer = world.control.admin.get(f"/audit?project={project}&limit=1000")
    assert answer.status_code == 200, answer.text
    return [row for row in answer.json()["items"] if row["gateway"] == "tested"]


@pytest.mark.requirement("R24")
def test_every_call_leaves_one_event_with_its_reasons_and_never_its_arguments(world: World) -> None:
    upstream = world.upstream(tools=[tool("good"), tool("bad"), tool("hidden")])
    seen: list[Any] = []
    project = world.project(up=upstream)
    server = project.servers[0]
    token = project.token(*(f"role:run,resource:servers,name:{server}/{name}" for name in ("good", "bad")))
    endpoint = world.gateway(on_decision=seen.append).as_(token["token"])
    endpoint.call(f"{server}__good", {"secret": SECRET})
    upstream.answer = lambda _: '{"content":[],"isError":true}'
    endpoint.call(f"{server}__bad", {"secret": SECRET})
    endpoint.call(f"{server}__hidden", {"secret": SECRET})
    endpoint.call(f"{server}__nothing", {"secret": SECRET})
    upstream.fail = 500
    endpoint.call(f"{server}__good", {"secret": SECRET})
    expected = [("good", True, "ok"), ("bad", True, "tool_error"), ("hidden", False, "refused")]
    expected += [(f"{server}__nothing", False, "refused"), ("good", True, "upstream_error")]
    until(lambda: len(seen) == len(expected), 3)
    assert expected == [(event["tool"], event["allowed"], event["outcome"]) for event in seen]
    for event in seen:
        assert SECRET not in json.dumps(event)
        assert (token["name"], token["tokenSha"], project.name) == (event["tokenName"], event["tokenSha"], event["project"])
        assert ("admin", "tools/call", "127.0.0.1") == (event["user"], event["method"], event["source"])
        assert event["requestBytes"] > 0
        assert event["durationMs"] >= 0
    assert seen[0]["rule"].startswith("p, McpToken:")
    assert seen[0]["origin"] == f"mcptoken:{token['id']}"
    assert seen[2]["rule"] is None
    assert f"run servers {server}/hidden" in seen[2]["reason"]
    until(lambda: len(rows(world, project.name)) == len(expected), 3)
    stored = {(row["tool"], row["allowed"], row["outcome"]) for row in rows(world, project.name)}
    assert set(expected) == stored


SOURCES = [
    ((), "6.6.6.6", "127.0.0.1"),
    (("10.0.0.0/8",), "6.6.6.6", "127.0.0.1"),
    (("127.0.0.0/8",), "6.6.6.6", "6.6.6.6"),
    (("127.0.0.0/8",), "1.2.3.4, 6.6.6.6", "6.6.6.6"),
    (("127.0.0.0/8", "10.0.0.0/8"), "1.2.3.4, 6.6.6.6, 10.1.2.3", "6.6.6.6"),
    (("127.0.0.0/8", "10.0.0.0/8"), "6.6.6.6, ::ffff:10.1.2.3", "6.6.6.6"),
    (("127.0.0.0/8",), "6.6.6.6, fe80::1%<script>", "127.0.0.1"),
    (("127.0.0.0/8",), "6.6.6.6, nonsense", "127.0.0.1"),
    (("127.0.0.0/8",), "", "127.0.0.1"),
]


def _has(seen: list[Any], number: int) -> bool:
    return len(seen) == number


def test_a_call_comes_from_whom_a_trusted_proxy_says_and_from_nobody_a_client_says(world: World) -> None:
    seen: list[Any] = []
    project = world.project(up=world.upstream(tools=[tool("good")]))
    (server,) = project.servers
    bearer = project.token(f"role:run,resource:servers,name:{server}")["token"]
    params = {"name": f"{server}__good", "arguments": {}}
    for number, (trusted, forwarded, _) in enumerate(SOURCES, start=1):
        endpoint = world.gateway(on_decision=seen.append, trusted_proxies=",".join(trusted)).as_(bearer)
        assert 200 == endpoint.modern("tools/call", params, X_Forwarded_For=forwarded).status_code
        until(partial(_has, seen, number), 3)
    assert [source for *_, source in SOURCES] == [event["source"] for event in seen]


def test_a_listener_that_fails_fails_no_call(world: World) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("on purpose")

    project = world.project(up=world.upstream())
    endpoint = world.gateway(on_decision=broken).as_(project.token()["token"])
    assert endpoint.call(f"{project.servers[0]}__echo").status_code == 200


def test_events_wait_on_disk_while_the_control_plane_is_away_and_arrive_once(world: World) -> None:
    project = world.project(up=world.upstream())
    relay = world.relay()
    endpoint = world.gateway(control_plane=relay.address).as_(project.token()["token"])
    name = f"{project.servers[0]}__echo"
    assert endpoint.call(name).status_code == 200
    until(lambda: len(rows(world, project.name)) == 1, 3)
    relay.cut()
    for _ in range(5):
        assert endpoint.call(name).status_code == 200
    spool = world.tmp_path / "state" / "audit"
    until(lambda: any(spool.glob("*.jsonl")) if spool.is_dir() else False, 5)
    files = list(spool.glob("*.jsonl"))
    assert [0o600] == [file.stat().st_mode & 0o777 for file in files]
    assert spool.stat().st_mode & 0o777 == 0o700
    relay.mend()
    until(lambda: len(rows(world, project.name)) == 6, 8)
    time.sleep(0.5)
    assert len(rows(world, project.name)) == 6
    until(lambda: not any(spool.glob("*.jsonl")), 5)


def test_events_of_a_gateway_that_ended_are_delivered_by_the_next(world: World) -> None:
    project = world.project(up=world.upstream())
    relay = world.relay()
    state = world.tmp_path / "shared"
    with world.stack.pop_all() as first:
        world.stack = first
        endpoint = world.gateway(control_plane=relay.address, state_dir=state).as_(project.token()["token"])
        endpoint.tools()
        relay.cut()
        assert endpoint.call(f"{project.servers[0]}__echo").status_code == 200
    assert rows(world, project.name) == []
    with next((state / "audit").glob("*.jsonl")).open("a") as file:
        file.write('{"id": "cut short')
    world.gateway(state_dir=state)
    until(lambda: len(rows(world, project.name)) == 1, 8)
