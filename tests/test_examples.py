"""The examples are run as their pages say."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from mcpctl.api.app import OPERATIONS
from mcpctl.errors import Unavailable
from tests.cli.recording import recording_server
from tests.serving import Served, made

GUARDED = Path(__file__).parents[1] / "examples" / "guarded_server"


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def guarding(pdp: str, session: Path, port: int, said: Path) -> Iterator[None]:
    """The guarded server in a process of its own, which has nothing to complain of, whatever it is asked."""
    environment = os.environ | {"PDP": pdp, "PDP_CLIENT": "shelf", "PDP_SECRET_FILE": str(session)}
    command = [sys.executable, str(GUARDED / "server.py"), "--port", str(port)]
    with (
        said.open("w") as log,
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log) as process,
    ):
        try:
            for _ in range(300):
                with closing(socket.socket()) as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
    assert [] == [line for line in said.read_text().splitlines() if "Traceback" in line or "Warning" in line]


@pytest.fixture
def shelf(served_on_sqlite: Served, tmp_path: Path) -> Iterator[str]:
    """The guarded server, set up as its page says, served by a process of its own."""
    served, port = served_on_sqlite, free_port()
    made(served.admin.post("/users", {"name": "shelf", "service": True}))
    asks = {"name": "shelf-asks", "subjects": ["User:shelf"], "roleBindings": ["action:impersonate"]}
    made(served.admin.post("/rbac", asks))
    session = tmp_path / "shelf-session"
    session.write_text(made(served.admin.post("/sessions", {"user": "shelf", "ttl": "never"}))["token"] + "\n")
    url = f"http://127.0.0.1:{port}/mcp"
    made(served.admin.post("/servers", {"name": "shelf", "transport": "streamable-http", "url": url}))
    made(served.admin.post("/projects", {"name": "library", "servers": ["shelf"]}))
    with guarding(served.address, session, port, tmp_path / "said"):
        yield url


async def visit(url: str, bearer: str, *calls: tuple[str, dict[str, Any]]) -> tuple[list[str], list[str]]:
    """What a client sees, and what becomes of its calls."""
    headers = {"Authorization": f"Bearer {bearer}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        seen = sorted(tool.name for tool in (await client.list_tools()).tools)
        said = []
        for name, arguments in calls:
            try:
                result = await client.call_tool(name, arguments)
                text = str(getattr(result.content[0], "text", ""))
                said.append(f"error: {text}" if result.is_error else text)
            except MCPError as error:
                said.append(error.message)
        return seen, said


@pytest.mark.anyio
@pytest.mark.timeout(180)
async def test_the_guarded_server_does_what_the_policy_says_and_nothing_when_it_cannot_ask(
    shelf: str, served_on_sqlite: Served
) -> None:
    served = served_on_sqlite
    bindings = [f"role:run,resource:servers,name:shelf/{tool}" for tool in ("titles", "author")]
    librarian = served.user(
        "librarian",
        "role:run,resource:servers,name:shelf",
        "role:edit,resource:mcptokens,name:library",
        "role:view,resource:projects,name:library",
    )
    token = made(librarian.post("/mcptokens", {"name": "reader", "project": "library", "bindings": bindings}))
    calls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("author", {"title": "emma"}),
        ("burn", {"title": "emma"}),
        ("nothing", {}),
    )
    seen, said = await visit(shelf, token["token"], *calls)
    assert (["author", "titles"], ["Jane Austen", "Unknown tool: burn", "Unknown tool: nothing"]) == (seen, said)

    missing = ("author", {"title": "none"})
    assert ["error: Error executing tool author: There is no 'none' on the shelf."] == (
        await visit(shelf, token["token"], missing)
    )[1]

    deny = {
        "name": "quiet",
        "subjects": ["User:librarian"],
        "roleBindings": ["role:run,resource:servers,name:shelf/author,effect:deny"],
    }
    made(served.admin.post("/rbac", deny))
    assert (["titles"], ["Unknown tool: author"]) == await visit(shelf, token["token"], calls[0])

    assert 204 == served.admin.delete("/rbac/shelf-asks").status_code
    assert ([], ["Unknown tool: titles"]) == await visit(shelf, token["token"], ("titles", {}))

    made(served.admin.post(f"/mcptokens/{token['id']}/revoke"), 200)
    answer = httpx2.post(shelf, json={}, headers={"Authorization": f"Bearer {token['token']}"}, trust_env=False)
    assert 401 == answer.status_code


ANSWERS: dict[str, Any] = {
    "nobody is there": None,
    "an error": Unavailable("not now"),
    "no object": [],
    "for somebody else": {"active": True, "sub": "User:alice", "aud": "bookshelf", "client_id": "alice", "scope": ""},
    "for nobody": {"active": True, "client_id": "alice", "scope": ""},
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_whatever_goes_wrong_with_asking_who_calls_is_nobody(answer: Any, tmp_path: Path) -> None:
    session, port = tmp_path / "session", free_port()
    session.write_text("mcpctl_ses_none")
    with recording_server() as point:
        point.say(answer or [])
        pdp = f"http://127.0.0.1:{free_port()}" if answer is None else point.address
        with guarding(pdp, session, port, tmp_path / "said"):
            headers = {"Authorization": "Bearer somebody"}
            refused = httpx2.post(f"http://127.0.0.1:{port}/mcp", json={}, headers=headers, trust_env=False)
    assert 401 == refused.status_code
    assert (0 if answer is None else 1) == len(point.asked)


def test_the_page_names_routes_and_files_that_exist() -> None:
    page = (GUARDED / "README.md").read_text()
    routes = {operation.path for operation in OPERATIONS}
    assert set(re.findall(r"`(?:POST|GET) (/[^`]*)`", page)) <= routes
    assert (GUARDED / "server.py").exists()
