"""Times as people read them in a table: ``90s``, ``5m``, ``3d``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

NONE: Final = "-"

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400


def in_words(seconds: float) -> str:
    """A length of time in at most two units, as kubectl writes it (``k8s.io/apimachinery/pkg/util/duration``)."""
    whole = max(0, int(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _two(whole, _YEAR, "y", _DAY, "d")
    return f"{whole // _YEAR}y"


def moment(text: Any) -> datetime | None:
    """The time an RFC 3339 member says, or ``None`` where it says none or nothing that can be read."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def in_utc(then: datetime) -> str:
    """That time to the second, in the one form in which times are shown: ``2030-01-01T00:00:00Z``."""
    return then.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def ago(text: Any, now: datetime | None = None) -> str:
    """How long ago that was."""
    then = moment(text)
    return in_words(((now or datetime.now(UTC)) - then).total_seconds()) if then else NONE


def until(text: Any, now: datetime | None = None) -> str:
    """How long until then: ``never`` comes without a time, ``expired`` after it."""
    if text is None:
        return "never"
    then = moment(text)
    if then is None:
        return NONE
    left = (then - (now or datetime.now(UTC))).total_seconds()
    # Half a second after it was made, something that lives 30 days is to say so.
    return in_words(left + 1) if left > 0 else "expired"


def _two(seconds: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large}{large_unit}" + (f"{rest}{small_unit}" if rest else "")
