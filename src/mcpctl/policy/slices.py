"""A slice: the lines of one subject and of the groups it belongs to, as a small immutable Casbin enforcer.

A decision needs no other lines, so its cost grows with one subject's bindings and never with the policy. A slice is built
new and published by one assignment; nothing ever changes inside one. Casbin's ``load_policy`` on a live enforcer opens a
window in which a group's deny is not seen, and its evaluator is not safe under threads on CPython 3.11: neither can happen
here, because the matcher is compiled once and the lines never change.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import casbin
from casbin.effect import effect_to_bool
from casbin.model import Assertion, Model
from casbin.rbac.default_role_manager import RoleManager
from casbin.util import SimpleEval

from mcpctl.errors import PolicyUnavailable
from mcpctl.policy.bindings import Binding
from mcpctl.policy.matcher import Matcher, Narrowed, effect_of
from mcpctl.policy.model import FUNCTIONS, PolicyModel
from mcpctl.policy.vocabulary import ACTIONS, ADMIN, ALLOW, DENY, OPERATIONS, Effect

logger = logging.getLogger(__name__)

NARROWED_PER_SLICE: Final = 256
"""Subject, action and resource triples whose lines are kept narrowed; the vocabulary has fewer."""


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


class _Links(RoleManager):  # type: ignore[misc]
    """Casbin's role manager once its links are final: it keeps no name it is asked about, and answers without walking."""

    def __init__(self, levels: int, links: Iterable[tuple[str, str]]) -> None:
        super().__init__(levels)
        links = sorted(links)
        for one, other in links:
            super().add_link(one, other)
        self._pairs = frozenset(links)

    def has_link(self, name1: str, name2: str, *_domain: str) -> bool:
        return name1 == name2 or (name1, name2) in self._pairs


NOTHING: Final = Ruling(False, None)
"""No line speaks, so the answer is no."""


