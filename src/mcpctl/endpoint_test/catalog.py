"""All checks, in the order they are reported."""

from __future__ import annotations

from typing import Final

from mcpctl.endpoint_test.check import Check
from mcpctl.endpoint_test.checks import (
    authentication,
    bodies,
    calls,
    discover,
    envelope,
    eras,
    grants,
    handshake,
    headers,
    http_edges,
    latency,
    metadata,
    paging,
    reach,
    sessions,
    subscriptions,
    tools,
    wire_format,
)
from mcpctl.errors import FieldError, InvalidInput, nearest

CHECKS: Final[tuple[Check, ...]] = (
    *reach.CHECKS,
    *authentication.CHECKS,
    *metadata.CHECKS,
    *authentication.CHECKS_AFTER_METADATA,
    *http_edges.CHECKS,
    *bodies.CHECKS,
    *http_edges.CHECKS_AFTER_BODIES,
    *eras.CHECKS,
    *discover.CHECKS,
    *headers.CHECKS,
    *envelope.CHECKS,
    *discover.CHECKS_AFTER_METHODS,
    *tools.CHECKS,
    *paging.CHECKS,
    *calls.CHECKS[:5],
    *wire_format.UNASKED,
    *calls.CHECKS[5:],
    *subscriptions.CHECKS,
    *handshake.CHECKS,
    *sessions.CHECKS,
    *handshake.CHECKS_AFTER_SESSION,
    *sessions.CHECKS_AFTER_HANDSHAKE,
    *latency.CHECKS,
    *eras.CHECKS_LAST,
    *grants.CHECKS,
    *wire_format.CHECKS,
)

BY_ID: Final = {check.id: check for check in CHECKS}

FAMILIES: Final = {
    "A": "Reaching it",
    "B": "Authentication",
    "C": "HTTP",
    "D": "Eras",
    "M": "2026-07-28",
    "T": "Tools and lists",
    "K": "Calls",
    "L": "Subscriptions",
    "E": "Handshake era",
    "P": "Speed",
    "X": "Older transports",
    "G": "Rights",
    "W": "Every message",
}


def named(word: str) -> Check:
    """The check with this identifier.

    Raises:
        InvalidInput: there is none; the sentence names the nearest.
    """
    if found := BY_ID.get(word):
        return found
    raise _unknown(word)


def chosen(only: tuple[str, ...], skip: tuple[str, ...]) -> tuple[Check, ...]:
    """The checks that ``only`` and ``skip`` leave.

    Raises:
        InvalidInput: a word means no check.
    """
    for word in (*only, *skip):
        if not any(check.is_meant_by(word) for check in CHECKS):
            raise _unknown(word)
    wanted = (
        [check for check in CHECKS if any(check.is_meant_by(word) for word in only)]
        if only
        else [check for check in CHECKS if not check.opt_in]
    )
    return tuple(check for check in wanted if not any(check.is_meant_by(word) for word in skip))


def _unknown(word: str) -> InvalidInput:
    lower = {one.lower(): one for one in BY_ID}
    close = lower.get(nearest(word, list(lower)) or "")
    hint = f"; did you mean {close}?" if close else "; 'mcpctl test mcp --list' prints all"
    return InvalidInput(
        f"there is no check {word!r}{hint}", errors=[FieldError("check", f"there is no check {word!r}{hint}", close)]
    )
