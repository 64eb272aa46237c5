"""Slowing down guesses: per source and per account, never locking anybody out.

The first few failures cost nothing. Then each one more within the window doubles the wait before the next attempt is even
looked at, up to a few seconds. Somebody who knows the password always gets in, a little later while under attack.
"""

from __future__ import annotations

from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from mcpctl.errors import TooManyRequests

FREE: Final = 5
"""Failures that cost nothing."""

LONGEST_WAIT: Final = 4.0
"""Seconds."""

WAITING_AT_ONCE: Final = 20
"""Attempts of one source that may wait at the same time; a guesser could otherwise wait in parallel."""

_WINDOW = RateLimitItemPerMinute(60, 5)


class FailureThrottle:
    """Counts failures of one kind (log-ins, bearers) and says how long the next attempt must wait."""

    def __init__(self, kind: str, free: int = FREE) -> None:
        """Count failures of ``kind``; the first ``free`` of a source or account within five minutes cost nothing."""
        self._kind = kind
        self._free = free
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._waiting: dict[str, int] = {}

    def failed(self, *keys: str) -> None:
        """Count one failure for each of ``keys`` (``source:…``, ``account:…``)."""
        for key in keys:
            self._limiter.hit(_WINDOW, self._kind, key)

    def wait(self, *keys: str) -> float:
        """Seconds the next attempt of any of ``keys`` must wait."""
        failures = max(_WINDOW.amount - self._limiter.get_window_stats(_WINDOW, self._kind, key).remaining for key in keys)
        return 0.0 if failures < self._free else min(0.125 * 2.0 ** (failures - self._free), LONGEST_WAIT)

    def begin_waiting(self, source: str) -> None:
        """Take one of the source's places to wait; give it back with ``end_waiting``.

        Raises:
            TooManyRequests: all are taken.
        """
        if self._waiting.get(source, 0) >= WAITING_AT_ONCE:
            raise TooManyRequests("too many attempts at once from your address", headers={"Retry-After": "5"})
        self._waiting[source] = self._waiting.get(source, 0) + 1

    def end_waiting(self, source: str) -> None:
        """Give the place back."""
        self._waiting[source] -= 1
        if not self._waiting[source]:
            del self._waiting[source]
