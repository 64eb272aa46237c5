"""What makes a prompt one that can be offered."""

from __future__ import annotations

from typing import Any

from mcpctl.policy.names import PROMPT_MARK, is_prompt_name
from mcplocal.names import ASKABLE, Ref
from mcplocal.offers.entries import OPTIONAL, Entry, NotOffered, body_without, check_members
from mcplocal.wire import Era


def prompt(server: str, raw: dict[str, Any]) -> Entry:
    """The prompt ``raw`` of ``server``.

    Raises:
        NotOffered: it cannot be offered.
    """
    name = raw["name"]
    if not is_prompt_name(name):
        raise NotOffered(f"a prompt's name is {ASKABLE}")
    check_members(raw, OPTIONAL)
    arguments = raw.get("arguments", [])
    if not isinstance(arguments, list) or not all(isinstance(a, dict) and isinstance(a.get("name"), str) for a in arguments):
        raise NotOffered("its arguments are not a list of objects with names")
    body = body_without(raw, "name")
    return Entry(Ref(server, name, PROMPT_MARK), name, "name", {Era.MODERN: body, Era.LEGACY: body})
