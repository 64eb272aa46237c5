"""Telling a client that a list of it has changed: on the stream that it opened with GET or to subscribe, or its pipe.

What a client hears is about its own lists, as its rights are now. Tools are asked for so that there is something to compare;
prompts and resources are compared as far as somebody has asked for them, as nobody else has a list of them. The rights of
whoever listens are watched as those of a call are, and the stream ends with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from mcpctl.errors import Problem
from mcplocal import wire
from mcplocal.gate import Caller
from mcplocal.gateway import Gateway
from mcplocal.json_text import write
from mcplocal.offers.kinds import FAMILIES, TOOL, TOOLS, Family
from mcplocal.router import Renew
from mcplocal.uses import UpstreamError
from mcplocal.vigil import Watched
from mcplocal.wire import Era

LIST_CHANGED: Final[Mapping[Family, str]] = {
    family: write({"jsonrpc": "2.0", "method": wire.LIST_CHANGED[family.capability]}) for family in FAMILIES
}
"""The notifications of the handshake era."""

SIGN_OF_LIFE: Final = 10.0
"""Seconds between signs of life on a stream that has nothing to say."""

SETTLE: Final = 0.1
"""Seconds in which several changes become one notification."""


class Listening:
    """Compares a caller's lists with what they were, whenever they may have changed."""

    def __init__(
        self,
        gateway: Gateway,
        caller: Caller,
        renew: Renew,
        tell: Callable[[str | None], Awaitable[None]],
        changes: Mapping[Family, str] = LIST_CHANGED,
    ) -> None:
        """Listen for ``caller``.

        Args:
            gateway: whose lists.
            caller: who listens; ``renew`` makes sure of it again.
            renew: see there.
            tell: takes a notification to the client, or ``None`` as a sign of life.
            changes: what it wants to hear of, each with its notification.
        """
        self._gateway = gateway
        self._tell = tell
        self._changes = changes
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
            self._watched.stop = _nothing  # the two know each other, and nobody collects that for a long time

    async def _follow(self) -> None:
        known = {family: await self._list(family) for family in self._changes}
        while not self._ended:
            try:
                await asyncio.wait_for(self._wake.wait(), SIGN_OF_LIFE)
            except TimeoutError:
                await self._tell(None)
                continue
            await asyncio.sleep(0 if self._ended else SETTLE)
            self._wake.clear()
            for family, notification in self._changes.items():
                listed = None if self._ended else await self._list(family)
                if listed is not None and listed != known[family]:
                    # Who has never been told of a list has none that could have changed, but tools are told of from the start.
                    had, known[family] = known[family], listed
                    if had is not None or family is TOOLS:
                        await self._tell(notification)

    async def _list(self, family: Family) -> str | None:
        """The lists as they are now; ``None`` if nobody can say, or the caller is nobody any more."""
        watched, router = self._watched, self._gateway.router
        try:
            if watched.caller.authority.superseded:
                watched.caller = await watched.renew()
            if family is TOOLS:
                return await router.listed(watched.caller, watched.renew, family, TOOL, Era.LEGACY)
            return await router.known_listed(watched.caller, watched.renew, family, Era.LEGACY)
        except UpstreamError:
            return None
        except Problem:
            self.end()
            return None


def _nothing() -> None:
    """It has ended already."""
