"""The whole path, as a new user walks it: one command, then an SDK client, curl's request, and the command line."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

ERAS = ("2026-07-28", "legacy")
EVERY_TOOL = {
    "time__now",
    "time__convert",
    "time__difference",
    "notes__add_note",
    "notes__list_notes",
    "notes__get_note",
    "notes__search_notes",
    "notes__fetch_page",
    "notes__delete_note",
}
MODERN = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
}


@dataclass
class Running:
    """A quickstart in a process of its own."""

    process: subprocess.Popen[str]
    directory: Path
    first_line: dict[str, str]

    @property
    def gateway(self) -> str:
        return self.first_line["gateway"]

    def admin(self) -> httpx2.Client:
        """A client of the control plane, logged in as admin."""
        base = self.first_line["controlPlane"] + "/api/v1"
        body = {"username": "admin", "password": self.first_line["adminPassword"]}
        session = httpx2.post(base + "/auth/login", json=body, trust_env=False).json()["token"]
        return httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {session}"}, trust_env=False)

    def mint(self, admin: httpx2.Client, name: str, *bindings: str) -> str:
        answer = admin.post("/mcptokens", json={"name": name, "project": "demo", "bindings": list(bindings)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        self.process.send_signal(with_signal)
        try:
            return self.process.wait(timeout=20)
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()


def start(directory: Path, *flags: str) -> Running:
    """Start it on free ports and wait for its first line."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MCPCTL_", "MCPLOCAL_"))}
    command = [sys.executable, "-m", "mcpctl", "quickstart", "--json", "--dir", str(directory)]
    ports = ["--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"]
    with (directory.parent / "stderr").open("w") as errors:
        whole = [*command, *ports, *flags]
        process = subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (directory.parent / "stderr").read_text()
    return Running(process, directory, json.loads(line))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One quickstart for this module."""
    quickstart = start(tmp_path_factory.mktemp("quickstart") / "data")
    yield quickstart
    assert 0 == quickstart.stop()


@asynccontextmanager
async def connected(gateway: str, token: str, era: str) -> AsyncIterator[Client]:
    """An MCP SDK client of one era."""
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    async with http, Client(streamable_http_client(f"{gateway}/mcp", http_client=http), mode=era) as client:
        yield client


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_an_sdk_client_lists_and_calls_tools_over_http_and_stdio(running: Running, era: str) -> None:
    async with connected(running.gateway, running.first_line["token"], era) as client:
        assert EVERY_TOOL == {tool.name for tool in (await client.list_tools()).tools}
        now = await client.call_tool("time__now", {"zone": "Europe/Rome"})
        assert "Europe/Rome" in str(now.structured_content)
        added = await client.call_tool("notes__add_note", {"title": f"from {era}", "text": "hello"})
        assert not added.is_error, added
        assert f"from {era}" in str(await client.call_tool("notes__list_notes", {}))


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_a_token_bound_to_one_tool_sees_and_calls_exactly_that_one(running: Running, era: str) -> None:
    with running.admin() as admin:
        token = running.mint(admin, f"one-tool-{era}", "role:run,resource:servers,name:time/now")
    async with connected(running.gateway, token, era) as client:
        assert ["time__now"] == [tool.name for tool in (await client.list_tools()).tools]
        assert not (await client.call_tool("time__now", {})).is_error
        refusals = {}
        for name in ("time__convert", "notes__list_notes", "no__such"):
            with pytest.raises(MCPError) as refusal:
                await client.call_tool(name, {})
            refusals[name] = (refusal.value.error.code, refusal.value.error.message.replace(name, "NAME"))
    assert 1 == len(set(refusals.values())), "a refused tool answers exactly like an unknown one"
    assert -32602 == refusals["no__such"][0]


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_a_token_without_bindings_connects_and_sees_no_tools(running: Running, era: str) -> None:
    with running.admin() as admin:
        token = running.mint(admin, f"nothing-{era}")
    async with connected(running.gateway, token, era) as client:
        assert [] == (await client.list_tools()).tools


def test_a_revoked_token_is_refused_within_a_second(running: Running) -> None:
    with running.admin() as admin, httpx2.Client(trust_env=False) as caller:
        for round_ in range(5):
            token = running.mint(admin, f"short-{round_}", "role:run,resource:servers,name:time")
            assert 200 == ask(caller, running.gateway, token).status_code
            assert 200 == admin.post(f"/mcptokens/short-{round_}/revoke", params={"project": "demo"}).status_code
            answered, took = monotonic(), 0.0
            while ask(caller, running.gateway, token).status_code != 401:
                took = monotonic() - answered
                assert took < 1.0, "within one second"


def test_narrowing_a_group_is_felt_by_the_next_calls_of_its_members_token(running: Running) -> None:
    with running.admin() as admin, httpx2.Client(trust_env=False) as caller:
        admin.post("/users", json={"name": "bob", "password": "a long password"})
        bindings = ["role:create,resource:mcptokens", "role:view,resource:projects", "role:run,resource:servers"]
        admin.post("/rbac", json={"name": "bob", "subjects": ["User:bob"], "roleBindings": bindings})
        login = admin.post("/auth/login", json={"username": "bob", "password": "a long password"}).json()
        body = {"name": "bobs", "project": "demo", "bindings": ["role:run,resource:servers,name:time"]}
        bob = {"Authorization": f"Bearer {login['token']}"}
        token = admin.post("/mcptokens", json=body, headers=bob).json()["token"]
        assert {"time__now", "time__convert", "time__difference"} == tools(ask(caller, running.gateway, token))
        admin.put("/rbac/bob", json={"subjects": ["User:bob"], "roleBindings": ["role:run,resource:servers,name:time/now"]})
        deadline = monotonic() + 1.0
        while {"time__now"} != tools(ask(caller, running.gateway, token)):
            assert monotonic() < deadline, "the owner's loss is felt within one second"
        assert 204 == admin.delete("/users/bob").status_code
        deadline = monotonic() + 1.0
        while ask(caller, running.gateway, token).status_code != 401:
            assert monotonic() < deadline, "a deleted owner's token is refused within one second"


def test_every_call_leaves_an_audit_row_with_the_tokens_name_and_sha(running: Running) -> None:
    with running.admin() as admin, httpx2.Client(trust_env=False) as caller:
        token = running.mint(admin, "audited", "role:run,resource:servers,name:time/now")
        ask(caller, running.gateway, token, "tools/call", {"name": "time__now", "arguments": {}})
        ask(caller, running.gateway, token, "tools/call", {"name": "time__convert", "arguments": {}})
        deadline = monotonic() + 5
        rows: list[dict[str, Any]] = []
        while len(rows) < 2 and monotonic() < deadline:
            rows = [r for r in admin.get("/audit", params={"token": "audited"}).json()["items"] if r["action"] == "tools/call"]
        assert {("time/now", True), ("time/convert", False)} == {(row["name"], row["allowed"]) for row in rows}
        assert {("audited", "demo", "quickstart")} == {(r["tokenName"], r["project"], r["gateway"]) for r in rows}
        assert 1 == len({row["tokenSha"] for row in rows})


def test_a_name_nobody_could_print_is_audited_and_shown_escaped(running: Running) -> None:
    with running.admin() as admin, httpx2.Client(trust_env=False) as caller:
        token = running.mint(admin, "odd-names", "role:run,resource:servers,name:time/now")
        for name in ("x\0y", "a\x1b[2Kb"):
            encoded = "=?base64?" + b64encode(name.encode()).decode() + "?="
            params: dict[str, Any] = {"name": name, "arguments": {}}
            assert -32602 == ask(caller, running.gateway, token, "tools/call", params, encoded).json()["error"]["code"]
        ask(caller, running.gateway, token, "tools/call", {"name": "time__now", "arguments": {}})
        deadline, tools_seen = monotonic() + 5, set[str]()
        while len(tools_seen) < 3 and monotonic() < deadline:
            rows = admin.get("/audit", params={"token": "odd-names"}).json()["items"]
            tools_seen = {row["tool"] for row in rows if row["action"] == "tools/call"}
        assert {"x\\x00y", "a\\x1b[2Kb", "now"} == tools_seen


def test_a_number_too_large_to_pass_on_is_refused_and_harms_nobody(running: Running) -> None:
    with httpx2.Client(trust_env=False) as caller:
        token = running.first_line["token"]
        headers = {**MODERN, "Authorization": f"Bearer {token}", "Mcp-Method": "tools/call", "Mcp-Name": "notes__list_notes"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": META, "name": "notes__list_notes"}}
        poisoned = json.dumps(body).replace("{}}", '{}, "x": 1e999}')
        refused = caller.post(f"{running.gateway}/mcp", content=poisoned, headers=headers, timeout=30)
        assert -32700 == refused.json()["error"]["code"]
        assert "result" in ask(caller, running.gateway, token, "tools/call", {"name": "notes__list_notes"}).json()


def test_it_starts_without_a_refusal_in_the_audit_and_ends_without_a_word(tmp_path: Path) -> None:
    for _ in range(2):
        quickstart = start(tmp_path / "data")
        with quickstart.admin() as admin:
            refused = admin.get("/audit", params={"decision": "refused"}).json()["items"]
            outcomes = {row["outcome"] for row in admin.get("/audit").json()["items"]}
        assert (0, "") == (quickstart.stop(signal.SIGINT), (tmp_path / "stderr").read_text())
        assert ([], {"ok"}) == (refused, outcomes)


def test_a_second_quickstart_in_the_same_directory_is_refused(running: Running) -> None:
    command = [sys.executable, "-m", "mcpctl", "quickstart", "--dir", str(running.directory), "--listen", "127.0.0.1:0"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (2, True) == (refused.returncode, "already runs" in refused.stderr)


def test_a_lost_password_is_said_and_not_replaced_by_a_wrong_one(tmp_path: Path) -> None:
    assert 0 == start(tmp_path / "data").stop()
    (tmp_path / "data" / "admin-password").unlink()
    command = [sys.executable, "-m", "mcpctl", "quickstart", "--dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (2, True) == (refused.returncode, "admin-password is gone" in refused.stderr)
    assert not (tmp_path / "data" / "admin-password").exists()


def test_what_quickstart_keeps_can_be_read_by_nobody_else(running: Running) -> None:
    assert 0o700 == stat.S_IMODE(running.directory.stat().st_mode)
    for path in running.directory.rglob("*"):
        assert 0 == stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.parametrize(("listener", "path"), [("controlPlane", "/api/v1/auth/whoami"), ("gateway", "/mcp")])
def test_a_request_for_another_host_is_refused(running: Running, listener: str, path: str) -> None:
    answer = httpx2.post(running.first_line[listener] + path, headers={"Host": "evil.example"}, trust_env=False)
    assert answer.status_code in {403, 421}


def test_it_starts_again_in_the_same_directory_with_the_same_token(tmp_path: Path) -> None:
    first = start(tmp_path / "data")
    assert 0 == first.stop()
    second = start(tmp_path / "data")
    try:
        assert first.first_line["token"] == second.first_line["token"]
        with httpx2.Client(trust_env=False) as caller:
            assert EVERY_TOOL == tools(ask(caller, second.gateway, second.first_line["token"]))
    finally:
        assert 0 == second.stop()


def test_listening_beyond_loopback_needs_to_be_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mcpctl", "quickstart", "--dir", str(tmp_path / "d"), "--listen", "0.0.0.0:0"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert 2 == refused.returncode
    assert "--allow-remote" in refused.stderr


def test_an_imported_file_joins_the_project_and_its_command_may_run(tmp_path: Path) -> None:
    servers = {"My Notes": {"command": sys.executable, "args": ["-m", "mcpctl.demo.notes_server"]}}
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    quickstart = start(tmp_path / "data", "--import", str(file))
    try:
        with httpx2.Client(trust_env=False) as caller:
            assert "my-notes__list_notes" in tools(ask(caller, quickstart.gateway, quickstart.first_line["token"]))
    finally:
        assert 0 == quickstart.stop()


META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


def ask(
    caller: httpx2.Client,
    gateway: str,
    token: str,
    method: str = "tools/list",
    params: dict[str, Any] | None = None,
    name: str | None = None,
) -> httpx2.Response:
    """What the curl line asks: one request of 2026-07-28."""
    headers = {**MODERN, "Authorization": f"Bearer {token}", "Mcp-Method": method}
    if params and "name" in params:
        headers["Mcp-Name"] = name or params["name"]
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": META, **(params or {})}}
    return caller.post(f"{gateway}/mcp", json=body, headers=headers, timeout=30)


def tools(answer: httpx2.Response) -> set[str]:
    """The names in an answer to ``tools/list``."""
    return {tool["name"] for tool in answer.json()["result"]["tools"]} if answer.status_code == 200 else set()
