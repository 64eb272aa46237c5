"""A proxy as the official SDK makes one: its server, and behind it its client, one session kept open."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.server.lowlevel import Server

from mcpctl.server.listener import Listener, run


async def serve(upstream: str) -> None:
    """Serve until standard input ends."""
    async with Client(f"http://{upstream}/mcp") as client:

        async def list_tools(_: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
            return await client.list_tools(cursor=params.cursor if params else None)

        async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            return await client.call_tool(params.name, params.arguments)

        # Without a look-up of its own the server would list the upstream's tools anew for each call.
        server = Server(
            "sdk-proxy", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=lambda _: {"type": "object"}
        )
        listener = Listener(server.streamable_http_app(json_response=True, stateless_http=True), "127.0.0.1", 0)
        running = asyncio.create_task(listener.serve_until_stopped())
        print(listener.address.removeprefix("http://"), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        listener.stop()
        await running


if __name__ == "__main__":
    run(serve(sys.argv[1]))
