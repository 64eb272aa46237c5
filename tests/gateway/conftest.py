"""A control plane for the whole run, upstreams a test scripts, and gateways as a test wants them."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcpctl.demo import time_server
from mcplocal.gateway import Gateway
from mcplocal.serve import build_app, http_protocol
from mcplocal.settings import Settings, load
from mcplocal.wire import NAMED_BY
from tests import serving
from tests.gateway.relay import Relay
from tests.gateway.upstreams import MODERN, Upstream, served
from tests.serving import Served, made

POLICIES = Path(__file__).parent.parent.parent / "policies"
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}

_numbers = itertools.count(1)


@dataclass
class Project:
    """A project with servers and the means to make tokens for it."""

    control: Served
    name: str
    servers: list[str]

    def token(self, *bindings: str, **more: Any) -> dict[str, Any]:
        """A new token with these bindings; by default it may run all of the project's servers."""
        given = bindings or tuple(f"role:run,resource:servers,name:{server}" for server in self.servers)
        body = {"name": f"t{next(_numbers)}", "project": self.name, "bindings": list(given), **more}
        return made(self.control.admin.post("/mcptokens", body))

    def revoke(self, token: dict[str, Any]) -> None:
        assert self.control.admin.post(f"/mcptokens/{token['id']}/revoke").status_code == 200


@dataclass
class Endpoint:
    """One bearer's raw view of one endpoint of a gateway."""

    http: httpx2.Client
    url: str
    bearer: str | None

    def post(self, body: Any, headers: dict[str, str] | None = None, **more: Any) -> httpx2.Response:
        """A body as it is given, with the headers every client sends."""
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        bearer = {"Authorization": f"Bearer {self.bearer}"} if self.bearer is not None else {}
        return self.http.post(self.url, content=content, headers={**JSON_HEADERS, **bearer, **(headers or {})}, **more)

    def modern(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> httpx2.Response:
        """A well-formed request of the modern era; ``headers`` (with ``_`` for ``-``) override its own."""
        params = {"_meta": META, **(params or {})}
        sent = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if method in NAMED_BY and NAMED_BY[method] in params:
            sent["Mcp-Name"] = str(params[NAMED_BY[method]])
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, sent)

    def call(self, tool: str, arguments: dict[str, Any] | None = None) -> httpx2.Response:
        """A ``tools/call`` of the modern era."""
        return self.modern("tools/call", {"name": tool, "arguments": arguments or {}})

    def tools(self) -> list[str]:
        """The names listed."""
        return self.listed("tools/list", "name")

    def listed(self, method: str, key: str) -> list[str]:
        """What a list calls its entries."""
        answer = self.modern(method)
        assert answer.status_code == 200, answer.text
        (entries,) = [found for found in answer.json()["result"].values() if isinstance(found, list)]
        return [entry[key] for entry in entries]

    def prompts(self) -> list[str]:
        """The names listed."""
        return self.listed("prompts/list", "name")

    def resources(self) -> list[str]:
        """The URIs listed."""
        return self.listed("resources/list", "uri")

    def templates(self) -> list[str]:
        """The templates listed."""
        return self.listed("resources/templates/list", "uriTemplate")

    def get(self, prompt: str, arguments: dict[str, Any] | None = None) -> httpx2.Response:
        """A ``prompts/get`` of the modern era."""
        return self.modern("prompts/get", {"name": prompt, "arguments": arguments or {}})

    def read(self, uri: str) -> httpx2.Response:
        """A ``resources/read`` of the modern era."""
        return self.modern("resources/read", {"uri": uri})

    def as_(self, bearer: str | None) -> Endpoint:
        return Endpoint(self.http, self.url, bearer)

    def at(self, path: str) -> Endpoint:
        base = self.url.partition("/mcp")[0].partition("/projects")[0]
        return Endpoint(self.http, base + path, self.bearer)


