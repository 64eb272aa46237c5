"""Decision tables put to a policy: each case is asked of the one ``decide``, each containment of the ceiling itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Final, NamedTuple

from mcpctl.policy import ceiling
from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import Authority, Decision, decide
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.slices import Rule, Slice
from mcpctl.policy.tables import Question, Table, TokenFixture, token_subject
from mcpctl.policy.vocabulary import ANY

NOTHING: Final = "nothing"
"""What decides where no line speaks."""


class Outcome(NamedTuple):
    """What became of one expectation: the line it stands on (0: the table as a whole), in words, and what went wrong."""

    file: str
    line: int
    what: str
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return not self.failure

    @property
    def where(self) -> str:
        """``file:line``, or the file."""
        return f"{self.file}:{self.line}" if self.line else self.file


def run(policy: PolicyFiles, table: Table) -> Iterator[Outcome]:
    """Put ``table`` to ``policy``: one outcome for each case, each containment, and one for all questions unlisted.

    Raises:
        PolicyUnavailable: the model cannot be evaluated.
    """
    world = _World(policy, table)
    for case in table.cases:
        decision = world.decide(case.question)
        what = f"{' '.join(case.question)}: {'allow' if case.allowed else 'deny'}"
        if case.by:
            what += f" by {case.by}"
        yield Outcome(table.file, case.line, what, _failure(decision, case.allowed, case.by))
    for one in table.containments:
        lacking = world.lacking(one.role, one.other)
        what = (
            f"the role {one.role} contains {one.other}"
            if one.contained
            else f"the role {one.role} does not contain {one.other}"
        )
        if one.contained and lacking:
            yield Outcome(table.file, 0, what, f"it lacks {', '.join(lacking)}")
        else:
            yield Outcome(table.file, 0, what, "" if one.contained or lacking else "it does")
    if table.unlisted_denied:
        questions = table.unlisted()
        allowed = [decision for question in questions if (decision := world.decide(question))]
        shown = "; ".join(f"{one.subject} {one.question} is allowed by {one.origin}" for one in allowed[:20])
        more = f"; and {len(allowed) - 20} more" if len(allowed) > 20 else ""
        yield Outcome(table.file, 0, f"{len(questions)} questions that no case lists: deny", shown + more)


def _failure(decision: Decision, allowed: bool, by: str) -> str:
    if decision.allowed is not allowed:
        return decision.reason
    if by and by not in (possible := deciders(decision)):
        also = f"; 'by' may say {', or '.join(possible)}" if len(possible) > 1 else ""
        return f"it is decided by {possible[0]}{also}"
    return ""


def deciders(decision: Decision) -> tuple[str, ...]:
    """What ``by`` may call the reason: the line's place, file or binding; ``nothing``; of a token the leg that refuses."""
    legs = [decision.leg] if decision.leg and not decision.allowed else [leg for leg in decision.legs if leg.rule]
    found: dict[str, None] = {}
    for leg in legs:
        if leg.kind != "user" and not decision.allowed:
            found[leg.kind] = None
        if leg.rule:
            found |= dict.fromkeys((leg.rule.origin, leg.rule.origin.partition(":")[0], str(leg.rule.binding)))
        elif leg.kind in ("user", "token", "owner"):
            found[NOTHING] = None
    return tuple(found)


class _World:
    """A policy and what a table puts beside it."""

    def __init__(self, policy: PolicyFiles, table: Table) -> None:
        self.policy = policy
        self.table = table
        self._authorities: dict[str, Authority] = {}

    @cached_property
    def _tokens(self) -> dict[str, TokenFixture]:
        return {token_subject(name): token for name, token in self.table.tokens.items()}

    def decide(self, question: Question) -> Decision:
        subject, action, resource, name = question
        if subject not in self._authorities:
            self._authorities[subject] = self._authority(subject)
        return decide(self._authorities[subject], action, resource, name)

    def _authority(self, subject: str) -> Authority:
        if token := self._tokens.get(subject):
            attached = frozenset(self.table.projects[token.project])
            return Authority(
                subject, 0, self._slice(subject), owner=self._slice(token.owner), project=token.project, attached=attached
            )
        return Authority(subject, 0, self._slice(subject))

    def _slice(self, subject: str) -> Slice:
        groups = dict.fromkeys((*self.policy.groups_of(subject), *self.table.memberships.get(subject, ())))
        rules = [rule for one in (subject, *groups) for rule in (*self.policy.rules_of(one), *self._beside(one))]
        return Slice(self.policy.model, self.policy.roles, subject, groups, rules)

    def _beside(self, subject: str) -> Iterator[Rule]:
        token = self._tokens.get(subject)
        for binding in (*self.table.bindings.get(subject, ()), *(token.bindings if token else ())):
            yield Rule(subject, binding.role, binding.resource, binding.name, binding.effect, self.table.file)

    def lacking(self, role: str, other: str) -> list[str]:
        """What whoever holds ``role`` on everything would lack to give ``other`` on everything."""
        holder = "User:holder"
        held = Rule(holder, role, ANY, ANY, "allow", self.table.file)
        authority = Authority(holder, 0, Slice(self.policy.model, self.policy.roles, holder, (), [held]))
        return [str(one) for one in ceiling.missing(authority, [Binding(other, ANY)], self.policy.roles)]
