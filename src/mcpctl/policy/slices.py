"""A slice: the lines of one subject and of the groups it belongs to, as a small immutable Casbin enforcer.

A decision needs no other lines, so its cost grows with one subject's bindings and never with the policy. A slice is built
new and published by one assignment; nothing ever changes inside one. Casbin's ``load_policy`` on a live enforcer opens a
window in which a group's deny is not seen, and its evaluator is not safe under threads on CPython 3.11: neither can happen
here, because the matcher is compiled once and the lines never change.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import casbin
from casbin.effect import effect_to_bool
from casbin.model import Assertion, Model
from casbin.rbac.default_role_manager import RoleManager
from casbin.util import SimpleEval

from mcpctl.errors import PolicyUnavailable
from mcpctl.policy.bindings import Binding
from mcpctl.policy.model import FUNCTIONS, PolicyModel
from mcpctl.policy.vocabulary import ACTIONS, ADMIN, ALLOW, DENY, OPERATIONS, Effect

logger = logging.getLogger(__name__)

REMEMBERED_PER_SLICE: Final = 4096
"""Answers kept per slice; past that all are forgotten, so guessing names cannot grow memory."""


class Rule(NamedTuple):
    """One ``p`` line, column by column. ``origin`` says where it stands: ``rbac:NAME``, ``mcptoken:ID`` or ``file:line``."""

    sub: str
    role: str
    res: str
    name: str
    eft: Effect
    origin: str

    @property
    def binding(self) -> Binding:
        """What the line gives or denies, without whom and where."""
        return Binding(self.role, self.res, self.name, self.eft)

    def __str__(self) -> str:
        return f"p, {self.sub}, {self.role}, {self.res}, {self.name}, {self.eft}"


class Ruling(NamedTuple):
    """What one slice says: the answer, and the line that decided it if one did."""

    allowed: bool
    rule: Rule | None


class Roles:
    """The ``g2`` lines of a policy: which actions each role contains. Shared by all slices of that policy."""

    def __init__(self, links: Iterable[tuple[str, str]]) -> None:
        """Build from (role, action) pairs."""
        self.links = frozenset(links)
        # Two levels is one step: roles and actions share a namespace, and a role that contains the action "edit" must not
        # be handed what the role "edit" contains.
        self.role_manager = RoleManager(2)
        actions: dict[str, set[str]] = {}
        for role, action in sorted(self.links):
            self.role_manager.add_link(role, action)
            # In Casbin a name is linked to itself, so a role called after an action contains it, listed or not.
            actions.setdefault(role, {role} & set(ACTIONS)).add(action)
        self._actions = {role: tuple(sorted(found)) for role, found in actions.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Every role there is, ``admin`` included."""
        return (*self._actions, ADMIN)

    def actions(self, role: str) -> tuple[str, ...]:
        """What granting ``role`` gives: its actions; for ``admin`` and for an operation itself alone.

        A role that no line defines gives nothing, unless it is called after an action: then that one.
        """
        if role == ADMIN or role in OPERATIONS or role not in self._actions:
            return (role,) if role in (ADMIN, *OPERATIONS, *ACTIONS) else ()
        return self._actions[role]

    def contains(self, role: str, action: str) -> bool:
        """What Casbin's ``g2`` answers. Asking its role manager would make it keep every name it is asked."""
        return role == action or (role, action) in self.links


