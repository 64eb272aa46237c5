"""Event streams of an upstream over HTTP: the one that answers a request, and the one of a session, which is held open.

A stream that is held open has no end of its own, so nothing bounds what comes on it. Its messages are short by nature and few,
and are taken no faster than that: who floods it waits, by the flow control of its own connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from mcplocal.event_stream import MEDIA_TYPE, EventReader, EventTooLong
from mcplocal.json_text import NotJson
from mcplocal.upstream.answers import Message, UpstreamFailed, read_message
from mcplocal.upstream.http_exchange import Response

LONGEST_HELD: Final = 1 << 20
"""Bytes of one message on a stream that is held open."""

PER_EVENT: Final = 0.001
"""Seconds that each message costs whoever sends them on such a stream: a thousand a second are taken."""

LONGEST_PAUSE: Final = 1.0


class NoStream(Exception):
    """The server offers no such stream (2025-11-25, Streamable HTTP: 405)."""


class SessionLost(Exception):
    """The server does not know the session any more."""


async def messages(response: Response, limit: int, pause: float = 0.0) -> AsyncIterator[Message]:
    """The messages on a stream, none larger than ``limit`` bytes, with ``pause`` seconds after each."""
    reader = EventReader(limit)
    async for chunk in response.chunks():
        events = reader.feed(chunk)
        for event in events:
            if event.kind == "message" and event.data:
                yield read_message(event.data)
        if pause and events:
            await asyncio.sleep(min(LONGEST_PAUSE, pause * len(events)))


async def hold(
    get: Callable[[], Awaitable[Response]],
    ended: asyncio.Event,
    take: Callable[[Message], Awaitable[None]],
    opened: Callable[[], None],
) -> None:
    """Hold the stream of a session open until ``ended``.

    Args:
        get: asks for it.
        ended: set when the session is no more.
        take: takes each message, one after the other.
        opened: called once the server has begun it.

    Raises:
        NoStream: there is none.
        SessionLost: there is no such session.
        UpstreamFailed: it cannot be had, or has ended.
    """
    holding = asyncio.ensure_future(_hold(get, take, opened))
    ending = asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait((holding, ending), return_when=asyncio.FIRST_COMPLETED)
        if holding.done():
            holding.result()
    finally:
        for task in (holding, ending):
            task.cancel()
        await asyncio.gather(holding, ending, return_exceptions=True)


async def _hold(
    get: Callable[[], Awaitable[Response]], take: Callable[[Message], Awaitable[None]], opened: Callable[[], None]
) -> None:
    response = await get()
    try:
        _check(response)
        opened()
        async for message in messages(response, LONGEST_HELD, PER_EVENT):
            await take(message)
    except EventTooLong as error:
        raise UpstreamFailed(f"it sends {error} on the stream of its session") from error
    except (NotJson, UnicodeDecodeError) as error:
        raise UpstreamFailed("what it sends on the stream of its session is not a JSON-RPC message") from error
    finally:
        response.close()
    raise UpstreamFailed("it ended the stream of its session")


def _check(response: Response) -> None:
    status, media_type = response.status, response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if status == 404:
        raise SessionLost
    if status in (401, 403, 407):
        raise UpstreamFailed(f"it refuses the credential configured for it (HTTP {status})", lasting=True)
    if status in (408, 409, 425, 429) or status >= 500:
        raise UpstreamFailed(f"it answers with HTTP {status} when asked for the stream of its session")
    if status != 200 or media_type != MEDIA_TYPE:
        raise NoStream
