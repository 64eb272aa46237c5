"""A call on its way to its client: as JSON if the answer is soon there, else as an event stream, as long as anybody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

import structlog

from mcplocal import wire
from mcplocal.event_stream import KEEP_ALIVE, write_event
from mcplocal.protocol.envelope import Rejection, error_text
from mcplocal.protocol.exchange import Request, send_json
from mcplocal.protocol.legacy import CANCELLED
from mcplocal.wire import Era

log = structlog.get_logger(__name__)

WATCH_AFTER: Final = 0.02
"""Seconds, or up to twice as many, after which a call is attended to. Nearly every one has been answered by then."""

STREAM_AFTER: Final = 10.0
"""Seconds after which a call that may be streamed is, so that proxies on the way see signs of life; and between these."""

WAITING_NOTIFICATIONS: Final = 1000
"""Notifications kept for a client that reads slowly; further ones are dropped, they are progress and no more."""


class LongAnswers:
    """The calls being answered; those that take long are attended to. One timer for all: one for each costs more than that."""

    def __init__(self) -> None:
        self._new: set[Answering] = set()
        self._old: set[Answering] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, answer: Answering) -> None:
        """It has begun."""
        self._new.add(answer)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._look)

    def discard(self, answer: Answering) -> None:
        """It is made."""
        self._new.discard(answer)
        self._old.discard(answer)

    def _look(self) -> None:
        """What was there at the last look, too, takes long."""
        for answer in self._old:
            answer.attend()
        self._old, self._new = self._new, set()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._look) if self._old else None


class Answering:
    """One call on its way to the client: JSON if the answer is soon there, else an event stream."""

    __slots__ = (
        "_attendant",
        "_cancel_when_gone",
        "_era",
        "_long_answers",
        "_notifications",
        "_request",
        "_streaming",
        "_task",
        "_unwanted",
        "_waiter",
        "may_stream",
    )

    def __init__(
        self, request: Request, era: Era, long_answers: LongAnswers, *, may_stream: bool, cancel_when_gone: bool
    ) -> None:
        """Answer ``request`` in ``era``.

        Args:
            request: the request.
            era: the client's.
            long_answers: sees to it while it takes long.
            may_stream: whether an event stream may be answered, or JSON alone.
            cancel_when_gone: whether a client that goes away no longer wants the answer.
        """
        self._request = request
        self._era = era
        self._long_answers = long_answers
        self.may_stream = may_stream
        self._cancel_when_gone = cancel_when_gone
        self._notifications: list[str] = []
        self._waiter: asyncio.Future[bool] | None = None
        self._streaming = False
        self._task: asyncio.Task[Any] | None = None
        self._unwanted = False
        self._attendant: asyncio.Task[None] | None = None

    def emit(self, text: str) -> None:
        """Take a notification for the client."""
        if len(self._notifications) < WAITING_NOTIFICATIONS:
            self._notifications.append(text)
            self.attend()
            self._wake(True)

    def cancel(self) -> None:
        """The client no longer wants the answer."""
        if self._task is not None and not self._unwanted:
            self._unwanted = True
            self._task.cancel()

    async def finish(self, making: Awaitable[str], id_text: str | None) -> None:
        """Make the answer, and bring it and what comes before it to the client.

        It is made in the task of the request: one of its own, and somebody watching from the start, cost a call that is soon
        answered more than deciding about it.
        """
        self._task = asyncio.current_task()
        self._long_answers.add(self)
        text, status = "", 200
        try:
            text = await making
        except asyncio.CancelledError:
            if not self._unwanted or self._task is None:
                if self._attendant is not None:
                    self._attendant.cancel()
                raise
            self._task.uncancel()
            text = error_text(Rejection(CANCELLED, "Request cancelled", id_text=id_text))
        except Rejection as rejection:
            text, status = error_text(rejection), status_of(rejection, self._era)
        except Exception:
            log.exception("a call could not be answered", request_id=self._request.id)
            text = error_text(Rejection(wire.INTERNAL_ERROR, "the gateway made a mistake", id_text=id_text))
        finally:
            self._task = None
            self._long_answers.discard(self)
            if self._attendant is not None:
                self._wake(True)
                await self._attendant
        if self._streaming:
            await self._request.end_stream(write_event(text))
        else:
            await send_json(self._request, status, text)

    def attend(self) -> None:
        """Bring what comes before the answer to the client from now on, and see whether it has gone."""
        if self._attendant is None and self._task is not None:
            self._attendant = asyncio.create_task(self._attend())

    async def _attend(self) -> None:
        """While the answer is being made: pass on notifications, keep the stream alive, see whether the client has gone."""
        watcher = asyncio.create_task(self._request.gone())
        if self._cancel_when_gone:
            watcher.add_done_callback(lambda done: self.cancel() if not done.cancelled() else None)
        try:
            while self._task is not None:
                await self._push_notifications()
                if not await self._something(STREAM_AFTER if self.may_stream else None):
                    await self._push(KEEP_ALIVE)
            await self._push_notifications()
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    async def _something(self, seconds: float | None) -> bool:
        """Wait until there is something to do; whether there was within that time."""
        if self._notifications or self._task is None:
            return True
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake, False) if seconds is not None else None
        try:
            return await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self, something: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(something)

    async def _push_notifications(self) -> None:
        for text in self._taken():
            await self._push(write_event(text))

    def _taken(self) -> list[str]:
        taken, self._notifications = self._notifications, []
        return taken

    async def _push(self, data: bytes) -> None:
        if not self._streaming:
            self._streaming = True
            await self._request.begin_stream()
        await self._request.push(data)


def status_of(rejection: Rejection, era: Era) -> int:
    """The HTTP status of an error that answers a request. Before 2026-07-28 it is 200: 404 would say the session is gone."""
    return wire.HTTP_STATUS.get(rejection.code, 200) if era is Era.MODERN else 200
