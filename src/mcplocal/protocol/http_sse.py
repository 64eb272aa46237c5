"""The deprecated transport HTTP+SSE (MCP 2024-11-05, Transports), for clients that speak nothing else.

A client opens a stream with ``GET /sse`` and is told on it where to post; what it posts is answered with 202, and the answer
comes on the stream. Such clients often cannot send a bearer, so whoever reaches this listener is the one token that it is bound
to. That is why it is off unless it is asked for, and on loopback alone. Everything behind it is what ``/mcp`` uses.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

import structlog
from starlette.types import Receive, Scope, Send

from mcpctl.errors import (
    InvalidCredential,
    InvalidSetting,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Problem,
    TooManyRequests,
    Unavailable,
    WrongHost,
    WrongOrigin,
)
from mcplocal import wire
from mcplocal.client_side import ClientSide
from mcplocal.event_stream import KEEP_ALIVE, write_event
from mcplocal.gate import Caller
from mcplocal.gateway import Gateway
from mcplocal.protocol import exchange
from mcplocal.protocol.answering import WAITING_NOTIFICATIONS
from mcplocal.protocol.asgi import AsgiRequest
from mcplocal.protocol.envelope import Incoming, Rejection, error_text, parse
from mcplocal.protocol.exchange import NoSession, Request, send_json, send_nothing, send_problem
from mcplocal.protocol.legacy import Session, Sessions, client_of, initialized_text, settle_version
from mcplocal.protocol.listening import SIGN_OF_LIFE, Listening
from mcplocal.protocol.methods import Circumstances, Methods
from mcplocal.protocol.origin import Addressed
from mcplocal.token_file import TokenFile
from mcplocal.vigil import Renew, Watched
from mcplocal.wire import Era

log = structlog.get_logger(__name__)

STREAM_PATH: Final = "/sse"
MESSAGE_PATH: Final = "/messages"
SESSION_PARAMETER: Final = "session_id"

AT_ONCE: Final = 100
"""Requests of one stream that are being answered. Elsewhere each holds a connection; here it would hold nothing."""


class HttpSse:
    """Serves ``/sse`` and ``/messages`` as one token, as an ASGI application of its own."""

    def __init__(self, gateway: Gateway, listen: str, token_file: TokenFile) -> None:
        """Serve ``gateway`` at the loopback address ``listen`` (HOST:PORT), as the token in ``token_file``."""
        settings = gateway.settings
        self._gateway = gateway
        self._token_file = token_file
        self._largest = settings.max_request_bytes
        # What the other listener allows besides is not allowed here: pages of those origins bring no bearer.
        self._addressed = Addressed(
            settings.model_copy(update={"listen": listen, "allowed_hosts": (), "allowed_origins": ()}),
        )
        self._methods = Methods(gateway.router)
        self._sessions = Sessions(settings.idle_timeout, settings.max_sessions, self._session_ended)
        self._streams: dict[str, _Stream] = {}

    def _session_ended(self, session: Session) -> None:
        self._gateway.subscriptions.close(session.subscriber)
        self._gateway.pool.release(session.holder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Whatever goes wrong is an answer too."""
        request = AsgiRequest(scope, receive, send)
        request.begin()
        try:
            await self._serve(request)
        except Rejection as rejection:
            await send_json(request, wire.HTTP_STATUS.get(rejection.code, 400), error_text(rejection))
        except Problem as problem:
            await send_problem(request, problem)
        except Exception:
            log.exception("a request could not be answered", request_id=request.id)
            await send_problem(request, Problem("the gateway made a mistake; its log has it under this request's id"))

    async def _serve(self, request: AsgiRequest) -> None:
        if not self._addressed.is_host(request.headers.get("host", ())):
            raise WrongHost("this listener goes by its loopback address and by localhost")
        if not self._addressed.is_origin(request.headers.get("origin", ())):
            raise WrongOrigin("pages may not use this listener")
        method, path = request.method, request.path
        if path not in (STREAM_PATH, MESSAGE_PATH):
            raise NotFound(f"there is {STREAM_PATH} here and nothing else; /mcp is served elsewhere")
        if method != ("GET" if path == STREAM_PATH else "POST"):
            allowed = "GET" if path == STREAM_PATH else "POST"
            text = f"open the stream with GET {STREAM_PATH}, and post messages to where it says"
            raise MethodNotAllowed(text, headers={"Allow": allowed})
        token = self._token()
        if "authorization" in request.headers and not hmac.compare_digest(exchange.bearer(request).encode(), token.encode()):
            raise InvalidCredential("this listener is bound to a token, and that is another one: send none, or use /mcp")
        try:
            caller, renew = await self._gateway.admit(token, None)
        except InvalidCredential:
            log.warning("the token of the listener for HTTP+SSE is refused: put a good one in MCPLOCAL_SSE_TOKEN_FILE")
            raise Unavailable("the token that this listener is bound to is not valid; the gateway's log says more") from None
        if path == STREAM_PATH:
            return await self._open(request, token, caller, renew)
        return await self._take(request, caller, renew)

    def _token(self) -> str:
        try:
            return self._token_file.read()
        except InvalidSetting as error:
            log.warning("the listener for HTTP+SSE has no token", why=error.detail)
            raise Unavailable("the token that this listener is bound to cannot be had; the gateway's log says more") from None

    async def _open(self, request: Request, token: str, caller: Caller, renew: Renew) -> None:
        """A stream, which is a session, until the client goes, the token ends or is another one, or the gateway stops."""
        if not request.head.takes_stream:
            raise NotAcceptable("accept text/event-stream")
        session = self._sessions.open(caller, "", ClientSide())
        stream = _Stream(self._gateway, request, session, lambda: self._token() == token)
        self._streams[session.id] = stream
        try:
            await stream.run(caller, renew)
        finally:
            del self._streams[session.id]
            self._sessions.close(session)
        await request.end_stream(b"")

    async def _take(self, request: AsgiRequest, caller: Caller, renew: Renew) -> None:
        """Take a message; what it is answered with comes on its stream."""
        named = parse_qs(request.query.decode("latin-1")).get(SESSION_PARAMETER, [])
        session = self._sessions.find(named[0], caller) if len(named) == 1 else None
        stream = self._streams.get(session.id) if session is not None else None
        if session is None or stream is None:
            raise NoSession(None)
        exchange.check_media(request)
        message = parse(await request.read_body(self._largest))
        if message.kind == "response":
            session.questions.settle(message)
        elif message.kind == "request":
            stream.begin(message, self._answered(stream, message, request, caller, renew))
        elif message.method == "notifications/cancelled":
            session.cancel(message.value("requestId"))
        elif message.method == "notifications/initialized":
            stream.listen(caller, renew)
        await send_nothing(request, 202)

    async def _answered(self, stream: _Stream, message: Incoming, request: Request, caller: Caller, renew: Renew) -> str:
        session = stream.session
        if message.is_enveloped:
            text = f"this transport ended before revision {wire.MODERN_VERSION}: send initialize, or use /mcp"
            raise Rejection(wire.INVALID_REQUEST, text, id_text=message.id_text)
        if message.method == "initialize":
            session.version, session.client = settle_version(message), client_of(message)
            # These clients tell servers apart by the name they give themselves, and pass over a second one of the same name.
            tells = await self._gateway.router.tells_of_updates(caller.project)
            return initialized_text(message, session.version, tells, caller.project)
        if not session.version and message.method != "ping":
            raise Rejection(wire.INVALID_REQUEST, "send initialize first", id_text=message.id_text)
        how = Circumstances(
            caller,
            renew,
            Era.LEGACY,
            holder=session.holder,
            client=session.client,
            subscriber=session.subscriber,
            emit=stream.say,
            source=request.source,
            request_id=request.id,
        )
        with session.questions.of_call(stream.say) as ask:
            how.ask = ask
            return await self._methods.answer(message, how)


