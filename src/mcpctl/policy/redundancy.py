"""Lines that can never matter: all they say is said already, by other lines of the same subject or of its groups.

A line may be deleted if each of its actions is covered under its whole pattern by one other line of the same effect, or by a
deny, which wins anyway. What is found this way is found for every question, the creator ceiling's included, and whatever
stands in the database beside it. Not everything redundant is found: no enumeration of names is taken for a pattern.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.slices import Roles, Rule
from mcpctl.policy.vocabulary import ADMIN, ALLOW, ANY, DENY


class Redundant(NamedTuple):
    """A line that can never matter, and the lines that say so."""

    rule: Rule
    because: tuple[Rule, ...]


def redundant(policy: PolicyFiles) -> Iterator[Redundant]:
    """All lines that may be deleted, together, without any decision changing; of two that say the same, the later."""
    pools: dict[str, _Pool] = {}
    # Groups first: what stays of their lines may then speak for those of their members.
    for subject in sorted(dict.fromkeys(rule.sub for rule in policy.rules), key=lambda one: not one.startswith("Group:")):
        rules = policy.rules_of(subject)
        own = _Pool(rules)
        if subject.startswith("Group:"):
            pools[subject] = own
        inherited = [pools[group] for group in policy.groups_of(subject) if group in pools]
        if len(rules) < 2 and not inherited:
            continue
        for rule in _narrow_first(rules, policy.roles):
            own.remove(rule)
            if because := _said_by([own, *inherited], rule, policy.roles):
                yield Redundant(rule, because)
            else:
                own.add(rule)


def _narrow_first(rules: Sequence[Rule], roles: Roles) -> list[Rule]:
    """In the order in which lines are tried: what is wide stays, and of what says the same the first."""

    def width(numbered: tuple[int, Rule]) -> tuple[object, ...]:
        number, rule = numbered
        actions = len(roles.actions(rule.role)) if rule.role != ADMIN else 1000
        return rule.eft == DENY, rule.res == ANY, rule.name == ANY, rule.name.endswith(ANY), -len(rule.name), actions, -number

    return [rule for _, rule in sorted(enumerate(rules), key=width)]


def _said_by(pools: Iterable[_Pool], rule: Rule, roles: Roles) -> tuple[Rule, ...]:
    """The lines that say all that ``rule`` says, one for each action; nothing if some of it is said by no other."""
    wider = [one for pool in pools for one in pool.wider(rule)]
    if not wider:
        return ()
    speaking: dict[Rule, None] = {}
    for action in roles.actions(rule.role):
        found = next((one for one in wider if one.role == ADMIN or action in roles.actions(one.role)), None)
        if found is None:
            return ()
        speaking[found] = None
    return tuple(speaking)


class _Pool:
    """The lines of one subject, by effect, resource and pattern."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: dict[tuple[str, str, str], list[Rule]] = {}
        self._lengths: set[int] = set()
        """Of the patterns with a star, without it. Nothing else can cover a name from within a word."""
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        self._rules.setdefault((rule.eft, rule.res, rule.name), []).append(rule)
        if rule.name[-1] == ANY:
            self._lengths.add(len(rule.name) - 1)

    def remove(self, rule: Rule) -> None:
        self._rules[(rule.eft, rule.res, rule.name)].remove(rule)

    def wider(self, rule: Rule) -> Iterator[Rule]:
        """The lines that may spare ``rule`` saying it: of its effect or a deny, on all that its pattern covers."""
        patterns = list(self._patterns(rule.name))
        for effect in (DENY,) if rule.eft == DENY else (ALLOW, DENY):
            for resource in (rule.res,) if rule.res == ANY else (rule.res, ANY):
                for pattern in patterns:
                    yield from self._rules.get((effect, resource, pattern), ())

    def _patterns(self, name: str) -> Iterator[str]:
        """Every pattern that covers ``name`` and may stand here."""
        stem = name.removesuffix(ANY)
        if stem == name:
            yield name
        place = stem.find("/")
        while place >= 0:
            yield stem[:place]
            place = stem.find("/", place + 1)
        yield from (stem[:length] + ANY for length in self._lengths if length <= len(stem))
