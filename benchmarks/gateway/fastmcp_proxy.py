"""FastMCP's proxy, as its documentation makes one."""

from __future__ import annotations

import asyncio
import sys

from fastmcp.server import create_proxy

from mcpctl.server.listener import Listener, run


async def serve(upstream: str) -> None:
    """Serve until standard input ends."""
    app = create_proxy(f"http://{upstream}/mcp").http_app(json_response=True, stateless_http=True)
    listener = Listener(app, "127.0.0.1", 0)
    running = asyncio.create_task(listener.serve_until_stopped())
    print(listener.address.removeprefix("http://"), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    listener.stop()
    await running


if __name__ == "__main__":
    run(serve(sys.argv[1]))
