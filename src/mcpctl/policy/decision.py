"""The one question of the whole program: may this principal do this action to this resource of this name?

Routes, lists, the decision API, the creator ceiling and the gateway ask ``decide`` and nothing else.

A person has one leg: its own lines and those of its groups. A token has four, and all must agree: what a token never does,
its project, its own lines, and what its owner may do now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from math import inf
from time import time
from typing import Final, Literal, NamedTuple

from mcpctl.policy.slices import Rule, Slice
from mcpctl.policy.vocabulary import ANY, DENY, OPERATIONS_RESOURCE

TOKEN_AT_MOST: Final[dict[str, frozenset[str]]] = {
    "secrets": frozenset(),
    "mcptokens": frozenset({"view"}),
    "sessions": frozenset({"view"}),
    "users": frozenset({"view"}),
    "groups": frozenset({"view"}),
    "rbac": frozenset({"view"}),
    OPERATIONS_RESOURCE: frozenset({"logs", "audit"}),
    ANY: frozenset(),
}
"""All that a token may do, whatever its bindings, where credentials and grants are: a leaked token then breeds nothing.

It says what is possible and not what is forbidden, so an action not yet invented is forbidden too.
"""

TOKEN_NEVER_IN_WORDS: Final = (
    "read or write secrets",
    "create, rotate, revoke or delete tokens",
    "open or end sessions",
    "create, change or delete users, groups or RBAC definitions",
    "ask about other subjects, back up, restore, or serve as a gateway",
    "reach anything outside its project",
)

REMEMBERED_PER_PRINCIPAL: Final = 4096
"""Answers kept per principal; past that all are forgotten, so guessing names cannot grow memory."""

LegKind = Literal["never", "project", "token", "owner", "user"]


class Leg(NamedTuple):
    """One of the parties that must agree, what it says, and the line it says it by."""

    kind: LegKind
    allowed: bool
    subject: str
    rule: Rule | None = None
    because: str = ""

    def sentence(self, question: str) -> str:
        """What it says of ``question``, for a person."""
        if self.because:
            return self.because
        if self.rule is None and self.allowed:
            return "nothing keeps a token from that" if self.kind == "never" else "that is not outside the token's project"
        if self.rule is None:
            who = f"{self.subject}, the token's owner" if self.kind == "owner" else self.subject
            return f"nothing allows {who} to {question}"
        verb = "denied" if self.rule.eft == DENY else "allowed"
        via = "" if self.rule.sub == self.subject else f" for {self.rule.sub}"
        return f"{verb} by {self.rule.binding}{via} ({self.rule.origin})"


@dataclass(frozen=True, init=False)
class Decision:
    """An answer with its reasons. Truthy when allowed; nobody rebuilds the reason later."""

    allowed: bool
    subject: str
    action: str
    resource: str
    name: str
    revision: int
    legs: tuple[Leg, ...] = ()

    def __init__(
        self, allowed: bool, subject: str, action: str, resource: str, name: str, revision: int, legs: tuple[Leg, ...] = ()
    ) -> None:
        # Written out: what a frozen dataclass generates sets one field at a time, and costs as much as the decision.
        self.__dict__.update(
            allowed=allowed,
            subject=subject,
            action=action,
            resource=resource,
            name=name,
            revision=revision,
            legs=legs,
        )

    def __bool__(self) -> bool:
        return self.allowed

    @cached_property
    def leg(self) -> Leg | None:
        """The leg that decided: the first that refuses, else the principal's own."""
        refusing = next((leg for leg in self.legs if not leg.allowed), None)
        return refusing or next((leg for leg in self.legs if leg.kind in ("user", "token")), None)

    @property
    def rule(self) -> Rule | None:
        """The deciding policy line: of the refusal a deny, of the permission an allow; ``None`` where no line spoke."""
        return self.leg.rule if self.leg else None

    @property
    def origin(self) -> str | None:
        """Where the deciding line stands."""
        return self.rule.origin if self.rule else None

    @property
    def via(self) -> str | None:
        """The group whose line decided; ``None`` where it is the subject's own line, or none."""
        leg = self.leg
        return leg.rule.sub if leg and leg.rule and leg.rule.sub != leg.subject else None

    @property
    def question(self) -> str:
        """What was asked, as ``mcpctl auth can-i`` takes it."""
        return f"{self.action} {self.resource} {self.name}"

    @cached_property
    def reason(self) -> str:
        """One sentence for a person."""
        leg = self.leg
        return f"{self.subject} is not known or not enabled" if leg is None else leg.sentence(self.question)

    @cached_property
    def id(self) -> str:
        """The same question under the same revision has the same id, so an answer and its audit rows can be joined."""
        text = "\0".join((self.subject, self.action, self.resource, self.name, str(self.revision)))
        return sha256(text.encode()).hexdigest()[:24]


