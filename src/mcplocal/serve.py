"""``mcplocal serve``: the gateway over Streamable HTTP.

``build_app`` makes the application and nothing else: no global state, no signal handlers, so that another program can run
it in its own event loop. ``serve`` runs it.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcpctl import slow_clients
from mcpctl.errors import InvalidSetting
from mcplocal import metrics_page
from mcplocal.gateway import Gateway
from mcplocal.protocol.endpoint import Endpoint
from mcplocal.protocol.resource_metadata import ResourceMetadata
from mcplocal.router import OnDecision
from mcplocal.settings import Settings

log = structlog.get_logger(__name__)

_OF_A_PROJECT: Final = re.compile(r"/projects/([^/]+)/mcp")

DRAIN = 10
"""Seconds that requests under way have when the gateway is told to stop."""


def build_app(settings: Settings, *, on_decision: OnDecision | None = None) -> Starlette:
    """The gateway as an ASGI application; its lifespan starts and stops everything behind it.

    Args:
        settings: the settings in force.
        on_decision: called with the audit event of every call (``allowed``, ``reason``, ``tool``, …), as it happens.

    Raises:
        InvalidSetting: the gateway has no credential, or an address that is none.
    """
    if settings.credential is None and settings.credential_file is None:
        raise InvalidSetting(
            "the gateway has no credential: set MCPLOCAL_CREDENTIAL_FILE to a file with a session of a service user in "
            "Group:gateways (mcpctl create session)"
        )
    if settings.credential is None and settings.credential_file is not None and not settings.credential_file.is_file():
        raise InvalidSetting(f"MCPLOCAL_CREDENTIAL_FILE: there is no file {settings.credential_file}")
    gateway = Gateway(settings, on_decision)
    endpoint = Endpoint(gateway)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with gateway:
            yield

    async def alive(_: Request) -> Response:
        return Response(status_code=200, headers={"Cache-Control": "no-store"})

    async def ready(_: Request) -> Response:
        headers = {"Cache-Control": "no-store"}
        return JSONResponse({"ready": gateway.is_ready}, status_code=200 if gateway.is_ready else 503, headers=headers)

    app = _Application(
        endpoint,
        routes=[
            Route("/mcp", endpoint),
            Route("/projects/{project}/mcp", endpoint),
            Route("/healthz", alive),
            Route("/readyz", ready),
            *ResourceMetadata(settings).routes(),
        ],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.gateway = gateway
    return app


class _Application(Starlette):
    """Starlette, past which the requests there are many of go straight to the endpoint: it answers every error itself."""

    def __init__(self, endpoint: Endpoint, **more: Any) -> None:
        super().__init__(**more)
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            path = scope["path"]
            if path == "/mcp":
                return await self._endpoint(scope, receive, send)
            if match := _OF_A_PROJECT.fullmatch(path):
                scope["path_params"] = {"project": match[1]}
                return await self._endpoint(scope, receive, send)
        return await super().__call__(scope, receive, send)


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: whoever runs the loop decides when to stop, and the exit code."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.begun.set()

    def hurry(self) -> None:
        """Wait for no request any more. What is behind the front door is stopped in order all the same: events wait there."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(settings: Settings) -> socket.socket:
    """The listening socket, so that its port is known before anything is served.

    Raises:
        InvalidSetting: nobody can listen there.
    """
    return _listening(settings.address, f"MCPLOCAL_LISTEN={settings.listen}")


def _listening(address: tuple[str, int], said: str) -> socket.socket:
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InvalidSetting(f"{said}: {error.strerror or error}") from None
    listener.set_inheritable(False)
    return listener


async def serve(
    settings: Settings,
    *,
    on_decision: OnDecision | None = None,
    on_ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
    hurry: asyncio.Event | None = None,
) -> None:
    """Serve until ``stop`` is set or this is cancelled; then drain.

    First ``/readyz`` says no while all else goes on, for ``drain_delay``; then streams without an end are ended and no more
    connections are taken; what is under way has ``DRAIN`` seconds.

    Args:
        settings: the settings in force.
        on_decision: see ``build_app``.
        on_ready: called with the base URL once requests are accepted.
        stop: ends serving when set.
        hurry: when set, nothing is waited for any more.
    """
    app = build_app(settings, on_decision=on_decision)
    gateway: Gateway = app.state.gateway
    listener = listen(settings)
    server = _server(app, settings)
    shown = (
        _listening(settings.metrics_address, f"MCPLOCAL_METRICS_LISTEN={settings.metrics_listen}")
        if settings.metrics_address
        else None
    )
    hurry = hurry or asyncio.Event()

    async def watch() -> None:
        await server.begun.wait()
        if shown is not None:
            log.info("showing metrics", address=f"{_url(shown)}/metrics")
        if on_ready is not None:
            on_ready(_url(listener))
        if stop is not None:
            await stop.wait()
            log.info("draining: what is under way is finished, and nobody more is served", seconds=settings.drain_delay + DRAIN)
            gateway.leave()
            with suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), settings.drain_delay)
            gateway.drain()
            server.should_exit = True
            await hurry.wait()
            server.hurry()

    watcher = asyncio.create_task(watch())
    try:
        async with _showing(gateway, settings, shown):
            await server.serve(sockets=[listener])
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        listener.close()


def _server(app: ASGIApp, settings: Settings) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=slow_clients.protocol(settings.client_timeout),
            lifespan="on",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN,
            timeout_keep_alive=75,
        )
    )


@asynccontextmanager
async def _showing(gateway: Gateway, settings: Settings, listener: socket.socket | None) -> AsyncIterator[None]:
    """While ``/metrics`` is shown on ``listener``, if there is one: also of a gateway that drains."""
    if listener is None:
        yield
        return
    server = _server(metrics_page.app(gateway), settings)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving
        listener.close()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve_until_signalled(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; the second of them does not wait any more."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await serve(settings, on_ready=on_ready, stop=stop, hurry=hurry)
