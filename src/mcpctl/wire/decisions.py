"""The decision API: may a subject do this?"""

from __future__ import annotations

from pydantic import Field

from mcpctl.wire.shapes import Answer, Request, SubjectName


class Question(Request):
    """One question. Without ``subject`` it is about the asker; about another it needs ``action:impersonate``."""

    subject: SubjectName | None = None
    action: str = Field(max_length=64)
    resource: str = Field(max_length=64)
    name: str = Field(default="*", max_length=600, description="left out: all of them")


class Verdict(Answer):
    """The answer, the deciding line and where it stands."""

    allowed: bool
    reason: str
    rule: str | None = Field(description="the policy line that decided, if one did")
    origin: str | None = Field(description="file:line, rbac:NAME or mcptoken:ID")
    revision: int
    id: str
