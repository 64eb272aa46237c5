"""The least a proxy in Starlette and aiohttp does: the body there, the answer back, nothing looked at."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mcpctl.server.listener import Listener, run

PASSED_ON = ("content-type", "accept", "mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id")


def build_app(upstream: str) -> Starlette:
    """A proxy to ``upstream``."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            app.state.session = session
            yield

    async def pass_on(request: Request) -> Response:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        body = await request.body()
        async with request.app.state.session.post(f"http://{upstream}/mcp", data=body, headers=headers) as answer:
            return Response(await answer.read(), answer.status, media_type=answer.content_type)

    return Starlette(routes=[Route("/mcp", pass_on, methods=["POST"])], lifespan=lifespan)


async def serve(upstream: str) -> None:
    """Serve until standard input ends."""
    listener = Listener(build_app(upstream), "127.0.0.1", 0)
    running = asyncio.create_task(listener.serve_until_stopped())
    print(listener.address.removeprefix("http://"), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    listener.stop()
    await running


if __name__ == "__main__":
    run(serve(sys.argv[1]))
