"""What gateways ask of the control plane and report to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mcpctl.wire.proxy_models import CacheRule, Stage
from mcpctl.wire.shapes import Answer, Moment, Name, Request, ServerName, SubjectName, Text

Count = Annotated[int, Field(ge=0, le=2_147_483_647)]
Bytes = Annotated[int, Field(ge=0, le=2**53)]
Milliseconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class SlicesQuery(Request):
    """Whose lines, for which project's endpoint."""

    subject: SubjectName
    project: Name


class SliceOf(Answer):
    """The lines of one subject and of its groups."""

    subject: str
    groups: list[str]
    rules: list[tuple[str, str, str, str, str, str]] = Field(description="sub, role, res, name, eft, origin")


class Slices(Answer):
    """Everything a gateway needs to decide about one subject in one project, read at one revision."""

    revision: int
    subject: str
    project: str
    attached: list[str]
    topics: list[str]
    model: str = Field(description="the text of model.conf")
    roles: list[tuple[str, str]]
    own: SliceOf
    owner: SliceOf | None


class UpstreamsQuery(Request):
    """Which project."""

    project: Name


class HealthCheck(Answer):
    """How to find out whether a server lives: by its tool list, or by a call of the ``tool`` named here."""

    interval_seconds: int
    timeout_seconds: int
    tool: str | None = None
    arguments: dict[str, Any] | None = None


class Upstream(Answer):
    """How to reach one server, secret values included.

    ``unusable`` says why nobody can reach it: a secret it names cannot be read. Then it comes without headers and variables.
    """

    name: str
    transport: Literal["streamable-http", "stdio"]
    url: str | None
    headers: dict[str, str]
    command: str | None
    args: list[str]
    env: dict[str, str]
    stateful: bool
    health_check: HealthCheck | None
    proxy_model: str | None
    unusable: str | None = None


class ProxyModel(Answer):
    """A pipeline over results, as it was written: defaults are the reader's to fill in (``proxy_models.with_defaults``)."""

    name: str
    stages: list[Stage]
    cache: CacheRule | None


class Upstreams(Answer):
    """The servers of one project, in order, and the proxy models that it and they name, by name."""

    revision: int
    project: str
    tool_names: Literal["prefixed", "plain"]
    proxy_model: str | None
    topics: list[str]
    servers: list[Upstream]
    proxy_models: list[ProxyModel] = Field(default=[], description="those named above, by name")


class CallEvent(Request):
    """One call as the gateway saw it."""

    id: str = Field(min_length=1, max_length=64)
    at: Annotated[Moment, Field(max_length=40)]
    subject: str | None = Field(default=None, max_length=200)
    user: str | None = Field(default=None, max_length=200)
    token_name: str | None = Field(default=None, max_length=200)
    token_sha: str | None = Field(default=None, max_length=64)
    project: str | None = Field(default=None, max_length=64)
    server: str | None = Field(default=None, max_length=64)
    tool: str | None = Field(default=None, max_length=1024)
    method: str = Field(max_length=128)
    allowed: bool
    reason: str | None = Field(default=None, max_length=2000)
    rule: str | None = Field(default=None, max_length=1000)
    origin: str | None = Field(default=None, max_length=300)
    revision: Count = 0
    decision_id: str | None = Field(default=None, max_length=64)
    duration_ms: Milliseconds | None = None
    request_bytes: Bytes | None = None
    response_bytes: Bytes | None = None
    outcome: Literal["ok", "tool_error", "refused", "upstream_error", "cancelled"]
    source: str | None = Field(default=None, max_length=100)
    request_id: str | None = Field(default=None, max_length=100)
    cache: Literal["hit", "page"] | None = Field(
        default=None, description="the server was not asked: a result kept from before, or one more page of one"
    )


class CallEvents(Request):
    """A batch of calls."""

    gateway: Name
    events: list[CallEvent] = Field(max_length=1000)


class Accepted(Answer):
    """How many were taken, those stored before included."""

    accepted: int


LogStream = Literal["stderr", "gateway"]


class ReportedLine(Request):
    """One line of a server's log."""

    number: Annotated[int, Field(ge=1, le=2**53)] = Field(
        description="microseconds since the epoch; of one server and gateway, no two lines have the same"
    )
    stream: LogStream = Field(description="what its child wrote to standard error, or what the gateway says of the server")
    text: Text


class InstanceReport(Request):
    """One server as this gateway reaches it."""

    server: ServerName
    status: Literal["STARTING", "RUNNING", "DEGRADED", "UNREACHABLE", "ERROR"]
    detail: Text = ""
    tools: Count | None = None
    latency_ms: Milliseconds | None = None
    at: str = Field(max_length=40)
    log: list[ReportedLine] = Field(default=[], max_length=1000, description="lines not reported before")


class StatusReport(Request):
    """All servers this gateway reaches."""

    gateway: Name
    instances: list[InstanceReport] = Field(max_length=1000)
