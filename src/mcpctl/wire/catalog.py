"""Servers, projects and instances."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from mcpctl.policy.names import BELOW_RULE, TOOL_PATTERN, is_tool_name
from mcpctl.wire.secrets import SecretKey
from mcpctl.wire.shapes import Answer, Name, Request, ServerName, Text, Time, Whole, said


class SecretRef(Request):
    """A value that stands in a secret."""

    secret: Name
    key: SecretKey


_CLEAN: Final = r"[^\u0000-\u001f\u007f]*"
_URL: Final = (
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{1,5})?(?:[/?](?:[!$&-;=?-Z\[\]_a-z~]|%[0-9A-Fa-f]{2})*)?"
)
_HEADER: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}"
_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]{0,127}"


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character NUL is not allowed")
    return text


PlainValue = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_no_nul)]
Value = PlainValue | SecretRef


def _no_control_characters(text: str) -> str:
    if not re.fullmatch(_CLEAN, text):
        raise ValueError("control characters are not allowed")
    return text


def _http_url(text: str) -> str:
    try:
        valid = bool(re.fullmatch(_URL, text)) and urlsplit(text).port != 0
    except ValueError:  # no such port, no such address
        valid = False
    if not valid:
        raise ValueError(
            "it must be http:// or https:// and a host, in the characters of RFC 3986, with no user, password or fragment"
        )
    return text


def _header_name(text: str) -> str:
    if not re.fullmatch(_HEADER, text):
        raise ValueError("it is not a header name (RFC 9110 section 5.1)")
    if text.lower() in {"host", "content-length", "transfer-encoding", "connection", "content-type", "accept"}:
        raise ValueError("the gateway sets this header itself")
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(_VARIABLE, text):
        raise ValueError("it is not the name of an environment variable")
    return text


def _once(headers: dict[str, Value] | None) -> dict[str, Value] | None:
    if headers is not None and len({name.lower() for name in headers}) < len(headers):
        raise ValueError("a header stands there twice: upper and lower case are the same")
    return headers


Clean = said("no control characters", _CLEAN)
CleanValue = Annotated[PlainValue, AfterValidator(_no_control_characters), Clean] | SecretRef
Url = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_http_url), said("an http or https URL", _URL)]
HeaderName = Annotated[str, AfterValidator(_header_name), said("a header name, but none the gateway sets itself", _HEADER)]
VariableName = Annotated[str, AfterValidator(_variable), said("the name of an environment variable", _VARIABLE)]
Argument = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_no_control_characters), Clean]
Command = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_no_control_characters), Clean]
_CLOSED = Field(json_schema_extra={"additionalProperties": False})
Headers = Annotated[dict[HeaderName, CleanValue], Field(max_length=50), AfterValidator(_once), _CLOSED]
Environment = Annotated[dict[VariableName, Value], Field(max_length=200), _CLOSED]


def _tool_name(text: str) -> str:
    if not is_tool_name(text):
        raise ValueError(f"it is not the name of a tool: {BELOW_RULE.partition(',')[0]}")
    return text


class HealthCheck(Request):
    """How gateways find out whether the server lives. Without a tool named here they list its tools, which is the default."""

    interval_seconds: int = Field(default=30, ge=1, le=86_400)
    timeout_seconds: int = Field(default=5, ge=1, le=600)
    tool: Annotated[str, AfterValidator(_tool_name), said("the name of a tool", TOOL_PATTERN)] | None = Field(
        default=None, description="a tool that is called instead, as often as this says; choose one that changes nothing"
    )
    arguments: dict[str, Any] | None = Field(default=None, max_length=50, description="what the tool is called with")

    @model_validator(mode="after")
    def _arguments_are_of_a_tool(self) -> Self:
        if self.arguments is not None and self.tool is None:
            raise ValueError("arguments are those of a tool: name the tool")
        return self


class ServerBody(Request):
    """How to reach one MCP server: ``url`` and ``headers`` for Streamable HTTP; ``command``, ``args`` and ``env`` for stdio."""

    name: ServerName | None = Field(
        default=None, description="may be left out in an update; if given it is the name in the path"
    )
    transport: Literal["streamable-http", "stdio"]
    url: Url | None = None
    headers: Headers | None = None
    command: Command | None = None
    args: list[Argument] | None = Field(default=None, max_length=200)
    env: Environment | None = None
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
    proxy_model: Name | None = Field(default=None, description="null takes it out; left out, it stays")
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


class LogQuery(Request):
    """Which lines of a log: the newest, or those that follow one."""

    limit: Whole = Field(default=100, description="at most so many lines")
    after: (
        Annotated[
            int,
            BeforeValidator(lambda text: int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else text),
        ]
        | None
    ) = Field(default=None, ge=0, le=2**53, description="only lines after this number, oldest first")


class LogLine(Answer):
    """One line of the log of an instance."""

    number: int = Field(description="of this instance, greater for each line; ?after= takes it")
    at: Time
    stream: Literal["stderr", "gateway"]
    text: Text


class Log(Answer):
    """Lines of one instance, oldest first."""

    items: list[LogLine]
