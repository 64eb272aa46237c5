"""Audit rows."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mcpctl.wire.shapes import Answer, Moment, Request, Time, Whole


class AuditRow(Answer):
    """Who did what to which resource, by which credential, decided by which rule, from where."""

    id: str
    at: Time
    subject: str | None
    user: str | None
    token_name: str | None
    token_sha: str | None
    action: str
    resource: str
    name: str
    allowed: bool
    outcome: str
    reason: str | None
    rule: str | None
    origin: str | None
    revision: int
    decision_id: str | None
    project: str | None
    server: str | None
    tool: str | None
    duration_ms: float | None
    source: str | None
    request_id: str | None
    gateway: str | None
    details: dict[str, Any]


class AuditQuery(Request):
    """Which rows, newest first."""

    token: str | None = Field(default=None, description="a token's name, or PROJECT/NAME, or its SHA-256")
    user: str | None = None
    project: str | None = None
    since: Moment | None = Field(default=None, description="an ISO time with zone, or a duration back from now: 1h, 7d")
    until: Moment | None = None
    decision: Literal["allowed", "refused"] | None = None
    limit: Whole = 100
    cursor: str | None = None
