"""Many ask for the same thing at once, and it is fetched once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SingleFlight(Generic[Key, Result]):
    """Runs one task per key, however many wait for it. Whoever stops waiting does not stop the others."""

    def __init__(self) -> None:
        self._flights: dict[Key, asyncio.Task[Result]] = {}

    async def run(self, key: Key, make: Callable[[], Awaitable[Result]]) -> Result:
        """The outcome of ``make()``, shared with everybody who asks for ``key`` while it is under way."""
        return await asyncio.shield(self.start(key, make))

    def start(self, key: Key, make: Callable[[], Awaitable[Result]]) -> asyncio.Task[Result]:
        """The task that makes ``key``, begun if none is under way."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(_run(make))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def is_under_way(self, key: Key) -> bool:
        """Whether ``key`` is being made now."""
        return key in self._flights

    def _landed(self, key: Key, flight: asyncio.Task[Result]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # it counts as seen: those who waited have it, and perhaps nobody waits any more

    async def stop(self) -> None:
        """End what is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)


async def _run(make: Callable[[], Awaitable[Result]]) -> Result:
    return await make()
