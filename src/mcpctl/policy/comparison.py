"""What changes for whom when one policy takes the place of another: who gains what and who loses what, not which lines differ.

Every atom of every subject that either policy names is asked of both. Lines that stand in the database speak beside those of
the files, so a deny counts even where nothing is allowed in the files: lifting it gives to whoever holds the same elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mcpctl.policy.atoms import Atom, Side, inexact, told_apart
from mcpctl.policy.files import PolicyFiles
from mcpctl.policy.grants import Grant, gathered, lines_of, slice_of, subjects
from mcpctl.policy.slices import Roles, Rule, Ruling, Slice

KINDS: Final[Mapping[str, str]] = {
    "gains": "may now",
    "loses": "may no longer",
    "denied": "is now denied, should it be allowed elsewhere",
    "released": "is no longer denied, should it be allowed elsewhere",
    "holdsMore": "holds now as a whole",
    "holdsLess": "holds no longer as a whole",
}
"""What can change for a subject, and how a person reads it.

The last two are what the creator ceiling asks, and are told where none of the others explains them.
"""

WHOLE: Final = {"gains": "holdsMore", "released": "holdsMore", "loses": "holdsLess", "denied": "holdsLess"}
OLD: Final = "OLD"
NEW: Final = "NEW"
"""The two policies, as the command line calls them: ``a.csv:4 of NEW`` makes the difference."""

EXPLAINED_BY: Final = {"holdsMore": ("gains", "released"), "holdsLess": ("loses", "denied")}


@dataclass(frozen=True)
class Change:
    """What changes for one subject, by kind; kinds without anything are left out."""

    subject: str
    grants: Mapping[str, tuple[Grant, ...]]
    whole: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """``subject``, and each kind with its list."""
        return {
            "subject": self.subject,
            **{kind: [one.as_json() for one in found] for kind, found in self.grants.items()},
            **{kind: list(found) for kind, found in self.whole.items()},
        }


class RoleChange(NamedTuple):
    """What a role contains now and did not before, and the opposite. It concerns whoever holds it, in the database too.

    For whoever is denied the role it is the other way round: what it contains no longer is no longer denied.
    """

    role: str
    gains: tuple[str, ...]
    loses: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The members by name."""
        return {"role": self.role, "gains": list(self.gains), "loses": list(self.loses)}


@dataclass(frozen=True)
class Comparison:
    """Everything that differs. ``inexact`` says why there might be more, ``None`` that there is not."""

    roles: tuple[RoleChange, ...]
    changes: tuple[Change, ...]
    inexact: str | None = None

    @property
    def equivalent(self) -> bool:
        """Whether it is proven that nothing differs."""
        return not self.roles and not self.changes and self.inexact is None

    def as_json(self) -> dict[str, object]:
        """The whole answer."""
        body: dict[str, object] = {
            "equivalent": self.equivalent,
            "roles": [one.as_json() for one in self.roles],
            "subjects": [one.as_json() for one in self.changes],
        }
        return body | ({"inexact": self.inexact} if self.inexact else {})


def compare(old: PolicyFiles, new: PolicyFiles) -> Comparison:
    """What changes when ``new`` takes the place of ``old``.

    Raises:
        PolicyUnavailable: a model cannot be evaluated.
    """
    same_model = old.model.text == new.model.text
    changes = [
        change
        for subject in dict.fromkeys((*subjects(old), *subjects(new)))
        if (change := _change(old, new, subject, same_model and old.roles.links == new.roles.links))
    ]
    because = None if same_model and not changes else inexact(old.model) or inexact(new.model)
    return Comparison(tuple(_roles(old.roles, new.roles)), tuple(changes), because)


def _roles(old: Roles, new: Roles) -> Iterator[RoleChange]:
    for role in sorted({*old.names, *new.names}):
        before, after = set(old.actions(role)), set(new.actions(role))
        if before != after:
            yield RoleChange(role, tuple(sorted(after - before)), tuple(sorted(before - after)))


def _change(old: PolicyFiles, new: PolicyFiles, subject: str, same_otherwise: bool) -> Change | None:
    lines, lines_after = lines_of(old, subject), lines_of(new, subject)
    differing = None
    if same_otherwise and old.groups_of(subject) == new.groups_of(subject):
        differing = _differing(lines, lines_after)
        if differing == []:
            return None
    before, after = slice_of(old, subject), slice_of(new, subject)
    # Where only some lines differ, only what these speak of can be answered otherwise.
    concerned = None if differing is None else Slice(new.model, new.roles, subject, new.groups_of(subject), differing)
    atoms = told_apart(Side(old.model, old.roles, before.rules), Side(new.model, new.roles, after.rules))
    found: dict[str, dict[Atom, tuple[str, ...]]] = {}
    for atom in atoms.each():
        if concerned is None or _speaks(concerned, atom.question):
            one, other = before.ask(*atom.question), after.ask(*atom.question)
            if kind := _kind(one, other):
                rule, side, policy = (one.rule, OLD, old) if other.rule is None else (other.rule, NEW, new)
                places = policy.places(subject, rule) if rule else ()
                found.setdefault(kind, {})[atom] = tuple(f"{place} of {side}" for place in places)
    whole: dict[str, list[str]] = {}
    for question in atoms.wholes():
        if concerned is None or _speaks(concerned, question):
            kind = WHOLE.get(_kind(before.ask(*question), after.ask(*question)), "")
            if kind and not any(explains in found for explains in EXPLAINED_BY[kind]):
                whole.setdefault(kind, []).append(" ".join(question))
    if not found and not whole:
        return None
    grants = {kind: gathered(atoms, found[kind]) for kind in KINDS if kind in found}
    return Change(subject, grants, {kind: tuple(whole[kind]) for kind in KINDS if kind in whole})


def _differing(before: Sequence[Rule], after: Sequence[Rule]) -> list[Rule] | None:
    """The lines that only one side has; ``None`` if those of both are not in the same order, which an effect may go by."""
    had, has = {rule[:-1] for rule in before}, {rule[:-1] for rule in after}
    if [rule[:-1] for rule in before if rule[:-1] in has] != [rule[:-1] for rule in after if rule[:-1] in had]:
        return None
    return [*(rule for rule in before if rule[:-1] not in has), *(rule for rule in after if rule[:-1] not in had)]


def _speaks(lines: Slice, question: tuple[str, str, str]) -> bool:
    """Whether any of the lines matches: under every effect of Casbin's an allow alone then allows, and a deny is named."""
    ruling = lines.ask(*question)
    return ruling.allowed or ruling.rule is not None


def _kind(before: Ruling, after: Ruling) -> str:
    if before.allowed or after.allowed:
        return "" if before.allowed and after.allowed else "gains" if after.allowed else "loses"
    if (before.rule is None) is (after.rule is None):
        return ""
    return "released" if after.rule is None else "denied"
