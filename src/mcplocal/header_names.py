"""Names of HTTP headers as they come over the wire, in lower case. They are few, and the same in each message."""

from __future__ import annotations

from typing import Final

MOST: Final = 512
LONGEST: Final = 64
"""Names that are remembered, and bytes of one: nobody can fill the memory with them."""

_KNOWN: Final[dict[bytes, str]] = {}


def lower_name(raw: bytes) -> str:
    """The name as text in lower case."""
    return _KNOWN.get(raw) or _remembered(raw)


def _remembered(raw: bytes) -> str:
    name = raw.decode("latin-1").lower()
    if len(_KNOWN) < MOST and len(raw) <= LONGEST:
        _KNOWN[raw] = name
    return name
