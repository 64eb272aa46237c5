"""How long a credential lives: ``30d``, ``12h``, ``never``, or a date and time with zone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

import durationpy

from mcpctl.errors import FieldError, InvalidInput

NEVER: Final = "never"
LONGEST: Final = timedelta(days=366 * 100)

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,6})?"
_DURATION = re.compile("(?=.)" + "".join(f"(?:{_NUMBER}{unit})?" for unit in "wdhms"))
"""Each unit once, the largest first: ``1m1m`` or ``1s2w`` is a slip."""
_RULE: Final = "a duration such as 30d, 12h or 45m, 'never', or an ISO date and time with zone such as 2030-01-31T12:00:00Z"


def duration(text: str, field: str) -> timedelta:
    """A positive duration such as ``30d`` or ``1h30m``.

    Raises:
        InvalidInput: it is none, is not positive, or is longer than a century.
    """
    if not _DURATION.fullmatch(text):
        raise _refuse(field, f"{text!r} is not a duration such as 30d, 12h or 45m")
    try:
        span: timedelta = durationpy.from_str(text)
    except durationpy.DurationError:
        span = timedelta.max
    if span <= timedelta(0):
        raise _refuse(field, f"{text!r} is no time at all")
    if span > LONGEST:
        raise _refuse(field, f"{text!r} is longer than a century; use 'never'")
    return span


def grace(text: str | None, field: str = "grace") -> timedelta:
    """How long something that was replaced stays valid; none, and ``0``, is not at all.

    Raises:
        InvalidInput: as for ``duration``.
    """
    return timedelta(0) if text is None or re.fullmatch("0[wdhms]?", text) else duration(text, field)


def expiry(text: str | None, now: float, field: str = "ttl") -> float | None:
    """When something made at ``now`` (Unix seconds) ends, in Unix seconds; ``None`` is never.

    Raises:
        InvalidInput: it cannot be read, lies in the past, or is zero or negative.
    """
    if text is None or text == NEVER:
        return None
    if re.fullmatch(r"[0-9]{4}-.*", text):
        return _moment(text, now, field)
    if not _DURATION.fullmatch(text):
        raise _refuse(field, f"{text!r} is not {_RULE}")
    return now + duration(text, field).total_seconds()


def _moment(text: str, now: float, field: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _refuse(field, f"{text!r} is not {_RULE}") from None
    if moment.tzinfo is None:
        raise _refuse(field, f"{text!r} has no zone: add Z or an offset such as +02:00")
    if moment.timestamp() <= now:
        raise _refuse(field, f"{text!r} lies in the past")
    if moment.timestamp() - now > LONGEST.total_seconds():
        raise _refuse(field, f"{text!r} is more than a century away; use 'never'")
    return moment.timestamp()


def _refuse(field: str, message: str) -> InvalidInput:
    return InvalidInput(f"{field}: {message}", errors=[FieldError(field, message)])
