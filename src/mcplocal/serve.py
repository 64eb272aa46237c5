"""``mcplocal serve``: the gateway over Streamable HTTP.

``build_app`` makes the application and nothing else: no global state, no signal handlers, so that another program can run
it in its own event loop. ``serve`` runs it.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from typing import NamedTuple

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mcpctl import slow_clients
from mcpctl.errors import InvalidSetting
from mcplocal import metrics_page
from mcplocal.gateway import Gateway
from mcplocal.protocol import http1
from mcplocal.protocol.endpoint import Endpoint
from mcplocal.protocol.http_sse import STREAM_PATH, HttpSse
from mcplocal.protocol.resource_metadata import ResourceMetadata
from mcplocal.router import OnDecision
from mcplocal.settings import Settings, host_and_port
from mcplocal.token_file import TokenFile

log = structlog.get_logger(__name__)

DRAIN = 10
"""Seconds that requests under way have when the gateway is told to stop."""


def build_app(settings: Settings, *, on_decision: OnDecision | None = None) -> Starlette:
    """The gateway as an ASGI application; its lifespan starts and stops everything behind it.

    Args:
        settings: the settings in force.
        on_decision: called with the audit event of every call (``allowed``, ``reason``, ``tool``, …), a moment after it.

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
    on_sse_ready: Callable[[str], None] | None = None,
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
        on_sse_ready: called before that with the URL of the deprecated transport, if that is served.
        stop: ends serving when set.
        hurry: when set, nothing is waited for any more.

    Raises:
        InvalidSetting: the gateway has no credential, nobody can listen there, or the token file of HTTP+SSE is none.
    """
    app = build_app(settings, on_decision=on_decision)
    gateway: Gateway = app.state.gateway
    patient = slow_clients.protocol(settings.client_timeout)
    server = _server(app, http_protocol(app))
    servers, hurry = [server], hurry or asyncio.Event()
    with ExitStack() as sockets:
        sse = _http_sse(gateway, sockets)
        shown = _metrics(gateway, sockets)
        listener = sockets.enter_context(listen(settings))

        async def watch() -> None:
            await server.begun.wait()
            async with AsyncExitStack() as beside:
                if shown is not None:
                    await beside.enter_async_context(_beside(_server(shown.app, patient), shown.listener))
                    log.info("showing metrics", address=f"{_url(shown.listener)}/metrics")
                if sse is not None:
                    servers.append(_server(sse.app, patient))
                    await beside.enter_async_context(_beside(servers[-1], sse.listener))
                    if on_sse_ready is not None:
                        on_sse_ready(f"{_url(sse.listener)}{STREAM_PATH}")
                if on_ready is not None:
                    on_ready(_url(listener))
                await (stop or asyncio.Event()).wait()
                log.info(
                    "draining: what is under way is finished, and nobody more is served", seconds=settings.drain_delay + DRAIN
                )
                gateway.leave()
                with suppress(TimeoutError):
                    await asyncio.wait_for(hurry.wait(), settings.drain_delay)
                gateway.drain()
                for each in servers:
                    each.should_exit = True
                await hurry.wait()
                for each in servers:
                    each.hurry()

        watcher = asyncio.create_task(watch())
        try:
            await server.serve(sockets=[listener])
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher


class _Side(NamedTuple):
    """What is served beside the endpoint, on a listener of its own."""

    app: ASGIApp
    listener: socket.socket


def _http_sse(gateway: Gateway, sockets: ExitStack) -> _Side | None:
    """The deprecated transport, if the settings ask for it. What is wrong with its token is said before anything is served."""
    settings = gateway.settings
    if settings.sse_listen is None or settings.sse_token_file is None:
        return None
    token_file = TokenFile(settings.sse_token_file, "MCPLOCAL_SSE_TOKEN_FILE")
    token_file.read()
    said = f"MCPLOCAL_SSE_LISTEN={settings.sse_listen}"
    host, port = host_and_port(settings.sse_listen)
    host = "127.0.0.1" if host.lower() == "localhost" else host  # whatever somebody made that name lead to
    listener = sockets.enter_context(_listening((host, port), said))
    return _Side(HttpSse(gateway, settings.sse_listen, token_file), listener)


def _metrics(gateway: Gateway, sockets: ExitStack) -> _Side | None:
    """``/metrics``, if the settings ask for it."""
    address, said = gateway.settings.metrics_address, f"MCPLOCAL_METRICS_LISTEN={gateway.settings.metrics_listen}"
    return _Side(metrics_page.app(gateway), sockets.enter_context(_listening(address, said))) if address else None


@asynccontextmanager
async def _beside(server: _Server, listener: socket.socket) -> AsyncIterator[None]:
    """Within the block ``server`` serves, too; also while the gateway drains."""
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await server.begun.wait()
        yield
    finally:
        server.should_exit = True
        await serving


def _server(app: ASGIApp, http: type[asyncio.Protocol]) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=http,
            lifespan="on" if isinstance(app, Starlette) else "off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN,
            timeout_keep_alive=75,
        )
    )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve_until_signalled(
    settings: Settings,
    *,
    on_ready: Callable[[str], None] | None = None,
    on_sse_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; the second of them does not wait any more."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await serve(settings, on_ready=on_ready, on_sse_ready=on_sse_ready, stop=stop, hurry=hurry)
