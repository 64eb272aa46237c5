"""Listening to one server, in the era it speaks, for as long as anything of it is wanted and however often it ends.

One task does that, while there is something to hear and not longer. Whatever ends it, it begins again, later and later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Final

import structlog

from mcplocal.upstream import listen_stream, session_stream
from mcplocal.upstream.answers import Note, UpstreamFailed
from mcplocal.upstream.source import Source
from mcplocal.upstream.wishes import Wish, Wishes
from mcplocal.wire import Era

log = structlog.get_logger(__name__)
_CHANCE = Random()  # noqa: S311 - spreads attempts; nothing secret comes of it

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds between two attempts, doubled with each that fails."""

STEADY: Final = 5.0
"""Seconds after which an attempt has not failed: the next begins as if it were the first."""

LASTING_PAUSE: Final = 300.0
"""Seconds after a failure that somebody has to mend."""

_RENEWED: Final = UpstreamFailed("what was settled with it is so no more")
"""Its session or era is another one, or its process. That is no failure to hear it, and is made good for at once."""


class Hearing:
    """Listens to one server.

    Attributes:
        begun: set once it is listened to, or that has failed.
    """

    def __init__(self, server: str, source: Source, wishes: Wishes, note: Note) -> None:
        """Listen to ``source``, the server of that name, for ``wishes``; ``note`` takes what there is to say of it."""
        self._server = server
        self._source = source
        self._wishes = wishes
        self._note = note
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.begun = asyncio.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether anything is to be heard, or is just being left."""
        return self._wishes.anything() or self._task is not None

    def want_lists(self, wanted: bool) -> None:
        """Whether changes of its lists are to be heard."""
        self._wishes.lists = wanted
        self._begin()

    def want(self, uri: str, tell: Callable[[], None]) -> Wish:
        """From now on ``tell`` is called when the server's resource ``uri`` changes."""
        wish = self._wishes.add(uri, tell)
        self._begin()
        return wish

    def leave(self, wish: Wish, tell: Callable[[], None]) -> None:
        """It is not called any more."""
        self._wishes.remove(wish, tell)

    async def close(self) -> None:
        """Listen no more."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _begin(self) -> None:
        if self._task is None and self._wishes.anything() and not self._closed:
            self.begun.clear()
            self._task = asyncio.create_task(self._listen())
            self._task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._task = None
        self._begin()  # something may have been wanted while the last was being left

    async def _listen(self) -> None:
        failures = 0
        while self._wishes.anything():
            begun = monotonic()
            failure = await self._listened()
            if not self._wishes.anything():
                return
            self.begun.set()
            failures = 0 if monotonic() - begun > STEADY else failures
            pause = LASTING_PAUSE if failure.lasting else min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures, 16))
            failures += failure is not _RENEWED
            log.info("an upstream is not heard", server=self._server, why=failure.detail, again_in=round(pause, 1))
            if failures == 2:  # that a stream ends now and then is nothing to speak of
                self._note("gateway", f"is not heard: {failure.detail}")
            self._wishes.failed(failure)
            await self._pause(pause * _CHANCE.uniform(0.8, 1.2))

    async def _listened(self) -> UpstreamFailed:
        """Listen, and say why that has ended."""
        try:
            era = await self._source.ready()
            listen = listen_stream.listen if era is Era.MODERN else session_stream.listen
            await listen(self._source, self._wishes, self.begun.set)
        except UpstreamFailed as failure:
            return failure
        except TimeoutError:
            return UpstreamFailed("it does not answer in time")
        except Exception as error:
            log.exception("an upstream could not be listened to", server=self._server)
            return UpstreamFailed(f"what it says could not be read: {type(error).__name__}")
        return _RENEWED

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than it takes until something more is wanted; and that not all the time."""
        self._wishes.changed.clear()
        until = monotonic() + seconds
        await asyncio.sleep(min(seconds, FIRST_PAUSE))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wishes.changed.wait(), max(0.0, until - monotonic()))