class Roles:
    """The ``g2`` lines of a policy: which actions each role contains. Shared by all slices of that policy."""

    def __init__(self, links: Iterable[tuple[str, str]]) -> None:
        """Build from (role, action) pairs."""
        self.links = frozenset(links)
        # One step, in Casbin's count two levels: roles and actions share a namespace, and a role that contains the action
        # "edit" must not be handed what the role "edit" contains.
        self.role_manager = _Links(2, self.links)
        actions: dict[str, set[str]] = {}
        for role, action in sorted(self.links):
            # In Casbin a name is linked to itself, so a role called after an action contains it, listed or not.
            actions.setdefault(role, {role} & {*ACTIONS, *OPERATIONS}).add(action)
        self._actions = {role: tuple(sorted(found)) for role, found in actions.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Every role there is, ``admin`` included."""
        return (*self._actions, ADMIN)

    def actions(self, role: str) -> tuple[str, ...]:
        """What granting ``role`` gives: its actions; for ``admin`` and for an operation itself alone.

        A role that no line defines gives nothing, unless it is called after an action: then that one.
        """
        if role == ADMIN or role not in self._actions:
            return (role,) if role in (ADMIN, *OPERATIONS, *ACTIONS) else ()
        return self._actions[role]

    def contains(self, role: str, action: str) -> bool:
        """What Casbin's ``g2`` answers."""
        return self.role_manager.has_link(role, action)


class Slice(casbin.Enforcer):  # type: ignore[misc]
    """The lines that can decide about ``subject``, ready to be asked. Never changed once built."""

    def __init__(self, model: PolicyModel, roles: Roles, subject: str, groups: Iterable[str], rules: Iterable[Rule]) -> None:
        """Build from the subject, the groups it is in, and the lines of all of these."""
        self.policy_model = model
        self.roles = roles
        self.subject = subject
        self.groups = frozenset(groups)
        self._narrowed: dict[tuple[str, str, str], Narrowed] = {}
        self.places: dict[tuple[str, str, str], tuple[bool, int | None]] = {}
        """Of those that are alike: the answer, and the place of its line."""
        self._members = _Links(10, ((subject, group) for group in self.groups))
        super().__init__(_with_lines(model.casbin, rules, self._members, roles))
        for name, function in FUNCTIONS.items():
            self.fm.add_function(name, function)
        self.rules: tuple[Rule, ...] = self.model["p"]["p"].policy
        self._effects = tuple(effect_of(rule) for rule in self.rules)
        self._matcher = model.compiled

    def init_rm_map(self) -> None:
        """Hand Casbin the links, which are resolved already; the roles are shared."""
        self.rm_map = {"g": self._members, "g2": self.roles.role_manager}

    def ask(self, action: str, resource: str, name: str) -> Ruling:
        """What this slice says about its own subject.

        Raises:
            PolicyUnavailable: the model cannot be evaluated. That is never an allow.
        """
        return self._rule(self.subject, action, resource, name)

    def objection(self, action: str, resource: str, name: str) -> str | None:
        """Why the model could not be evaluated for this question; ``None`` if it can be. For trying a model out."""
        try:
            self._evaluated(self.subject, action, resource, name)
        except Exception as error:  # whatever the expression of a stranger trips over
            return str(error) or type(error).__name__
        return None

    def matching(self, action: str, resource: str, name: str) -> tuple[Rule, ...]:
        """Every line that speaks of this, in order; the one that decides is among them. For explaining: it takes its time.

        Raises:
            PolicyUnavailable: the model cannot be evaluated.
        """
        if not self.rules or not (action and resource and name):
            return ()
        try:
            return tuple(self.rules[hit] for hit in self._hits_one_by_one(self.subject, action, resource, name))
        except Exception as error:
            logger.exception("the policy could not be evaluated")
            raise PolicyUnavailable(f"model.conf could not be evaluated: {error}") from error

    def could(self, action: str, resource: str) -> bool:
        """Whether any line might allow this under any name at all. A no is certain, a yes is only possible.

        Raises:
            PolicyUnavailable: the model cannot be evaluated.
        """
        if not self.rules or (matcher := self._matcher) is None:
            return bool(self.rules)
        known = (self.subject, action, resource)
        try:
            narrowed = self._narrowed.get(known)
            left = self._narrow(matcher, known) if narrowed is None else narrowed
        except Exception as error:
            logger.exception("the policy could not be evaluated")
            raise PolicyUnavailable(f"model.conf could not be evaluated: {error}") from error
        # No model allows what no line allows (see mcpctl.policy.model), so denies alone come to nothing.
        return any(self.rules[int(line[0])].eft == ALLOW for run in left for line in run.lines)

    def enforce(self, *rvals: Any) -> bool:
        """Casbin's public question, answered by the compiled matcher."""
        return self._rule(*rvals).allowed

    def enforce_ex(self, *rvals: Any) -> tuple[bool, list[str]]:
        """Casbin's public question with the deciding line, which stock Casbin leaves out for an allow."""
        ruling = self._rule(*rvals)
        return ruling.allowed, list(ruling.rule or ())

    def _rule(self, sub: str, act: str, res: str, name: str) -> Ruling:
        if not self.rules or not (sub and act and res and name):
            return NOTHING  # stock Casbin would evaluate the matcher against empty strings, and may say yes
        try:
            return self._evaluated(sub, act, res, name)
        except Exception as error:
            logger.exception("the policy could not be evaluated")
            raise PolicyUnavailable(f"model.conf could not be evaluated: {error}") from error

    def _evaluated(self, sub: str, act: str, res: str, name: str) -> Ruling:
        g, g2 = self._members.has_link, self.roles.role_manager.has_link
        if (matcher := self._matcher) is None:
            allowed = bool(super().enforce_ex(sub, act, res, name)[0])
            return Ruling(allowed, self._first(allowed, self._hits_one_by_one(sub, act, res, name)))
        if (narrowed := self._narrowed.get((sub, act, res))) is None:
            narrowed = self._narrow(matcher, (sub, act, res))
        effects, hits = matcher.evaluate(self.eft, self._effects, narrowed, sub, act, res, name, g, g2)
        allowed = effect_to_bool(self.eft.final_effect(effects))
        return Ruling(allowed, self._first(allowed, hits)) if hits or allowed else NOTHING

    def _first(self, allowed: bool, hits: Iterable[int]) -> Rule | None:
        """The first line that matched and says what the answer is: a deny of a refusal, an allow of a permission."""
        wanted = ALLOW if allowed else DENY
        for hit in hits:
            if self.rules[hit].eft == wanted:
                return self.rules[hit]
        return None

    def _narrow(self, matcher: Matcher, known: tuple[str, str, str]) -> Narrowed:
        narrowed = matcher.narrow(self.rules, known, self._members.has_link, self.roles.role_manager.has_link)
        if len(self._narrowed) >= NARROWED_PER_SLICE:
            self._narrowed.clear()
        self._narrowed[known] = narrowed
        return narrowed

    def _hits_one_by_one(self, *request: str) -> Iterator[int]:
        """The lines that match, in order; whoever has found the deciding one asks no further, as Casbin does not."""
        links = {"g": self._members.has_link, "g2": self.roles.role_manager.has_link}
        evaluator = self._get_expression(self.policy_model.matcher, {**self.fm.get_functions(), **links})
        asked = dict(zip(self.model["r"]["r"].tokens, request, strict=True))
        tokens = self.model["p"]["p"].tokens
        for index, rule in enumerate(self.rules):
            if evaluator.eval(asked | dict(zip(tokens, rule, strict=True))):
                yield index

    def _get_expression(self, _expr: str, functions: Any = None) -> SimpleEval:
        # The tree is parsed once: CPython 3.11's parser fails at random when two threads are in it. The evaluator around
        # it is new each time, because it holds the names of the request it is evaluating.
        # So are the functions, to which it adds some: another thread may be going through them.
        evaluator = SimpleEval("", dict(functions or {}))
        evaluator.ast_parsed_value = self.policy_model.tree
        return evaluator


def _refused(*_args: Any, **_kwargs: Any) -> None:
    """Refused.

    Raises:
        TypeError: always; what a slice consists of is never changed, a new one is built.
    """
    raise TypeError("a slice is immutable; build a new one")


_CHANGING: Final = ("add_", "build_", "clear", "delete_", "enable_", "load_", "remove_", "save_", "set_", "update_")
for _class, _base in ((Slice, casbin.Enforcer), (_Links, RoleManager)):
    for _name in dir(_base):
        if _name.lstrip("_").startswith(_CHANGING):
            setattr(_class, _name, _refused)


class Alike(Slice):
    """A slice whose lines say the same, one by one, as those of another that stands for it: so do its answers.

    Only for models that look at who asks by membership alone (``mcpctl.policy.relevance``): building thousands of enforcers
    that differ in nothing but a name would take longer than asking them.
    """

    def __init__(self, like: Slice, subject: str, groups: Iterable[str], rules: Sequence[Rule]) -> None:
        """Answer as ``like`` does, in the words of these lines."""
        self._like, self._places = like, like.places
        self.policy_model, self.roles = like.policy_model, like.roles
        self.subject = subject
        self.groups = frozenset(groups)
        self.rules = tuple(rules)

    def ask(self, action: str, resource: str, name: str) -> Ruling:
        """What the other one says, by the line of one's own that stands in the same place."""
        found = self._places.get((action, resource, name))
        if found is None:
            allowed, rule = self._like.ask(action, resource, name)
            found = self._places[action, resource, name] = allowed, None if rule is None else self._like.rules.index(rule)
        return Ruling(found[0], None if found[1] is None else self.rules[found[1]])


def _with_lines(template: Model, rules: Iterable[Rule], members: _Links, roles: Roles) -> Model:
    """The model with these lines in it, column by column. The parts no line stands in are shared with the template."""
    model = Model()
    for section in ("r", "e", "m"):
        model[section] = template[section]
    model["p"] = {"p": _with_policy(template["p"]["p"], rules)}
    model["g"] = {
        "g": _with_policy(template["g"]["g"], members.all_links, members),
        "g2": _with_policy(template["g"]["g2"], roles.role_manager.all_links, roles.role_manager),
    }
    model.sort_policies_by_subject_hierarchy()  # only where the effect is subjectPriority
    for section in ("p", "g"):
        for assertion in model[section].values():
            assertion.policy = tuple(assertion.policy)  # ``get_policy`` hands out the very list
    return model


def _with_policy(template: Assertion, lines: Iterable[Sequence[str]], role_manager: _Links | None = None) -> Assertion:
    assertion = Assertion()
    assertion.key, assertion.value = template.key, template.value
    assertion.tokens, assertion.params_tokens = template.tokens, template.params_tokens
    assertion.policy = list(lines)
    assertion.rm = role_manager
    return assertion
