"""Objects that packages of others might offer as stages: one that is, and many that are none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

SCHEMA = {
    "type": "object",
    "properties": {"mark": {"type": "string", "default": "!", "description": "what is put after it"}},
    "additionalProperties": False,
}


async def _apply(*_anything: Any) -> None:
    raise AssertionError("nobody applies a stage here")


def _offer(**instead: Any) -> SimpleNamespace:
    members = {"name": "shout", "summary": "Says it louder.", "options_schema": SCHEMA, "apply": _apply}
    return SimpleNamespace(**members | instead)


shout = _offer()
nameless = _offer(name="other")
silent = _offer(summary=" ")
blocking = _offer(apply=lambda *_: None)
open_ended = _offer(options_schema={"type": "object"})
no_schema = _offer(options_schema={"type": "objet", "additionalProperties": False})
no_json = _offer(options_schema={"type": {1, 2}})
bare = SimpleNamespace(name="bare")


class AClass:
    """An object was wanted."""

    name = "shout"
