"""The decision API: may a subject do this?"""

from __future__ import annotations

from pydantic import Field

from mcpctl.policy.vocabulary import ACTIONS, OPERATIONS, RESOURCE_ALIASES, RESOURCES
from mcpctl.wire.shapes import Answer, Request, SubjectName


class Question(Request):
    """One question. Without ``subject`` it is about the asker; about another it needs ``action:impersonate``."""

    subject: SubjectName | None = None
    action: str = Field(max_length=64, json_schema_extra={"enum": [*ACTIONS, *OPERATIONS]})
    resource: str = Field(max_length=64, json_schema_extra={"enum": [*RESOURCES, *RESOURCE_ALIASES]})
    name: str = Field(
        default="*", max_length=600, description="left out: all of them", json_schema_extra={"format": "policy-name"}
    )


class Verdict(Answer):
    """The answer, the deciding line and where it stands."""

    allowed: bool
    reason: str
    rule: str | None = Field(description="the policy line that decided, if one did")
    origin: str | None = Field(description="file:line, rbac:NAME or mcptoken:ID")
    revision: int
    id: str
