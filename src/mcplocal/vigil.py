"""Whoever waits for an answer, or listens, is asked about again while that lasts: revocation does not wait for the end.

Several times a second the vigil looks at everything under way. Whose rights may have changed, whose credential expired, or
whom the control plane has been silent about for more than a second is made sure of anew; who does not pass is stopped. Being
watched costs a request no more than an entry in a set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Final

import structlog

from mcpctl.errors import Problem
from mcplocal.control.policy_feed import FRESH_FOR, PolicyFeed
from mcplocal.gate import Caller

log = structlog.get_logger(__name__)

EVERY: Final = 0.2
"""Seconds between two looks."""

ANSWER_WITHIN: Final = 0.7
"""Seconds in which a doubt must be settled; with ``EVERY`` that stays below the second that revocation may take."""

Renew = Callable[[], Awaitable[Caller]]
"""Makes sure of the caller again, for when the policy changed while something was under way."""


@dataclass(eq=False, slots=True)
class Watched:
    """Something under way for somebody.

    Attributes:
        caller: for whom; the newest that was made sure of.
        renew: makes sure of it again.
        asked: what must still be allowed, as ``Caller.may_run`` takes it; ``None`` if being there is enough.
        stop: ends it. Called once, in the event loop.
    """

    caller: Caller
    renew: Renew
    asked: str | None
    stop: Callable[[], None]
    checking: asyncio.Task[None] | None = None
    checked_at: float = field(default_factory=monotonic)


class Vigil:
    """Looks at everything under way."""

    def __init__(self, feed: PolicyFeed, trust_for: float) -> None:
        """Trust what is known for ``trust_for`` seconds of silence, where it cannot be asked about."""
        self._feed = feed
        self._trust_for = trust_for
        self._watched: set[Watched] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def watched(self) -> int:
        """How many are watched."""
        return len(self._watched)

    def begin(self, watched: Watched) -> Watched:
        """Watch it, until ``end``."""
        self._watched.add(watched)
        return watched

    def end(self, watched: Watched) -> None:
        """It is over."""
        self._watched.discard(watched)
        if watched.checking is not None:
            watched.checking.cancel()

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for watched in list(self._watched):
            self.end(watched)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            for watched in [one for one in self._watched if one.checking is None and self._is_in_doubt(one)]:
                watched.checking = asyncio.create_task(self._check(watched))

    def _is_in_doubt(self, watched: Watched) -> bool:
        authority = watched.caller.authority
        if authority.superseded or time() >= authority.expires_at:
            return True
        return not self._feed.is_fresh and monotonic() - watched.checked_at > FRESH_FOR

    async def _check(self, watched: Watched) -> None:
        passes = False
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                caller = await watched.renew()
            passes = watched.asked is None or bool(caller.may_run(watched.asked))
            watched.caller = caller
        except TimeoutError:
            # Nobody can be asked. Who is known to have changed does not pass; the others do as long as they are trusted.
            authority = watched.caller.authority
            changed = authority.superseded or time() >= authority.expires_at
            passes = not changed and self._feed.silence <= self._trust_for
        except Problem:
            passes = False
        except Exception:
            log.exception("it cannot be found out whether something under way is still allowed; it is stopped")
        watched.checking, watched.checked_at = None, monotonic()
        if not passes and watched in self._watched:
            self._watched.discard(watched)
            watched.stop()
