"""How a server of the handshake's era is listened to: ``resources/subscribe`` for each resource, and what it says unasked.

Over HTTP that comes on the stream of the session, or on the stream of any answer; over pipes on the one there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mcplocal import wire
from mcplocal.json_text import write
from mcplocal.upstream.era import Call
from mcplocal.upstream.source import Source, first
from mcplocal.upstream.wishes import NOT_TOLD, Wish, Wishes

OPENS_WITHIN: Final = 1.0
"""Seconds the stream is waited for before anything is subscribed to. Some servers begin it only with its first message."""

AT_ONCE: Final = 8
"""Subscriptions a server is asked for at the same time, when there are many to make good for."""

ASKED_WITHIN: Final = 30.0
"""Seconds that a server has to answer one of them."""


async def listen(source: Source, wishes: Wishes, begun: Callable[[], None]) -> None:
    """Hear what is wanted until nothing is, or until something is lost that must be made anew.

    Args:
        source: the server.
        wishes: what is wanted.
        begun: called once all that is wanted at first is heard.

    Raises:
        UpstreamFailed: the server gives no stream, no answer, or has ended it.
    """
    lists = False
    while wishes.anything():
        streams = _streams(source, wishes)
        opened = asyncio.Event()
        holding = asyncio.ensure_future(source.hear(streams, opened.set))
        try:
            await first(holding, opened, OPENS_WITHIN)
            while wishes.anything() and not holding.done() and _streams(source, wishes) is streams:
                wishes.changed.clear()
                if wishes.lists and not lists:
                    wishes.missed_lists()
                lists = wishes.lists
                await _adjust(source, wishes)
                begun()
                await first(holding, wishes.changed)
            if holding.done():
                holding.result()
                return
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
    await _adjust(source, wishes)


def _streams(source: Source, wishes: Wishes) -> bool:
    """Whether there is anything to hear on a stream: a list that the server says it tells of, or a resource."""
    return bool(wishes.by_uri) or any(f"{what}.listChanged" in source.capabilities for what in wire.LIST_CHANGED)


async def _adjust(source: Source, wishes: Wishes) -> None:
    """Ask the server for what is wanted and has not been asked for, and to leave what is not wanted any more."""
    settled = source.settled
    gone = [uri for uri, on in wishes.asked.items() if uri not in wishes.by_uri]
    leaving = [uri for uri in gone if wishes.asked.pop(uri) is settled]
    wanted = list(wishes.by_uri.values())
    missing = [wish for wish in wanted if wishes.asked.get(wish.uri) is not settled]
    for wish in wanted:
        if wish not in missing and (wish.failure is not None or not wish.outcome.is_set()):
            wishes.honoured(wish)  # only its stream had been lost
    room = asyncio.Semaphore(AT_ONCE)

    async def leave(uri: str) -> None:
        async with room:
            await source.request(_call(wire.UNSUBSCRIBE, uri))

    async def subscribe(wish: Wish) -> None:
        async with room:
            if wish.tells:
                await _subscribe(source, wishes, wish)

    asking = [asyncio.ensure_future(ask) for ask in (*map(leave, leaving), *map(subscribe, missing))]
    try:
        await asyncio.gather(*asking)
    finally:
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def _subscribe(source: Source, wishes: Wishes, wish: Wish) -> None:
    if wire.SUBSCRIBES not in source.capabilities:
        wishes.refused(wish, NOT_TOLD)
        return
    answer = await source.request(_call(wire.SUBSCRIBE, wish.uri))
    if answer.error is not None:
        wishes.refused(wish, NOT_TOLD if answer.error.code == wire.METHOD_NOT_FOUND else answer.error)
        return
    wishes.asked[wish.uri] = source.settled or wish
    if wish.tells:
        wishes.honoured(wish)
    else:
        wishes.changed.set()  # nobody waits for it any more, so it is to be left again


def _call(method: str, uri: str) -> Call:
    return Call(method, {"uri": write(uri)}, timeout=ASKED_WITHIN)
