"""The decision API: may a subject do this, by which line, and who else may?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcpctl.policy.vocabulary import ACTIONS, OPERATIONS, RESOURCE_ALIASES, RESOURCES, Effect
from mcpctl.wire.shapes import Answer, Page, Request, SubjectName, Whole

AskedAction = Annotated[str, Field(max_length=64, json_schema_extra={"enum": [*ACTIONS, *OPERATIONS]})]
AskedResource = Annotated[str, Field(max_length=64, json_schema_extra={"enum": [*RESOURCES, *RESOURCE_ALIASES]})]
AskedName = Annotated[
    str, Field(max_length=600, description="left out: all of them", json_schema_extra={"format": "policy-name"})
]


class Question(Request):
    """One question. Without ``subject`` it is about the asker; about another it needs ``action:impersonate``."""

    subject: SubjectName | None = None
    action: AskedAction
    resource: AskedResource
    name: AskedName = "*"


class Batch(Request):
    """Many questions, answered in order: all of them, or up to and with the first no, or the first yes."""

    questions: list[Question] = Field(min_length=1, max_length=1000)
    evaluate: Literal["all", "until_deny", "until_permit"] = "all"


class Verdict(Answer):
    """The answer, the deciding line and where it stands."""

    allowed: bool
    reason: str
    rule: str | None = Field(description="the policy line that decided, if one did")
    origin: str | None = Field(description="file:line, rbac:NAME or mcptoken:ID")
    via: str | None = Field(default=None, description="the group whose line decided; null where it is the subject's own")
    missing: list[str] = Field(default=[], description="of a no: what is not held, as can-i takes it")
    revision: int
    id: str


class Line(Answer):
    """A policy line that speaks of what was asked."""

    effect: Effect
    binding: str
    subject: str = Field(description="whom the line names: the subject itself or one of its groups")
    origin: str


class LegSays(Answer):
    """One of the parties that must agree. A person is one; a token is four, and all must say yes."""

    kind: Literal["never", "project", "token", "owner", "user"]
    subject: str
    allowed: bool
    reason: str
    groups: list[str] = Field(description="the groups whose lines count as its own")
    lines: list[Line] = Field(
        description="every line that speaks of it, in order; the first deny, else the first allow decides"
    )


class Explanation(Verdict):
    """An answer with everything that led to it."""

    subject: str
    action: str
    resource: str
    name: str
    legs: list[LegSays] = Field(description="empty for a subject that is not known or not enabled")


class WhoCanQuery(Request):
    """Who may do this? In the order of kinds and names."""

    action: AskedAction
    resource: AskedResource
    name: AskedName = "*"
    kind: Literal["user", "group", "mcptoken"] | None = None
    limit: Whole = 100
    cursor: str | None = Field(default=None, max_length=1000)


class Holder(Answer):
    """A subject that may do it, and the line by which it may."""

    subject: str
    name: str = Field(description="of a user or group its name, of a token <project>/<token>")
    owner: str | None = Field(description="of a token: who owns it, and must be allowed too")
    rule: str | None
    origin: str | None
    via: str | None


class Holders(Page[Holder]):
    """One page of those who may, and the revision at which they may."""

    revision: int
    total: int = Field(description="of all pages together")


class RightsQuery(Request):
    """Whose rights. Without ``subject`` those of the asker; of another it needs ``action:impersonate``."""

    subject: SubjectName | None = None


class Right(Line):
    """A line of somebody, and the actions its role contains now."""

    actions: list[str]


class Rights(Answer):
    """All that decides about somebody. A deny wins over every allow; a token may do what its owner may do too, and no more."""

    subject: str
    revision: int
    groups: list[str]
    rights: list[Right]
    owner: str | None = Field(default=None, description="of a token")
    owner_groups: list[str] = Field(default=[])
    owner_rights: list[Right] = Field(default=[])
    project: str | None = Field(default=None, description="of a token: outside it, it may do nothing")
    attached: list[str] = Field(default=[], description="the servers of that project")
    never: list[str] = Field(default=[], description="what a token does not do, whatever its lines say")
