"""The STDIO entry, as an agent starts it: a process of its own, both eras, gone when its input ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.gateway.conftest import META, Endpoint, Project, World
from tests.gateway.processes import children_of, is_alive
from tests.gateway.test_legacy_wire import initialize, request
from tests.gateway.test_story import NOTES, until
from tests.gateway.test_upstreams import ANNOTATED_TOOL

COMMAND = [sys.executable, "-c", "from mcplocal.main import main; main()"]


class Entry:
    """The running program."""

    def __init__(self, arguments: list[str], **environ: str) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MCPCTL_", "MCPLOCAL_"))}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**own, **environ},
        )

    def say(self, message: Any) -> None:
        assert self.process.stdin is not None
        text = message if isinstance(message, str) else json.dumps(message)
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read() if self.process.stderr else ""
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, message: Any) -> dict[str, Any]:
        self.say(message)
        return self.hear()

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(10)


@contextmanager
def entry(world: World, *arguments: str, **environ: str) -> Iterator[Entry]:
    config = str(world.tmp_path / "no-such-config.json")
    running = Entry(list(arguments), **{"MCPCTL_CONFIG": config, **environ})
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()
        for stream in (running.process.stdin, running.process.stdout, running.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def base(endpoint: Endpoint) -> str:
    return endpoint.url.removesuffix("/mcp")


def modern(method: str, identity: Any = 1, **params: Any) -> dict[str, Any]:
    return request(method, {"_meta": META, **params}, identity)


@pytest.mark.requirement("R32")
def test_both_eras_pass_at_any_time_and_the_end_of_input_is_the_end(world: World) -> None:
    upstream = world.upstream(tools=[*ANNOTATED_TOOL])
    project = world.project(up=upstream)
    token, gateway = project.token()["token"], world.gateway()
    name = f"{project.servers[0]}__go"
    with entry(world, MCPCTL_TOKEN=token, MCPLOCAL_GATEWAY=base(gateway)) as running:
        assert ["2026-07-28"] == running.ask(modern("server/discover"))["result"]["supportedVersions"]
        assert [name] == [tool["name"] for tool in running.ask(modern("tools/list", "a"))["result"]["tools"]]
        called = running.ask(modern("tools/call", 2, name=name, arguments={"region": "ü"}))
        assert {"region": "ü"} == json.loads(called["result"]["content"][0]["text"])
        assert "2025-11-25" == running.ask(initialize())["result"]["protocolVersion"]
        running.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert [name] == [tool["name"] for tool in running.ask(request("tools/list", {}, 3))["result"]["tools"]]
        assert -32601 == running.ask(request("tasks/list", {}, 4))["error"]["code"]
        assert -32602 == running.ask(modern("tools/call", 5, name="nothing", arguments={}))["error"]["code"]
        assert -32700 == running.ask("{")["error"]["code"]
        assert -32600 == running.ask("[]")["error"]["code"]
        begun = time.monotonic()
        assert 0 == running.end()
        assert time.monotonic() - begun < 3


def test_a_session_that_the_gateway_forgot_is_opened_again_behind_the_clients_back(world: World) -> None:
    project = world.project(up=world.upstream())
    gateway = world.gateway(idle_timeout="300ms")
    with entry(world, MCPCTL_TOKEN=project.token()["token"], MCPLOCAL_GATEWAY=base(gateway)) as running:
        running.ask(initialize())
        running.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert "result" in running.ask(request("tools/list", {}, 1))
        time.sleep(0.5)
        assert "result" in running.ask(request("tools/list", {}, 2))


def test_a_bad_credential_is_said_in_words_and_a_missing_one_before_anything(world: World) -> None:
    gateway = world.gateway()
    with entry(world, MCPCTL_TOKEN="mcpctl_pat_" + "0" * 43, MCPLOCAL_GATEWAY=base(gateway)) as running:
        assert "mcpctl login" in running.ask(modern("tools/list"))["error"]["message"]
    with entry(world, MCPLOCAL_GATEWAY=base(gateway)) as running:
        assert running.process.wait(10) == 3
        assert running.process.stderr is not None
        assert b"mcpctl login" in running.process.stderr.read()


def test_an_unknown_variable_is_an_error_that_names_the_nearest(world: World) -> None:
    with entry(world, MCPLOCAL_GATEWY="http://127.0.0.1:1") as running:
        assert running.process.wait(10) == 2
        assert running.process.stderr is not None
        assert b"MCPLOCAL_GATEWAY" in running.process.stderr.read()


def test_the_saved_log_in_and_its_project_are_used(world: World) -> None:
    project = world.project(up=world.upstream())
    person = world.control.user(f"fay-{project.name}", f"role:view,resource:projects,name:{project.name}")
    config = world.tmp_path / "config.json"
    context = {
        "server": world.control.address,
        "gateway": base(world.gateway()),
        "token": person.bearer,
        "project": project.name,
    }
    config.write_text(json.dumps({"currentContext": "here", "contexts": {"here": context}}))
    config.chmod(0o600)
    with entry(world, MCPCTL_CONFIG=str(config)) as running:
        assert running.ask(modern("tools/list"))["result"]["tools"] == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_sdk_client_over_stdio_is_served(world: World, mode: str) -> None:
    project = world.project(up=world.upstream())
    gateway = world.gateway()
    environ = {"MCPCTL_TOKEN": project.token()["token"], "MCPLOCAL_GATEWAY": base(gateway), "MCPCTL_CONFIG": "/nonexistent"}
    parameters = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environ)

    async def run() -> None:
        async with Client(stdio_client(parameters), mode=mode) as client:
            assert [f"{project.servers[0]}__echo"] == [tool.name for tool in (await client.list_tools()).tools]
            assert not (await client.call_tool(f"{project.servers[0]}__echo", {"a": 1})).is_error

    asyncio.run(run())


def local_bearer(world: World, project: Project, *more: str) -> str:
    server = project.servers[0]
    rights = (f"role:run,resource:servers,name:{server}", f"role:view,resource:projects,name:{project.name}", *more)
    bearer = world.control.user(f"guy-{project.name}", *rights).bearer
    assert bearer is not None
    return bearer


@pytest.mark.requirement("R32")
def test_locally_it_is_the_gateway_itself_and_its_children_end_with_it(world: World) -> None:
    project = world.project(notes=NOTES)
    bearer = local_bearer(world, project, f"action:gateway,name:{project.name}")
    state = str(world.tmp_path / "local-state")
    with entry(
        world,
        "--local",
        "--project",
        project.name,
        MCPCTL_TOKEN=bearer,
        MCPCTL_SERVER=world.control.address,
        MCPLOCAL_STATE_DIR=state,
    ) as running:
        listed = [tool["name"] for tool in running.ask(modern("tools/list"))["result"]["tools"]]
        assert f"{project.servers[0]}__add_note" in listed
        added = running.ask(
            modern("tools/call", 2, name=f"{project.servers[0]}__add_note", arguments={"title": "a", "text": "b"})
        )
        assert added["result"]["structuredContent"]["number"] == 1
        assert "2025-06-18" == running.ask(initialize("2025-06-18"))["result"]["protocolVersion"]
        assert -32602 == running.ask(request("tools/call", {"name": "nothing"}, 3))["error"]["code"]
        family = children_of(running.process.pid)
        assert len(family) == 2  # the server, and the process that would end it if the gateway were killed
        assert 0 == running.end()
        until(lambda: not any(is_alive(one) for one in family), 5)


def test_locally_it_needs_the_right_to_be_a_gateway(world: World) -> None:
    project = world.project(notes=NOTES)
    bearer = local_bearer(world, project)
    with entry(
        world, "--local", "--project", project.name, MCPCTL_TOKEN=bearer, MCPCTL_SERVER=world.control.address
    ) as running:
        assert "may not ask" in running.ask(modern("tools/list"))["error"]["message"]
        assert children_of(running.process.pid) == []
