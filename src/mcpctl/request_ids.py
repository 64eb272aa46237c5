"""One id for one request: in its answer, in each line it leaves in the log, in its audit, and where it goes from there.

It is what the client calls the request, if that is well-formed: ``X-Request-Id``, else the trace id of ``traceparent`` (W3C
Trace Context, section 3.2); else 128 random bits. It tells requests apart and proves nothing: whoever calls may choose it.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from contextvars import ContextVar
from random import Random
from typing import Any, Final

_CHANCE: Final = Random()  # noqa: S311 - tells requests apart and opens nothing; the system's own costs ten times as much
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACE: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[!-~]*)?")
_SECRET: Final = ("mcpctl_pat_", "mcpctl_ses_")
_NO_TRACE: Final = "0" * 32
_NO_PARENT: Final = "0" * 16

CURRENT: Final[ContextVar[str | None]] = ContextVar("request id", default=None)
"""The id of the request that is being answered here; a task or thread begun for it has it too."""

TRACE: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)
"""The ``traceparent`` that the request came with."""


def begin(given: str | None, traceparent: str | None) -> str:
    """The id of a request that has just come, which is the current one from here on.

    Args:
        given: its one ``X-Request-Id``.
        traceparent: its one ``traceparent``.
    """
    trace = traceparent if traceparent and trace_id(traceparent) else None
    if TRACE.get() is not trace:
        TRACE.set(trace)
    chosen = given if given and is_well_formed(given) else (trace_id(trace) if trace else None) or fresh()
    CURRENT.set(chosen)
    return chosen


def fresh() -> str:
    """An id nobody else has: 128 random bits as 32 hexadecimal digits, which is what a trace id is."""
    return f"{_CHANCE.getrandbits(128):032x}"


def is_well_formed(text: str) -> bool:
    """Whether a client's own id is taken: up to 64 letters, digits and ``._-``; and no bearer, put there by mistake."""
    return _ID.fullmatch(text) is not None and not any(mark in text for mark in _SECRET)


def trace_id(traceparent: str) -> str | None:
    """The trace id in it; ``None`` if it is not well-formed."""
    found = _TRACE.fullmatch(traceparent)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[4]) or len(traceparent) > 256:
        return None
    return None if found[2] == _NO_TRACE or found[3] == _NO_PARENT else found[2]


def add_to_log(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: every line of a request has ``request_id``."""
    current = CURRENT.get()
    if current is not None:
        event.setdefault("request_id", current)
    return event
