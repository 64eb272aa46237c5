"""Upstream MCP servers that do exactly what a test tells them, over real HTTP. They speak the wire by hand, so that they can
also speak it wrongly."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from mcpctl.http_protocol import HttpProtocol
from mcpctl.server.listener import Listener

MODERN = "2026-07-28"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"


def tool(name: str, **members: Any) -> dict[str, Any]:
    """A tool as a server lists it."""
    return {"name": name, "inputSchema": {"type": "object"}, **members}


def prompt(name: str, **members: Any) -> dict[str, Any]:
    """A prompt as a server lists it."""
    return {"name": name, **members}


def resource(uri: str, **members: Any) -> dict[str, Any]:
    """A resource as a server lists it."""
    return {"uri": uri, "name": uri.rpartition("/")[2], **members}


def template(text: str, **members: Any) -> dict[str, Any]:
    """A resource template as a server lists it."""
    return {"uriTemplate": text, "name": "template", **members}


def got(params: dict[str, Any]) -> str:
    """A prompt that says what it was asked with."""
    said = {"type": "text", "text": json.dumps(params.get("arguments"))}
    return json.dumps({"messages": [{"role": "user", "content": said}]})


def read(params: dict[str, Any]) -> str:
    """A resource that says its own URI."""
    return json.dumps({"contents": [{"uri": params["uri"], "text": f"text of {params['uri']}"}]})


def completed(params: dict[str, Any]) -> str:
    """A completion of what was begun."""
    return json.dumps({"completion": {"values": [params["argument"]["value"] + "st"], "total": 1}})


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Upstream:
    """A scripted MCP server.

    Attributes:
        era: ``modern`` or ``legacy``.
        tools: what it lists.
        prompts: likewise; ``None`` if it does not declare any.
        resources: likewise.
        templates: likewise; what it declares is resources.
        answers: makes the raw result of each of the other methods that use something; a number is an error's code.
        declares: capabilities it declares beside.
        answer: makes the raw result (JSON text) of a ``tools/call``.
        delay: seconds before any answer.
        fail: HTTP status to answer everything with.
        as_stream: answer calls as an event stream, with this many progress notifications before the result.
        drip: answer calls with progress for ever, this many seconds apart.
        says_also: messages that it writes before the result of a streamed call.
        says_changed: say before the result of a streamed call that these lists have changed.
    """

    era: str = "modern"
    tools: list[Any] = field(default_factory=lambda: [tool("echo")])
    answer: Callable[[dict[str, Any]], str] = lambda params: json.dumps(
        {"resultType": "complete", "content": [{"type": "text", "text": json.dumps(params.get("arguments"))}]}
    )
    delay: float = 0.0
    fail: int | None = None
    as_stream: int | None = None
    drip: float | None = None
    says_changed: tuple[str, ...] = ()
    says_also: tuple[str, ...] = ()
    list_members: dict[str, Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    gone: int = 0
    forgets_with: int = 404
    call_error: int | None = None
    pages: int = 1
    prompts: list[Any] | None = None
    resources: list[Any] | None = None
    templates: list[Any] = field(default_factory=list)
    answers: dict[str, Callable[[dict[str, Any]], str | int]] = field(
        default_factory=lambda: {"prompts/get": got, "resources/read": read, "completion/complete": completed}
    )
    declares: dict[str, Any] = field(default_factory=dict)

    def methods(self) -> list[str]:
        """The JSON-RPC methods seen so far, in order."""
        return [one.body.get("method", one.method) for one in self.seen]

    def calls(self, method: str = "tools/call") -> list[Seen]:
        """The calls seen so far."""
        return [one for one in self.seen if one.body.get("method") == method]

    def _has(self) -> dict[str, Any]:
        found: dict[str, Any] = {what: {} for what in ("prompts", "resources") if getattr(self, what) is not None}
        return {"tools": {}, **found, **self.declares}

    def app(self) -> ASGIApp:
        return Starlette(routes=[Route("/mcp", self._serve, methods=["GET", "POST", "DELETE"])])

    async def _serve(self, request: Request) -> Response:
        body = json.loads(await request.body() or b"{}")
        self.seen.append(Seen(request.method, dict(request.headers), body))
        until = time.monotonic() + self.delay
        while time.monotonic() < until:
            if await request.is_disconnected():
                self.gone += 1
                return Response(status_code=499)
            await asyncio.sleep(0.01)
        if self.fail is not None:
            return Response(status_code=self.fail)
        if request.method == "DELETE":
            self.sessions.discard(request.headers.get("mcp-session-id", ""))
            return Response(status_code=204)
        if self.era == "legacy":
            return self._legacy(request, body)
        return self._modern(request, body)

    def _modern(self, request: Request, body: dict[str, Any]) -> Response:
        if "mcp-session-id" in request.headers:
            return Response(status_code=404)
        meta = body.get("params", {}).get("_meta", {})
        if meta.get(VERSION_KEY) != MODERN or request.headers.get("mcp-method") != body.get("method"):
            return _error(body, -32020, 400)
        return self._result(body, {"resultType": "complete", "ttlMs": 60000, "cacheScope": "public"})

    def _legacy(self, request: Request, body: dict[str, Any]) -> Response:
        if "id" not in body:
            return Response(status_code=202)
        if body["method"] == "initialize":
            session = f"upstream-{len(self.sessions) + 1}"
            self.sessions.add(session)
            result = {
                "protocolVersion": "2025-06-18",
                "capabilities": self._has(),
                "serverInfo": {"name": "u", "version": "1"},
            }
            return _json(body, json.dumps(result), {"mcp-session-id": session})
        session = request.headers.get("mcp-session-id", "")
        if not session:
            return _error(body, -32600, 400)
        if session not in self.sessions:
            return Response(status_code=404) if self.forgets_with == 404 else _error(body, -32000, self.forgets_with)
        return self._result(body, {})

    def _result(self, body: dict[str, Any], members: dict[str, Any]) -> Response:
        match body["method"]:
            case "server/discover":
                found = {"supportedVersions": [MODERN], "capabilities": self._has(), **members}
                return _json(body, json.dumps(found))
            case "tools/list":
                return self._list(body, "tools", self.tools, members)
            case "prompts/list" if self.prompts is not None:
                return self._list(body, "prompts", self.prompts, members)
            case "resources/list" if self.resources is not None:
                return self._list(body, "resources", self.resources, members)
            case "resources/templates/list" if self.resources is not None:
                return self._list(body, "resourceTemplates", self.templates, members)
            case method if method in self.answers:
                answer = self.answers[method](body["params"])
                if isinstance(answer, int):
                    return _error(body, answer, 400 if self.era == "modern" else 200)
                return _json(body, answer) if self.as_stream is None else self._stream(body, answer)
            case "tools/call" if self.call_error is not None:
                return _error(body, self.call_error, 400)
            case "tools/call" if self.drip is not None:
                return StreamingResponse(self._dripping(body, self.drip), media_type="text/event-stream")
            case "tools/call":
                text = self.answer(body["params"])
                return _json(body, text) if self.as_stream is None else self._stream(body, text)
            case _:
                return _error(body, -32601, 404 if self.era == "modern" else 200)

    def _list(self, body: dict[str, Any], member: str, entries: list[Any], members: dict[str, Any]) -> Response:
        page = int(body.get("params", {}).get("cursor") or 0)
        following = {"nextCursor": str(page + 1)} if page + 1 < self.pages else {}
        return _json(body, json.dumps({member: entries[page :: self.pages], **members, **following, **self.list_members}))

    async def _dripping(self, body: dict[str, Any], pause: float) -> AsyncIterator[str]:
        token = body["params"].get("_meta", {}).get("progressToken")
        for number in itertools.count():
            params = {"progressToken": token, "progress": number}
            yield f"data: {json.dumps({'jsonrpc': '2.0', 'method': 'notifications/progress', 'params': params})}\n\n"
            await asyncio.sleep(pause)

    def _stream(self, body: dict[str, Any], text: str) -> Response:
        token = body["params"].get("_meta", {}).get("progressToken")
        events = [
            {
                "jsonrpc": "2.0",
                "method": "notifications/progress",
                "params": {"progressToken": token, "progress": n, "note": "x"},
            }
            for n in range(self.as_stream or 0)
            if token is not None
        ]
        lines = [json.dumps(event) for event in events]
        lines += [json.dumps({"jsonrpc": "2.0", "method": f"notifications/{what}/list_changed"}) for what in self.says_changed]
        lines += self.says_also
        lines.append(f'{{"jsonrpc":"2.0","id":{json.dumps(body["id"])},"result":{text}}}')
        return Response("".join(f"event: message\ndata: {line}\n\n" for line in lines), media_type="text/event-stream")


def _json(body: dict[str, Any], result: str, headers: dict[str, str] | None = None) -> Response:
    text = f'{{"jsonrpc":"2.0","id":{json.dumps(body["id"])},"result":{result}}}'
    return Response(text, media_type="application/json", headers=headers)


def _error(body: dict[str, Any], code: int, status: int) -> Response:
    text = json.dumps({"jsonrpc": "2.0", "id": body.get("id"), "error": {"code": code, "message": "no"}})
    return Response(text, status_code=status, media_type="application/json")


@contextmanager
def served(app: ASGIApp, http: type[asyncio.Protocol] = HttpProtocol) -> Iterator[str]:
    """Serve ``app`` with a real uvicorn in a thread of its own; yields its base URL."""
    listener = Listener(app, "127.0.0.1", 0, http=http)
    thread = threading.Thread(target=lambda: asyncio.run(listener.serve_until_stopped()), daemon=True)
    thread.start()
    try:
        while not listener.started and thread.is_alive():
            threading.Event().wait(0.005)
        yield listener.address
    finally:
        listener.stop()
        thread.join(timeout=15)
        listener.socket.close()
