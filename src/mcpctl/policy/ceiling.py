"""The creator ceiling: nobody can give what they do not hold.

It is the ordinary question, asked before anything is written with a pattern standing where a name would stand: does the
giver hold this for everything the binding names? Once per action of the role, for ``admin`` the action ``admin``, and for a
name without star also for all that can ever be below it. It is sound and not complete: an enumeration never covers ``*``,
because what is named ``*`` includes what does not exist yet (as in Kubernetes' ``policy_comparator``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mcpctl.errors import CeilingExceeded
from mcpctl.policy.bindings import Binding
from mcpctl.policy.decision import Authority, Decision, decide
from mcpctl.policy.slices import Roles
from mcpctl.policy.vocabulary import ADMIN, ANY


class Missing(NamedTuple):
    """One right the giver does not hold: an action on a resource under a name, and the decision that said so."""

    action: str
    resource: str
    name: str
    decision: Decision

    def __str__(self) -> str:
        return f"{self.action} {self.resource} {self.name}"


def questions(binding: Binding, roles: Roles) -> Iterable[tuple[str, str, str]]:
    """What somebody must hold to give ``binding``: (action, resource, name or pattern) each. A deny needs what it denies.

    A role that no line defines gives nothing today and may mean anything tomorrow, so it needs all there is: ``admin``.
    """
    for action in roles.actions(binding.role) or (ADMIN,):
        yield action, binding.resource, binding.name
        if not binding.name.endswith(ANY):
            yield action, binding.resource, f"{binding.name}/*"


def missing(authority: Authority, bindings: Iterable[Binding], roles: Roles) -> tuple[Missing, ...]:
    """What ``authority`` would need and does not hold to give all of ``bindings``, in their order, each once.

    Raises:
        PolicyUnavailable: the model cannot be evaluated.
    """
    found: dict[tuple[str, str, str], Missing] = {}
    for binding in bindings:
        for action, resource, name in questions(binding, roles):
            decision = decide(authority, action, resource, name)
            # What lies below a name is reported as the name itself: nobody asked for it by that pattern.
            shown = (action, resource, binding.name)
            if not decision and shown not in found:
                found[shown] = Missing(*shown, decision)
    return tuple(found.values())


def require(authority: Authority, bindings: Iterable[Binding], roles: Roles, doing: str) -> None:
    """Refuse unless ``authority`` holds all of ``bindings``. ``doing`` says in the sentence what is being attempted.

    Raises:
        CeilingExceeded: with one line per missing right, of what was asked and nothing else.
    """
    if lacking := missing(authority, bindings, roles):
        lines = [str(one) for one in lacking]
        raise CeilingExceeded(f"{doing} would give what {authority.subject} does not hold: " + "; ".join(lines), missing=lines)
