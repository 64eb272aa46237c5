"""An MCP server of both eras that offers all that the suite's server scenarios expect, on the official SDK.

``python -m benchmarks.conformance.upstream`` prints its address and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import sys
import warnings
from collections import deque
from typing import Any, Final, get_args

import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server import Server
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning

from benchmarks.conformance import documents, tools
from benchmarks.conformance.questions import CannotBeAsked, Context, Conversation, InputNeeded

NAME: Final = "conformance-upstream"
KEPT_EVENTS: Final = 10_000
RETRY_MS: Final = 100
"""After how long a client should fetch what a closed stream still owes it."""

FRESH: Final = CacheHint(ttl_ms=1000, scope="public")
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


class Events(EventStore):
    """What was sent on streams of sessions, to be sent again."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._kept: deque[tuple[int, str, types.JSONRPCMessage | None]] = deque(maxlen=KEPT_EVENTS)

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        """Keep one; its number."""
        number = next(self._numbers)
        self._kept.append((number, stream_id, message))
        return str(number)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send again what the stream of this event carried after it."""
        last = int(last_event_id) if last_event_id.isdecimal() else 0
        stream = next((stream for number, stream, _ in self._kept if number == last), None)
        if stream is not None:
            for number, of, message in list(self._kept):
                if of == stream and number > last and message is not None:
                    await send_callback(EventMessage(message, str(number)))
        return stream


class Upstream(Server[Any]):
    """The server.

    Its list of tools and its list of prompts change when a tool is called that does that: one more, and then one less.
    """

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self._more_tools = self._more_prompts = False
        self._level_of: dict[str | None, int] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)  # logging is deprecated, and part of the earlier era
            super().__init__(
                NAME,
                version="1.0.0",
                instructions="Everything that the conformance suite asks a server for.",
                cache_hints=dict.fromkeys(get_args(CacheableMethod), FRESH),
                on_list_tools=self._list_tools,
                on_call_tool=self._call_tool,
                on_list_prompts=self._list_prompts,
                on_get_prompt=self._get_prompt,
                on_list_resources=self._list_resources,
                on_list_resource_templates=self._list_templates,
                on_read_resource=self._read_resource,
                on_subscribe_resource=self._subscribe,
                on_unsubscribe_resource=self._subscribe,
                on_subscriptions_listen=ListenHandler(self._bus),
                on_completion=self._complete,
                on_set_logging_level=self._set_level,
            )
        self.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """As the SDK has them, and that lists change: the SDK's own manager of sessions gives no place to say that."""
        changes = notification_options or NotificationOptions(prompts_changed=True, tools_changed=True)
        return super().create_initialization_options(changes, experimental_capabilities, extensions)

    async def change_tools(self, conversation: Conversation) -> None:
        """Offer one tool more, or one less, and say so."""
        self._more_tools = not self._more_tools
        await self._bus.publish(ToolsListChanged())
        if not conversation.modern:
            await conversation.context.session.send_tool_list_changed()

    async def change_prompts(self, conversation: Conversation) -> None:
        """Offer one prompt more, or one less, and say so."""
        self._more_prompts = not self._more_prompts
        await self._bus.publish(PromptsListChanged())
        if not conversation.modern:
            await conversation.context.session.send_prompt_list_changed()

    async def log(self, conversation: Conversation, text: str) -> None:
        """Say something to whoever called, if it wants to hear it; without sessions the SDK knows that."""
        context = conversation.context
        if LEVELS.index("info") >= self._level_of.get(_session(context), 0):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MCPDeprecationWarning)
                await context.session.send_log_message("info", text, NAME, related_request_id=context.request_id)

    async def _list_tools(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        always = [offered.tool for offered in tools.TOOLS.values()]
        return types.ListToolsResult(tools=[*always, tools.DYNAMIC] if self._more_tools else always)

    async def _call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        offered = tools.TOOLS.get(params.name)
        if offered is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            call = tools.Call(Conversation.of(context, params), params.arguments or {}, self)
            return types.CallToolResult(content=await offered.run(call))
        except InputNeeded as needed:
            return needed.result
        except (tools.Failed, CannotBeAsked) as failed:
            return types.CallToolResult(content=tools.text(str(failed)), is_error=True)

    async def _list_prompts(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        more = [documents.DYNAMIC] if self._more_prompts else []
        return types.ListPromptsResult(prompts=[*documents.PROMPTS, *more])

    async def _get_prompt(
        self, context: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        try:
            conversation = Conversation.of(context, params)
            messages = await documents.filled_prompt(conversation, params.name, dict(params.arguments or {}))
        except InputNeeded as needed:
            return needed.result
        except CannotBeAsked as cannot:
            raise MCPError(types.INVALID_PARAMS, str(cannot)) from None
        return types.GetPromptResult(messages=messages)

    async def _list_resources(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=documents.listed())

    async def _list_templates(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=[documents.TEMPLATE])

    async def _read_resource(self, context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        try:
            return types.ReadResourceResult(contents=documents.read(params.uri))
        except KeyError:
            raise _no_resource(context, params) from None

    async def _subscribe(
        self, context: Context, params: types.SubscribeRequestParams | types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        """Either way nothing is owed: no resource of this server changes."""
        if params.uri not in documents.RESOURCES:
            raise _no_resource(context, params)
        return types.EmptyResult()

    async def _complete(self, _: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        values = [word for word in documents.SUGGESTIONS if word.startswith(params.argument.value)]
        return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))

    async def _set_level(self, context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        self._level_of[_session(context)] = LEVELS.index(params.level)
        return types.EmptyResult()


def _session(context: Context) -> str | None:
    header: str | None = context.request.headers.get("mcp-session-id") if context.request is not None else None
    return header


def _no_resource(
    context: Context,
    params: types.ReadResourceRequestParams | types.SubscribeRequestParams | types.UnsubscribeRequestParams,
) -> MCPError:
    """Each era has its own code for it."""
    code = types.INVALID_PARAMS if Conversation(context, {}, None).modern else -32002
    return MCPError(code, "Resource not found", {"uri": params.uri})


async def serve() -> None:
    """Serve until standard input ends."""
    application = Upstream().streamable_http_app(event_store=Events(), retry_interval=RETRY_MS)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # h11 trims what stands around a header's value, as RFC 9110 wants it; httptools does not.
        config = uvicorn.Config(application, http="h11", lifespan="on", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        print("{}:{}".format(*listening.getsockname()), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await running


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # half of the scenarios are about what deserves one
    asyncio.run(serve())
