"""The clients that agents are built on, each reduced to one visit: connect, list, make some calls, leave."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.interop.packages import client_scripts, npm_packages

LEGACY, MODERN = "2025-11-25", "2026-07-28"
PATIENCE = 60

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Door:
    """Where a client enters, and as whom."""

    url: str
    bearer: str


@dataclass(frozen=True)
class Visit:
    """What a client was told.

    Attributes:
        version: the revision settled on, where the client tells.
        tools: the tools listed, as the client passes them on.
        answers: of each call ``result`` or ``error`` (``code`` and ``message``), and the ``progress`` reported, if any.
    """

    version: str | None
    tools: list[dict[str, Any]]
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The names listed."""
        return [tool["name"] for tool in self.tools]


@dataclass(frozen=True)
class Agent:
    """A client in one way of using it.

    Attributes:
        visit: goes through a door, with a mode and calls.
        mode: in the client's own words.
        version: the revision it has to settle on with a server that speaks both eras.
        needs_npm: whether it comes from npm.
    """

    visit: Callable[[Door, str, Sequence[Call]], Visit]
    mode: str
    version: str | None
    needs_npm: bool = True


class Progress:
    """What a call reports on its way."""

    def __init__(self) -> None:
        self.heard: list[float] = []

    async def hear(self, progress: float, total: float | None, message: str | None) -> None:
        self.heard.append(progress)


async def use(client: Client, calls: Sequence[Call]) -> Visit:
    """A visit with a client of the Python SDK that is connected."""
    tools = [shape(tool) for tool in (await client.list_tools()).tools]
    answers = []
    for name, arguments in calls:
        progress = Progress()
        try:
            answer = {"result": shape(await client.call_tool(name, arguments, progress_callback=progress.hear))}
        except MCPError as error:
            answer = {"error": {"code": error.code, "message": error.message}}
        answers.append({**answer, "progress": progress.heard})
    return Visit(client.protocol_version, tools, answers)


def shape(model: Any) -> dict[str, Any]:
    """A model of the Python SDK as the JSON it stands for."""
    shown: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return shown


def python_sdk(door: Door, mode: str, calls: Sequence[Call]) -> Visit:
    """The Python SDK over Streamable HTTP."""

    async def visit() -> Visit:
        bearer = {"Authorization": f"Bearer {door.bearer}"} if door.bearer else {}
        async with (
            httpx2.AsyncClient(headers=bearer, timeout=PATIENCE, trust_env=False) as http,
            Client(streamable_http_client(door.url, http_client=http), mode=mode) as client,
        ):
            return await use(client, calls)

    return asyncio.run(visit())


def typescript(script: str, *, stdio: bool = False) -> Callable[[Door, str, Sequence[Call]], Visit]:
    """One of the TypeScript SDKs, over Streamable HTTP or with ``mcplocal`` as its child."""

    def visit(door: Door, mode: str, calls: Sequence[Call]) -> Visit:
        with tempfile.TemporaryDirectory() as empty:
            environ = {
                "MCPCTL_CONFIG": f"{empty}/none.json",
                "MCPCTL_TOKEN": door.bearer,
                "MCPLOCAL_GATEWAY": door.url.removesuffix("/mcp"),
            }
            task = {
                "mode": mode,
                "calls": [{"name": name, "arguments": arguments} for name, arguments in calls],
                "command": [sys.executable, "-c", "from mcplocal.main import main; main()"] if stdio else [],
                "env": environ,
                "url": door.url,
                "bearer": door.bearer,
            }
            done = node([str(client_scripts() / script)], json.dumps(task))
        assert 0 == done.returncode, done.stderr
        return Visit(**json.loads(done.stdout))

    return visit


def inspector(door: Door, mode: str, calls: Sequence[Call]) -> Visit:
    """The command line of the MCP Inspector, a process for each question."""

    def ask(*question: str) -> dict[str, Any]:
        program = npm_packages() / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
        address = [door.url, "--transport", "http", "--header", f"Authorization: Bearer {door.bearer}"]
        done = node([str(program), "--cli", *address, "--protocol-era", mode, "--format", "json", "--quiet", *question])
        found: dict[str, Any] = json.loads(done.stdout or done.stderr)
        return found

    listed = ask("--method", "tools/list")
    assert "result" in listed, listed
    call = ("--method", "tools/call", "--tool-args-json")
    return Visit(
        None,
        listed["result"]["tools"],
        [ask(*call, json.dumps(arguments), "--tool-name", name) for name, arguments in calls],
    )


def node(argv: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program of node's in a home of its own."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "HOME": home, "NO_COLOR": "1"}
        return subprocess.run(["node", *argv], input=text, capture_output=True, text=True, timeout=PATIENCE, env=environ)


AGENTS = {
    "the Python SDK, legacy": Agent(python_sdk, "legacy", LEGACY, needs_npm=False),
    "the Python SDK, modern": Agent(python_sdk, MODERN, MODERN, needs_npm=False),
    "the Python SDK, auto": Agent(python_sdk, "auto", MODERN, needs_npm=False),
    "the TypeScript SDK v1": Agent(typescript("v1.mjs"), "legacy", LEGACY),
    "the TypeScript SDK v1, over stdio": Agent(typescript("v1.mjs", stdio=True), "legacy", LEGACY),
    "the TypeScript SDK v2, legacy": Agent(typescript("v2.mjs"), "legacy", LEGACY),
    "the TypeScript SDK v2, modern": Agent(typescript("v2.mjs"), MODERN, MODERN),
    "the TypeScript SDK v2, auto": Agent(typescript("v2.mjs"), "auto", MODERN),
    "the TypeScript SDK v2, auto, over stdio": Agent(typescript("v2.mjs", stdio=True), "auto", MODERN),
    "the Inspector, legacy": Agent(inspector, "legacy", None),
    "the Inspector, modern": Agent(inspector, "modern", None),
}
