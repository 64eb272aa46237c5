"""An upstream MCP server as a process of its own, on the official SDK, in both eras: what it is asked is what it answers.

``python -m tests.gateway.mirror`` prints its URL and serves until its input ends. Each result holds, as JSON text, the
parameters that arrived; a request with a progress token is told of progress first. Results are sent as they are made, past the
SDK's models.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server import Server

MODERN = "io.modelcontextprotocol/protocolVersion"
NAMES = ("mirror", "mirror_2")
REFERENCES = ("ref/prompt", "ref/resource")
URIS = ("mirror://one", "mirror://two")


def told(params: Any) -> str:
    """What arrived, except what belongs to one hop: the protocol's own ``_meta`` members and the progress token."""
    said = dict(params or {})
    meta = said.pop("_meta", None) or {}
    own = {key for key in meta if key.startswith("io.modelcontextprotocol/") or key == "progressToken"}
    kept = {key: meta[key] for key in sorted(meta.keys() - own)}
    # The order of an object's members means nothing; of these two the gateway may change it.
    return json.dumps({**{key: said[key] for key in sorted(said)}, **({"_meta": kept} if kept else {})})


def result_of(method: str, text: str) -> dict[str, Any]:
    """A result of ``method`` that says ``text``, with members that no revision knows."""
    said = {"type": "text", "text": text}
    more = {"x-vendor": [1, None, {"deep": 1.5}], "_meta": {"vendor/a": None}}
    match method:
        case "tools/call":
            return {"content": [said, {"type": "hologram", "beam": 1}], "structuredContent": {"n": 1, "x": None}, **more}
        case "prompts/get":
            return {"messages": [{"role": "user", "content": said}], **more}
        case "resources/read":
            return {"contents": [{"uri": "mirror://one", "text": text, "x": 1}], "ttlMs": 0, "cacheScope": "private", **more}
        case _:
            return {"completion": {"values": [text], "total": 1}, **more}


async def mirrored(ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
    """Answer what names something of this server with what arrived; anything else is the SDK's affair."""
    params, method = ctx.params or {}, ctx.method
    about = params.get("ref", params) if method == "completion/complete" else params
    if method not in ("tools/call", "prompts/get", "resources/read", "completion/complete") or not isinstance(about, dict):
        return await call_next(ctx)
    key = "uri" if method == "resources/read" or about.get("type") == "ref/resource" else "name"
    known = about.get(key) in (URIS if key == "uri" else NAMES) and about.get("type", "ref/prompt") in REFERENCES
    if not known and isinstance(about.get("uri"), str) and method == "resources/read" and MODERN not in params.get("_meta", {}):
        raise MCPError(-32002, "there is no such resource")  # the code that the earlier era has for it
    if not known or not isinstance(params.get("arguments", {}), dict) or not isinstance(params.get("_meta", {}), dict):
        return await call_next(ctx)
    meta = params.get("_meta", {})
    if meta.get("progressToken") is not None:
        await ctx.session.report_progress(0.5, 1.0, "half")
    result = result_of(method, told(params))
    if MODERN in meta:
        result["resultType"] = "complete"
    elif method == "resources/read":
        del result["ttlMs"], result["cacheScope"]
    return result


async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[types.Tool(name=name, input_schema={"type": "object"}) for name in NAMES])


async def list_prompts(_: Any, __: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=[types.Prompt(name=name) for name in NAMES])


async def list_resources(_: Any, __: Any) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=[types.Resource(name="r", uri=uri) for uri in URIS])


async def list_templates(_: Any, __: Any) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(resource_templates=[])


async def nothing(_: Any, __: Any) -> Any:
    """What no name leads to."""
    raise MCPError(types.INVALID_PARAMS, "there is no such thing")


def build() -> Server[Any]:
    server: Server[Any] = Server(
        "mirror",
        version="1",
        on_list_tools=list_tools,
        on_call_tool=nothing,
        on_list_prompts=list_prompts,
        on_get_prompt=nothing,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=nothing,
        on_completion=nothing,
    )
    server.middleware.append(mirrored)
    return server


async def serve() -> None:
    """Serve until standard input ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            build().streamable_http_app(), http="h11", lifespan="on", log_config=None, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        print("http://{}:{}/mcp".format(*listening.getsockname()), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await running


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(serve())