@dataclass(eq=False)
class Authority:
    """What one principal may do, frozen at one policy revision.

    Attributes:
        subject: ``User:<name>`` or ``McpToken:<sha>``.
        revision: the policy revision all of it was read at.
        own: the slice of the subject itself.
        owner: for a token, the slice of the user that owns it.
        project: for a token, the one project it belongs to.
        attached: the names of the servers attached to that project.
        expires_at: Unix seconds after which every answer is no.
        topics: what it was built from (subjects, project, session); a change to any of these supersedes it.
    """

    subject: str
    revision: int
    own: Slice
    owner: Slice | None = None
    project: str | None = None
    attached: frozenset[str] = frozenset()
    expires_at: float = inf
    topics: frozenset[str] = frozenset()
    superseded: bool = False
    never_passed: Leg = field(init=False, repr=False)
    project_passed: Leg = field(init=False, repr=False)
    _remembered: dict[tuple[str, str, str], Decision] = field(default_factory=dict, repr=False)

    @property
    def is_token(self) -> bool:
        """Whether this is a token and not a person."""
        return self.owner is not None

    def __post_init__(self) -> None:
        if self.own.subject != self.subject:
            raise ValueError(f"the slice of {self.own.subject} cannot speak for {self.subject}")
        if not self.subject.startswith("McpToken:"):
            if self.owner is not None or self.project is not None:
                raise ValueError("only a token has an owner and a project")
        elif self.owner is None or not self.owner.subject.startswith("User:") or not self.project:
            raise ValueError("a token's authority needs its owner, who is a user, and its project")
        self.never_passed = Leg("never", True, self.subject)
        self.project_passed = Leg("project", True, self.subject)


def decide(authority: Authority, action: str, resource: str, name: str = ANY) -> Decision:
    """May ``authority`` do ``action`` to the ``resource`` called ``name``? ``*`` asks for all of them.

    The words must be of the vocabulary; whoever takes them from outside checks them there. A pattern as ``name`` asks
    about everything it stands for, and the action ``admin`` about every action: that is the creator ceiling.

    Raises:
        PolicyUnavailable: the model cannot be evaluated. That is never an allow.
    """
    decision = authority._remembered.get((action, resource, name))
    if decision is None:
        decision = _decide(authority, action, resource, name)
        if len(authority._remembered) >= REMEMBERED_PER_PRINCIPAL:
            authority._remembered.clear()
        authority._remembered[(action, resource, name)] = decision
    if authority.superseded or time() >= authority.expires_at:
        why = "the policy has changed since" if authority.superseded else "the credential has expired"
        gone = Leg("never", False, authority.subject, because=f"{authority.subject}: {why}")
        return Decision(False, authority.subject, action, resource, name, authority.revision, (gone,))
    return decision


def could(authority: Authority, action: str, resource: str) -> bool:
    """Whether ``authority`` might do ``action`` to any ``resource`` at all: where this is no, ``decide`` is for every name.

    Raises:
        PolicyUnavailable: the model cannot be evaluated.
    """
    if authority.owner is None:
        return authority.own.could(action, resource)
    if _never(action, resource):
        return False
    return authority.own.could(action, resource) and authority.owner.could(action, resource)


def _decide(authority: Authority, action: str, resource: str, name: str) -> Decision:
    allowed, rule = authority.own.ask(action, resource, name)
    if authority.owner is None:
        legs: tuple[Leg, ...] = (Leg("user", allowed, authority.subject, rule),)
    else:
        never = _never(action, resource)
        outside = _outside(authority, action, resource, name)
        allowed_too, rule_too = authority.owner.ask(action, resource, name)
        legs = (
            Leg("never", False, authority.subject, None, never) if never else authority.never_passed,
            Leg("project", False, authority.subject, None, outside) if outside else authority.project_passed,
            Leg("token", allowed, authority.subject, rule),
            Leg("owner", allowed_too, authority.owner.subject, rule_too),
        )
        allowed = not never and not outside and allowed and allowed_too
    return Decision(allowed, authority.subject, action, resource, name, authority.revision, legs)


def _never(action: str, resource: str) -> str:
    """Why no token may do that, or nothing."""
    if resource in TOKEN_AT_MOST and action not in TOKEN_AT_MOST[resource]:
        return f"a token never may {action} {resource}, whatever its bindings"
    return ""


def _outside(authority: Authority, action: str, resource: str, name: str) -> str:
    """Why that is outside the token's project, or nothing. An upper bound, never a grant."""
    head = name.partition("/")[0]
    project = authority.project
    if resource in ("servers", "instances"):
        return "" if head in authority.attached else f"{head!r} is not attached to the token's project {project!r}"
    if resource in ("projects", "mcptokens"):
        return "" if head == project else f"the token belongs to the project {project!r} and to no other"
    if resource == OPERATIONS_RESOURCE:
        return "" if name == project else f"the token may ask for {action!r} of its project {project!r} only"
    return ""
