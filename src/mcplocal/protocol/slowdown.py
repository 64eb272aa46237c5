"""Slows down who keeps coming with bad bearers. Nobody is ever locked out, and a good bearer never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network
from time import monotonic
from typing import Final

from mcplocal.recent import Recent

FREE: Final = 5
"""Failures of one source that cost nothing."""
LONGEST: Final = 2.0
FORGOTTEN_AFTER: Final = 60.0


class Slowdown:
    """Counts failures by source."""

    def __init__(self, count: Callable[[], None] = lambda: None) -> None:
        """Call ``count`` for each answer that is held back."""
        self._count = count
        self._failures: Recent[str, tuple[int, float]] = Recent(10_000)

    def delay(self, source: str) -> float:
        """Seconds the answer to one more failure of ``source`` is held back. Of IPv6, a network of 64 bits is one source."""
        if ":" in source:
            with suppress(ValueError):
                source = str(ip_network(f"{source.partition('%')[0]}/64", strict=False))
        count, last = self._failures.get(source) or (0, 0.0)
        now = monotonic()
        count = 1 if now - last > FORGOTTEN_AFTER else count + 1
        self._failures.keep(source, (count, now))
        return 0.0 if count <= FREE else min(LONGEST, 0.05 * 2 ** min(count - FREE - 1, 10))

    async def failed(self, source: str) -> None:
        """Hold back the answer to a failure."""
        if wait := self.delay(source):
            self._count()
            await asyncio.sleep(wait)
