"""Listening with uvicorn: bound sockets, draining on SIGTERM, exit code 0."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from mcpctl.errors import InvalidSetting

DRAIN_SECONDS: Final = 10


class Listener(uvicorn.Server):
    """One application on one address. Signals are taken by ``run_until_signalled``, for all listeners of a process at once."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        """Bind now, so the port is known and a taken one is said at once.

        Raises:
            InvalidSetting: the address cannot be bound.
        """
        super().__init__(
            uvicorn.Config(
                app,
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


async def run_until_signalled(listeners: Sequence[Listener], drain: Callable[[], None]) -> None:
    """Serve with all ``listeners`` until SIGTERM or SIGINT; then ``drain`` says so to long answers, and all of them end.

    A second signal ends at once.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        drain()
        for listener in listeners:
            listener.force_exit = listener.should_exit
            listener.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        tasks = [asyncio.create_task(listener.serve_until_stopped()) for listener in listeners]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not all(listener.should_exit for listener in listeners):
            stop()
        await asyncio.gather(*tasks)
        for task in done:
            task.result()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InvalidSetting(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listening
