"""JSON from somebody who may not mean well: bounded in depth, and strict about what others read differently."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

DEEPEST: Final = 100
"""Levels of nesting. No message of MCP has twenty."""


MOST_VALUES: Final = 100_000
"""Values in one text; each takes up to three hundred bytes of memory."""


class NotJson(Exception):
    """The bytes are no JSON text; the message says why."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A JSON text.

    Attributes:
        value: what it says.
        nodes: how many values it holds.
        faults: what another reader would take differently: a member that stands twice, ``NaN``, a byte order mark.
    """

    value: Any
    nodes: int
    faults: tuple[str, ...]


def parse(raw: bytes) -> Parsed:
    """Read a JSON text.

    Raises:
        NotJson: it is none, is not UTF-8, is nested deeper than ``DEEPEST``, or holds more than ``MOST_VALUES``.
    """
    faults: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs) and not faults:
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            faults.append(f"the member {twice!r:.60} stands in an object twice")
        return found

    def constant(text: str) -> float:
        faults.append(f"{text} is not JSON")
        return 0.0

    if raw.startswith(b"\xef\xbb\xbf"):
        faults.append("a byte order mark stands in front")
        raw = raw[3:]
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=members, parse_constant=constant)
    except UnicodeDecodeError as error:
        raise NotJson(f"it is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise NotJson(f"it is nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise NotJson(f"it is not JSON: {error}") from None
    return Parsed(value, _measured(value), tuple(dict.fromkeys(faults)))


def _measured(value: Any) -> int:
    """How many values there are in all; level by level, as the depth is not known yet."""
    level, nodes, depth = [value], 0, 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise NotJson(f"it is nested deeper than {DEEPEST} levels")
        nodes += len(level)
        if nodes > MOST_VALUES:
            raise NotJson(f"it holds more than {MOST_VALUES} values")
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        level = below
    return nodes
