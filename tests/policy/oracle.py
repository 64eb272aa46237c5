"""What one allow and one deny come to, found by counting: sets of (action, resource, name) as bits of a number.

It shares no code with the product. The universe holds, beside what the lines speak of, an action not yet invented, a resource
nobody lists, and names nobody wrote down, so being included in it is being included at all.
"""

from __future__ import annotations

from functools import cache
from itertools import product

ROLES = {
    "view": "view",
    "create": "create",
    "edit": "view create edit delete expose",
    "delete": "delete",
    "run": "view run",
    "expose": "view expose",
    "editor": "edit",  # it contains an action that is also called like a role, and must not get what that role contains
    "auditor": "view run",
}
ACTIONS = ["view", "create", "edit", "delete", "run", "expose"]
INVENTED_LATER = "levitate"
EVERY_ROLE = [*ROLES, "admin"]
RESOURCES = ["servers", "secrets"]
UNLISTED_RESOURCE = "gizmos"
NAMES = ["a", "a/x", "a/xy", "a/x/z", "a/y", "b", "b/x", "ab", "zz"]
PATTERNS = ["*", "a", "a/*", "a/x", "a/x*", "b"]

ATOMS = list(product([*ACTIONS, INVENTED_LATER], [*RESOURCES, UNLISTED_RESOURCE], NAMES))


def of_a_line(pattern: str, name: str) -> bool:
    """Whether a line of this pattern speaks of this name."""
    if pattern[-1] == "*":
        return name[: len(pattern) - 1] == pattern[:-1]
    return name == pattern or name[: len(pattern) + 1] == pattern + "/"


def of_a_question(pattern: str, name: str) -> bool:
    """Whether a question about this pattern is also about this name."""
    return of_a_line(pattern, name) if pattern[-1] == "*" else name == pattern


@cache
def line(role: str, resource: str, pattern: str) -> int:
    """Everything one line speaks of."""
    listed = ROLES[role].split() if role != "admin" else [*ACTIONS, INVENTED_LATER]
    return sum(
        1 << bit
        for bit, (action, res, name) in enumerate(ATOMS)
        if action in listed and resource in ("*", res) and of_a_line(pattern, name)
    )


@cache
def question(action: str, resource: str, pattern: str) -> int:
    """Everything one question is about; asked for ``admin`` it is about every action."""
    return sum(
        1 << bit
        for bit, (act, res, name) in enumerate(ATOMS)
        if action in ("admin", act) and resource in ("*", res) and of_a_question(pattern, name)
    )
