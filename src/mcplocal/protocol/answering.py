"""A call on its way to its client: as JSON if the answer is soon there, else as an event stream, as long as anybody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog
from starlette.types import Receive

from mcplocal import wire
from mcplocal.event_stream import KEEP_ALIVE, write_event
from mcplocal.protocol.envelope import Rejection, error_text
from mcplocal.protocol.exchange import STREAM_HEADERS, Request, send_json
from mcplocal.protocol.legacy import CANCELLED
from mcplocal.wire import Era

log = structlog.get_logger(__name__)

WATCH_AFTER: Final = 0.02
"""Seconds after which it is watched whether the client has gone. Nearly every call has been answered by then."""

STREAM_AFTER: Final = 10.0
"""Seconds after which a call that may be streamed is, so that proxies on the way see signs of life; and between these."""

WAITING_NOTIFICATIONS: Final = 1000
"""Notifications kept for a client that reads slowly; further ones are dropped, they are progress and no more."""


class Answering:
    """One call on its way to the client: JSON if the answer is soon there, else an event stream."""

    def __init__(self, request: Request, era: Era, *, may_stream: bool) -> None:
        """Answer ``request`` in ``era``; with JSON in any case unless it ``may_stream``."""
        self._request = request
        self._era = era
        self.may_stream = may_stream
        self._notifications: list[str] = []
        self._waiter: asyncio.Future[bool] | None = None
        self._streaming = False

    def emit(self, text: str) -> None:
        """Take a notification for the client."""
        if len(self._notifications) < WAITING_NOTIFICATIONS:
            self._notifications.append(text)
            self._wake(True)

    def run(self, answer: Coroutine[Any, Any, str]) -> asyncio.Task[str]:
        """Begin to make the answer."""
        self._task = asyncio.create_task(answer)
        self._task.add_done_callback(self._done)
        return self._task

    async def finish(self, id_text: str | None, *, cancel_when_gone: bool) -> None:
        """Bring the answer, and what comes before it, to the client."""
        watcher: asyncio.Task[None] | None = None
        try:
            await self._something(WATCH_AFTER)
            while not self._task.done():
                if watcher is None:
                    watcher = asyncio.create_task(gone(self._request.receive))
                    if cancel_when_gone:
                        watcher.add_done_callback(lambda done: self._task.cancel() if not done.cancelled() else None)
                await self._push_notifications()
                if not await self._something(STREAM_AFTER if self.may_stream else None):
                    await self._push(KEEP_ALIVE)
            await self._push_notifications()
            await self._end(id_text)
        finally:
            if watcher is not None:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
            if not self._task.done():
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def _something(self, seconds: float | None) -> bool:
        """Wait until there is something to tell the client; whether there was within that time."""
        if self._notifications or self._task.done():
            return True
        # A future and a timer: an Event within wait_for costs three times as much, on each call.
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake, False) if seconds is not None else None
        try:
            return await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _done(self, _: object) -> None:
        self._wake(True)

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
            start = {"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS}
            await self._request.send(start)
        await self._request.send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end(self, id_text: str | None) -> None:
        status = 200
        try:
            text = self._task.result()
        except asyncio.CancelledError:
            text = error_text(Rejection(CANCELLED, "Request cancelled", id_text=id_text))
        except Rejection as rejection:
            text, status = error_text(rejection), status_of(rejection, self._era)
        except Exception:
            log.exception("a call could not be answered", request_id=self._request.id)
            text = error_text(Rejection(wire.INTERNAL_ERROR, "the gateway made a mistake", id_text=id_text))
        if self._streaming:
            await self._request.send({"type": "http.response.body", "body": write_event(text), "more_body": False})
        else:
            await send_json(self._request, status, text)


def status_of(rejection: Rejection, era: Era) -> int:
    """The HTTP status of an error that answers a request. Before 2026-07-28 it is 200: 404 would say the session is gone."""
    return wire.HTTP_STATUS.get(rejection.code, 200) if era is Era.MODERN else 200


async def gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