@dataclass
class World:
    """Everything a test of the gateway needs."""

    control: Served
    credential: Path
    tmp_path: Path
    stack: ExitStack
    gateways: list[Gateway] = field(default_factory=list)

    def upstream(self, **script: Any) -> Upstream:
        """A scripted server, running; its URL is at ``.url``."""
        upstream = Upstream(**script)
        upstream.url = self.stack.enter_context(served(upstream.app())) + "/mcp"  # type: ignore[attr-defined]
        return upstream

    def project(self, tool_names: str = "prefixed", **servers: Any) -> Project:
        """A project whose servers are scripted upstreams, URLs, argument vectors, or whole bodies; names get a number."""
        number = next(_numbers)
        names = []
        for name, what in servers.items():
            named = f"{name}{number}"
            if isinstance(what, Upstream):
                body: dict[str, Any] = {"transport": "streamable-http", "url": what.url}  # type: ignore[attr-defined]
            elif isinstance(what, str):
                body = {"transport": "streamable-http", "url": what}
            elif isinstance(what, list):
                body = {"transport": "stdio", "command": what[0], "args": what[1:]}
            else:
                body = what
            made(self.control.admin.post("/servers", {"name": named, **body}))
            names.append(named)
        made(self.control.admin.post("/projects", {"name": f"p{number}", "servers": names, "toolNames": tool_names}))
        return Project(self.control, f"p{number}", names)

    def settings(self, **given: Any) -> Settings:
        return load(
            {},
            **{
                "control_plane": self.control.address,
                "credential_file": self.credential,
                "listen": "127.0.0.1:0",
                "name": "tested",
                "upstream_networks": "127.0.0.0/8",
                "state_dir": self.tmp_path / "state",
                "cache_dir": self.tmp_path / "cache",
                **given,
            },
        )

    def gateway(self, on_decision: Callable[[Any], None] | None = None, **settings: Any) -> Endpoint:
        """A gateway behind a real uvicorn, seen at ``/mcp`` without a bearer."""
        app = build_app(self.settings(**settings), on_decision=on_decision)
        self.gateways.append(app.state.gateway)
        address = self.stack.enter_context(served(app, http_protocol(app)))
        http = self.stack.enter_context(httpx2.Client(timeout=30, trust_env=False))
        return Endpoint(http, f"{address}/mcp", None)

    def heard(self, written: httpx2.Response) -> None:
        """Wait until every gateway has heard of what was written."""
        revision = int(written.headers["Mcpctl-Revision"])
        begun = time.monotonic()
        while any(gateway.feed.revision < revision for gateway in self.gateways):
            assert time.monotonic() - begun < 5, "a gateway does not hear of it"
            time.sleep(0.01)

    def relay(self) -> Relay:
        """A relay to the control plane that can be cut."""
        relay = Relay(int(self.control.address.rpartition(":")[2]))
        self.stack.callback(relay.close)
        return relay


@pytest.fixture(scope="session")
def gateway_control_plane(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Served]:
    """One control plane for all tests of the gateway; each makes its own projects and tokens on it."""
    directory = tmp_path_factory.mktemp("gateway")
    database = directory / "mcpctl.db"
    shutil.copy(sqlite_template, database)
    policies = Path(shutil.copytree(POLICIES, directory / "policies"))
    with serving.serve(f"sqlite:///{database}", policies) as running:
        yield running


@pytest.fixture(scope="session")
def gateway_credential(gateway_control_plane: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a session of a service user in ``Group:gateways``."""
    admin = gateway_control_plane.admin
    made(admin.post("/users", {"name": "gw", "service": True}))
    assert admin.put("/groups/gateways/members/gw").status_code == 200
    session = made(admin.post("/sessions", {"user": "gw", "ttl": "never"}))
    file = tmp_path_factory.mktemp("credential") / "session"
    file.write_text(session["token"] + "\n")
    return file


@pytest.fixture
def world(gateway_control_plane: Served, gateway_credential: Path, tmp_path: Path) -> Iterator[World]:
    """The control plane, and whatever the test adds to it for its own time."""
    with ExitStack() as stack:
        yield World(gateway_control_plane, gateway_credential, tmp_path, stack)


@pytest.fixture(scope="session")
def time_url() -> Iterator[str]:
    """The shipped clock, served."""
    with served(time_server.build_app()) as address:
        yield f"{address}/mcp"
