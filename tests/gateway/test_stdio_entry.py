"""The STDIO entry from outside: a process that starts nothing it is not asked for, and takes along whatever it started."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.gateway.conftest import Project, World
from tests.gateway.processes import children_of, is_alive
from tests.gateway.test_bridge import Entry, base, entry, local_bearer, modern
from tests.gateway.test_legacy_wire import initialize, request
from tests.gateway.test_stdio_servers import CHILD
from tests.gateway.test_story import until
from tests.gateway.upstreams import Upstream

KINDS = ("to a gateway", "--local")


def child_argv(world: World) -> list[str]:
    script = world.tmp_path / "child.py"
    script.write_text(CHILD)
    return [sys.executable, str(script), "modern", "family"]


@contextmanager
def local(world: World, project: Project, **environ: str) -> Iterator[Entry]:
    """A gateway in the entry itself, which may start that child."""
    own = {
        "MCPCTL_TOKEN": local_bearer(world, project, f"action:gateway,name:{project.name}", *_also(project)),
        "MCPCTL_SERVER": world.control.address,
        "MCPLOCAL_STATE_DIR": str(world.tmp_path / "local-state"),
        "MCPLOCAL_UPSTREAM_NETWORKS": "127.0.0.0/8",
        "MCPLOCAL_STDIO_ALLOW": json.dumps([child_argv(world)]),
    }
    with entry(world, "--local", "--project", project.name, **{**own, **environ}) as running:
        yield running


def _also(project: Project) -> list[str]:
    return [f"role:run,resource:servers,name:{server}" for server in project.servers[1:]]


@contextmanager
def either(world: World, kind: str, project: Project) -> Iterator[Entry]:
    if kind == "--local":
        with local(world, project) as running:
            yield running
    else:
        with entry(world, MCPCTL_TOKEN=project.token()["token"], MCPLOCAL_GATEWAY=base(world.gateway())) as running:
            yield running


def heard(running: Entry) -> dict[str, Any]:
    """The next answer; a client hears besides that its lists have changed, when it shakes hands anew."""
    while "id" not in (message := running.hear()):
        assert message["method"].endswith("list_changed")
    return message


def answer_to(running: Entry, message: dict[str, Any]) -> dict[str, Any]:
    running.say(message)
    return heard(running)


def names(answer: dict[str, Any]) -> list[str]:
    return [tool["name"] for tool in answer["result"]["tools"]]


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("kind", KINDS)
def test_one_process_serves_both_eras_in_any_order(world: World, kind: str) -> None:
    project = world.project(up=world.upstream())
    name = f"{project.servers[0]}__echo"
    with either(world, kind, project) as running:
        assert "2025-11-25" == answer_to(running, initialize())["result"]["protocolVersion"]
        running.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert ["2026-07-28"] == answer_to(running, modern("server/discover", "probe"))["result"]["supportedVersions"]
        for turn in range(2):
            legacy = answer_to(running, request("tools/list", {}, f"l{turn}"))
            later = answer_to(running, modern("tools/list", f"m{turn}"))
            assert [[name]] * 2 == [names(legacy), names(later)]
            assert (False, True) == ("resultType" in legacy["result"], "resultType" in later["result"])
            called = answer_to(running, request("tools/call", {"name": name, "arguments": {"n": turn}}, 10 + turn))
            assert {"n": turn} == json.loads(called["result"]["content"][0]["text"])
            assert "2025-03-26" == answer_to(running, initialize("2025-03-26"))["result"]["protocolVersion"]
        running.say(modern("tools/call", "a", name=name, arguments={}))
        running.say(request("tools/call", {"name": name, "arguments": {}}, "b"))
        both = {answer["id"]: answer["result"] for answer in (heard(running), heard(running))}
        assert {"a": True, "b": False} == {key: "resultType" in result for key, result in both.items()}
        assert 0 == running.end()


@pytest.mark.requirement("R32")
def test_locally_no_server_is_started_or_reached_before_something_is_asked_of_one(world: World) -> None:
    http: Upstream = world.upstream()
    project = world.project(kid=child_argv(world), up=http)
    with local(world, project) as running:
        assert "result" in running.ask(modern("server/discover"))
        assert "result" in running.ask(initialize())
        running.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert {} == running.ask(request("ping", {}, 2))["result"]
        assert ([], []) == (children_of(running.process.pid), http.seen)
        assert 5 == len(names(running.ask(request("tools/list", {}, 3))))
        assert 2 == len(children_of(running.process.pid))  # the server, and the process that ends it if this one is killed
        assert "tools/list" in http.methods()
        assert 0 == running.end()


@pytest.mark.requirement("R32")
def test_hands_are_shaken_locally_though_there_is_no_control_plane(world: World) -> None:
    project = world.project(up=world.upstream())
    with local(world, project, MCPCTL_SERVER="http://127.0.0.1:9") as running:
        assert "result" in running.ask(initialize())
        assert "does not answer" in running.ask(request("tools/list", {}, 1))["error"]["message"]


@pytest.mark.requirement("R32")
def test_a_bridge_connects_to_nobody_until_its_client_says_something(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        gateway = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with entry(world, MCPCTL_TOKEN="mcpctl_pat_" + "x" * 43, MCPLOCAL_GATEWAY=gateway) as running:
            assert -32700 == running.ask("no message")["error"]["code"]
            assert 0 == running.end()
        with pytest.raises(BlockingIOError):
            listener.accept()


def family_of(running: Entry, server: str) -> list[int]:
    """The children of the entry, and theirs."""
    assert "result" in running.ask(modern("tools/call", 1, name=f"{server}__look", arguments={}))
    children = children_of(running.process.pid)
    return [*children, *(below for child in children for below in children_of(child))]


@pytest.mark.requirement("R31")
@pytest.mark.requirement("R32")
@pytest.mark.parametrize("how", ["the end of input", "SIGTERM", "SIGINT", "SIGKILL"])
def test_however_it_ends_everything_it_started_ends_too(world: World, how: str) -> None:
    project = world.project(kid=child_argv(world))
    with local(world, project) as running:
        family = family_of(running, project.servers[0])
        assert 3 == len(family)  # the server, what that started, and the process that ends them if the entry is killed
        running.say(modern("tools/call", 2, name=f"{project.servers[0]}__hang", arguments={}))
        if how == "the end of input":
            assert 0 == running.end()
        else:
            running.process.send_signal(getattr(signal, how))
            assert 0 != running.process.wait(10)
        until(lambda: not any(is_alive(one) for one in family), 10)


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("how", ["the end of input", "SIGTERM", "SIGKILL"])
def test_a_bridge_ends_while_a_call_is_under_way_and_the_call_with_it(world: World, how: str) -> None:
    upstream = world.upstream()
    project = world.project(up=upstream)
    with entry(world, MCPCTL_TOKEN=project.token()["token"], MCPLOCAL_GATEWAY=base(world.gateway())) as running:
        assert 1 == len(names(running.ask(modern("tools/list"))))
        upstream.delay = 20
        running.say(modern("tools/call", 2, name=f"{project.servers[0]}__echo", arguments={}))
        until(lambda: len(upstream.calls()) == 1, 5)
        if how == "the end of input":
            assert 0 == running.end()
        else:
            running.process.send_signal(getattr(signal, how))
            running.process.wait(10)
        until(lambda: upstream.gone == 1, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_who_says_everything_at_once_and_waits_for_nothing_is_answered_all_the_same(world: World, kind: str) -> None:
    project = world.project(up=world.upstream())
    with either(world, kind, project) as running:
        running.say(initialize())
        running.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        running.say(request("tools/list", {}, "list"))
        answers = {answer["id"]: answer for answer in (heard(running), heard(running))}
        assert [f"{project.servers[0]}__echo"] == names(answers["list"])
