"""Servers, projects and instances."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from mcpctl.wire.shapes import Answer, Name, Request, ServerName, Time


class SecretRef(Request):
    """A value that stands in a secret."""

    secret: Name
    key: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")]


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character NUL is not allowed")
    return text


PlainValue = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_no_nul)]
Value = PlainValue | SecretRef


def _no_control_characters(text: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("control characters are not allowed")
    return text


def _http_url(text: str) -> str:
    match = re.fullmatch(r"https?://([^/?#\s]+)([/?][^#\s]*)?", text)
    if not match or "@" in match[1]:
        raise ValueError("it must be http:// or https://, a host, and no user, password or fragment")
    return text


def _header_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", text):
        raise ValueError("it is not a header name (RFC 9110 section 5.1)")
    if text.lower() in {"host", "content-length", "transfer-encoding", "connection", "content-type", "accept"}:
        raise ValueError("the gateway sets this header itself")
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", text):
        raise ValueError("it is not the name of an environment variable")
    return text


CleanValue = Annotated[PlainValue, AfterValidator(_no_control_characters)] | SecretRef
Url = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_http_url)]
Argument = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_no_control_characters)]
Command = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_no_control_characters)]


class HealthCheck(Request):
    """How the gateway finds out whether the server lives; without one it lists its tools."""

    interval_seconds: int = Field(default=30, ge=1, le=86_400)
    timeout_seconds: int = Field(default=5, ge=1, le=600)


class ServerBody(Request):
    """How to reach one MCP server: ``url`` and ``headers`` for Streamable HTTP; ``command``, ``args`` and ``env`` for stdio."""

    name: ServerName | None = Field(
        default=None, description="may be left out in an update; if given it is the name in the path"
    )
    transport: Literal["streamable-http", "stdio"]
    url: Url | None = None
    headers: dict[Annotated[str, AfterValidator(_header_name)], CleanValue] | None = Field(default=None, max_length=50)
    command: Command | None = None
    args: list[Argument] | None = Field(default=None, max_length=200)
    env: dict[Annotated[str, AfterValidator(_variable)], Value] | None = Field(default=None, max_length=200)
    health_check: HealthCheck | None = None
    proxy_model: Name | None = None
    stateful: bool = False


class NewServer(ServerBody):
    """A server to be registered."""

    name: ServerName


class Server(Answer):
    """A server as it is listed. Secrets are named, never shown."""

    id: str
    name: str
    transport: Literal["streamable-http", "stdio"]
    url: str | None
    headers: dict[str, Value]
    command: str | None
    args: list[str]
    env: dict[str, Value]
    health_check: HealthCheck | None
    proxy_model: str | None
    stateful: bool
    projects: list[str] = Field(description="where it is attached, as far as the asker may view these")
    created_at: Time
    updated_at: Time


class ProjectBody(Request):
    """What a project is from now on. Members left out stay as they are."""

    servers: list[ServerName] | None = Field(default=None, max_length=200, description="attached, in this order")
    proxy_model: Name | None = None
    tool_names: Literal["prefixed", "plain"] | None = None


class NewProject(Request):
    """A project and the servers attached from the start."""

    name: Name
    servers: list[ServerName] = Field(default=[], max_length=200)
    proxy_model: Name | None = None
    tool_names: Literal["prefixed", "plain"] = Field(
        default="prefixed", description="'plain' keeps the upstream's tool names and refuses collisions"
    )


class Project(Answer):
    """A project as it is listed."""

    id: str
    name: str
    servers: list[str]
    proxy_model: str | None
    tool_names: Literal["prefixed", "plain"]
    created_at: Time
    updated_at: Time


class Instance(Answer):
    """One server as one gateway currently reaches it."""

    name: str = Field(description="<server>/<gateway>")
    server: str
    gateway: str
    status: Literal["STARTING", "RUNNING", "DEGRADED", "UNREACHABLE", "ERROR"]
    detail: str
    tools: int | None
    latency_ms: float | None
    at: Time
