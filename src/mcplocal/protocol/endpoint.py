"""The HTTP endpoint of a project: one URL, both eras, decided message by message.

Before a byte of a body is read, ``Host``, ``Origin`` and the bearer are judged. Then the message is read strictly, its era
told from its body first and its headers second, and answered as plain JSON; a call that reports progress, or takes long,
is answered as an event stream from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import structlog
from starlette.types import Receive, Scope, Send

from mcpctl.errors import (
    InvalidCredential,
    InvalidInput,
    MethodNotAllowed,
    MissingCredential,
    NotAcceptable,
    NotFound,
    Problem,
    TooLarge,
    Unauthenticated,
    UnsupportedMedia,
    WrongHost,
    WrongOrigin,
)
from mcpctl.policy.names import check_name
from mcplocal import wire
from mcplocal.event_stream import KEEP_ALIVE, MEDIA_TYPE, write_event
from mcplocal.gate import Caller
from mcplocal.gateway import Gateway
from mcplocal.json_text import write
from mcplocal.protocol import modern
from mcplocal.protocol.envelope import Incoming, Rejection, error_text, parse
from mcplocal.protocol.legacy import CANCELLED, Session, Sessions, initialized_text, settle_version
from mcplocal.protocol.listening import Listening
from mcplocal.protocol.methods import Circumstances, Methods
from mcplocal.protocol.origin import Addressed
from mcplocal.protocol.slowdown import Slowdown
from mcplocal.router import Renew
from mcplocal.ulids import new_ulid
from mcplocal.wire import Era

log = structlog.get_logger(__name__)

STREAM_AFTER: Final = 10.0
"""Seconds after which a call that may be streamed is, so that proxies on the way see signs of life; and between these."""

WAITING_NOTIFICATIONS: Final = 1000
"""Notifications kept for a client that reads slowly; further ones are dropped, they are progress and no more."""

JSON: Final = b"application/json"
PROBLEM_JSON: Final = b"application/problem+json"
STREAM_HEADERS: Final = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True)
class Request:
    """One HTTP request to the endpoint."""

    scope: Scope
    receive: Receive
    send: Send
    headers: modern.Headers
    id: str
    source: str

    def one(self, name: str) -> str | None:
        """The value of a header that stands once; ``None`` if it is absent or doubled."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else None