class Slice(casbin.Enforcer):  # type: ignore[misc]
    """The lines that can decide about ``subject``, ready to be asked. Never changed once built."""

    def __init__(self, model: PolicyModel, roles: Roles, subject: str, groups: Iterable[str], rules: Iterable[Rule]) -> None:
        """Build from the subject, the groups it is in, and the lines of all of these."""
        self.policy_model = model
        self.roles = roles
        self.subject = subject
        self.groups = frozenset(groups)
        self.rules: tuple[Rule, ...] = tuple(rules)
        self._remembered: dict[tuple[str, str, str], Ruling] = {}
        super().__init__(_with_lines(model.casbin, self.rules, [(subject, group) for group in self.groups], self.roles))
        for name, function in FUNCTIONS.items():
            self.fm.add_function(name, function)

    def init_rm_map(self) -> None:
        """Resolve memberships; the roles are shared and resolved already."""
        members = RoleManager(10)
        for group in self.groups:
            members.add_link(self.subject, group)
        self.rm_map = {"g": members, "g2": self.roles.role_manager}
        for name, role_manager in self.rm_map.items():
            self.model["g"][name].rm = role_manager

    def load_policy(self) -> None:
        """Refused.

        Raises:
            TypeError: always; a slice is never changed, a new one is built.
        """
        raise TypeError("a slice is immutable; build a new one")

    def ask(self, action: str, resource: str, name: str) -> Ruling:
        """What this slice says about its own subject, remembered.

        Raises:
            PolicyUnavailable: the model cannot be evaluated. That is never an allow.
        """
        question = (action, resource, name)
        ruling = self._remembered.get(question)
        if ruling is None:
            ruling = self._rule(self.subject, *question)
            if len(self._remembered) >= REMEMBERED_PER_SLICE:
                self._remembered.clear()
            self._remembered[question] = ruling
        return ruling

    def enforce(self, *rvals: Any) -> bool:
        """Casbin's public question, answered by the compiled matcher."""
        return self._rule(*rvals).allowed

    def enforce_ex(self, *rvals: Any) -> tuple[bool, list[str]]:
        """Casbin's public question with the deciding line, which stock Casbin leaves out for an allow."""
        ruling = self._rule(*rvals)
        return ruling.allowed, list(ruling.rule or ())

    def _rule(self, sub: str, act: str, res: str, name: str) -> Ruling:
        if not self.rules or not (sub and act and res and name):
            return Ruling(False, None)  # stock Casbin would evaluate the matcher against empty strings, and may say yes
        try:
            if (evaluate := self.policy_model.evaluate) is None:
                allowed = bool(super().enforce_ex(sub, act, res, name)[0])
                hits = self._hits_one_by_one(sub, act, res, name)
            else:
                links = (self._is_member, self.roles.contains)
                effects, hits = evaluate(self.eft, self.rules, sub, act, res, name, *links)
                allowed = effect_to_bool(self.eft.final_effect(effects))
        except Exception as error:
            logger.exception("the policy could not be evaluated")
            raise PolicyUnavailable(f"model.conf could not be evaluated: {error}") from error
        wanted = (ALLOW,) if allowed else (DENY,)
        return Ruling(allowed, next((self.rules[hit] for hit in hits if self.rules[hit].eft in wanted), None))

    def _is_member(self, user: str, group: str) -> bool:
        return user == group or (user == self.subject and group in self.groups)

    def _hits_one_by_one(self, *request: str) -> list[int]:
        evaluator = self._get_expression(
            self.policy_model.matcher, {**self.fm.get_functions(), "g": self._is_member, "g2": self.roles.contains}
        )
        asked = dict(zip(self.model["r"]["r"].tokens, request, strict=True))
        tokens = self.model["p"]["p"].tokens
        return [i for i, rule in enumerate(self.rules) if evaluator.eval(asked | dict(zip(tokens, rule, strict=True)))]

    def _get_expression(self, _expr: str, functions: Any = None) -> SimpleEval:
        # The tree is parsed once: CPython 3.11's parser fails at random when two threads are in it. The evaluator around
        # it is new each time, because it holds the names of the request it is evaluating.
        evaluator = SimpleEval("", functions)
        evaluator.ast_parsed_value = self.policy_model.tree
        return evaluator


def _with_lines(template: Model, rules: Sequence[Rule], members: Sequence[tuple[str, str]], roles: Roles) -> Model:
    """The model with these lines in it, column by column. The parts no line stands in are shared with the template."""
    model = Model()
    for section in ("r", "e", "m"):
        model[section] = template[section]
    model["p"] = {"p": _with_policy(template["p"]["p"], rules)}
    model["g"] = {
        "g": _with_policy(template["g"]["g"], members),
        "g2": _with_policy(template["g"]["g2"], sorted(roles.links)),
    }
    return model


def _with_policy(template: Assertion, lines: Iterable[Sequence[str]]) -> Assertion:
    assertion = Assertion()
    assertion.key, assertion.value = template.key, template.value
    assertion.tokens, assertion.params_tokens = template.tokens, template.params_tokens
    assertion.policy = [list(line) for line in lines]
    return assertion
