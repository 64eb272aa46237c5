"""How a server of the later era is listened to: one ``subscriptions/listen`` for all of it (2026-07-28, "Subscriptions").

What is wanted cannot be changed while it lasts. So another one is begun, and the one before is let go once that is
acknowledged: in between nothing is missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from mcplocal import wire
from mcplocal.json_text import Members, write
from mcplocal.upstream.answers import Answer, UpstreamFailed
from mcplocal.upstream.era import Call
from mcplocal.upstream.source import Source, first
from mcplocal.upstream.wishes import NOT_TOLD, Wishes

SETTLE: Final = 0.05
"""Seconds in which several changes of what is wanted become one."""

ACKNOWLEDGED_WITHIN: Final = 30.0
"""Seconds that a server has to begin."""


@dataclass(eq=False)
class _Listening:
    """One request under way, and what it was for."""

    lists: frozenset[str]
    uris: frozenset[str]
    answer: asyncio.Task[Answer] | None = None
    honoured: Any = None
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, method: str, params: Members) -> None:
        """Take the acknowledgement. All else comes to whoever takes what the server says unasked."""
        if method == wire.ACKNOWLEDGED:
            self.honoured = params["notifications"].value if "notifications" in params else None
            self.acknowledged.set()

    @property
    def filter(self) -> dict[str, Any]:
        """What it asks for."""
        lists = {f"{what}ListChanged": True for what in sorted(self.lists)}
        return lists | ({"resourceSubscriptions": sorted(self.uris)} if self.uris else {})

    def honours(self, uri: str) -> bool:
        """Whether the server has acknowledged to tell of that resource."""
        told = self.honoured.get("resourceSubscriptions") if isinstance(self.honoured, dict) else None
        return isinstance(told, list) and uri in told

    async def end(self) -> None:
        """Let it go."""
        if self.answer is not None:
            self.answer.cancel()
            with suppress(asyncio.CancelledError, UpstreamFailed):
                await self.answer


async def listen(source: Source, wishes: Wishes, begun: Callable[[], None]) -> None:
    """Hear what is wanted until nothing is, or until the server ends it.

    Args:
        source: the server.
        wishes: what is wanted.
        begun: called once all that is wanted at first is heard.

    Raises:
        UpstreamFailed: the server cannot be listened to, or has ended it.
    """
    current: _Listening | None = None
    try:
        while wishes.anything():
            wishes.changed.clear()
            wanted = _wanted(source, wishes)
            if current is None or (wanted.lists, wanted.uris) != (current.lists, current.uris):
                before, current = current, await _begun(source, wanted)
                _settle(wishes, current, before)
                if before is not None:
                    await before.end()
            begun()
            if current.answer is None:
                await wishes.changed.wait()
            else:
                await first(current.answer, wishes.changed)
                if current.answer.done():
                    current.answer.result()
                    raise UpstreamFailed("it ended what it tells unasked")
            await asyncio.sleep(SETTLE)
    finally:
        if current is not None:
            await current.end()


def _wanted(source: Source, wishes: Wishes) -> _Listening:
    """What is wanted, as far as the server says that it tells it."""
    lists = [what for what in wire.LIST_CHANGED if wishes.lists and f"{what}.listChanged" in source.capabilities]
    if wire.SUBSCRIBES not in source.capabilities:
        for wish in list(wishes.by_uri.values()):
            wishes.refused(wish, NOT_TOLD)
    return _Listening(frozenset(lists), frozenset(wishes.by_uri))


async def _begun(source: Source, wanted: _Listening) -> _Listening:
    """Ask for what is wanted, if it is anything, and wait until the server has acknowledged it."""
    if not wanted.filter:
        return wanted
    call = Call(wire.LISTEN, {"notifications": write(wanted.filter)}, notify=wanted.hear, held=True)
    wanted.answer = asyncio.create_task(source.request(call))
    try:
        await first(wanted.answer, wanted.acknowledged, ACKNOWLEDGED_WITHIN)
        if wanted.acknowledged.is_set():
            return wanted
        if not wanted.answer.done():
            raise UpstreamFailed(f"it does not acknowledge {wire.LISTEN} within {ACKNOWLEDGED_WITHIN:g} s")
        answer = wanted.answer.result()
        if answer.error is not None and answer.error.code in (wire.METHOD_NOT_FOUND, wire.INVALID_PARAMS):
            wanted.answer = None  # it does not do what it declared, and is not asked again for the same
            return wanted
        raise UpstreamFailed(f"it does not acknowledge {wire.LISTEN}")
    except BaseException:
        await wanted.end()
        raise


def _settle(wishes: Wishes, current: _Listening, before: _Listening | None) -> None:
    """Note what the server has acknowledged. What it told of before as well, nobody has missed anything of."""
    for uri in current.uris:
        wish = wishes.by_uri.get(uri)
        if wish is None:
            continue
        if not current.honours(uri):
            wishes.refused(wish, NOT_TOLD)
        elif before is None or uri not in before.uris:
            wishes.honoured(wish)
    current.uris = frozenset(uri for uri in current.uris if current.honours(uri))
    if current.lists and (before is None or before.lists != current.lists):
        wishes.missed_lists()