class Endpoint:
    """Serves ``/mcp`` and ``/projects/{project}/mcp``, as an ASGI application below a route."""

    def __init__(self, gateway: Gateway) -> None:
        settings = gateway.settings
        self._gateway = gateway
        self._largest = settings.max_request_bytes
        self._addressed = Addressed(settings)
        self._methods = Methods(gateway.router)
        self._sessions = Sessions(settings.idle_timeout, settings.max_sessions, lambda s: gateway.pool.release(s.holder))
        self._slowdown = Slowdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Whatever goes wrong is an answer too."""
        client = scope.get("client")
        request = Request(scope, receive, send, _headers(scope), new_ulid(), client[0] if client else "unknown")
        try:
            await self._serve(request)
        except Rejection as rejection:
            await _send_json(request, wire.HTTP_STATUS.get(rejection.code, 200), error_text(rejection))
        except Problem as problem:
            if isinstance(problem, InvalidCredential):
                await self._slowdown.failed(request.source)
            await _send_problem(request, problem)
        except Exception:
            log.exception("a request could not be answered", request_id=request.id)
            await _send_problem(request, Problem("the gateway made a mistake; its log has it under this request's id"))

    async def _serve(self, request: Request) -> None:
        if not self._addressed.is_host(request.headers.get("host", ())):
            raise WrongHost("this gateway does not go by that name; MCPLOCAL_ALLOWED_HOSTS lists further names")
        if not self._addressed.is_origin(request.headers.get("origin", ())):
            raise WrongOrigin("pages of that origin may not use this gateway; MCPLOCAL_ALLOWED_ORIGINS lists further origins")
        caller, renew = await self._gateway.admit(_bearer(request), _project(request.scope))
        method = request.scope["method"]
        if method == "DELETE" and "mcp-session-id" in request.headers:
            return await self._end_session(request, caller)
        if method == "GET" and "mcp-session-id" in request.headers:
            return await self._listen(request, caller, renew)
        if method != "POST":
            raise MethodNotAllowed("send MCP messages with POST", headers={"Allow": "GET, POST, DELETE"})
        _check_media(request)
        message = parse(await _body(request, self._largest))
        if modern.is_modern(message, request.headers):
            return await self._serve_modern(request, message, caller, renew)
        return await self._serve_legacy(request, message, caller, renew)

    async def _serve_modern(self, request: Request, message: Incoming, caller: Caller, renew: Renew) -> None:
        if message.kind == "response":
            raise Rejection(
                wire.INVALID_REQUEST, "a response is not accepted: the gateway asked nothing", id_text=message.id_text
            )
        if message.kind == "notification":
            # The revision defines none from a client over HTTP; they are taken and nothing follows from them.
            for version in request.headers.get(wire.VERSION_HEADER, ()):
                modern.check_version(version, None)
            return await _send_nothing(request, 202)
        modern.check_request(message, request.headers)
        how = Circumstances(
            caller,
            renew,
            Era.MODERN,
            holder=f"principal {caller.identity.subject} in {caller.project}",
            headers=request.headers,
            source=request.source,
            request_id=request.id,
        )
        return await self._answer(request, message, how, None)

    async def _serve_legacy(self, request: Request, message: Incoming, caller: Caller, renew: Renew) -> None:
        if message.kind == "request" and message.method == "initialize":
            version = settle_version(message)
            session = self._sessions.open(caller, version)
            return await _send_json(request, 200, initialized_text(message, version), {"Mcp-Session-Id": session.id})
        session = self._session(request, message, caller)
        if message.kind == "notification" and message.method == "notifications/cancelled":
            session.cancel(message.value("requestId"))
        if message.kind != "request":
            return await _send_nothing(request, 202)
        how = Circumstances(caller, renew, Era.LEGACY, holder=session.holder, source=request.source, request_id=request.id)
        return await self._answer(request, message, how, session)

    def _session(self, request: Request, message: Incoming, caller: Caller) -> Session:
        values = request.headers.get("mcp-session-id", ())
        if len(values) != 1:
            text = "a session is required: send initialize first, or the envelope of 2026-07-28 in _meta"
            raise Rejection(wire.INVALID_REQUEST, text, id_text=message.id_text)
        session = self._sessions.find(values[0], caller)
        if session is None:
            raise _NoSession(message.id_text)
        return session

    def _own_session(self, request: Request, caller: Caller) -> Session:
        session = self._sessions.find(request.one("mcp-session-id") or "", caller)
        if session is None:
            raise _NoSession(None)
        return session

    async def _end_session(self, request: Request, caller: Caller) -> None:
        self._sessions.close(self._own_session(request, caller))
        await _send_nothing(request, 204)

    async def _listen(self, request: Request, caller: Caller, renew: Renew) -> None:
        """The stream of a session: it says when the list of tools has changed. A newer one takes its place."""
        session = self._own_session(request, caller)
        if not _accepts(request, MEDIA_TYPE):
            raise NotAcceptable("accept text/event-stream")

        async def tell(text: str | None) -> None:
            session.used_at = monotonic()
            data = KEEP_ALIVE if text is None else write_event(text)
            await request.send({"type": "http.response.body", "body": data, "more_body": True})

        listening = Listening(self._gateway, caller, renew, tell)
        if session.listening is not None:
            session.listening()
        session.listening = end = listening.end
        gone = asyncio.create_task(_gone(request.receive))
        gone.add_done_callback(lambda _: end())
        try:
            await request.send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
            await tell(None)
            await listening.run()
            await request.send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            session.used_at = monotonic()
            if session.listening == end:
                session.listening = None

    async def _answer(self, request: Request, message: Incoming, how: Circumstances, session: Session | None) -> None:
        if message.method != "tools/call":
            try:
                return await _send_json(request, 200, await self._methods.answer(message, how))
            except Rejection as rejection:
                return await _send_json(request, _status(rejection, how.era), error_text(rejection))
        stream = _Answering(request, how.era, may_stream=_accepts(request, MEDIA_TYPE))
        how.emit = stream.emit if stream.may_stream else None
        task = stream.run(self._methods.answer(message, how))
        if session is not None:
            session.begin(message, task)
        # Before 2026-07-28 a client that goes away may come back, so it has not cancelled anything.
        return await stream.finish(message.id_text, cancel_when_gone=session is None)


class _Answering:
    """One call on its way to the client: JSON if the answer is soon there, else an event stream."""

    def __init__(self, request: Request, era: Era, *, may_stream: bool) -> None:
        self._request = request
        self._era = era
        self.may_stream = may_stream
        self._notifications: list[str] = []
        self._something = asyncio.Event()
        self._streaming = False

    def emit(self, text: str) -> None:
        """Take a notification for the client."""
        if len(self._notifications) < WAITING_NOTIFICATIONS:
            self._notifications.append(text)
            self._something.set()

    def run(self, answer: Coroutine[Any, Any, str]) -> asyncio.Task[str]:
        """Begin to make the answer."""
        self._task = asyncio.create_task(answer)
        self._task.add_done_callback(lambda _: self._something.set())
        return self._task

    async def finish(self, id_text: str | None, *, cancel_when_gone: bool) -> None:
        """Bring the answer, and what comes before it, to the client."""
        watcher = asyncio.create_task(_gone(self._request.receive))
        if cancel_when_gone:
            watcher.add_done_callback(lambda done: self._task.cancel() if not done.cancelled() else None)
        try:
            while not self._task.done():
                try:
                    await asyncio.wait_for(self._something.wait(), STREAM_AFTER if self.may_stream else None)
                except TimeoutError:
                    await self._push(KEEP_ALIVE)
                self._something.clear()
                for text in self._taken():
                    await self._push(write_event(text))
            await self._end(id_text)
        finally:
            watcher.cancel()
            self._task.cancel()
            await asyncio.gather(watcher, self._task, return_exceptions=True)

    def _taken(self) -> list[str]:
        taken, self._notifications = self._notifications, []
        return taken

    async def _push(self, data: bytes) -> None:
        if not self._streaming:
            self._streaming = True
            start = {"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS}
            await self._request.send(start)
        await self._request.send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end(self, id_text: str | None) -> None:
        status = 200
        try:
            text = self._task.result()
        except asyncio.CancelledError:
            text = error_text(Rejection(CANCELLED, "Request cancelled", id_text=id_text))
        except Rejection as rejection:
            text, status = error_text(rejection), _status(rejection, self._era)
        except Exception:
            log.exception("a call could not be answered", request_id=self._request.id)
            text = error_text(Rejection(wire.INTERNAL_ERROR, "the gateway made a mistake", id_text=id_text))
        if self._streaming:
            await self._request.send({"type": "http.response.body", "body": write_event(text), "more_body": False})
        else:
            await _send_json(self._request, status, text)


def _status(rejection: Rejection, era: Era) -> int:
    """The HTTP status of an error that answers a request. Before 2026-07-28 it is 200: 404 would say the session is gone."""
    return wire.HTTP_STATUS.get(rejection.code, 200) if era is Era.MODERN else 200


class _NoSession(NotFound):
    """The session is unknown, has ended or is somebody else's; the client shakes hands anew."""

    def __init__(self, id_text: str | None) -> None:
        super().__init__("there is no such session: send initialize again")
        self.id_text = id_text


