"""Upstreams that are children: what may be started, with what surroundings, and that none is ever left behind."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from mcplocal.upstream.stdio_guard import INHERITED
from tests.gateway.conftest import Endpoint, World
from tests.gateway.processes import children_of, is_alive
from tests.gateway.test_story import until
from tests.gateway.test_upstreams import ERAS, result, shown_instance

CHILD = textwrap.dedent(
    '''
    """A stdio MCP server by hand: legacy or modern, with a few odd habits."""
    import json, os, subprocess, sys, time
    era, habit = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    if habit == "noisy":
        sys.stderr.write("e" * 300_000 + "\\n" * 3); sys.stderr.flush()
        print("this is no message", flush=True)
    if habit == "family":
        away = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], **away)
    print("hello from", era, file=sys.stderr, flush=True)
    if habit == "tells":
        print("my key is", os.environ["API_KEY"], file=sys.stderr, flush=True)
    if habit == "stillborn":
        sys.exit(3)
    def say(**message):
        print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        method, identity, params = message.get("method"), message.get("id"), message.get("params", {})
        if identity is None or method is None:
            print("got", line.strip(), file=sys.stderr, flush=True)
            continue
        if method == "server/discover":
            if habit == "silent":
                continue
            if era == "modern":
                say(id=identity, result={"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}})
            else:
                say(id=identity, error={"code": -32601, "message": "no"})
        elif method == "initialize":
            info = {"serverInfo": {"name": "c", "version": "1"}}
            say(id=identity, result={"protocolVersion": "2025-06-18", "capabilities": {}, **info})
        elif method == "tools/list":
            names, schema = ("look", "die", "hang", "ask"), {"type": "object"}
            say(id=identity, result={"tools": [{"name": name, "inputSchema": schema} for name in names]})
        elif params["name"] == "look":
            found = {"cwd": os.getcwd(), "files": os.listdir("."), "env": dict(os.environ)}
            found |= {"pid": os.getpid(), "pgid": os.getpgid(0)}
            if habit == "large":
                found["padding"] = "x" * 5_000_000
            if token := params.get("_meta", {}).get("progressToken"):
                say(method="notifications/progress", params={"progressToken": token, "progress": 1})
            say(id=identity, result={"content": [{"type": "text", "text": json.dumps(found)}]})
        elif params["name"] == "die":
            os._exit(7)
        elif params["name"] == "ask":
            say(id=99, method="ping")
            say(id=98, method="sampling/createMessage", params={})
            answers = [json.loads(sys.stdin.readline()) for _ in range(2)]
            say(id=identity, result={"content": [{"type": "text", "text": json.dumps(answers)}]})
    '''
)


class Child:
    """A gateway with one stdio server, and what that says of itself."""

    def __init__(
        self, world: World, era: str = "modern", habit: str = "", env: dict[str, str] | None = None, **settings: Any
    ) -> None:
        script = world.tmp_path / "child.py"
        script.write_text(CHILD)
        argv = [sys.executable, str(script), era, *([habit] if habit else [])]
        body = {"transport": "stdio", "command": argv[0], "args": argv[1:], "env": env or {}}
        self.project = world.project(kid=body)
        self.server = self.project.servers[0]
        allow = settings.pop("stdio_allow", [[sys.executable, str(script), "**"]])
        self.endpoint: Endpoint = world.gateway(stdio_allow=allow, **settings).as_(self.project.token()["token"])

    def call(self, tool: str) -> dict[str, Any]:
        return result(self.endpoint.call(f"{self.server}__{tool}"))

    def look(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call("look")["content"][0]["text"])
        return found


@pytest.mark.requirement("R27")
@pytest.mark.parametrize("era", ERAS)
def test_a_child_sees_an_empty_directory_its_own_variables_and_nothing_of_the_gateway(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCPLOCAL_LOG_LEVEL", "info")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    found = Child(world, era, env={"NOTES_TOKEN": "configured"}).look()
    assert [] == found["files"]
    assert str(Path.cwd()) != found["cwd"]
    assert Path(found["cwd"]).name.startswith("mcplocal-")
    assert "configured" == found["env"].pop("NOTES_TOKEN")
    assert set() == {name for name in found["env"] if name not in INHERITED and not name.startswith("LC_")}
    assert found["pid"] == found["pgid"]


@pytest.mark.requirement("R31")
def test_a_child_and_all_it_started_end_with_the_gateway(world: World) -> None:
    with world.stack.pop_all() as own:
        world.stack = own
        found = Child(world, habit="family").look()
        family = [found["pid"], *children_of(found["pid"])]
        assert len(family) == 2
    until(lambda: not any(is_alive(one) for one in family), 5)
    assert not Path(found["cwd"]).exists()


@pytest.mark.requirement("R10")
def test_a_child_that_dies_is_started_again_and_its_call_is_not_sent_again(world: World) -> None:
    child = Child(world)
    first = child.look()["pid"]
    failed = child.call("die")
    assert failed["isError"] is True
    assert "may have been carried out" in failed["content"][0]["text"]
    assert child.call("look")["isError"] is True  # it pauses before it is started again
    until(lambda: "isError" not in child.call("look"), 5)
    assert child.look()["pid"] != first
    assert not is_alive(first)


@pytest.mark.requirement("R31")
@pytest.mark.requirement("R33")
def test_a_child_that_never_lives_is_tried_later_and_later(world: World) -> None:
    child = Child(world, habit="stillborn", list_retry="50ms")
    for _ in range(8):
        assert "error" in child.endpoint.modern("tools/list").json()
        time.sleep(0.1)
    until(lambda: shown_instance(world, child.server).get("status") == "UNREACHABLE", 5)


@pytest.mark.requirement("R31")
def test_a_child_that_fills_its_stderr_does_not_stand_still(world: World) -> None:
    assert "isError" not in Child(world, habit="noisy").call("look")


@pytest.mark.requirement("R11")
def test_a_child_that_leaves_the_probe_unanswered_is_taken_for_an_older_one(world: World) -> None:
    child = Child(world, "legacy", "silent", probe_timeout="200ms")
    assert "isError" not in child.call("look")


def test_what_a_child_asks_is_answered_with_no_but_its_ping(world: World) -> None:
    text = Child(world, "legacy").call("ask")["content"][0]["text"]
    answers = {answer["id"]: answer for answer in json.loads(text)}
    assert ({}, -32601) == (answers[99]["result"], answers[98]["error"]["code"])


@pytest.mark.requirement("R7")
def test_a_call_given_up_is_cancelled_at_the_child_and_others_go_on(world: World) -> None:
    child = Child(world, call_timeout="400ms")
    child.look()
    assert child.call("hang")["isError"] is True
    assert "isError" not in child.call("look")


@pytest.mark.requirement("R27")
def test_a_command_that_nothing_allows_is_not_started(world: World) -> None:
    marker = world.tmp_path / "ran"
    project = world.project(bad=["/bin/sh", "-c", f"touch {marker}"], worse=["python", "-m", "mcpctl.demo.notes_server", "--x"])
    endpoint = world.gateway().as_(project.token()["token"])
    assert "error" in endpoint.modern("tools/list").json()
    assert not marker.exists()
    for server in project.servers:
        until(lambda server=server: shown_instance(world, server).get("status") == "ERROR", 5)  # type: ignore[misc]
        assert "MCPLOCAL_STDIO_ALLOW" in shown_instance(world, server)["detail"]


def test_a_variable_that_would_change_what_runs_is_refused(world: World) -> None:
    child = Child(world, env={"LD_PRELOAD": "/tmp/x.so"})
    assert "error" in child.endpoint.modern("tools/list").json()
    until(lambda: "LD_PRELOAD" in shown_instance(world, child.server).get("detail", ""), 5)
