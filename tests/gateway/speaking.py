"""Upstreams that say unasked what a test tells them to: scripted ones over HTTP, and a child over pipes, in both eras."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tests.gateway.conftest import World
from tests.gateway.upstreams import Upstream, resource, served, template

DECLARED = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
}
FLAGS = {f"notifications/{what}/list_changed": f"{what}ListChanged" for what in ("tools", "prompts", "resources")}


@dataclass(eq=False)
class Stream:
    """One stream that a client holds open: of a session, or of a ``subscriptions/listen`` with its id and its filter."""

    loop: asyncio.AbstractEventLoop
    identity: Any = None
    wanted: dict[str, Any] | None = None
    session: str = ""
    lines: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)

    def send(self, line: str | None) -> None:
        self.loop.call_soon_threadsafe(self.lines.put_nowait, line)


@dataclass
class Speaking(Upstream):
    """A scripted server over HTTP that can be told to speak.

    Attributes:
        stream_status: what it answers a GET with, if not with a stream.
        in_session: by session, the URIs subscribed to in it (handshake era).
        streams: those held open now.
        opened: how many there have been.
        refuses: URIs of which it does not tell.
    """

    declares: dict[str, Any] = field(default_factory=lambda: DECLARED)
    stream_status: int | None = None
    in_session: dict[str, list[str]] = field(default_factory=dict)
    streams: list[Stream] = field(default_factory=list)
    opened: int = 0
    refuses: tuple[str, ...] = ()

    def subscribed(self) -> list[str]:
        """The URIs of which anybody wants to hear, as often as anybody has said so."""
        if self.era == "legacy":
            return sorted(uri for uris in self.in_session.values() for uri in uris)
        return sorted(uri for one in self.streams for uri in (one.wanted or {}).get("resourceSubscriptions", ()))

    def say(self, method: str, **params: Any) -> None:
        """Tell everybody who listens and wants to hear it."""
        for stream in list(self.streams):
            if stream.wanted is None:
                if "uri" not in params or params["uri"] in self.in_session.get(stream.session, ()):
                    stream.send(json.dumps({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}))
            elif stream.wanted.get(FLAGS.get(method, "")) or params.get("uri") in stream.wanted.get(
                "resourceSubscriptions", ()
            ):
                stream.send(_of_subscription(stream, method, params))

    def update(self, uri: str) -> None:
        """Say that a resource has changed."""
        self.say("notifications/resources/updated", uri=uri)

    def cut(self, *, forget: bool = False) -> None:
        """End every stream, as a restart does; with ``forget`` the sessions too."""
        if forget:
            self.sessions.clear()
            self.in_session.clear()
        for stream in list(self.streams):
            stream.send(None)

    def _legacy(self, request: Request, body: dict[str, Any]) -> Response:
        session = request.headers.get("mcp-session-id", "")
        if request.method == "GET":
            if self.stream_status is not None:
                return Response(status_code=self.stream_status)
            if session not in self.sessions:
                return Response(status_code=404)
            return self._held(Stream(asyncio.get_running_loop(), session=session))
        if "method" not in body and "id" in body:
            return Response(status_code=202)  # an answer to a question of ours
        if session in self.sessions and body.get("method") in ("resources/subscribe", "resources/unsubscribe"):
            return self._subscribe(session, body)
        return super()._legacy(request, body)

    def _subscribe(self, session: str, body: dict[str, Any]) -> Response:
        uri, identity = body["params"]["uri"], body["id"]
        if uri in self.refuses:
            error = {"code": -32002, "message": "Resource not found"}
            return Response(json.dumps({"jsonrpc": "2.0", "id": identity, "error": error}), media_type="application/json")
        uris = self.in_session.setdefault(session, [])
        if body["method"] == "resources/subscribe":
            uris.append(uri)
        else:
            uris.remove(uri)
        return Response(json.dumps({"jsonrpc": "2.0", "id": identity, "result": {}}), media_type="application/json")

    def _modern(self, request: Request, body: dict[str, Any]) -> Response:
        if request.method == "GET":
            return Response(status_code=405)
        if body.get("method") != "subscriptions/listen":
            return super()._modern(request, body)
        asked = body["params"]["notifications"]
        uris = [uri for uri in asked.get("resourceSubscriptions", ()) if uri not in self.refuses]
        wanted = {key: value for key, value in asked.items() if key != "resourceSubscriptions"}
        wanted |= {"resourceSubscriptions": uris} if uris else {}
        stream = Stream(asyncio.get_running_loop(), body["id"], wanted)
        stream.send(_of_subscription(stream, "notifications/subscriptions/acknowledged", {"notifications": wanted}))
        return self._held(stream)

    def _held(self, stream: Stream) -> Response:
        self.opened += 1
        self.streams.append(stream)
        return StreamingResponse(self._lines(stream), media_type="text/event-stream")

    async def _lines(self, stream: Stream) -> AsyncIterator[str]:
        try:
            yield ": open\n\n"
            while (line := await stream.lines.get()) is not None:
                yield f"data: {line}\n\n"
        finally:
            self.streams.remove(stream)


def _of_subscription(stream: Stream, method: str, params: dict[str, Any]) -> str:
    meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": stream.identity}}
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": {**params, **meta}})


def speaking(world: World, **script: Any) -> Speaking:
    """A server over HTTP with a few resources, running."""
    resources = [resource("file:///a"), resource("file:///b"), resource("file:///dir")]
    upstream = Speaking(**{"resources": resources, "templates": [template("item:{id}")], **script})
    upstream.url = world.stack.enter_context(served(upstream.app())) + "/mcp"  # type: ignore[attr-defined]
    return upstream


CHILD = [sys.executable, str(Path(__file__).with_name("speaking_child.py"))]
