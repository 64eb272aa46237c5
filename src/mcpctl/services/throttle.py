"""Slowing down guesses: per source and per account, never locking anybody out.

The first few failures cost nothing. Then each one more within the window doubles the wait before the next attempt is even
looked at, up to a few seconds. Somebody who knows the password always gets in, a little later while under attack.

Replicas tell each other of failed log-ins, so that guesses at one of them slow down those at another. Of failed bearers they
do not: a bearer is not guessed, and a database that is told of each would be worth attacking with them. There, n replicas give
n times the attempts.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final
from uuid import uuid4

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from mcpctl.errors import TooManyRequests
from mcpctl.services import metrics

FREE: Final = 5
"""Failures that cost nothing."""

LONGEST_WAIT: Final = 4.0
"""Seconds."""

WAITING_AT_ONCE: Final = 20
"""Attempts of one source that may wait at the same time; a guesser could otherwise wait in parallel."""

CHANNEL: Final = "mcpctl_failed_logins"
"""The PostgreSQL channel on which replicas tell each other."""

MOST_KEYS: Final = 5
"""Words of what another process tells: itself, and more keys than any failure has."""

_WINDOW = RateLimitItemPerMinute(60, 5)


class FailureThrottle:
    """Counts failures of one kind (log-ins, bearers) and says how long the next attempt must wait."""

    def __init__(self, kind: str, free: int = FREE) -> None:
        """Count failures of ``kind``; the first ``free`` of a source or account within five minutes cost nothing."""
        self._kind = kind
        self._free = free
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._waiting: dict[str, int] = {}
        self._own = uuid4().hex

    def failed(self, *keys: str) -> None:
        """Count one failure for each of ``keys`` (``source:…``, ``account:…``)."""
        self._count(map(_covered, keys))

    def telling(self, *keys: str) -> str:
        """What to say on ``CHANNEL`` of a failure, for other processes to count it."""
        return " ".join((self._own, *map(_covered, keys)))

    def heard(self, said: str) -> None:
        """Count a failure that another process tells of."""
        words = said.split()
        if words[:1] != [self._own]:
            self._count(words[1:MOST_KEYS])

    def _count(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._limiter.hit(_WINDOW, self._kind, key)

    def wait(self, *keys: str) -> float:
        """Seconds the next attempt of any of ``keys`` must wait."""
        left = (self._limiter.get_window_stats(_WINDOW, self._kind, _covered(key)).remaining for key in keys)
        failures = max(_WINDOW.amount - one for one in left)
        seconds = 0.0 if failures < self._free else min(0.125 * 2.0 ** (failures - self._free), LONGEST_WAIT)
        if seconds:
            metrics.THROTTLED.add(self._kind)
        return seconds

    def begin_waiting(self, source: str) -> None:
        """Take one of the source's places to wait; give it back with ``end_waiting``.

        Raises:
            TooManyRequests: all are taken.
        """
        if self._waiting.get(source, 0) >= WAITING_AT_ONCE:
            metrics.THROTTLED.add(self._kind)
            raise TooManyRequests("too many attempts at once from your address", headers={"Retry-After": "5"})
        self._waiting[source] = self._waiting.get(source, 0) + 1

    def end_waiting(self, source: str) -> None:
        """Give the place back."""
        self._waiting[source] -= 1
        if not self._waiting[source]:
            del self._waiting[source]


def _covered(key: str) -> str:
    """A key that tells nobody what was typed: where the name belongs, that may be a password."""
    return sha256(key.encode()).hexdigest()[:32]
