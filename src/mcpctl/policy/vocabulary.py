"""The fixed words of the policy: subjects, actions, resources, operations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from mcpctl.errors import InvalidInput, nearest

ACTIONS: Final = ("view", "create", "edit", "delete", "run", "expose")
"""What may be done to a resource."""

OPERATIONS: Final = ("logs", "audit", "impersonate", "backup", "restore", "gateway")
"""What may be done to the installation; each is a line on the resource ``operations``."""

PROJECT_OPERATIONS: Final = frozenset({"logs", "audit", "gateway"})
"""Operations whose name is a project or ``*``; the others have only ``*``."""

ADMIN: Final = "admin"
"""The role that is every action. As an *asked* action it is the ceiling's question and nothing else."""

OPERATIONS_RESOURCE: Final = "operations"

RESOURCES: Final = (
    "servers",
    "instances",
    "projects",
    "secrets",
    "users",
    "groups",
    "sessions",
    "rbac",
    "mcptokens",
    "proxymodels",
    OPERATIONS_RESOURCE,
)

RESOURCE_ALIASES: Final = {
    "server": "servers",
    "instance": "instances",
    "project": "projects",
    "secret": "secrets",
    "user": "users",
    "group": "groups",
    "session": "sessions",
    "mcptoken": "mcptokens",
    "proxymodel": "proxymodels",
    "operation": OPERATIONS_RESOURCE,
}

ANY: Final = "*"
"""Every resource, or every name."""

ALLOW: Final = "allow"
DENY: Final = "deny"
Effect = Literal["allow", "deny"]

SubjectKind = Literal["User", "Group", "McpToken"]
SUBJECT_KINDS: Final = ("User", "Group", "McpToken")

_SHA = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody a line can speak of. Two kinds never compare equal, whatever their names."""

    kind: SubjectKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def shown(text: str) -> str:
    """``text`` as a message may show it: quoted, on one line, in ASCII, and not longer than a line."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")


def close_to(word: str, valid: Iterable[str], alike: float = 0.6) -> str | None:
    """The valid word closest to ``word``, or ``None``. Nobody mistypes a word into hundreds of letters."""
    return nearest(word, list(valid), alike) if len(word) <= 80 else None


def resource(word: str, *, any_allowed: bool = False) -> str:
    """The resource ``word`` names, singular names accepted.

    Raises:
        InvalidInput: it is no resource (``*`` counts only if ``any_allowed``).
    """
    canonical = RESOURCE_ALIASES.get(word, word)
    if canonical in RESOURCES or (any_allowed and canonical == ANY):
        return canonical
    close = close_to(word, [*RESOURCES, *RESOURCE_ALIASES])
    hint = f"; did you mean {RESOURCE_ALIASES.get(close, close)!r}?" if close else f"; it is one of {', '.join(RESOURCES)}"
    raise InvalidInput(f"{shown(word)} is not a resource{hint}")


def action(word: str, resource_name: str) -> str:
    """The action ``word`` as it may be asked about ``resource_name``: an operation on ``operations``, else an action.

    Raises:
        InvalidInput: it is no action, or belongs to the other kind of resource.
    """
    if resource_name == OPERATIONS_RESOURCE:
        if word in OPERATIONS:
            return word
        close = close_to(word, OPERATIONS)
        hint = f"; did you mean {close!r}?" if close else f"; it is one of {', '.join(OPERATIONS)}"
        raise InvalidInput(f"{shown(word)} is not an operation{hint}")
    if word in ACTIONS:
        return word
    if word in OPERATIONS:
        raise InvalidInput(f"{shown(word)} is an operation: ask about it on the resource 'operations'")
    if word == ADMIN:
        raise InvalidInput("'admin' is a role, not an action: ask about one of " + ", ".join(ACTIONS))
    close = close_to(word, ACTIONS)
    hint = f"; did you mean {close!r}?" if close else f"; it is one of {', '.join(ACTIONS)}"
    raise InvalidInput(f"{shown(word)} is not an action{hint}")


def is_sha(text: str) -> bool:
    """Whether ``text`` is a SHA-256 in lower-case hex, the name of a token subject."""
    return _SHA.fullmatch(text) is not None
