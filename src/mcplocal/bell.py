"""Rung when something may have changed; whoever listens looks for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Bell:
    """Calls everybody who listens now."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[], None]] = set()

    def ring(self) -> None:
        """Call them all. They must not wait."""
        for listener in list(self._listeners):
            listener()

    @contextmanager
    def heard_by(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` at each ring until the block ends."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)
