"""What the control plane says has changed, as soon as it says so, and for how long it has been silent.

The stream carries a heartbeat every 250 ms. Whoever caches what the control plane said registers here and is told the
topics of each change; and asks ``is_superseded`` before caching, because an answer may have been overtaken on its way.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple

import structlog

from mcpctl.errors import Problem
from mcplocal.control.control_plane import ControlPlane
from mcplocal.json_text import NotJson, read

log = structlog.get_logger(__name__)

FRESH_FOR: Final = 1.0
"""Seconds after a heartbeat during which nothing can have changed unnoticed (SPEC section 4)."""

REMEMBERED: Final = 512
"""Changes kept to judge answers that were under way when they happened."""

EVERYTHING: Final = frozenset({"*"})


class Change(NamedTuple):
    """A revision and whom it touched."""

    revision: int
    topics: frozenset[str]

    def touches(self, topics: frozenset[str]) -> bool:
        """Whether something built from ``topics`` is old now."""
        return "*" in self.topics or not self.topics.isdisjoint(topics)


class PolicyFeed:
    """Follows the watch stream for as long as it runs."""

    def __init__(self, control_plane: ControlPlane) -> None:
        """Nothing is followed until ``start``."""
        self._control_plane = control_plane
        self._listeners: list[Callable[[Change], None]] = []
        self._changes: deque[Change] = deque(maxlen=REMEMBERED)
        self._forgotten = -1
        self._task: asyncio.Task[None] | None = None
        self._beat = asyncio.Event()
        self.revision = -1
        self.last_heartbeat: float | None = None

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """Call ``listener`` with each change, before anything else of it is seen."""
        self._listeners.append(listener)

    @property
    def silence(self) -> float:
        """Seconds since the last heartbeat; infinite before the first."""
        return float("inf") if self.last_heartbeat is None else monotonic() - self.last_heartbeat

    @property
    def is_fresh(self) -> bool:
        """Whether everything that has changed until a second ago is known."""
        return self.silence <= FRESH_FOR

    def is_superseded(self, revision: int, topics: frozenset[str]) -> bool:
        """Whether an answer read at ``revision`` and built from ``topics`` is older than what has been announced."""
        if revision < self._forgotten:
            return True
        return any(change.revision > revision and change.touches(topics) for change in self._changes)

    def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def first_heartbeat(self) -> None:
        """Wait until there has been one."""
        await self._beat.wait()

    async def _follow(self) -> None:
        pause = 0.1
        reported = False
        while True:
            try:
                async with self._control_plane.watch() as events:
                    first = True
                    async for data in events:
                        self._take(data, first=first)
                        if first:
                            log.info("following the control plane", revision=self.revision)
                            first, pause, reported = False, 0.1, False
            except Problem as problem:
                if not reported:
                    log.warning("the control plane's changes are not known", why=problem.detail)
                    reported = True
            except Exception:
                log.exception("the watch stream could not be followed")
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads reconnections
            pause = min(1.0, pause * 2)

    def _take(self, data: str, *, first: bool) -> None:
        revision, topics = self._read(data)
        if revision < self.revision:
            # The control plane was put back to an earlier state; what is remembered is of another history.
            self._changes.clear()
            self._forgotten = -1
        if revision != self.revision and (first or topics is None or revision < self.revision):
            topics = EVERYTHING  # who was touched is not known
        if topics:
            self._publish(Change(revision, topics))
        self.revision = revision
        self.last_heartbeat = monotonic()
        self._beat.set()

    def _read(self, data: str) -> tuple[int, frozenset[str] | None]:
        """The revision of an event and the topics it names; ``None`` if it names none, not even an empty list."""
        try:
            event = read(data, unique=False)
            subjects = event.get("subjects")
            return int(event["revision"]), frozenset(map(str, subjects)) if isinstance(subjects, list) else None
        except (NotJson, KeyError, TypeError, ValueError, AttributeError):
            log.warning("an event of the watch stream cannot be read")
            return self.revision, EVERYTHING

    def _publish(self, change: Change) -> None:
        if len(self._changes) == REMEMBERED:
            self._forgotten = self._changes[0].revision
        self._changes.append(change)
        for listener in self._listeners:
            listener(change)
