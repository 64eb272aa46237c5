"""The one door every name goes through. Nothing that passes it can change the meaning of a policy line.

Names are ASCII by rule, so no normalization form, case folding or look-alike question ever arises; whatever is outside
the rule is refused with the rule in the sentence.
"""

from __future__ import annotations

import re
from typing import Final

from mcpctl.errors import InvalidName
from mcpctl.policy.vocabulary import (
    ANY,
    OPERATIONS_RESOURCE,
    PROJECT_OPERATIONS,
    SUBJECT_KINDS,
    Subject,
    SubjectKind,
    is_sha,
    shown,
)

NAME_RULE: Final = "1 to 63 of a-z 0-9 . _ -, beginning and ending with a letter or digit"
USER_RULE: Final = "1 to 126 of a-z 0-9 . _ - @ +, beginning and ending with a letter or digit"
SERVER_RULE: Final = NAME_RULE + ", without '__', and not 'mcplocal'"
BELOW_RULE: Final = "1 to 512 of A-Z a-z 0-9 . _ : / -, which may end in one *"

RESERVED_SERVER: Final = "mcplocal"
"""The gateway's own tools carry this prefix."""

NAME_PATTERN: Final = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
USER_PATTERN: Final = r"[a-z0-9](?:[a-z0-9._@+-]{0,124}[a-z0-9])?"
TOOL_PATTERN: Final = r"(?!prompt:|resource:)[A-Za-z0-9._:/-]{1,512}"
"""The same rules as regular expressions, for who checks before asking: the OpenAPI document shows them."""

_NAME = re.compile(NAME_PATTERN)
_USER = re.compile(USER_PATTERN)
_BELOW = re.compile(r"[A-Za-z0-9._:/-]{1,512}")

PROMPT_MARK: Final = "prompt:"
RESOURCE_MARK: Final = "resource:"


def check_name(text: str, what: str = "name") -> str:
    """``text`` if it may name a group, project, RBAC definition, secret, proxy model, gateway or token.

    Raises:
        InvalidName: it breaks ``NAME_RULE``.
    """
    if _NAME.fullmatch(text):
        return text
    raise InvalidName(f"{shown(text)} cannot be a {what}: a {what} is {NAME_RULE}")


def check_user_name(text: str) -> str:
    """``text`` if it may name a user.

    Raises:
        InvalidName: it breaks ``USER_RULE``.
    """
    if _USER.fullmatch(text):
        return text
    raise InvalidName(f"{shown(text)} cannot be a user name: a user name is {USER_RULE}")


def check_server_name(text: str) -> str:
    """``text`` if it may name a server.

    Raises:
        InvalidName: it breaks ``SERVER_RULE``.
    """
    if _NAME.fullmatch(text) and "__" not in text and text != RESERVED_SERVER:
        return text
    raise InvalidName(f"{shown(text)} cannot be a server name: a server name is {SERVER_RULE}")


def is_tool_name(text: str) -> bool:
    """Whether an upstream's tool of this name can be asked about; others are dropped from lists with a visible reason."""
    return _BELOW.fullmatch(text) is not None and not text.startswith((PROMPT_MARK, RESOURCE_MARK))


def is_prompt_name(text: str) -> bool:
    """Whether an upstream's prompt of this name can be asked about."""
    return _BELOW.fullmatch(text) is not None


def is_resource_uri(text: str) -> bool:
    """Whether a resource of this URI, which is percent-normalized, can be asked about."""
    return _BELOW.fullmatch(text) is not None


def check_bound_name(resource: str, text: str, role: str = "") -> str:
    """``text`` if a binding on ``resource`` may name it: a name of that kind, ``*``, or something below a server.

    Args:
        resource: a resource or ``*``.
        text: the name as written.
        role: the role of the binding; only operations look at it.

    Raises:
        InvalidName: it is no such name; the sentence quotes the rule.
    """
    if text == ANY:
        return text
    if resource == ANY:
        raise InvalidName("a binding on every resource has no name: leave name out, or name one resource")
    if resource == OPERATIONS_RESOURCE:
        if role in PROJECT_OPERATIONS:
            return check_name(text, "project name")
        raise InvalidName(f"the operation {shown(role)} is not limited to a project: leave name out")
    head, slash, below = text.partition("/")
    if resource == "servers":
        check_server_name(head)
        return _check_below(text, below) if slash else text
    if resource == "mcptokens":
        check_name(head, "project name")
        return text if not slash else f"{head}/{check_name(below, 'token name')}"
    if resource == "instances":
        check_server_name(head)
        return text if not slash else f"{head}/{check_name(below, 'gateway name')}"
    if resource in {"users", "sessions"}:
        return check_user_name(text)
    return check_name(text)


def _check_below(text: str, below: str) -> str:
    stem = below.removesuffix(ANY)
    for mark in (PROMPT_MARK, RESOURCE_MARK):
        if stem.startswith(mark):
            stem = stem.removeprefix(mark)
            break
    if below.endswith(ANY) and not stem:
        return text
    if _BELOW.fullmatch(stem):
        return text
    raise InvalidName(f"{shown(text)} cannot be below a server: after '/' stand {BELOW_RULE}")


def parse_subject(text: str) -> Subject:
    """The subject ``text`` names: ``User:<name>``, ``Group:<name>`` or ``McpToken:<sha256>``.

    Raises:
        InvalidName: the kind or the name is not valid.
    """
    kind, colon, name = text.partition(":")
    if colon and kind == "User":
        return Subject("User", check_user_name(name))
    if colon and kind == "Group":
        return Subject("Group", check_name(name, "group name"))
    if colon and kind == "McpToken" and is_sha(name):
        return Subject("McpToken", name)
    if colon and kind == "McpToken":
        raise InvalidName("a token subject is 'McpToken:' and the 64 lower-case hex digits of its SHA-256")
    fixed: SubjectKind | None = next((k for k in SUBJECT_KINDS if k.lower() == kind.lower()), None)
    hint = f"; did you mean {shown(f'{fixed}:{name}')}?" if fixed else ""
    raise InvalidName(f"{shown(text)} is not a subject: User:<name>, Group:<name> or McpToken:<sha256>{hint}")
