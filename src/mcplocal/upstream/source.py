"""A connection as whoever listens to it sees it; both transports are one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from mcplocal.upstream.answers import Answer
from mcplocal.upstream.era import Call
from mcplocal.wire import Era


class Source(Protocol):
    """A server that can be asked and listened to."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server says it has, and of that what is true."""

    @property
    def settled(self) -> object | None:
        """Stands for what was settled with the server: another one after each handshake or start."""

    async def ready(self) -> Era:
        """Connect and shake hands, if that has not been done."""

    async def request(self, call: Call) -> Answer:
        """The answer to one request."""

    async def hear(self, streams: bool, opened: Callable[[], None]) -> None:
        """Let the server say what it will, on a stream of its own if ``streams``, until what was settled is so no more."""


async def first(task: asyncio.Future[Any], event: asyncio.Event, within: float | None = None) -> None:
    """Wait until ``task`` is done or ``event`` is set, or for ``within`` seconds; the task goes on."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((task, waiting), timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
