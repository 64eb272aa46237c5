"""Work that takes long goes to a thread, so that one large result delays nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Made = TypeVar("Made")

ENDS_WITHIN: Final = 2.0
"""Seconds that what runs has when the gateway stops."""

AT_ONCE: Final = 4
"""Threads. What was given up on still ends by itself, so these are never used up for good."""


class Aside:
    """Runs work in the event loop if it is small, and in a thread otherwise."""

    def __init__(self) -> None:
        """No thread runs before one is needed."""
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="results")

    async def run(self, size: int, inline: int, work: Callable[[], Made]) -> Made:
        """What ``work`` makes of something of ``size`` bytes; up to ``inline`` bytes are not worth a thread."""
        if size <= inline:
            return work()
        return await self.always(work)

    async def always(self, work: Callable[[], Made]) -> Made:
        """What ``work`` makes, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> bool:
        """Begin nothing more, and wait a moment for what runs; whether all of it has ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                await asyncio.to_thread(self._threads.shutdown)
        except TimeoutError:
            return False
        return True
