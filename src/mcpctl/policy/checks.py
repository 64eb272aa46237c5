"""What a policy directory says without need, or more of than is good: ``mcpctl policy check --strict``.

The strict reader refuses what cannot be understood. Here stands what can be and is probably not meant. A line is said to never
matter only if it may be deleted, together with all others of which that is said, without any decision changing, whatever
stands in the database beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from mcpctl.policy.bindings import BUILT_IN_ROLES
from mcpctl.policy.files import MODEL_FILE, Finding, PolicyFiles
from mcpctl.policy.model import PolicyModel
from mcpctl.policy.redundancy import Redundant, redundant
from mcpctl.policy.slices import Roles, Rule
from mcpctl.policy.vocabulary import ADMIN, ALLOW, ANY, OPERATIONS_RESOURCE, close_to

ACCEPTED_MARK: Final = "# accepted:"
"""A comment that begins so, right above a line, names the kinds of findings that are meant to be there."""

KINDS: Final[Mapping[str, str]] = {
    "other-model": "model.conf decides otherwise than the one that ships, so lines that never matter are not looked for",
    "never-matters": "a line that may be deleted without any decision changing: a deny or other lines say the same",
    "over-broad": "every action or every resource given to one person or token, or every action on a resource",
    "amounts-to-admin": "a grant that decides over other people's rights, under whatever name",
    "unknown-subject": "a subject that does not exist, where a list of those that do is given",
    "unused-role": "a role of one's own that no line gives",
    "role-chain": "a role that contains an action of the name of a role, and not what that role contains",
}
"""Every kind of finding."""

TAKES_FROM_OTHERS: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "rbac": (frozenset({"create", "edit", "delete"}), "whoever writes every definition takes from everybody, admins too"),
    "users": (frozenset({"edit", "delete"}), "whoever changes every user can shut out everybody, admins too"),
    "groups": (frozenset({"edit", "delete"}), "whoever changes every group can put everybody out of it, admins too"),
    OPERATIONS_RESOURCE: (frozenset({"restore"}), "a restored backup takes the place of everybody's rights"),
}
"""By resource the actions that decide over others, and why."""


ALIKE: Final = 0.7
"""How close names are of which one is taken for the other mistyped: many are alike, and few words are names."""


class Noted(NamedTuple):
    """A finding of one of ``KINDS``."""

    kind: str
    finding: Finding

    def __str__(self) -> str:
        return f"{self.finding} [{self.kind}]"


def strict(policy: PolicyFiles, shipped: PolicyModel, known: Collection[str] | None = None) -> list[Noted]:
    """Every finding, in the order of files and lines.

    Args:
        policy: what the directory says.
        shipped: the model that ships with the program, on whose meaning some checks rest.
        known: the subjects that exist, as ``User:<name>`` and so on; without it nobody is called unknown.
    """
    found = [*_roles_of_roles(policy), *_unused_roles(policy), *_too_much(policy)]
    if _decides_like(policy.model, shipped):
        found += [_never_matters(one) for one in redundant(policy)]
    else:
        cause = "its matcher or its effect is not the one that ships with the program, so lines that never matter are not found"
        found.append(Noted("other-model", Finding(MODEL_FILE, 0, cause, "take the one that ships, or read the lines yourself")))
    if known is not None:
        found += _unknown_subjects(policy, known)
    return sorted(found, key=lambda one: (one.finding.file, one.finding.line, one.kind))


def accepted(directory: Path, found: Iterable[Noted]) -> tuple[list[Noted], list[Noted]]:
    """``found`` in two: what no comment accepts, and what one does."""
    lines: dict[str, list[str]] = {}
    left: list[Noted] = []
    meant: list[Noted] = []
    for one in found:
        file, number = one.finding.file, one.finding.line
        if file not in lines:
            lines[file] = (directory / file).read_text("utf-8").split("\n")
        above = lines[file][number - 2].strip() if number >= 2 else ""
        words = above.removeprefix(ACCEPTED_MARK).replace(",", " ").split() if above.startswith(ACCEPTED_MARK) else []
        (meant if one.kind in words else left).append(one)
    return left, meant


def _decides_like(model: PolicyModel, shipped: PolicyModel) -> bool:
    return model.matcher == shipped.matcher and type(model.effector) is type(shipped.effector)


def _never_matters(one: Redundant) -> Noted:
    places = ", ".join(rule.origin for rule in one.because)
    if all(rule.eft == one.rule.eft for rule in one.because):
        cause = f"the line can never matter: {places} already {'denies' if one.rule.eft != ALLOW else 'gives'} all of it"
    elif any(rule.eft == one.rule.eft for rule in one.because):
        cause = f"the line can never matter: what {places} do not give already, they deny"
    else:
        cause = f"the line can never matter: {places} denies all of it, and a deny wins"
    return _noted("never-matters", one.rule.origin, cause, "delete it, or narrow what stands there")


def _too_much(policy: PolicyFiles) -> Iterator[Noted]:
    """Over-broad lines, and those that amount to admin. A group that is openly admin of everything is neither."""
    for rule in policy.rules:
        if rule.eft != ALLOW:
            continue
        everything = rule.role == ADMIN and rule.res == ANY
        if everything and not rule.sub.startswith("Group:"):
            cause = f"it makes {rule.sub} alone admin of everything"
            yield _noted(
                "over-broad", rule.origin, cause, "make a group admin, so that people come and go without an edit here"
            )
        elif rule.role == ADMIN and not everything:
            cause = f"the role admin on {rule.res} is every action on it, those not yet invented too"
            yield _noted("over-broad", rule.origin, cause, "give the roles that are meant")
        elif rule.res == ANY and not everything:
            cause = f"the role {rule.role} on every resource reaches those not yet invented too"
            if reaches := [on for on, (actions, _) in TAKES_FROM_OTHERS.items() if _gives(policy.roles, rule, actions)]:
                cause = f"the role {rule.role} on every resource reaches {', '.join(reaches)}, and so everybody's rights"
                cure = "name the resources that are meant, or give it to admins only"
                yield _noted("amounts-to-admin", rule.origin, cause, cure)
            elif policy.roles.actions(rule.role) != ("view",):
                yield _noted("over-broad", rule.origin, cause, "name the resources that are meant")
        if rule.name == ANY and rule.res in TAKES_FROM_OTHERS:
            actions, why = TAKES_FROM_OTHERS[rule.res]
            if given := _gives(policy.roles, rule, actions):
                cause = f"{', '.join(given)} on every one of {rule.res} amounts to admin: {why}"
                yield _noted("amounts-to-admin", rule.origin, cause, "name those that are meant, or give it to admins only")


def _gives(roles: Roles, rule: Rule, actions: frozenset[str]) -> list[str]:
    return sorted(actions if rule.role == ADMIN else actions & set(roles.actions(rule.role)))


def _unused_roles(policy: PolicyFiles) -> Iterator[Noted]:
    used = {rule.role for rule in policy.rules}
    first: dict[str, str] = {}
    for (role, _), origin in policy.role_lines.items():
        first.setdefault(role, origin)
    for role, origin in first.items():
        if role not in used and role not in BUILT_IN_ROLES:
            cause = f"no line of these files gives the role {role!r}"
            cure = "give it to somebody or delete it, if no definition or token in the database uses it"
            yield _noted("unused-role", origin, cause, cure)


def _roles_of_roles(policy: PolicyFiles) -> Iterator[Noted]:
    roles = policy.roles
    for (role, action), origin in policy.role_lines.items():
        if role != action and (lacking := sorted(set(roles.actions(action)) - set(roles.actions(role)))):
            cause = f"{action!r} is the action here: roles do not chain, so {role!r} lacks what the role {action!r} contains"
            cure = f"list {', '.join(lacking)} too, if that is meant"
            yield _noted("role-chain", origin, cause, cure)


def _unknown_subjects(policy: PolicyFiles, known: Collection[str]) -> Iterator[Noted]:
    there = frozenset(known)
    named = [(rule.sub, rule.origin) for rule in policy.rules]
    named += [(one, member.origin) for member in policy.memberships for one in (member.user, member.group)]
    for subject, origin in named:
        if subject not in there:
            close = _mistyped(subject, there)
            cure = f"did you mean {close!r}?" if close else "create it, or delete the line"
            yield _noted("unknown-subject", origin, f"there is no {subject}", cure)


def _mistyped(subject: str, there: Iterable[str]) -> str | None:
    """Who is probably meant: of the same kind and called nearly so. Nobody types the SHA-256 of a token."""
    kind, _, name = subject.partition(":")
    found = (one.partition(":") for one in there)
    close = (
        close_to(name, sorted(other for its_kind, _, other in found if its_kind == kind), ALIKE) if kind != "McpToken" else None
    )
    return f"{kind}:{close}" if close else None


def _noted(kind: str, origin: str, cause: str, cure: str) -> Noted:
    file, _, line = origin.rpartition(":")
    return Noted(kind, Finding(file, int(line), cause, cure))
