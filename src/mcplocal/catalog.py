"""A project's servers as the control plane describes them to this gateway. Secret values are inside; nothing prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Literal

from mcpctl.wire.gateway import HealthCheck, Upstream, Upstreams
from mcplocal.json_text import write
from mcplocal.names import ToolNames


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
    unusable: str | None = None
    """Why nobody can reach it: a secret it names cannot be read."""

    @classmethod
    def of(cls, upstream: Upstream) -> ServerSpec:
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

    @classmethod
    def of(cls, answer: Upstreams) -> ProjectServers:
        """The project in the control plane's words."""
        return cls(
            project=answer.project,
            revision=answer.revision,
            tool_names=answer.tool_names,
            servers=tuple(ServerSpec.of(server) for server in answer.servers),
            topics=frozenset(answer.topics) | {f"Project:{answer.project}"},
        )
