"""Role bindings: what one line gives or denies, and its text form.

    role:<role>,resource:<resource>[,name:<name>][,effect:deny]
    action:<operation>[,name:<project>]

Keys in any order, spaces trimmed. An unknown key or value is an error that shows the column and the nearest valid word.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from mcpctl.errors import InvalidBinding, InvalidInput
from mcpctl.policy import names, vocabulary
from mcpctl.policy.vocabulary import (
    ADMIN,
    ALLOW,
    ANY,
    DENY,
    OPERATIONS,
    OPERATIONS_RESOURCE,
    PROJECT_OPERATIONS,
    Effect,
    close_to,
    shown,
)

BUILT_IN_ROLES: Final = ("view", "create", "edit", "delete", "run", "expose", ADMIN)
"""The roles the shipped ``roles.csv`` defines. Another policy directory may define more."""

LONGEST: Final = 1024
"""No binding of valid words is longer, in characters."""

_KEYS: Final = ("role", "resource", "name", "effect", "action")
_BLANKS: Final = " \t"


@dataclass(frozen=True, slots=True, order=True)
class Binding:
    """A role on a resource under a name, allowed or denied. An operation is the role of its own name on ``operations``."""

    role: str
    resource: str
    name: str = ANY
    effect: Effect = ALLOW

    @property
    def denies(self) -> bool:
        """Whether this takes away instead of giving."""
        return self.effect == DENY

    def __str__(self) -> str:
        parts = (
            [f"action:{self.role}"]
            if self.resource == OPERATIONS_RESOURCE and self.role in OPERATIONS
            else [f"role:{self.role}", f"resource:{self.resource}"]
        )
        if self.name != ANY:
            parts.append(f"name:{self.name}")
        if self.denies:
            parts.append("effect:deny")
        return ",".join(parts)


def parse(text: str, roles: Collection[str] = BUILT_IN_ROLES) -> Binding:
    """The binding ``text`` says, in canonical words.

    Args:
        text: one binding in either form above.
        roles: the roles that exist where it is to apply.

    Raises:
        InvalidBinding: the sentence shows the column and, where there is one, the nearest valid word.
    """
    if len(text) > LONGEST:
        raise InvalidBinding(f"{shown(text)} is longer than any binding: at most {LONGEST} characters")
    if new_form := from_old_form(text, roles):
        raise InvalidBinding(f"{text.strip()!a} is the old form; write {new_form!a}")
    found = _split(text)
    if "action" in found:
        return _operation(text, found)
    for key in ("role", "resource"):
        if key not in found:
            form = "role:<role>,resource:<resource>[,name:<name>][,effect:deny] or action:<operation>[,name:<project>]"
            raise InvalidBinding(f"{text!a} has no '{key}': a binding is {form}")
    role, column = found["role"]
    if role not in roles:
        if role in OPERATIONS:
            raise InvalidBinding(_at(text, column, f"{shown(role)} is an operation: write 'action:{role}'"))
        raise InvalidBinding(_at(text, column, f"unknown role {shown(role)}", close_to(role, sorted(roles)), sorted(roles)))
    word, column = found["resource"]
    try:
        resource = vocabulary.resource(word, any_allowed=True)
    except InvalidInput as error:
        raise InvalidBinding(_at(text, column, error.detail)) from None
    if resource == OPERATIONS_RESOURCE and role != ADMIN:
        raise InvalidBinding(_at(text, column, "an operation is given by its own name: write 'action:<operation>'"))
    return Binding(role, resource, _name(text, found, resource, role), _effect(text, found))


def _split(text: str) -> dict[str, tuple[str, int]]:
    """Each key with its value and the 1-based column the value begins at."""
    found: dict[str, tuple[str, int]] = {}
    start = 0
    for part in text.split(","):
        key, colon, value = part.partition(":")
        column = start + 1 + len(part) - len(part.lstrip(_BLANKS))
        start += len(part) + 1
        key = key.strip(_BLANKS)
        if not colon or key not in _KEYS:
            valid = ", ".join(_KEYS)
            what = f"unknown key {shown(key)}" if key else "a key is missing"
            raise InvalidBinding(_at(text, column, what, close_to(key, _KEYS), f"keys are {valid}"))
        if key in found:
            raise InvalidBinding(_at(text, column, f"{shown(key)} stands here twice"))
        value_column = column + len(part.lstrip(_BLANKS)) - len(value.lstrip(_BLANKS))
        if not value.strip(_BLANKS):
            raise InvalidBinding(_at(text, column, f"{shown(key)} has no value"))
        found[key] = (value.strip(_BLANKS), value_column)
    return found


def _operation(text: str, found: dict[str, tuple[str, int]]) -> Binding:
    operation, column = found["action"]
    for key in ("role", "resource"):
        if key in found:
            raise InvalidBinding(_at(text, found[key][1], f"'action' and {shown(key)} do not go together"))
    if operation not in OPERATIONS:
        hint = close_to(operation, OPERATIONS)
        if operation in vocabulary.ACTIONS:
            raise InvalidBinding(
                _at(text, column, f"{shown(operation)} is not an operation: write 'role:{operation},resource:<resource>'")
            )
        raise InvalidBinding(_at(text, column, f"unknown operation {shown(operation)}", hint, OPERATIONS))
    return Binding(operation, OPERATIONS_RESOURCE, _name(text, found, OPERATIONS_RESOURCE, operation), _effect(text, found))


def _name(text: str, found: dict[str, tuple[str, int]], resource: str, role: str) -> str:
    if "name" not in found:
        return ANY
    name, column = found["name"]
    try:
        return names.check_bound_name(resource, name, role)
    except InvalidInput as error:
        raise InvalidBinding(_at(text, column, error.detail)) from None


def _effect(text: str, found: dict[str, tuple[str, int]]) -> Effect:
    if "effect" not in found:
        return ALLOW
    effect, column = found["effect"]
    if effect == DENY:
        return DENY
    if effect == ALLOW:
        return ALLOW
    raise InvalidBinding(_at(text, column, f"unknown effect {shown(effect)}", close_to(effect, (ALLOW, DENY)), (ALLOW, DENY)))


def _at(text: str, column: int, what: str, close: str | None = None, valid: Collection[str] | str = ()) -> str:
    if close:
        what += f"; did you mean {close!r}?"
    elif isinstance(valid, str):
        what += f"; {valid}"
    elif valid:
        what += f"; it is one of {', '.join(valid)}"
    return f"column {column} of {text!a}: {what}"


def from_old_form(text: str, roles: Collection[str]) -> str | None:
    """What ``role:resource[:name]`` or ``operation[:project]``, the form of old, is called now; else ``None``."""
    first, *rest = [word.strip(_BLANKS) for word in text.split(":")]
    if "," in text or first in _KEYS or not 1 <= len(rest) <= 2 or not all(rest):
        return None
    if first in OPERATIONS and len(rest) == 1 and (rest[0] == ANY or first in PROJECT_OPERATIONS):
        return f"action:{first}" if rest[0] == ANY else f"action:{first},name:{rest[0]}"
    if first not in roles:
        return None
    try:
        resource = vocabulary.resource(rest[0], any_allowed=True)
    except InvalidInput:
        resource = close_to(rest[0], vocabulary.RESOURCES) or "<resource>"
    return ",".join([f"role:{first}", f"resource:{resource}", *(f"name:{name}" for name in rest[1:])])
