"""No false alarm: servers of other makers, and our own gateway, are told only what the documentation explains."""

from __future__ import annotations

import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcpctl.endpoint_test.check import Level
from mcpctl.endpoint_test.runner import Report
from tests.endpoint_test.conftest import judge
from tests.gateway.conftest import World
from tests.gateway.test_story import until
from tests.interop.conftest import accepts, everything_served, require_npm
from tests.interop.packages import once, run

pytestmark = pytest.mark.timeout(300)  # the first one installs packages

PAGE = Path(__file__).parent.parent.parent / "docs" / "test-mcp.md"
FASTMCP = "fastmcp==4.2.3"

SDK = {"M3-version-differs", "M3-version-missing", "M3-whitespace", "K1-unknown-tool", "E3-unknown-tool", "E8-same-id"}
REBINDING = {"C1-origin", "C1-null-origin", "C3-host"}
KNOWN: dict[str, tuple[set[str], set[str]]] = {
    "the SDK": (set(), SDK),
    "FastMCP": (REBINDING, SDK),
    "server-everything": (REBINDING | {"E4-unknown"}, {"C5-utf8", "C6-batch", "T3-dialect", "E3-unknown-tool", "E8-same-id"}),
    "the gateway": (set(), {"B2-metadata"}),
}
"""What may fail, and what may warn. The documentation says why: a fault, or a decision of the maker."""


def told(report: Report, level: Level) -> dict[str, str]:
    return {one.check.id: one.said for one in report.outcomes if one.level is level}


def assert_only_what_is_known(report: Report, server: str) -> None:
    failures, warnings = KNOWN[server]
    assert {} == {name: said for name, said in told(report, Level.FAIL).items() if name not in failures}
    assert {} == {name: said for name, said in told(report, Level.WARN).items() if name not in warnings}
    assert report.count(Level.PASS) > 50
    assert not report.out_of_time


@pytest.mark.parametrize("server", KNOWN)
def test_the_documentation_explains_every_failure_and_every_warning(server: str) -> None:
    page = PAGE.read_text()
    assert [] == [name for names in KNOWN[server] for name in names if f"`{name}`" not in page]


MODES = {"stateful": "{}", "stateless": "{'stateless_http': True}", "JSON": "{'json_response': True}"}


@pytest.mark.parametrize("mode", MODES)
def test_the_sdk(mode: str, tmp_path: Path) -> None:
    with program(sys.executable, SDK_SCRIPT, tmp_path, MODES[mode]) as url:
        assert_only_what_is_known(judge(url, calls={"add": {"a": 1, "b": 2}}), "the SDK")


def test_server_everything(tmp_path: Path) -> None:
    require_npm()
    with everything_served(tmp_path) as url:
        calls = {"echo": {"message": "x"}, "get-structured-content": {"location": "New York"}}
        assert_only_what_is_known(judge(url, calls=calls), "server-everything")


def test_fastmcp(tmp_path: Path) -> None:
    with program(fastmcp_python(), FASTMCP_SCRIPT, tmp_path) as url:
        assert_only_what_is_known(judge(url, calls={"add": {"a": 1, "b": 2}}), "FastMCP")


def test_our_own_gateway(world: World, time_url: str) -> None:
    project = world.project(time=time_url)
    endpoint = world.gateway()
    tested, second, revoked = project.token(), project.token(), project.token()
    project.revoke(revoked)
    report = judge(
        endpoint.at(f"/projects/{project.name}/mcp").url,
        token=tested["token"],
        second_token=second["token"],
        refused_tokens=(revoked["token"],),
        era="both",
        calls={f"{project.servers[0]}__now": {}},
    )
    assert_only_what_is_known(report, "the gateway")
    assert 0 == report.exit_code


SDK_SCRIPT = """
import sys, uvicorn
from mcp.server.mcpserver import MCPServer
server = MCPServer("adder", version="1")
@server.tool()
def add(a: int, b: int) -> int:
    "Adds two numbers."
    return a + b
uvicorn.run(server.streamable_http_app(**eval(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""

FASTMCP_SCRIPT = """
import sys
from fastmcp import FastMCP
server = FastMCP("adder")
@server.tool
def add(a: int, b: int) -> int:
    "Adds two numbers."
    return a + b
server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
"""


def fastmcp_python() -> str:
    """The interpreter of an environment that holds FastMCP alone."""

    def install(where: Path) -> None:
        venv.create(where, with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(where / "bin" / "python"), "--disable-pip-version-check"]
        run([*pip, "install", "--quiet", "--no-compile", FASTMCP], where)

    return str(once("fastmcp", f"{FASTMCP} {sys.version}".encode(), install) / "bin" / "python")


@contextmanager
def program(python: str, script: str, directory: Path, *arguments: str) -> Iterator[str]:
    """A server in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [python, "-c", script, str(port), *arguments]
    with (directory / "log").open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            until(lambda: accepts(port), 60)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.kill()  # a stream that its server never ends would keep it for ever
