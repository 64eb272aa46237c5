"""What the control plane says has changed, as soon as it says so, and for how long it has been silent.

The stream carries a heartbeat every 250 ms. An event says how far into the stream it was written, so one that was delayed on
its way counts from when it was written and not from when it came: a slow line is silence too. Whoever caches what the control
plane said registers here and is told the topics of each change; and asks ``is_superseded`` before caching, because an answer
may have been overtaken on its way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Final, NamedTuple

import structlog

from mcpctl.errors import Problem
from mcplocal.control.control_plane import ControlPlane
from mcplocal.json_text import NotJson, read

log = structlog.get_logger(__name__)
_CHANCE = Random()  # noqa: S311 - spreads attempts; nothing secret comes of it

FRESH_FOR: Final = 1.0
"""Seconds after a heartbeat during which nothing can have changed unnoticed."""

REMEMBERED: Final = 512
"""Changes kept to judge answers that were under way when they happened."""

LATE: Final = 0.5
"""Seconds an event may be old before the stream is opened anew: the line is slow, or two clocks have drifted apart."""
REOPEN_AFTER: Final = 10.0
"""Seconds a stream lives at least before it is opened anew for that."""

EVERYTHING: Final = frozenset({"*"})


class Change(NamedTuple):
    """A revision and whom it touched."""

    revision: int
    topics: frozenset[str]

    def touches(self, topics: frozenset[str]) -> bool:
        """Whether something built from ``topics`` is old now."""
        return "*" in self.topics or not self.topics.isdisjoint(topics)


class _Event(NamedTuple):
    """One event of the stream.

    Attributes:
        topics: whom it names; ``None`` if it names nobody, not even with an empty list.
        elapsed: seconds from the beginning of the stream to its writing; ``None`` if it does not say.
    """

    revision: int
    topics: frozenset[str] | None
    elapsed: float | None


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
        self._opened_at = 0.0
        self._elapsed = 0.0
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
        last = self.last_heartbeat
        return last is not None and monotonic() - last <= FRESH_FOR

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
                self._opened_at, self._elapsed = monotonic(), 0.0
                async with self._control_plane.watch() as events:
                    first = True
                    async for data in events:
                        self._take(data, first=first)
                        if first:
                            log.info("following the control plane", revision=self.revision)
                            first, pause, reported = False, 0.1, False
                        elif self.silence > LATE and monotonic() - self._opened_at > REOPEN_AFTER:
                            log.warning("what the control plane says comes late", seconds=round(self.silence, 1))
                            break
            except Problem as problem:
                if not reported:
                    log.warning("the control plane's changes are not known", why=problem.detail)
                    reported = True
            except Exception:
                log.exception("the watch stream could not be followed")
            await asyncio.sleep(pause * _CHANCE.uniform(0.8, 1.2))
            pause = min(1.0, pause * 2)

    def _take(self, data: str, *, first: bool) -> None:
        event = self._read(data)
        topics = event.topics
        overtaken = event.elapsed is not None and event.elapsed < self._elapsed
        if event.revision < self.revision and not overtaken:
            # The control plane was put back to an earlier state; what is remembered is of another history.
            self._changes.clear()
            self._forgotten = -1
            topics = EVERYTHING
        elif event.revision != self.revision and (first or not topics):
            topics = EVERYTHING  # who was touched is not known
        if topics:
            self._publish(Change(event.revision, topics))
        self.revision = max(self.revision, event.revision) if overtaken else event.revision
        self._elapsed = max(self._elapsed, event.elapsed or 0.0)
        if first:
            written = self._opened_at  # not before it was asked for, and more is not known
        else:
            written = monotonic() if event.elapsed is None else min(monotonic(), self._opened_at + event.elapsed)
        self.last_heartbeat = max(self.last_heartbeat or 0.0, written)
        self._beat.set()

    def _read(self, data: str) -> _Event:
        try:
            event = read(data, unique=False)
            subjects, elapsed = event.get("subjects"), event.get("elapsedMs")
            topics = frozenset(map(str, subjects)) if isinstance(subjects, list) else None
            return _Event(int(event["revision"]), topics, None if elapsed is None else float(elapsed) / 1000)
        except (NotJson, KeyError, TypeError, ValueError, AttributeError):
            log.warning("an event of the watch stream cannot be read")
            return _Event(self.revision, EVERYTHING, None)

    def _publish(self, change: Change) -> None:
        if len(self._changes) == REMEMBERED:
            self._forgotten = max(self._forgotten, self._changes[0].revision)
        self._changes.append(change)
        for listener in self._listeners:
            listener(change)