class _Answer:
    """A request being answered, which its client may cancel."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        """Stop; nothing more is said about it."""
        self._task.cancel()


class _Stream:
    """One open stream, and everything that is to be said on it, in order."""

    def __init__(self, gateway: Gateway, request: Request, session: Session, is_current: Callable[[], bool]) -> None:
        self.session = session
        self._gateway = gateway
        self._request = request
        self._is_current = is_current
        self._out: asyncio.Queue[tuple[bytes, asyncio.Future[None] | None]] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._draining = False
        self._listens = False
        session.listening = self._ended.set

    async def run(self, caller: Caller, renew: Renew) -> None:
        """Say where to post, and then whatever there is to say, until the end."""
        gateway = self._gateway
        watched = gateway.vigil.begin(Watched(caller, renew, None, self._ended.set))
        watcher, pump = asyncio.create_task(self._request.gone()), asyncio.create_task(self._pump())
        for task in (watcher, pump):
            task.add_done_callback(lambda _: self._ended.set())
        try:
            with gateway.draining.heard_by(self._drain):
                await self._ended.wait()
        finally:
            self._ended.set()
            gateway.vigil.end(watched)
            for task in (watcher, pump, *self._tasks):
                task.cancel()
            await asyncio.gather(watcher, pump, *self._tasks, return_exceptions=True)

    async def _pump(self) -> None:
        await self._request.begin_stream()
        where = f"event: endpoint\ndata: {MESSAGE_PATH}?{SESSION_PARAMETER}={self.session.id}\n\n"
        await self._request.push(where.encode())
        while True:
            data, sent = KEEP_ALIVE, None
            with suppress(TimeoutError):
                async with asyncio.timeout(SIGN_OF_LIFE):
                    data, sent = await self._out.get()
            if sent is None and not self._is_current():
                return
            await self._request.push(data)
            if sent is not None and not sent.done():
                sent.set_result(None)

    def say(self, text: str) -> None:
        """Say something that nobody waits for; it is dropped where the client does not keep up."""
        if self._out.qsize() < WAITING_NOTIFICATIONS:
            self._out.put_nowait((write_event(text), None))

    def begin(self, message: Incoming, making: Coroutine[Any, Any, str]) -> None:
        """Begin to answer a request.

        Raises:
            TooManyRequests: very many are being answered already.
            Unavailable: the gateway is about to stop.
            NoSession: the stream has ended meanwhile.
        """
        if refusal := self._refusal(message):
            making.close()
            raise refusal
        self._under_way += 1
        task = asyncio.create_task(self._answer(message, making))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._done(done, making))

    def _refusal(self, message: Incoming) -> Problem | None:
        if self._ended.is_set():
            return NoSession(message.id_text)
        if self._draining:
            return Unavailable("the gateway is about to stop")
        if self._under_way >= AT_ONCE:
            return TooManyRequests(f"{AT_ONCE} requests of this stream are being answered: wait for some of them")
        return None

    def _done(self, task: asyncio.Task[None], making: Coroutine[Any, Any, str]) -> None:
        making.close()  # it may not have been begun
        self._tasks.discard(task)
        self._under_way -= 1
        if self._draining and not self._under_way:
            self._ended.set()

    def _drain(self) -> None:
        """The gateway is about to stop: what is being answered still is, within the time that the server gives."""
        self._draining = True
        if not self._under_way:
            self._ended.set()

    async def _answer(self, message: Incoming, making: Coroutine[Any, Any, str]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        with self.session.answering(message, _Answer(task)):
            try:
                text = await making
            except Rejection as rejection:
                text = error_text(rejection)
            except Exception:
                log.exception("a message could not be answered")
                text = error_text(Rejection(wire.INTERNAL_ERROR, "the gateway made a mistake", id_text=message.id_text))
            sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._out.put_nowait((write_event(text), sent))
            await sent  # what a client does not take is not piled up

    def listen(self, caller: Caller, renew: Renew) -> None:
        """From its handshake on, the client hears when a list has changed."""
        if not self._listens and not self._ended.is_set():
            self._listens = True
            listening = Listening(self._gateway, caller, renew, self._tell, self.session.subscriber)
            task = asyncio.create_task(listening.run(partial(self._tell, None)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, text: str | None) -> None:
        if text is not None:
            self.say(text)
