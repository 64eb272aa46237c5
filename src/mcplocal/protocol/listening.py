"""Telling a client what has changed: on the stream that it opened with GET or to subscribe, or its pipe.

What a client hears of lists is about its own, as its rights are now. Tools are asked for so that there is something to
compare; prompts and resources are compared as far as somebody has asked for them, as nobody else has a list of them, or as the
client has said that it wants to hear of them. Of single resources it hears what it is subscribed to, decided about once more
when it is told. The rights of whoever listens are watched as those of a call are, and the stream ends with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Final

from mcpctl.errors import Problem
from mcplocal import wire
from mcplocal.gate import Caller
from mcplocal.gateway import Gateway
from mcplocal.json_text import write
from mcplocal.offers.kinds import FAMILIES, TOOLS, Family
from mcplocal.protocol.envelope import notification_text
from mcplocal.protocol.subscription import Subscription
from mcplocal.subscriber import Subscriber
from mcplocal.uses import UpstreamError
from mcplocal.vigil import Renew, Watched
from mcplocal.wire import Era

LIST_CHANGED: Final[Mapping[Family, str]] = {
    family: write({"jsonrpc": "2.0", "method": wire.LIST_CHANGED[family.capability]}) for family in FAMILIES
}
"""The notifications of the handshake era."""

SIGN_OF_LIFE: Final = 10.0
"""Seconds between signs of life on a stream that has nothing to say."""

SETTLE: Final = 0.1
"""Seconds in which several changes become one notification."""

KNOWN_WITHIN: Final = 1.0
"""Seconds that a client waits, before it is told that it is listened for, until its lists are known."""


class Listening:
    """Compares a caller's lists with what they were, whenever they may have changed, and passes on what else is heard."""

    def __init__(
        self,
        gateway: Gateway,
        caller: Caller,
        renew: Renew,
        tell: Callable[[str | None], Awaitable[None]],
        subscriber: Subscriber,
        subscription: Subscription | None = None,
    ) -> None:
        """Listen for ``caller``.

        Args:
            gateway: whose lists.
            caller: who listens; ``renew`` makes sure of it again.
            renew: see there.
            tell: takes a notification to the client, or ``None`` as a sign of life.
            subscriber: what it is subscribed to.
            subscription: what it wants to hear of and in which words, in the later era; in the earlier it is all there is.
        """
        self._gateway = gateway
        self._tell = tell
        self._subscriber = subscriber
        self._asks = subscription is not None
        self._changes = LIST_CHANGED if subscription is None else subscription.changes
        self._updated = _updated if subscription is None else subscription.updated
        self._wake = asyncio.Event()
        self._lists_changed = False
        self._ended = False
        self._watched = Watched(caller, renew, None, self.end)

    def end(self) -> None:
        """Listen no more."""
        self._ended = True
        self._wake.set()

    async def run(self, begun: Callable[[], Awaitable[None]]) -> None:
        """Tell of changes until ``end``, until the caller's rights end, or until the gateway stops.

        Args:
            begun: awaited once no change is missed any more, before anything is told.

        Raises:
            Problem: it cannot be known now what there is to listen to.
        """
        gateway = self._gateway
        gateway.vigil.begin(self._watched)
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(gateway.bell.heard_by(self._look))
                stack.enter_context(gateway.draining.heard_by(self.end))
                stack.enter_context(self._subscriber.heard_by(self._wake.set))
                if self._changes:
                    await stack.enter_async_context(gateway.subscriptions.hearing_lists(self._watched.caller.project))
                await self._follow(begun)
        finally:
            gateway.vigil.end(self._watched)
            self._watched.stop = _nothing  # the two know each other, and nobody collects that for a long time

    def _look(self) -> None:
        self._lists_changed = True
        self._wake.set()

    async def _follow(self, begun: Callable[[], Awaitable[None]]) -> None:
        learning = asyncio.ensure_future(self._learn())
        try:
            await asyncio.wait((learning,), timeout=KNOWN_WITHIN)
            await begun()
            known = await learning
        finally:
            learning.cancel()
        while not self._ended:
            try:
                await asyncio.wait_for(self._wake.wait(), SIGN_OF_LIFE)
            except TimeoutError:
                await self._tell(None)
                continue
            await asyncio.sleep(0 if self._ended else SETTLE)
            self._wake.clear()
            await self._tell_of_resources()
            if self._lists_changed:
                self._lists_changed = False
                await self._tell_of_lists(known)

    async def _learn(self) -> dict[Family, str | None]:
        return {family: await self._list(family) for family in self._changes}

    async def _tell_of_lists(self, known: dict[Family, str | None]) -> None:
        for family, notification in self._changes.items():
            listed = None if self._ended else await self._list(family)
            if listed is not None and listed != known[family]:
                # Who has never been told of a list has none that could have changed, but tools are told of from the start.
                had, known[family] = known[family], listed
                if had is not None or family is TOOLS or self._asks:
                    await self._tell(notification)

    async def _tell_of_resources(self) -> None:
        while not self._ended and (caller := await self._sure()) is not None:
            untold = self._subscriber.take()
            if untold is None:
                return
            uri, asked = untold
            if caller.may_run(asked):
                await self._tell(self._updated(uri))

    async def _list(self, family: Family) -> str | None:
        """The lists as they are now; ``None`` if nobody can say, or the caller is nobody any more."""
        caller, watched, router = await self._sure(), self._watched, self._gateway.router
        if caller is None:
            return None
        try:
            if family is TOOLS or self._asks:
                return "".join([await router.listed(caller, watched.renew, family, kind, Era.LEGACY) for kind in family.kinds])
            return await router.known_listed(caller, watched.renew, family, Era.LEGACY)
        except UpstreamError:
            return None
        except Problem:
            self.end()
            return None

    async def _sure(self) -> Caller | None:
        """Who listens, by rights that hold now; ``None`` if that is nobody any more, and then it is over."""
        watched = self._watched
        try:
            if watched.caller.authority.superseded:
                watched.caller = await watched.renew()
        except Problem:
            self.end()
            return None
        return watched.caller


def _updated(uri: str) -> str:
    """The notification of the handshake era."""
    return notification_text(wire.UPDATED, write({"uri": uri}))


def _nothing() -> None:
    """It has ended already."""
