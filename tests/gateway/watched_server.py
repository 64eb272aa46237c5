"""An SDK server with resources that change when its tool ``touch`` is called; of both eras, or of the handshake's alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server import Server, ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    EmptyResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    Resource,
    SubscribeRequestParams,
    TextContent,
    Tool,
    UnsubscribeRequestParams,
)
from starlette.applications import Starlette
from starlette.types import ASGIApp

from tests.gateway.asking_server import HandshakeOnly

Context = ServerRequestContext[Any]
URIS = ("watched://one", "watched://other")


def build_app(era: str) -> ASGIApp:
    """The server over HTTP at ``/mcp``."""
    bus = InMemorySubscriptionBus()
    sessions: dict[str, list[Any]] = {uri: [] for uri in URIS}

    async def list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[Tool(name="touch", input_schema={"type": "object"})])

    async def call(_: Context, params: CallToolRequestParams) -> CallToolResult:
        uri = (params.arguments or {})["uri"]
        await bus.publish(ResourceUpdated(uri))
        for session in sessions[uri]:
            await session.send_resource_updated(uri)
        return CallToolResult(content=[TextContent(text="touched")])

    async def list_resources(_: Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
        return ListResourcesResult(resources=[Resource(uri=uri, name=uri) for uri in URIS])

    async def subscribe(ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        sessions[params.uri].append(ctx.session)
        return EmptyResult()

    async def unsubscribe(_: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        sessions[params.uri].clear()
        return EmptyResult()

    server: Server[Any] = Server(
        "watched",
        on_list_tools=list_tools,
        on_call_tool=call,
        on_list_resources=list_resources,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_subscriptions_listen=ListenHandler(bus),
    )
    inner = server.streamable_http_app()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    inner.router.lifespan_context = lifespan
    return inner if era == "modern" else HandshakeOnly(inner)
