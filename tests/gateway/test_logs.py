"""What servers write and how they fare, from the gateway to ``mcpctl logs``; how it is found out whether they live."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from mcplocal.catalog import ServerSpec
from mcplocal.control.journal import LONGEST_LINE, PER_REPORT, WAITING, Journal, covered
from tests.gateway.conftest import World
from tests.gateway.test_stdio_servers import Child
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import one, result, shown_instance
from tests.gateway.upstreams import tool

SPEC = ServerSpec("s", "stdio", headers={"Authorization": "Bearer abcdefghij"}, env={"KEY": "longer-secret", "TZ": "UTC"})


def lines_of(world: World, server: str) -> list[str]:
    answer = world.control.admin.get(f"/instances/{server}/tested/logs")
    return [f"{line['stream']}: {line['text']}" for line in answer.json()["items"]] if answer.status_code == 200 else []


def test_what_a_child_writes_to_stderr_is_in_its_log_and_so_is_its_life(world: World) -> None:
    child = Child(world)
    pid = child.look()["pid"]
    until(lambda: "stderr: hello from modern" in lines_of(world, child.server), 5)
    child.call("die")
    ended = f"gateway: process {pid} ended with status 7: it ended"
    until(lambda: ended in lines_of(world, child.server), 5)
    found = lines_of(world, child.server)
    assert found.index(f"gateway: started as process {pid}") < found.index("stderr: hello from modern") < found.index(ended)


@pytest.mark.requirement("R30")
def test_no_value_configured_for_a_server_is_in_its_log(world: World) -> None:
    child = Child(world, habit="tells", env={"API_KEY": "s3cret-value-of-the-operator"})
    child.look()
    until(lambda: "stderr: my key is ***" in lines_of(world, child.server), 5)
    assert "s3cret-value-of-the-operator" not in json.dumps(lines_of(world, child.server))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing to hide", "nothing to hide"),
        ("sent Bearer abcdefghij", "sent ***"),
        ("sent abcdefghij alone", "sent *** alone"),
        ("KEY=longer-secret TZ=UTC", "KEY=*** TZ=UTC"),
        ("mcpctl_pat_AAAA and mcpctl_ses_BBBB", "mcpctl_pat_*** and mcpctl_ses_***"),
        ("a\tb\x1b[2J\x00", "a\\tb\\x1b[2J\\x00"),
        ("x" * 5000, "x" * LONGEST_LINE),
    ],
)
def test_a_line_is_covered_and_made_safe_before_it_is_kept(text: str, shown: str) -> None:
    journal = Journal()
    journal.note(SPEC, "stderr", text)
    assert [shown] == [line.text for line in journal.take(["s"])["s"]]


def test_of_two_secrets_of_which_one_holds_the_other_nothing_is_left() -> None:
    assert "***" == covered("abcdefgh-ijkl", ["abcdefgh-ijkl", "abcdefgh"])


def test_lines_are_reported_in_their_order_and_kept_until_they_have_arrived() -> None:
    journal = Journal()
    for number in range(WAITING + 100):
        journal.note(SPEC, "stderr", str(number))
    first = journal.take(["s"])
    assert [str(number) for number in range(100, 100 + PER_REPORT)] == [line.text for line in first["s"]]
    journal.put_back(first)
    assert first == journal.take(["s"])
    assert len({line.number for line in first["s"]}) == PER_REPORT
    assert {} == journal.take([])
    assert not journal.has_lines


def test_a_server_is_starting_until_it_has_answered(world: World) -> None:
    upstream = world.upstream(delay=3)
    project = world.project(up=upstream)
    server = project.servers[0]
    endpoint = world.gateway(list_timeout="100ms").as_(project.token()["token"])
    endpoint.modern("tools/list")
    until(lambda: shown_instance(world, server).get("status") == "STARTING", 3)
    upstream.delay = 0
    until(lambda: shown_instance(world, server).get("status") == "RUNNING", 8)
    assert "gateway: connected, speaking revision 2026-07-28" in lines_of(world, server)


@pytest.mark.requirement("R33")
def test_a_server_that_fails_a_call_is_degraded_and_one_that_is_gone_unreachable(world: World) -> None:
    upstream = world.upstream()
    endpoint, name = one(world, upstream, probe_interval="1s", list_retry="100ms")
    server = name.partition("__")[0]
    assert "isError" not in result(endpoint.call(name))
    upstream.fail = 500
    assert result(endpoint.call(name))["isError"] is True
    until(lambda: shown_instance(world, server).get("status") == "DEGRADED", 5)
    assert "HTTP 500" in shown_instance(world, server)["detail"]
    until(lambda: shown_instance(world, server).get("status") == "UNREACHABLE", 30)
    assert [name] == endpoint.tools()
    upstream.fail = None
    until(lambda: shown_instance(world, server).get("status") == "RUNNING", 30)
    assert any("HTTP 500" in line for line in lines_of(world, server))


@pytest.mark.requirement("R34")
def test_a_server_that_answers_calls_is_not_probed_besides(world: World) -> None:
    upstream = world.upstream(list_members={"ttlMs": 3_600_000})
    endpoint, name = one(world, upstream, probe_interval="1s")
    begun = time.monotonic()
    while time.monotonic() - begun < 4:
        assert "isError" not in result(endpoint.call(name))
        time.sleep(0.05)
    busy = upstream.methods().count("tools/list")
    assert busy <= 2
    until(lambda: upstream.methods().count("tools/list") >= busy + 2, 10)


def checked(world: World, upstream: Any, **check: Any) -> tuple[str, Any]:
    body = {"transport": "streamable-http", "url": upstream.url, "healthCheck": check}
    project = world.project(up=body)
    endpoint = world.gateway(list_retry="100ms").as_(project.token()["token"])
    assert endpoint.tools()
    return project.servers[0], endpoint


def test_a_health_check_of_its_own_says_how_often_and_which_tool(world: World) -> None:
    upstream = world.upstream(tools=[tool("echo"), tool("health")])
    server, _ = checked(world, upstream, intervalSeconds=1, timeoutSeconds=1, tool="health", arguments={"deep": True})
    until(lambda: len(upstream.calls()) >= 3, 10)
    assert [("health", {"deep": True})] * 3 == [
        (call.body["params"]["name"], call.body["params"]["arguments"]) for call in upstream.calls()[:3]
    ]
    assert 1 == upstream.methods().count("tools/list")
    for answer, status, detail in (
        ('{"content":[],"isError":true}', "DEGRADED", "its health check 'health' fails"),
        ('{"content":[]}', "RUNNING", ""),
    ):
        upstream.answer = lambda _, answer=answer: answer  # type: ignore[misc]
        until(lambda status=status: shown_instance(world, server).get("status") == status, 8)  # type: ignore[misc]
        assert detail == shown_instance(world, server)["detail"]
    upstream.delay = 30
    until(lambda: shown_instance(world, server).get("status") == "UNREACHABLE", 20)
    upstream.delay = 0
    until(lambda: shown_instance(world, server).get("status") == "RUNNING", 8)


@pytest.mark.requirement("R34")
def test_a_health_check_without_a_tool_lists_the_tools_as_often_as_it_says(world: World) -> None:
    upstream = world.upstream()
    checked(world, upstream, intervalSeconds=1, timeoutSeconds=1)
    until(lambda: upstream.methods().count("tools/list") >= 3, 10)
    assert [] == upstream.calls()
