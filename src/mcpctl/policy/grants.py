"""What somebody may do in effect, said in as few words as it can be said exactly.

Atoms that are in are gathered into patterns of names, those into the actions and resources they have in common, and what is
not in stands behind ``except``. ``admin`` is every action and ``*`` every resource, those not yet invented too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mcpctl.policy.atoms import EVERY_ACTION, NOT_YET_INVENTED, Atom, Atoms, Names, Side, told_apart
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.patterns import covers
from mcpctl.policy.slices import Rule, Slice
from mcpctl.policy.vocabulary import ACTIONS, ADMIN, ANY, OPERATIONS, OPERATIONS_RESOURCE


@dataclass(frozen=True, slots=True)
class Words:
    """Some words of a kind: those listed, or every word there will ever be but those listed."""

    listed: tuple[str, ...]
    every_but: bool = False

    def __contains__(self, word: object) -> bool:
        return (word in self.listed) is not self.every_but


class Region(NamedTuple):
    """A pattern of names, and the patterns in it that are not meant."""

    name: str
    but: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} except {', '.join(self.but)}" if self.but else self.name


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions on resources under names. ``by`` says where the lines stand that decide so."""

    actions: Words
    resources: Words
    region: Region
    by: tuple[str, ...] = ()

    def speaks_of(self, action: str, resource: str, name: str) -> bool:
        """Whether that question is one of these."""
        within = covers(self.region.name, name) and not any(covers(one, name) for one in self.region.but)
        return action in self.actions and resource in self.resources and within

    @property
    def columns(self) -> tuple[str, str, str]:
        """What may be done, to what, and called what, for a person."""
        return _shown(self.actions, ADMIN), _shown(self.resources, ANY), str(self.region)

    def __str__(self) -> str:
        return " ".join(self.columns)

    def as_json(self) -> dict[str, object]:
        """Lists; ``except…`` members only where there are any."""
        body: dict[str, object] = {}
        for key, words, every in (("actions", self.actions, ADMIN), ("resources", self.resources, ANY)):
            body[key] = [every] if words.every_but else list(words.listed)
            if words.every_but and words.listed:
                body[f"except{key.capitalize()}"] = list(words.listed)
        body["name"] = self.region.name
        if self.region.but:
            body["exceptNames"] = list(self.region.but)
        return body | ({"by": list(self.by)} if self.by else {})


def _shown(words: Words, every: str) -> str:
    if not words.every_but:
        return ", ".join(words.listed)
    return f"{every} except {', '.join(words.listed)}" if words.listed else every


def gathered(atoms: Atoms, found: Mapping[Atom, Iterable[str]]) -> tuple[Grant, ...]:
    """``found`` in as few grants as say it exactly. The value of each atom is where the lines stand that decide so."""
    by_list: defaultdict[tuple[tuple[str, ...], str], dict[int, Iterable[str]]] = defaultdict(dict)
    for atom, by in found.items():
        by_list[(atom.actions, atom.resource)][id(atom.names)] = by
    resources: defaultdict[tuple[Region, str], dict[str, set[str]]] = defaultdict(dict)
    for (listed, resource), inside in by_list.items():
        for region, origins in _regions(atoms.names[resource], inside):
            for action in listed:
                resources[(region, action)][resource] = origins
    actions: defaultdict[tuple[Region, frozenset[str]], set[str]] = defaultdict(set)
    for (region, action), where in resources.items():
        actions[(region, frozenset(where))].add(action)
    grants = []
    for (region, where_all), having in actions.items():
        by_all = {one for action in having for origins in resources[(region, action)].values() for one in origins}
        words = _actions(having, where_all), _resources(where_all, atoms.names)
        grants.append(Grant(*words, region, tuple(sorted(by_all, key=_by_file_and_line))))
    return tuple(sorted(grants, key=_in_reading_order))


