"""``mcplocal serve``: the gateway over Streamable HTTP.

``build_app`` makes the application and nothing else: no global state, no signal handlers, so that another program can run
it in its own event loop. ``serve`` runs it.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcpctl.errors import InvalidSetting
from mcplocal.gateway import Gateway
from mcplocal.protocol import http1
from mcplocal.protocol.endpoint import Endpoint
from mcplocal.protocol.resource_metadata import ResourceMetadata
from mcplocal.router import OnDecision
from mcplocal.settings import Settings

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
        return JSONResponse({"ready": gateway.is_ready}, status_code=200 if gateway.is_ready else 503)

    app = Starlette(
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
    app.state.gateway, app.state.endpoint = gateway, endpoint
    return app


def http_protocol(app: Starlette) -> type[asyncio.Protocol]:
    """What uvicorn serves ``app`` with as its ``http``: slow clients have limits, and requests for the endpoint a short way.

    Under any other server ``app`` does the same, and a call costs a fifth more.
    """
    return http1.protocol(app.state.endpoint.answer, app.state.gateway.settings.client_timeout)


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: whoever runs the loop decides when to stop, and the exit code."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.begun.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(settings: Settings) -> socket.socket:
    """The listening socket, so that its port is known before anything is served.

    Raises:
        InvalidSetting: nobody can listen there.
    """
    host, port = settings.address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InvalidSetting(f"MCPLOCAL_LISTEN={settings.listen}: {error.strerror or error}") from None
    listener.set_inheritable(False)
    return listener


async def serve(
    settings: Settings,
    *,
    on_decision: OnDecision | None = None,
    on_ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until ``stop`` is set or this is cancelled; then drain.

    Args:
        settings: the settings in force.
        on_decision: see ``build_app``.
        on_ready: called with the base URL once requests are accepted.
        stop: ends serving when set.
    """
    app = build_app(settings, on_decision=on_decision)
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http=http_protocol(app),
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN,
        timeout_keep_alive=75,
    )
    server = _Server(config)

    async def watch() -> None:
        await server.begun.wait()
        if on_ready is not None:
            on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        if stop is not None:
            await stop.wait()
            app.state.gateway.drain()
            server.should_exit = True

    watcher = asyncio.create_task(watch())
    try:
        await server.serve(sockets=[listener])
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        listener.close()


async def serve_until_signalled(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; the second of them does not wait any more."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, on_ready=on_ready, stop=stop)