def _headers(scope: Scope) -> modern.Headers:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip(" \t"))
    return found


def _bearer(request: Request) -> str:
    values = request.headers.get("authorization", ())
    if not values:
        raise MissingCredential("send a token or a session as a bearer", headers={"WWW-Authenticate": "Bearer"})
    scheme, _, credential = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not credential.strip():
        raise InvalidCredential("the bearer is not valid")
    return credential.strip()


def _project(scope: Scope) -> str | None:
    project = scope.get("path_params", {}).get("project")
    if project is None:
        return None
    try:
        return check_name(project, "project")
    except InvalidInput:
        raise NotFound("there is no such project") from None


def _check_media(request: Request) -> None:
    media = request.one("content-type") or ""
    kind, _, parameters = media.partition(";")
    charset = parameters.strip().lower()
    if kind.strip().lower() != "application/json" or (charset and charset not in ("charset=utf-8", 'charset="utf-8"')):
        raise UnsupportedMedia("send the message as application/json in UTF-8")
    if not _accepts(request, "application/json"):
        raise NotAcceptable("accept application/json and text/event-stream")


def _accepts(request: Request, media: str) -> bool:
    """Whether the client takes ``media``; one that says nothing takes JSON."""
    values = request.headers.get("accept", ())
    if not values:
        return media == "application/json"
    main = media.partition("/")[0]
    for part in ",".join(values).lower().split(","):
        kind, _, parameters = part.partition(";")
        if kind.strip() in (media, f"{main}/*", "*/*") and parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            # curl's */* asks for nothing in particular; a stream is only for who can name it.
            return media == "application/json" or kind.strip() == media
    return False


async def _body(request: Request, largest: int) -> bytes:
    declared = request.one("content-length") or "0"
    if declared.isdecimal() and int(declared) > largest:
        raise TooLarge(f"the body is larger than {largest} bytes (MCPLOCAL_MAX_REQUEST_BYTES)")
    parts: list[bytes] = []
    size = 0
    while True:
        event = await request.receive()
        if event["type"] == "http.disconnect":
            raise InvalidInput("the client went away")
        part = event.get("body", b"")
        size += len(part)
        if size > largest:
            raise TooLarge(f"the body is larger than {largest} bytes (MCPLOCAL_MAX_REQUEST_BYTES)")
        parts.append(part)
        if not event.get("more_body", False):
            return b"".join(parts)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_json(request: Request, status: int, text: str, extra: dict[str, str] | None = None) -> None:
    await _send(request, status, JSON, text.encode(), extra)


async def _send_problem(request: Request, problem: Problem) -> None:
    headers = dict(problem.headers)
    if isinstance(problem, Unauthenticated) and "WWW-Authenticate" not in headers:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    if isinstance(problem, _NoSession):
        rejection = Rejection(wire.INVALID_REQUEST, problem.detail, id_text=problem.id_text)
        return await _send(request, problem.status, JSON, error_text(rejection).encode(), headers)
    return await _send(request, problem.status, PROBLEM_JSON, write(problem.as_json()).encode(), headers)


async def _send_nothing(request: Request, status: int) -> None:
    await request.send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await request.send({"type": "http.response.body", "body": b""})


async def _send(request: Request, status: int, media: bytes, body: bytes, extra: dict[str, str] | None = None) -> None:
    headers = [
        (b"content-type", media),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request.id.encode()),
        *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (extra or {}).items()),
    ]
    await request.send({"type": "http.response.start", "status": status, "headers": headers})
    await request.send({"type": "http.response.body", "body": body})
