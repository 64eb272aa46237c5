"""Proxy models on the real control plane, and upstreams whose results they shape."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.gateway.conftest import Endpoint, Project, World
from tests.gateway.upstreams import Upstream, served, tool
from tests.serving import made

_numbers = itertools.count(1)

READS = {"readOnlyHint": True}


def result(*texts: str, **members: Any) -> str:
    """The raw result of a tool that answers with texts."""
    content = [{"type": "text", "text": text} for text in texts]
    return json.dumps({"resultType": "complete", "content": content, **members})


def answering(raw: str, *tools: dict[str, Any], **script: Any) -> Upstream:
    """An upstream whose every call answers ``raw``."""
    return Upstream(tools=list(tools) or [tool("get")], answer=lambda _: raw, **script)


@dataclass
class Shaped:
    """A project whose results are shaped, and a token's view of it."""

    world: World
    project: Project
    upstream: Upstream
    model: str
    endpoint: Endpoint

    @property
    def prefix(self) -> str:
        return self.project.servers[0] + "__"

    def call(self, name: str = "get", arguments: dict[str, Any] | None = None, as_: str | None = None) -> dict[str, Any]:
        """The result of a call."""
        endpoint = self.endpoint if as_ is None else self.endpoint.as_(as_)
        answer = endpoint.call(name if name.startswith("mcplocal__") else self.prefix + name, arguments)
        body: dict[str, Any] = answer.json()
        assert "result" in body, body
        found: dict[str, Any] = body["result"]
        return found

    def texts(self, *how: Any, **more: Any) -> list[str]:
        """The texts of a call's result."""
        return [block["text"] for block in self.call(*how, **more)["content"] if block["type"] == "text"]


def model(world: World, *stages: Any, cache: dict[str, Any] | None = None) -> str:
    """A new proxy model's name; a stage is its name, or its name and options."""
    name = f"m{next(_numbers)}"
    body = [{"stage": one} if isinstance(one, str) else {"stage": one[0], "options": one[1]} for one in stages]
    made(world.control.admin.post("/proxymodels", {"name": name, "stages": body, "cache": cache}))
    return name


def select(world: World, project: Project, name: str | None) -> None:
    """Let the project's results be shaped by that model."""
    answer = world.control.admin.put(f"/projects/{project.name}", {"proxyModel": name})
    assert answer.status_code == 200, answer.text
    world.heard(answer)


@dataclass
class Make:
    """Makes a project with one server and a model; a stage is its name, or its name and options."""

    world: World

    def __call__(self, upstream: Upstream, *stages: Any, cache: dict[str, Any] | None = None, **settings: Any) -> Shaped:
        upstream.url = self.world.stack.enter_context(served(upstream.app())) + "/mcp"  # type: ignore[attr-defined]
        name = model(self.world, *stages, cache=cache)
        project = self.world.project(s=upstream)
        select(self.world, project, name)
        endpoint = self.world.gateway(**settings).as_(project.token()["token"])
        return Shaped(self.world, project, upstream, name, endpoint)


@pytest.fixture
def shaped(world: World) -> Make:
    """Makes projects whose results are shaped."""
    return Make(world)
