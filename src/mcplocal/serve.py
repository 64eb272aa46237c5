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
from typing import Any, Final, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcpctl.errors import InvalidSetting
from mcplocal import slow_clients
from mcplocal.gateway import Gateway
from mcplocal.protocol.endpoint import Endpoint
from mcplocal.protocol.http_sse import STREAM_PATH, HttpSse
from mcplocal.protocol.resource_metadata import ResourceMetadata
from mcplocal.router import OnDecision
from mcplocal.settings import Settings, host_and_port
from mcplocal.token_file import TokenFile

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
        return JSONResponse({"ready": gateway.is_ready}, status_code=200 if gateway.is_ready else 503)

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

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(settings: Settings) -> socket.socket:
    """The listening socket, so that its port is known before anything is served.

    Raises:
        InvalidSetting: nobody can listen there.
    """
    return _listener(*settings.address, f"MCPLOCAL_LISTEN={settings.listen}")


def _listener(host: str, port: int, said: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InvalidSetting(f"{said}: {error.strerror or error}") from None
    listener.set_inheritable(False)
    return listener


def _server(app: ASGIApp, settings: Settings, lifespan: Literal["on", "off"]) -> _Server:
    config = uvicorn.Config(
        app,
        http=slow_clients.protocol(settings.client_timeout),
        lifespan=lifespan,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN,
        timeout_keep_alive=75,
    )
    return _Server(config)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _HttpSseListener:
    """The listener of its own that the deprecated transport has, if the settings ask for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket: socket.socket | None = None
        if settings.sse_listen is None or settings.sse_token_file is None:
            return
        self._token_file = TokenFile(settings.sse_token_file, "MCPLOCAL_SSE_TOKEN_FILE")
        self._token_file.read()  # what is wrong with it is said before anything is served
        host, port = host_and_port(settings.sse_listen) or ("", 0)
        host = "127.0.0.1" if host.lower() == "localhost" else host  # whatever somebody made that name lead to
        self._socket = _listener(host, port, f"MCPLOCAL_SSE_LISTEN={settings.sse_listen}")

    @asynccontextmanager
    async def serving(self, gateway: Gateway) -> AsyncIterator[str | None]:
        """Serve within the block; the URL of the stream, or ``None`` where there is none."""
        if self._socket is None:
            yield None
            return
        app = HttpSse(gateway, self._settings.sse_listen or "", self._token_file)
        server = _server(app, self._settings, "off")
        running = asyncio.create_task(server.serve(sockets=[self._socket]))
        try:
            await server.begun.wait()
            yield f"{_url(self._socket)}{STREAM_PATH}"
        finally:
            gateway.drain()
            server.should_exit = True
            await running

    def close(self) -> None:
        """Nobody is listened to any more."""
        if self._socket is not None:
            self._socket.close()


async def serve(
    settings: Settings,
    *,
    on_decision: OnDecision | None = None,
    on_ready: Callable[[str], None] | None = None,
    on_sse_ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until ``stop`` is set or this is cancelled; then drain.

    Args:
        settings: the settings in force.
        on_decision: see ``build_app``.
        on_ready: called with the base URL once requests are accepted.
        on_sse_ready: called before that with the URL of the deprecated transport, if that is served.
        stop: ends serving when set.

    Raises:
        InvalidSetting: the gateway has no credential, nobody can listen there, or the token file of HTTP+SSE is none.
    """
    app = build_app(settings, on_decision=on_decision)
    sse = _HttpSseListener(settings)
    try:
        listener = listen(settings)
    except InvalidSetting:
        sse.close()
        raise
    server = _server(app, settings, "on")

    async def watch() -> None:
        await server.begun.wait()
        async with sse.serving(app.state.gateway) as sse_url:
            if sse_url is not None and on_sse_ready is not None:
                on_sse_ready(sse_url)
            if on_ready is not None:
                on_ready(_url(listener))
            await (stop or asyncio.Event()).wait()
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
        sse.close()


async def serve_until_signalled(
    settings: Settings,
    *,
    on_ready: Callable[[str], None] | None = None,
    on_sse_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; the second of them does not wait any more."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, on_ready=on_ready, on_sse_ready=on_sse_ready, stop=stop)
