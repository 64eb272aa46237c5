"""Listening with uvicorn: bound sockets, draining on SIGTERM, exit code 0."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import EADDRINUSE
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from mcpctl import slow_clients
from mcpctl.errors import InvalidSetting

DRAIN_SECONDS: Final = 10
"""Seconds that requests under way have once no more connections are taken."""

PATIENCE: Final = 30.0


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` to its end on uvloop, or on asyncio where there is none."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


class Listener(uvicorn.Server):
    """One application on one address. Signals are taken by ``run_until_signalled``, for all listeners of a process at once."""

    def __init__(
        self, app: ASGIApp, host: str, port: int, patience: float = PATIENCE, http: type[asyncio.Protocol] | None = None
    ) -> None:
        """Bind now, so the port is known and a taken one is said at once.

        Args:
            app: what is served.
            host: where.
            port: where; 0 is any that is free.
            patience: seconds a client may take to send one request, or go without taking any of an answer.
            http: what speaks HTTP, if it is to be another one.

        Raises:
            InvalidSetting: the address cannot be bound.
        """
        super().__init__(
            uvicorn.Config(
                app,
                http=http or slow_clients.protocol(patience),
                log_config=None,
                access_log=False,
                lifespan="on",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                timeout_keep_alive=75,
            )
        )
        self.socket = _bound(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self.socket.getsockname()[1]}"

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone; uvicorn would raise them again afterwards and turn a clean stop into a failure."""
        yield

    async def serve_until_stopped(self) -> None:
        """Serve until told to stop.

        Raises:
            RuntimeError: the application did not start; the log says why.
        """
        await self.serve(sockets=[self.socket])
        if not self.started:
            raise RuntimeError("the application did not start")

    def stop(self) -> None:
        """Take no more connections and end when those there are have been answered."""
        self.should_exit = True


async def run_until_signalled(
    listeners: Sequence[Listener],
    drain: Callable[[], None],
    then: Callable[[], Awaitable[Sequence[Listener]]] | None = None,
    ready: Callable[[], None] = lambda: None,
    drain_later: Callable[[], None] = lambda: None,
    leave: Callable[[], None] = lambda: None,
    delay: float = 0.0,
) -> None:
    """Serve with all ``listeners`` until SIGTERM or SIGINT; then ``drain`` says so to long answers, and all of them end.

    A second signal ends at once.

    Args:
        listeners: bound and not yet started.
        drain: called once, before ``listeners`` are told to stop.
        then: called when all of them answer, for listeners that need these.
        ready: called when these answer too.
        leave: called once at the signal: there is to be no more, but what comes all the same is still served for ``delay``.
        delay: seconds between that and all else, so that whoever balances hears of it.
        drain_later: called once, before the listeners of ``then`` are told to stop. They end first, as they need the others.

    Raises:
        RuntimeError: an application did not start; and whatever ``then`` raises.
    """
    loop, stopped, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    everyone = list(listeners)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stopped, hurry, everyone)
    running = [asyncio.create_task(listener.serve_until_stopped()) for listener in listeners]
    try:
        await _until_started(everyone, running, stopped)
        if then is not None and not stopped.is_set():
            later = await then()
            everyone += later
            running += [asyncio.create_task(listener.serve_until_stopped()) for listener in later]
            await _until_started(later, running, stopped)
        if all(listener.started for listener in everyone) and not stopped.is_set():
            ready()
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait([waiting, *running], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if stopped.is_set():
            leave()
            with suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), delay)
    finally:
        first = len(listeners)
        for say, ending, tasks in (
            (drain_later, everyone[first:], running[first:]),
            (drain, everyone[:first], running[:first]),
        ):
            say()
            for listener in ending:
                listener.stop()
            if tasks:
                await asyncio.wait(tasks)
        results = await asyncio.gather(*running, return_exceptions=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _on_signal(stopped: asyncio.Event, hurry: asyncio.Event, listeners: Sequence[Listener]) -> None:
    if stopped.is_set():
        hurry.set()
        for listener in listeners:
            listener.force_exit = True
    stopped.set()


async def _until_started(listeners: Sequence[Listener], running: Sequence[asyncio.Task[None]], stopped: asyncio.Event) -> None:
    while not all(listener.started for listener in listeners) and not stopped.is_set():
        if any(task.done() for task in running):
            return
        await asyncio.sleep(0.01)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol said, asyncio sets TCP_NODELAY; without, every small answer may wait 40 ms for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        taken = "; is one running already? Another address: --listen, and of quickstart also --gateway-listen"
        hint = taken if error.errno == EADDRINUSE else ""
        raise InvalidSetting(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from None
    return listening
