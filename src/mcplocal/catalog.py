"""A project's servers as the control plane describes them to this gateway. Secret values are inside; nothing prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Literal

from mcpctl.wire.gateway import HealthCheck, Upstream, Upstreams
from mcpctl.wire.gateway import ProxyModel as WireModel
from mcplocal.json_text import write
from mcplocal.names import ToolNames
from mcplocal.shapes import ModelCache, ProxyModel, Shape, shape_of


@dataclass(frozen=True)
class ServerSpec:
    """How to reach one MCP server."""

    name: str
    transport: Literal["streamable-http", "stdio"]
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: str | None = field(default=None, repr=False)
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stateful: bool = False
    health_check: HealthCheck | None = None
    shape: Shape | None = field(default=None, compare=False)
    """What becomes of its results in this project; nothing about reaching it."""
    unusable: str | None = None
    """Why nobody can reach it: a secret it names cannot be read."""

    @classmethod
    def of(cls, upstream: Upstream, shape: Shape | None = None) -> ServerSpec:
        """The spec in the control plane's words."""
        return cls(
            name=upstream.name,
            transport=upstream.transport,
            url=upstream.url,
            headers=dict(upstream.headers or {}),
            command=upstream.command,
            args=tuple(upstream.args or ()),
            env=dict(upstream.env or {}),
            stateful=upstream.stateful,
            health_check=upstream.health_check,
            shape=shape,
            unusable=upstream.unusable,
        )

    @cached_property
    def digest(self) -> str:
        """Changes whenever anything about reaching the server does, its credentials included."""
        whole: list[object] = [self.name, self.transport, self.url, sorted(self.headers.items())]
        whole += [self.command, self.args, sorted(self.env.items()), self.stateful, self.unusable]
        return sha256(write(whole).encode()).hexdigest()


@dataclass(eq=False)
class ProjectServers:
    """The servers of one project, in order, as of one revision."""

    project: str
    revision: int
    tool_names: ToolNames
    servers: tuple[ServerSpec, ...]
    topics: frozenset[str]
    superseded: bool = False

    @cached_property
    def by_name(self) -> Mapping[str, ServerSpec]:
        """The same by name."""
        return {spec.name: spec for spec in self.servers}

    @property
    def makes_pages(self) -> bool:
        """Whether results of some server may have to be read page by page."""
        return any(spec.shape is not None and spec.shape.makes_pages for spec in self.servers)

    @classmethod
    def of(cls, answer: Upstreams) -> ProjectServers:
        """The project in the control plane's words."""
        models = {model.name: _model(model) for model in answer.proxy_models}
        return cls(
            project=answer.project,
            revision=answer.revision,
            tool_names=answer.tool_names,
            servers=tuple(
                ServerSpec.of(server, shape_of(models, (server.proxy_model, answer.proxy_model))) for server in answer.servers
            ),
            topics=frozenset(answer.topics) | {f"Project:{answer.project}"},
        )


def _model(model: WireModel) -> ProxyModel:
    cache = ModelCache(float(model.cache.ttl_seconds), tuple(model.cache.tools)) if model.cache is not None else None
    return ProxyModel(model.name, tuple((one.stage, one.options) for one in model.stages), cache)