def _regions(root: Names, inside: Mapping[int, Iterable[str]]) -> Iterator[tuple[Region, set[str]]]:
    """The regions that hold exactly the nodes ``inside``, and what is known of these."""
    full: dict[int, bool] = {}
    for node in reversed(list(root.all())):
        below = all(full[id(one)] for one in node.below)
        full[id(node)] = below and (id(node) in inside or (node.own is None and bool(node.below)))
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in inside and not full[id(node)]:
            waiting += reversed(node.below)
            continue
        by = set(inside.get(id(node), ()))
        but, within = [], list(node.below)
        while within:
            one = within.pop(0)
            if id(one) in inside or full[id(one)]:
                by |= set(inside.get(id(one), ()))
                within += one.below
            else:
                but.append(one.pattern)
                waiting += reversed(one.below)
        yield Region(node.pattern, tuple(sorted(but))), by


def _actions(having: set[str], on: frozenset[str]) -> Words:
    if NOT_YET_INVENTED in having:
        missing = [action for action in EVERY_ACTION if action not in having]
        return Words(tuple(missing), every_but=True)
    # Of what is asked about one kind of resource only, the other kind is not told.
    aside = set(ACTIONS) if on == {OPERATIONS_RESOURCE} else set() if NOT_YET_INVENTED in on else set(OPERATIONS)
    listed = [action for action in EVERY_ACTION if action in having]
    return Words(tuple(action for action in listed if action not in aside) or tuple(listed))


def _resources(on: frozenset[str], told: Iterable[str]) -> Words:
    if NOT_YET_INVENTED in on:
        return Words(tuple(sorted(set(told) - on)), every_but=True)
    return Words(tuple(sorted(on)))


def _in_reading_order(grant: Grant) -> tuple[object, ...]:
    return (
        not grant.resources.every_but,
        grant.resources.listed,
        grant.region,
        not grant.actions.every_but,
        grant.actions.listed,
    )


def _by_file_and_line(origin: str) -> tuple[str, int, str]:
    place, _, whose = origin.partition(" ")
    file, _, line = place.rpartition(":")
    return file, int(line) if line.isdigit() else 0, whose


def subjects(policy: PolicyFiles) -> tuple[str, ...]:
    """Everybody the files name, in the order of their kinds and names."""
    named = {rule.sub for rule in policy.rules} | {one for m in policy.memberships for one in (m.user, m.group)}
    return tuple(sorted(named, key=lambda one: (not one.startswith("Group:"), not one.startswith("User:"), one)))


def lines_of(policy: PolicyFiles, subject: str) -> tuple[Rule, ...]:
    """The lines that decide about ``subject``: its own, and those of the groups the files put it into."""
    return tuple(rule for one in (subject, *policy.groups_of(subject)) for rule in policy.rules_of(one))


def slice_of(policy: PolicyFiles, subject: str) -> Slice:
    """``subject`` by these files alone."""
    return Slice(policy.model, policy.roles, subject, policy.groups_of(subject), lines_of(policy, subject))


class Effective(NamedTuple):
    """What somebody may do, and what is denied, whatever else would allow it."""

    allowed: tuple[Grant, ...]
    denied: tuple[Grant, ...]


def effective(policy: PolicyFiles, subject: str) -> Effective:
    """What ``subject`` may do by these files alone, and what they deny: groups and roles worked out.

    Raises:
        PolicyUnavailable: the model cannot be evaluated.
    """
    own = slice_of(policy, subject)
    atoms = told_apart(Side(policy.model, policy.roles, own.rules))
    allowed: dict[Atom, tuple[str, ...]] = {}
    denied: dict[Atom, tuple[str, ...]] = {}
    for atom in atoms.each():
        ruling = own.ask(*atom.question)
        places = policy.places(subject, ruling.rule) if ruling.rule else ()
        if ruling.allowed:
            allowed[atom] = places
        elif ruling.rule:
            denied[atom] = places
    return Effective(gathered(atoms, allowed), gathered(atoms, denied))
