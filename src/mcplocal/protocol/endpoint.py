"""The HTTP endpoint of a project: one URL, both eras, decided message by message.

Before a byte of a body is read, ``Host``, ``Origin`` and the bearer are judged. Then the message is read strictly, its era
told from its body first and its headers second, and answered as plain JSON; a call that reports progress, or takes long,
is answered as an event stream from then on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from time import monotonic, perf_counter

import structlog
from starlette.types import Receive, Scope, Send

from mcpctl import forwarded
from mcpctl.errors import (
    InvalidCredential,
    MethodNotAllowed,
    NotAcceptable,
    Problem,
    WrongHost,
    WrongOrigin,
)
from mcplocal import wire
from mcplocal.event_stream import KEEP_ALIVE, write_event
from mcplocal.gate import Caller
from mcplocal.gateway import Gateway
from mcplocal.metrics import Outcome
from mcplocal.protocol import exchange, modern
from mcplocal.protocol.answering import Answering, LongAnswers, status_of
from mcplocal.protocol.asgi import AsgiRequest
from mcplocal.protocol.envelope import Incoming, Rejection, error_text, parse
from mcplocal.protocol.exchange import (
    NoSession,
    Request,
    check_media,
    send_json,
    send_nothing,
    send_problem,
)
from mcplocal.protocol.legacy import Session, Sessions, client_of, initialized_text, settle_version
from mcplocal.protocol.listening import Listening
from mcplocal.protocol.methods import FORWARDED, Circumstances, Methods
from mcplocal.protocol.origin import Addressed
from mcplocal.protocol.resource_metadata import ResourceMetadata
from mcplocal.protocol.slowdown import Slowdown
from mcplocal.protocol.subscription import Subscription
from mcplocal.subscriber import Subscriber
from mcplocal.vigil import Renew
from mcplocal.wire import Era

log = structlog.get_logger(__name__)


class Endpoint:
    """Serves ``/mcp`` and ``/projects/{project}/mcp``."""

    def __init__(self, gateway: Gateway) -> None:
        settings = gateway.settings
        self._gateway = gateway
        self._largest = settings.max_request_bytes
        self._addressed = Addressed(settings)
        self._proxies = settings.trusted_proxies
        self._methods = Methods(gateway.router)
        self._sessions = Sessions(settings.idle_timeout, settings.max_sessions, self._session_ended)
        self._most_streams = settings.max_sessions
        self._streams: Counter[str] = Counter()
        self._metrics = gateway.metrics
        self._metrics.sessions = self._sessions.__len__
        self._slowdown = Slowdown(self._metrics.throttled.add)
        self._long_answers = LongAnswers()
        self._metadata = ResourceMetadata(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as an ASGI application below a route."""
        await self.answer(AsgiRequest(scope, receive, send))

    async def answer(self, request: Request) -> None:
        """Answer one request. Whatever goes wrong is an answer too."""
        begun = perf_counter()
        request.begin()
        if self._proxies:
            lines = request.headers.get("x-forwarded-for", ())
            request.source = forwarded.client_address(request.source, lines, self._proxies)
        outcome: Outcome = "refused"
        try:
            await self._serve(request)
            outcome = "answered"
        except Rejection as rejection:
            self._metrics.rejected(rejection.code)
            await send_json(request, wire.HTTP_STATUS.get(rejection.code, 200), error_text(rejection))
        except Problem as problem:
            self._metrics.refusals.add(problem.code)
            if isinstance(problem, InvalidCredential):
                await self._slowdown.failed(request.source)
            await send_problem(request, problem, self._metadata)
        except Exception:
            outcome = "failed"
            log.exception("a request could not be answered", request_id=request.id)
            await send_problem(request, Problem("the gateway made a mistake; its log has it under this request's id"))
        if request.asked or outcome != "answered":
            self._metrics.answered(request.asked, outcome, perf_counter() - begun)

    async def _serve(self, request: Request) -> None:
        if request.head.welcomed_by is not self._addressed:
            self._welcome(request)
        caller, renew = await self._gateway.admit(exchange.bearer(request), exchange.project(request))
        method = request.method
        if method == "DELETE" and "mcp-session-id" in request.headers:
            return await self._end_session(request, caller)
        if method == "GET" and "mcp-session-id" in request.headers:
            return await self._listen(request, caller, renew)
        if method != "POST":
            raise MethodNotAllowed("send MCP messages with POST", headers={"Allow": "GET, POST, DELETE"})
        check_media(request)
        message = parse(await request.read_body(self._largest))
        request.asked = message.method if message.kind == "request" else ""
        if modern.is_modern(message, request.headers):
            return await self._serve_modern(request, message, caller, renew)
        return await self._serve_legacy(request, message, caller, renew)

    def _welcome(self, request: Request) -> None:
        """Check that the request is meant for this gateway.

        Raises:
            WrongHost: it is for another name.
            WrongOrigin: it comes from a page that may not send any.
        """
        if not self._addressed.is_host(request.headers.get("host", ())):
            raise WrongHost("this gateway does not go by that name; MCPLOCAL_ALLOWED_HOSTS lists further names")
        if not self._addressed.is_origin(request.headers.get("origin", ())):
            raise WrongOrigin("pages of that origin may not use this gateway; MCPLOCAL_ALLOWED_ORIGINS lists further origins")
        request.head.welcomed_by = self._addressed

    async def _serve_modern(self, request: Request, message: Incoming, caller: Caller, renew: Renew) -> None:
        if message.kind == "response":
            raise Rejection(
                wire.INVALID_REQUEST, "a response is not accepted: the gateway asked nothing", id_text=message.id_text
            )
        if message.kind == "notification":
            # The revision defines none from a client over HTTP; they are taken and nothing follows from them.
            for version in request.headers.get(wire.VERSION_HEADER, ()):
                modern.check_version(version, None)
            return await send_nothing(request, 202)
        modern.check_request(message, request.head)
        how = Circumstances(
            caller,
            renew,
            Era.MODERN,
            holder=f"principal {caller.identity.subject} in {caller.project}",
            client=modern.client_of(message),
            headers=request.headers,
            source=request.source,
            request_id=request.id,
        )
        if message.method == wire.LISTEN:
            return await self._subscribe(request, message, how)
        return await self._answer(request, message, how, None)

    async def _serve_legacy(self, request: Request, message: Incoming, caller: Caller, renew: Renew) -> None:
        if message.kind == "request" and message.method == "initialize":
            version = settle_version(message)
            told = initialized_text(message, version, await self._gateway.router.tells_of_updates(caller.project))
            session = self._sessions.open(caller, version, client_of(message))
            return await send_json(request, 200, told, {"Mcp-Session-Id": session.id})
        session = self._session(request, message, caller)
        if message.kind == "notification" and message.method == "notifications/cancelled":
            session.cancel(message.value("requestId"))
        if message.kind == "response":
            session.questions.settle(message)
        if message.kind != "request":
            return await send_nothing(request, 202)
        how = Circumstances(
            caller,
            renew,
            Era.LEGACY,
            holder=session.holder,
            client=session.client,
            subscriber=session.subscriber,
            source=request.source,
            request_id=request.id,
        )
        if message.method == wire.SUBSCRIBE:
            self._sessions.sweep_meanwhile()
        return await self._answer(request, message, how, session)

    def _session(self, request: Request, message: Incoming, caller: Caller) -> Session:
        values = request.headers.get("mcp-session-id", ())
        if len(values) != 1:
            text = "a session is required: send initialize first, or the envelope of 2026-07-28 in _meta"
            raise Rejection(wire.INVALID_REQUEST, text, id_text=message.id_text)
        session = self._sessions.find(values[0], caller)
        if session is None:
            raise NoSession(message.id_text)
        return session

    def _own_session(self, request: Request, caller: Caller) -> Session:
        session = self._sessions.find(request.one("mcp-session-id") or "", caller)
        if session is None:
            raise NoSession(None)
        return session

    async def _end_session(self, request: Request, caller: Caller) -> None:
        self._sessions.close(self._own_session(request, caller))
        await send_nothing(request, 204)

    def _session_ended(self, session: Session) -> None:
        self._gateway.subscriptions.close(session.subscriber)
        self._gateway.pool.release(session.holder)

    async def _listen(self, request: Request, caller: Caller, renew: Renew) -> None:
        """The stream of a session: it says when a list or a resource has changed. A newer one takes its place."""
        session = self._own_session(request, caller)

        async def tell(text: str | None) -> None:
            session.used_at = monotonic()
            await _push(request, text)

        listening = Listening(self._gateway, caller, renew, tell, session.subscriber)
        if session.listening is not None:
            session.listening()
        session.listening = end = listening.end
        try:
            with self._metrics.streaming("session"):
                await self._stream(request, listening, None, b"")
        finally:
            session.used_at = monotonic()
            if session.listening == end:
                session.listening = None

    async def _subscribe(self, request: Request, message: Incoming, how: Circumstances) -> None:
        """The stream of a subscription, of which a principal may have as many as sessions."""
        gateway, caller, subject = self._gateway, how.caller, how.caller.identity.subject
        wanted = Subscription.of(message, gateway.settings.max_subscriptions)
        if not request.head.takes_stream:
            raise NotAcceptable("accept text/event-stream")
        if self._streams[subject] >= self._most_streams:
            text = f"you have {self._most_streams} subscriptions open already: end one of them first"
            raise Rejection(wire.INVALID_REQUEST, text, id_text=message.id_text)
        how.subscriber = subscriber = Subscriber(is_patient=True)
        self._streams[subject] += 1
        try:
            honoured = wanted.acknowledged(await self._methods.subscribed(wanted.uris, message, how))
            listening = Listening(gateway, caller, how.renew, partial(_push, request), subscriber, wanted)
            with self._metrics.streaming("subscription"):
                await self._stream(request, listening, honoured, write_event(wanted.ended))
        finally:
            gateway.subscriptions.close(subscriber)
            self._streams[subject] -= 1
            self._streams += Counter()  # without those that have none

    async def _stream(self, request: Request, listening: Listening, first: str | None, last: bytes) -> None:
        """What is heard by ``listening``, until the client goes, its rights end, or the gateway stops."""
        if not request.head.takes_stream:
            raise NotAcceptable("accept text/event-stream")
        watcher = asyncio.create_task(request.gone())
        watcher.add_done_callback(lambda _: listening.end())

        async def begun() -> None:
            await request.begin_stream()
            await _push(request, first)

        try:
            await listening.run(begun)
            await request.end_stream(last)
        finally:
            watcher.cancel()

    async def _answer(self, request: Request, message: Incoming, how: Circumstances, session: Session | None) -> None:
        if message.method not in FORWARDED:
            try:
                return await send_json(request, 200, await self._methods.answer(message, how))
            except Rejection as rejection:
                return await send_json(request, status_of(rejection, how.era), error_text(rejection))
        # Before 2026-07-28 a client that goes away may come back, so it has not cancelled anything.
        may_stream = request.head.takes_stream
        stream = Answering(request, how.era, self._long_answers, may_stream=may_stream, cancel_when_gone=session is None)
        how.emit = stream.emit if may_stream else None
        making = self._methods.forwarded(message, how)
        if session is None:
            return await stream.finish(making, message.id_text)
        with session.answering(message, stream), session.questions.of_call(stream.emit) as ask:
            how.ask = ask if may_stream else None
            return await stream.finish(making, message.id_text)


async def _push(request: Request, text: str | None) -> None:
    """Send one message on the stream that answers ``request``, or a sign of life."""
    await request.push(KEEP_ALIVE if text is None else write_event(text))
