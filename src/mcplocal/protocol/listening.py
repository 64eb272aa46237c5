"""Telling a client of the handshake era that its list of tools has changed: the stream it opens with GET, or its pipe.

What a client hears is about its own list, as its rights are now. The rights of whoever listens are watched as those of a call
are, and the stream ends with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from mcpctl.errors import Problem
from mcplocal.gate import Caller
from mcplocal.gateway import Gateway
from mcplocal.json_text import write
from mcplocal.router import Renew, UpstreamError
from mcplocal.vigil import Watched
from mcplocal.wire import Era

LIST_CHANGED: Final = write({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})

SIGN_OF_LIFE: Final = 10.0
"""Seconds between signs of life on a stream that has nothing to say."""

SETTLE: Final = 0.1
"""Seconds in which several changes become one notification."""


class Listening:
    """Compares a caller's list with what it was, whenever it may have changed."""

    def __init__(self, gateway: Gateway, caller: Caller, renew: Renew, tell: Callable[[str | None], Awaitable[None]]) -> None:
        """Listen for ``caller``.

        Args:
            gateway: whose list.
            caller: who listens; ``renew`` makes sure of it again.
            renew: see there.
            tell: takes a notification to the client, or ``None`` as a sign of life.
        """
        self._gateway = gateway
        self._tell = tell
        self._wake = asyncio.Event()
        self._ended = False
        self._watched = Watched(caller, renew, None, self.end)

    def end(self) -> None:
        """Listen no more."""
        self._ended = True
        self._wake.set()

    async def run(self) -> None:
        """Tell of changes until ``end``, until the caller's rights end, or until the gateway stops."""
        gateway = self._gateway
        gateway.vigil.begin(self._watched)
        try:
            with gateway.bell.heard_by(self._wake.set), gateway.draining.heard_by(self.end):
                await self._follow()
        finally:
            gateway.vigil.end(self._watched)

    async def _follow(self) -> None:
        known = await self._list()
        while not self._ended:
            try:
                await asyncio.wait_for(self._wake.wait(), SIGN_OF_LIFE)
            except TimeoutError:
                await self._tell(None)
                continue
            await asyncio.sleep(0 if self._ended else SETTLE)
            self._wake.clear()
            listed = None if self._ended else await self._list()
            if listed is not None and listed != known:
                known = listed
                await self._tell(LIST_CHANGED)

    async def _list(self) -> str | None:
        """The list as it is now; ``None`` if nobody can say, or the caller is nobody any more."""
        watched = self._watched
        try:
            if watched.caller.authority.superseded:
                watched.caller = await watched.renew()
            return await self._gateway.router.list_tools(watched.caller, watched.renew, Era.LEGACY)
        except UpstreamError:
            return None
        except Problem:
            self.end()
            return None
