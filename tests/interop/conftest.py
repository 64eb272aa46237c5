"""One gateway for all these tests, and behind it servers of other makers, which can also be asked directly."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.gateway.conftest import (  # noqa: F401 - fixtures
    Endpoint,
    Project,
    World,
    gateway_control_plane,
    gateway_credential,
)
from tests.gateway.test_story import until
from tests.interop.agents import Call, Door, Visit, python_sdk, use
from tests.interop.packages import PYTHON_SERVERS, has_npm, install_all, npm_packages, python_server
from tests.serving import Served

NO_NPM = "NPM IS MISSING: what comes from it was NOT tested; install Node 20 or newer with npm"
STARTING = 60


def require_npm() -> None:
    """Skip where npm packages cannot be had, and say so."""
    if not has_npm():
        pytest.skip(NO_NPM)


def everything() -> str:
    """The reference server that has some of everything, as a script for node."""
    return str(npm_packages() / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js")


@dataclass
class Foreign:
    """A server of another maker.

    Attributes:
        project: the project that holds it alone.
        directly: a visit to it past the gateway.
        url: where it is, if it is served over HTTP.
    """

    project: Project
    directly: Callable[[Sequence[Call]], Visit]
    url: str = ""

    @property
    def name(self) -> str:
        """Under which the gateway offers it."""
        return self.project.servers[0]


@dataclass
class Stage:
    """The gateway, and what stands behind it."""

    world: World
    endpoint: Endpoint
    repository: Path
    known: dict[str, Foreign] = field(default_factory=dict)

    def door(self, token: dict[str, Any]) -> Door:
        """The way in with a token."""
        return Door(self.endpoint.url, token["token"])

    def argv(self, kind: str) -> list[str]:
        """How a server over stdio is started."""
        if kind == "everything-stdio":
            return ["node", everything(), "stdio"]
        options = ["--repository", str(self.repository)] if kind == "git" else ["--local-timezone", "UTC"]
        return [str(python_server(kind)), *options]

    def foreign(self, kind: str) -> Foreign:
        """A server for all tests, running or ready to be started by the gateway."""
        if kind.startswith("everything"):
            require_npm()
        if kind not in self.known:
            if kind == "everything-http":
                url = self.world.stack.enter_context(everything_served(self.world.tmp_path))
                project = self.world.project(foreign=url)
                self.known[kind] = Foreign(project, lambda calls: python_sdk(Door(url, ""), "auto", calls), url)
            else:
                argv = self.argv(kind)
                self.known[kind] = Foreign(self.world.project(foreign=argv), lambda calls: over_stdio(argv, calls))
        return self.known[kind]


def over_stdio(argv: list[str], calls: Sequence[Call]) -> Visit:
    """A visit to a server that is started for it."""

    async def visit(log: TextIO) -> Visit:
        parameters = StdioServerParameters(command=argv[0], args=argv[1:])
        async with Client(stdio_client(parameters, errlog=log)) as client:
            return await use(client, calls)

    with Path(os.devnull).open("w") as nowhere:
        return asyncio.run(visit(nowhere))


@contextmanager
def everything_served(directory: Path) -> Iterator[str]:
    """The reference server over Streamable HTTP."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        (directory / "everything.log").open("w") as log,
        subprocess.Popen(
            ["node", everything(), "streamableHttp"], stdout=log, stderr=log, env={**os.environ, "PORT": str(port)}
        ) as process,
    ):
        try:
            until(lambda: accepts(port), STARTING)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def accepts(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def stage(
    gateway_control_plane: Served,  # noqa: F811
    gateway_credential: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """A gateway that may start the servers of these tests, and a repository for one of them."""
    install_all()
    with ExitStack() as stack:
        world = World(gateway_control_plane, gateway_credential, tmp_path_factory.mktemp("interop"), stack)
        repository = world.tmp_path / "repository"
        make_repository(repository)
        stage = Stage(world, Endpoint(None, "", None), repository)  # type: ignore[arg-type]
        kinds = [*PYTHON_SERVERS, *(["everything-stdio"] if has_npm() else [])]
        stage.endpoint = world.gateway(stdio_allow=[stage.argv(kind) for kind in kinds], list_timeout=STARTING)
        yield stage


def make_repository(where: Path) -> None:
    """A repository with two commits, a branch, and a change that is not committed."""
    git = shutil.which("git")
    assert git is not None
    identity = {f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}

    def run(*arguments: str) -> None:
        subprocess.run([git, *arguments], cwd=where, env=environ, check=True, capture_output=True)

    where.mkdir()
    run("init", "--initial-branch", "main")
    for text in ("one\n", "one\ntwo\n"):
        (where / "words").write_text(text)
        run("add", "words")
        run("commit", "--message", f"Up to {text.split()[-1]}")
    run("branch", "aside")
    (where / "words").write_text("one\ntwo\nthree\n")
