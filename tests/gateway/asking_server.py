"""An SDK server whose tools ask their client: with requests of their own in the handshake's era, with a result that asks in the
later one. It can be made to speak the handshake's era alone."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp import MCPDeprecationWarning
from mcp.server import Server, ServerRequestContext
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    ListToolsResult,
    PaginatedRequestParams,
    SamplingMessage,
    TextContent,
    Tool,
)
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Context = ServerRequestContext[Any]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
STATE = 'state of the "server", not of the client: é'


def _form() -> ElicitRequestFormParams:
    return ElicitRequestFormParams(message="Who are you?", requested_schema=SCHEMA)


def _prompt() -> CreateMessageRequestParams:
    said = SamplingMessage(role="user", content=TextContent(text="Say hello"))
    return CreateMessageRequestParams(messages=[said], max_tokens=10)


def _said(text: object) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=str(text))])


async def _list(_ctx: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
    names = ("elicit", "sample", "roots", "log", "all_at_once")
    return ListToolsResult(tools=[Tool(name=name, input_schema={"type": "object"}) for name in names])


async def _call(ctx: Context, params: CallToolRequestParams) -> CallToolResult | InputRequiredResult:
    if params.name == "log":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            for level in ("debug", "warning"):
                await ctx.session.send_log_message(level, f"a {level}", related_request_id=ctx.request_id)
        return _said("logged")
    if ctx.session.protocol_version == "2026-07-28":
        return _call_modern(params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        match params.name:
            case "elicit":
                return _said((await ctx.session.elicit_form("Who are you?", SCHEMA, related_request_id=ctx.request_id)).content)
            case "sample":
                prompt = _prompt()
                made = await ctx.session.create_message(prompt.messages, max_tokens=10, related_request_id=ctx.request_id)
                return _said(made.content)
    return _said("nothing")


def _call_modern(params: CallToolRequestParams) -> CallToolResult | InputRequiredResult:
    questions: dict[str, ElicitRequest | CreateMessageRequest | ListRootsRequest] = {
        "elicit": ElicitRequest(params=_form()),
        "sample": CreateMessageRequest(params=_prompt()),
        "roots": ListRootsRequest(),
    }
    wanted = questions if params.name == "all_at_once" else {params.name: questions[params.name]}
    if params.input_responses is None:
        return InputRequiredResult(input_requests=wanted, request_state=STATE)
    assert STATE == params.request_state
    told = []
    for name in wanted:
        match params.input_responses[name]:
            case ElicitResult(content=content):
                told.append(str(content))
            case CreateMessageResult(content=content):
                told.append(str(content))
            case ListRootsResult(roots=roots):
                told.append(str([str(root.uri) for root in roots]))
    return _said(" ".join(told))


class HandshakeOnly:
    """Takes no request of the later era for one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and any(name == b"mcp-method" for name, _ in scope["headers"]):
            await Response(status_code=404)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def build_app(era: str) -> ASGIApp:
    """The server over HTTP at ``/mcp``: of both eras, or with ``legacy`` of the handshake's alone."""
    server: Server[Any] = Server("asking", on_list_tools=_list, on_call_tool=_call)
    inner = server.streamable_http_app()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    inner.router.lifespan_context = lifespan
    return inner if era == "modern" else HandshakeOnly(inner)
