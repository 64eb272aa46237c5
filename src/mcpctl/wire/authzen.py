"""The shapes of the OpenID AuthZEN Authorization API 1.0, in its words.

What is not known is passed over, as the specification wants it: ``properties`` and ``context`` say things that no policy
here looks at. What is known is read as strictly as everywhere.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Anything = dict[str, Any]


class Asked(BaseModel):
    """A request, or a part of one. Members that are not known are passed over; nothing is coerced."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Answered(BaseModel):
    """An answer, or a part of one. What is ``None`` is left out of it."""

    model_config = ConfigDict(frozen=True)


class Kind(Asked):
    """A subject or resource of which only the type counts (section 8: an ``id`` is ignored in what is searched for)."""

    type: str = Field(max_length=64)


class Entity(Kind):
    """Section 5.1 and 5.2: a subject (``user``, ``group``, ``mcptoken``) or a resource (``servers``, …)."""

    id: str = Field(max_length=1000)
    properties: Anything | None = None


class Action(Asked):
    """Section 5.3: an action by its name."""

    name: str = Field(max_length=64)
    properties: Anything | None = None


class Evaluation(Asked):
    """Section 6.1: may this subject do this action to this resource?"""

    subject: Entity
    action: Action
    resource: Entity
    context: Anything | None = None


class PartialEvaluation(Asked):
    """Section 7.1: an evaluation of many; what it leaves out stands at the top."""

    subject: Entity | None = None
    action: Action | None = None
    resource: Entity | None = None
    context: Anything | None = None


class Options(Asked):
    """Section 7.1.2: how many are evaluated."""

    evaluations_semantic: Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"] = "execute_all"


class Evaluations(PartialEvaluation):
    """Section 7.1: many evaluations, and what they have in common. Without any it is a single one."""

    evaluations: list[PartialEvaluation] = Field(default=[], max_length=1000)
    options: Options = Options()


class Page(Asked):
    """Section 8.2.1: which part of the results."""

    token: str = Field(default="", max_length=2000)
    limit: int = Field(default=100, ge=0)
    properties: Anything | None = None


class Search(Asked):
    """What all searches share."""

    context: Anything | None = None
    page: Page = Page()


class SubjectSearch(Search):
    """Section 8.4: which subjects of this type may do it?"""

    subject: Kind
    action: Action
    resource: Entity


class ResourceSearch(Search):
    """Section 8.5: to which resources of this type may the subject do it?"""

    subject: Entity
    action: Action
    resource: Kind


class ActionSearch(Search):
    """Section 8.6: what may the subject do to this resource?"""

    subject: Entity
    resource: Entity


class Error(Answered):
    """Section 7.2.1: why one evaluation could not be made. Its decision is no."""

    status: int
    message: str


class Because(Answered):
    """Section 5.5: why. ``rule`` and ``origin`` are the line that decided, ``id`` finds the same decision in the audit."""

    reason: str | None = None
    rule: str | None = None
    origin: str | None = None
    via: str | None = None
    revision: int | None = None
    id: str | None = None
    error: Error | None = None


class Decision(Answered):
    """Section 5.5: yes or no."""

    decision: bool
    context: Because


class Decisions(Answered):
    """Section 7.2: the decisions in the order of their questions; fewer where one of them ended it."""

    evaluations: list[Decision]


class Paged(Answered):
    """Section 8.2.2: how to go on. ``next_token`` is empty on the last page."""

    next_token: str
    count: int
    total: int


class FoundEntity(Answered):
    """A subject or resource that was found."""

    type: str
    id: str


class FoundAction(Answered):
    """An action that was found."""

    name: str


class Found(Answered):
    """Section 8.3: what was found."""

    page: Paged
    context: Because | None = None


class Entities(Found):
    """Subjects or resources; each of them gives a yes when it is evaluated."""

    results: list[FoundEntity]


class Actions(Found):
    """Actions; each of them gives a yes when it is evaluated."""

    results: list[FoundAction]


class Metadata(Answered):
    """Section 9.1: where everything is."""

    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str
    search_subject_endpoint: str
    search_resource_endpoint: str
    search_action_endpoint: str
