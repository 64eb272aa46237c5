"""What is to be heard of one server: changes of its lists, and changes of single resources.

However many want to hear of a resource, the server is asked once. What it says comes together here from whichever stream it
came on, and leaves no faster than a few times a second for each resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final

from mcplocal import wire
from mcplocal.json_text import Members
from mcplocal.offers.uris import askable
from mcplocal.upstream.answers import RpcError, UpstreamFailed

AT_MOST_EVERY: Final = 0.25
"""Seconds between two updates of one resource. What comes in between is told at its end, once."""


@dataclass(eq=False)
class Wish:
    """One resource that somebody wants to hear of.

    Attributes:
        uri: the server's own.
        tells: who is told of an update.
        outcome: set once something is known: the server tells of updates, or it does not, or it could not be asked.
        refusal: why it never will, once that is known.
        failure: why it does not right now, if it could not be asked.
    """

    uri: str
    tells: set[Callable[[], None]] = field(default_factory=set)
    outcome: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: RpcError | None = None
    failure: UpstreamFailed | None = None
    told_at: float = -inf
    timer: asyncio.TimerHandle | None = None

    def tell(self) -> None:
        """It has changed, or may have: tell everybody, now or in a moment."""
        loop = asyncio.get_running_loop()
        if self.timer is not None:
            return
        if loop.time() >= self.told_at + AT_MOST_EVERY:
            self._tell_now()
        else:
            self.timer = loop.call_at(self.told_at + AT_MOST_EVERY, self._tell_now)

    def _tell_now(self) -> None:
        self.timer, self.told_at = None, asyncio.get_running_loop().time()
        for tell in list(self.tells):
            tell()


NOT_TOLD: Final = RpcError(wire.INVALID_PARAMS, "its server does not tell when it changes")


class Wishes:
    """All that is to be heard of one server.

    Attributes:
        by_uri: the resources.
        changed: set when other things are wanted than before.
        asked: by URI, what stood for the server when it was asked to tell of it (only in the handshake's era).
    """

    def __init__(self, missed: Callable[[], None]) -> None:
        """Call ``missed`` when its lists may have changed and nobody was listening."""
        self.by_uri: dict[str, Wish] = {}
        self.changed = asyncio.Event()
        self.asked: dict[str, object] = {}
        self.missed_lists = missed
        self._by_name: dict[str, Wish] = {}
        self._lists = False

    @property
    def lists(self) -> bool:
        """Whether changes of its lists are wanted."""
        return self._lists

    @lists.setter
    def lists(self, wanted: bool) -> None:
        if wanted is not self._lists:
            self._lists = wanted
            self.changed.set()

    def anything(self) -> bool:
        """Whether anything is wanted."""
        return self._lists or bool(self.by_uri)

    def add(self, uri: str, tell: Callable[[], None]) -> Wish:
        """From now on ``tell`` is called when the resource ``uri`` changes."""
        wish = self.by_uri.get(uri)
        if wish is None:
            wish = self.by_uri[uri] = Wish(uri)
            self._by_name[askable(uri) or uri] = wish
            self.changed.set()
        wish.tells.add(tell)
        return wish

    def remove(self, wish: Wish, tell: Callable[[], None]) -> None:
        """It is not called any more."""
        wish.tells.discard(tell)
        if not wish.tells:
            self._forget(wish)

    def honoured(self, wish: Wish) -> None:
        """The server tells of updates from now on. Whoever has waited for that, or heard it before, may have missed some."""
        missed, wish.failure = wish.outcome.is_set(), None
        wish.outcome.set()
        if missed:
            wish.tell()

    def refused(self, wish: Wish, error: RpcError) -> None:
        """The server does not tell of updates to that resource. Whoever relied on it looks at it once more."""
        heard, wish.refusal = wish.outcome.is_set(), error
        wish.outcome.set()
        self._forget(wish)
        if heard:
            wish.tell()

    def failed(self, failure: UpstreamFailed) -> None:
        """The server could not be asked, or has gone; that will be tried again."""
        for wish in self.by_uri.values():
            wish.failure = failure
            wish.outcome.set()

    def updated(self, params: Members) -> None:
        """The server says that a resource has changed, or something below it."""
        uri = params["uri"].value if "uri" in params else None
        wish = self._find(uri) if isinstance(uri, str) else None
        if wish is not None:
            wish.tell()

    def _find(self, uri: str) -> Wish | None:
        """What ``uri`` is about: a resource that is wanted, in any spelling, or the nearest one that it is below.

        Of something below, only the wanted one is spoken of: that is what was decided about.
        """
        name = askable(uri) or uri
        end = len(name)
        while end > 0:
            found = self._by_name.get(name[:end]) or self._by_name.get(name[: end + 1])
            if found is not None:
                return found
            end = name.rfind("/", 0, end)
        return None

    def _forget(self, wish: Wish) -> None:
        wish.outcome.set()
        if wish.timer is not None:
            wish.timer.cancel()
            wish.timer = None
        if self.by_uri.get(wish.uri) is wish:
            del self.by_uri[wish.uri]
            name = askable(wish.uri) or wish.uri
            if self._by_name.get(name) is wish:
                del self._by_name[name]
            self.changed.set()
