"""An upstream over Streamable HTTP, in the era it speaks.

Every request is its own POST, so a slow one holds up no other. Headers come from the server's configuration and from the
protocol; nothing of any caller's request is among them. Redirects are answers, never followed.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Final

import structlog

from mcplocal import wire
from mcplocal.catalog import ServerSpec
from mcplocal.client_side import ClientSide
from mcplocal.event_stream import MEDIA_TYPE, EventTooLong
from mcplocal.json_text import NotJson, decode
from mcplocal.settings import Settings
from mcplocal.single_flight import SingleFlight
from mcplocal.upstream import era as eras
from mcplocal.upstream.answers import Answer, Message, Note, Said, UpstreamFailed, read_message
from mcplocal.upstream.era import Call
from mcplocal.upstream.held_stream import LONGEST_HELD, PER_EVENT, NoStream, SessionLost, hold, messages
from mcplocal.upstream.http_client import HttpClient, Target
from mcplocal.upstream.http_exchange import Deadline, Response
from mcplocal.wire import Era

log = structlog.get_logger(__name__)

OWN_ERRORS: Final = frozenset({wire.METHOD_NOT_FOUND, wire.INVALID_PARAMS, wire.INTERNAL_ERROR})
"""Codes with which a modern server refuses a request it did understand, besides ``wire.MODERN_ONLY``."""

LONGEST_REFUSAL: Final = 1 << 20


_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")

OF_EVERY_REQUEST: Final = {
    "User-Agent": f"mcplocal/{wire.IMPLEMENTATION['version']}",
    "Content-Type": "application/json",
    "Accept": f"application/json, {MEDIA_TYPE}",
    "Accept-Encoding": "identity",
}
FRAMING: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
"""What no configuration says: it is about this hop."""


@dataclass(frozen=True)
class Link:
    """What was settled with the server: its era, for the legacy one the revision and the session, and what it says it has."""

    era: Era
    version: str
    session_id: str | None = None
    capabilities: frozenset[str] = field(default=frozenset(), compare=False)
    ended: asyncio.Event = field(default_factory=asyncio.Event, compare=False, repr=False)


@dataclass(slots=True)
class Reply:
    """What a POST brought."""

    status: int
    message: Message | None
    session_id: str | None = None


class _Rejected(Exception):
    """The server did not take the request, perhaps because what was settled with it is no longer so."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class HttpConnection:
    """One server over Streamable HTTP."""

    def __init__(
        self,
        spec: ServerSpec,
        http: HttpClient,
        settings: Settings,
        said: Said,
        note: Note,
        client: ClientSide | None = None,
    ) -> None:
        """Reach ``spec`` through ``http``.

        Args:
            spec: the server.
            http: the HTTP client.
            settings: the settings in force.
            said: called with each notification by which the server says that a list or resource of it has changed.
            note: takes what there is to say of the connection.
            client: whose alone the connection is, if it is anybody's.
        """
        self.spec = spec
        self._said = said
        self._http = http
        self._client = client
        self._known_head: tuple[Link | None, str] = (None, "")
        self._settings = settings
        self._link: Link | None = None
        self._target: Target | None = None
        self._connecting: SingleFlight[str, Link] = SingleFlight()
        self._ids = itertools.count(1)
        self._aside: set[asyncio.Task[None]] = set()
        self._note = note
        self._streamless: Link | None = None
        self._lost_unheard = False
        self.busy = 0
        self.answered = 0

    @property
    def is_ready(self) -> bool:
        """Whether the era is known and hands were shaken."""
        return self._link is not None

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server says it has, once ``ready``."""
        return self._link.capabilities if self._link is not None else frozenset()

    async def ready(self) -> Era:
        """The server's era, finding it out and shaking hands if that has not been done.

        Raises:
            UpstreamFailed: the server cannot be reached or spoken to.
        """
        return (await self._linked()).era

    async def request(self, call: Call) -> Answer:
        """The server's answer to ``call``.

        A request that the server rejected because of a dead session, or because it speaks the other era by now, is sent
        once more; no other ever is.

        Raises:
            UpstreamFailed: there is no answer.
        """
        self.busy += 1
        # Connecting and shaking hands have limits of their own; what is sent has this one, the second time too.
        deadline = None if call.held else Deadline(asyncio.get_running_loop().time() + call.timeout, call.timeout)
        try:
            link = await self._linked()
            try:
                return await self._send(link, call, deadline)
            except _Rejected as rejected:
                self._drop(link)
                anew = await self._linked()
                if anew.era is Era.MODERN and link.era is Era.MODERN:
                    return self._refusal(rejected.reply, Era.MODERN)
                return await self._send(anew, call, deadline)
        except _Rejected as again:
            if again.reply.status == 404:
                raise UpstreamFailed("it keeps losing the session") from None
            return self._refusal(again.reply, Era.LEGACY)  # it was not about the session after all
        finally:
            self.busy -= 1

    @property
    def settled(self) -> object | None:
        """Stands for what was settled with the server: another one after each handshake, ``None`` before the first."""
        return self._link

    async def hear(self, streams: bool, opened: Callable[[], None]) -> None:
        """Let the server say what it will, until what was settled with it is so no more.

        Args:
            streams: whether the stream of the session is wanted. A server that has none is not asked for it again.
            opened: called once nothing that is said is missed.

        Raises:
            UpstreamFailed: the stream cannot be had, or has ended.
        """
        link = await self._linked()
        if streams and link.era is Era.LEGACY and self._streamless is not link:

            def begun() -> None:
                self._lost_unheard = False
                opened()

            try:
                await hold(partial(self._request, "GET", link, b""), link.ended, self._take, begun)
                return
            except SessionLost:
                # To some servers that have no such stream, every GET is about something that is not there.
                if link.session_id is not None and not self._lost_unheard:
                    self._lost_unheard = True
                    self._drop(link)
                    return
            except NoStream:
                pass
            self._streamless = link
        opened()
        await link.ended.wait()

    async def _take(self, message: Message) -> None:
        """What comes on the stream of the session. It belongs to no call, so nobody can be asked for its sake."""
        if message.method in eras.UNASKED:
            self._said(message.method, message.params)
        elif message.method is not None and message.has_id and self._link is not None:
            await self._tell(self._link, await eras.reply_text(message, None))

    def _drop(self, link: Link) -> None:
        """What was settled is so no more."""
        link.ended.set()
        if self._link is link:
            self._link = None

    async def close(self) -> None:
        """End the session, if there is one, and whatever is still under way."""
        await self._connecting.stop()
        link, self._link = self._link, None
        if link is not None:
            link.ended.set()
        if link is not None and link.session_id is not None:
            with suppress(UpstreamFailed, TimeoutError):
                async with asyncio.timeout(1):
                    (await self._request("DELETE", link, b"")).close()
        for task in list(self._aside):
            task.cancel()
        await asyncio.gather(*self._aside, return_exceptions=True)

    async def _linked(self) -> Link:
        return self._link or await self._connecting.run("", self._connect)

    async def _connect(self) -> Link:
        try:
            async with asyncio.timeout(self._settings.start_timeout):
                link = await self._discover() or await self._initialize()
        except TimeoutError:
            raise UpstreamFailed(f"it does not answer within {self._settings.start_timeout:g} s") from None
        self._link = link
        log.info("upstream connected", server=self.spec.name, era=link.era.value, revision=link.version)
        self._note("gateway", f"connected, speaking revision {link.version}")
        return link

    async def _discover(self) -> Link | None:
        link = Link(Era.MODERN, wire.MODERN_VERSION)
        reply = await self._post(link, Call(eras.DISCOVER))
        if reply.status in (408, 425, 429) or reply.status >= 500 or 300 <= reply.status < 400:
            raise self._unusable(reply)
        if reply.message is None or eras.era_told_by(reply.message) is not Era.MODERN:
            return None
        return replace(link, capabilities=eras.capabilities_told_by(reply.message))

    async def _initialize(self) -> Link:
        unversioned = Link(Era.LEGACY, "")
        reply = await self._post(unversioned, eras.initialize_call(self._settings.start_timeout, self._client))
        if reply.message is None:
            raise self._unusable(reply)
        version, has = eras.negotiated_version(reply.message), eras.capabilities_told_by(reply.message)
        link = Link(Era.LEGACY, version, reply.session_id, has)
        await self._tell(link, eras.notification_text(eras.INITIALIZED))
        return link

    async def _send(self, link: Link, call: Call, deadline: Deadline | None) -> Answer:
        reply = await self._post(link, call, deadline)
        if reply.status == 200 and reply.message is not None:
            self.answered += 1
            return reply.message.answer(link.era)
        error = reply.message.error if reply.message is not None else None
        if link.session_id is not None and (reply.status == 404 or _forgets_session(reply)):
            raise _Rejected(reply)
        if link.era is Era.MODERN and reply.status in (400, 404, 405, 406):
            understood = error is not None and (error.code in OWN_ERRORS or error.code in wire.MODERN_ONLY or error.code >= 0)
            if not understood:
                raise _Rejected(reply)
        if reply.message is None or (reply.status >= 400 and error is None):
            raise self._unusable(reply)
        self.answered += 1
        return reply.message.answer(link.era)

    def _refusal(self, reply: Reply, era: Era) -> Answer:
        """What a server says no with, in words of its own."""
        if reply.message is None or reply.message.error is None:
            raise self._unusable(reply)
        return reply.message.answer(era)

    def _unusable(self, reply: Reply) -> UpstreamFailed:
        if reply.status in (401, 403, 407):
            return UpstreamFailed(f"it refuses the credential configured for it (HTTP {reply.status})", lasting=True)
        if 300 <= reply.status < 400:
            return UpstreamFailed(f"it redirects elsewhere (HTTP {reply.status}), which is not followed", lasting=True)
        what = f"HTTP {reply.status}" if reply.status != 200 else "no JSON-RPC response"
        return UpstreamFailed(f"it answers with {what}", sent=reply.status not in (400, 404, 405, 406, 413, 415, 429))

    async def _request(self, method: str, link: Link, body: bytes) -> Response:
        """Send what is no call, once, and wait for the head of its answer."""
        return await self._http.send(self._aim(), self._written(method, link, None, body), None)

    def _aim(self) -> Target:
        target = self._target
        if target is None:
            target = self._target = Target.of(self.spec.url or "")
        return target

    def _written(self, method: str, link: Link, call: Call | None, body: bytes) -> bytes:
        """A whole request."""
        of_link, head = self._known_head
        if of_link is not link or (call is not None and call.headers):
            target = self._aim()
            head = f"{target.path} HTTP/1.1\r\nHost: {target.authority}\r\n"
            head += self._head(link, call.headers if call is not None else {})
            if call is None or not call.headers:
                self._known_head = (link, head)
        of_method = _of_method(call.method, call.name) if call is not None and link.era is Era.MODERN else ""
        return f"{method} {head}Content-Length: {len(body)}\r\n{of_method}\r\n".encode() + body

    def _head(self, link: Link, of_call: Mapping[str, str]) -> str:
        """The headers that do not change from call to call, and those of this call, as lines."""
        own = dict(OF_EVERY_REQUEST)
        if link.version:
            own["MCP-Protocol-Version"] = link.version
        if link.session_id is not None:
            own["Mcp-Session-Id"] = link.session_id
        taken = {name.lower() for name in (*own, *of_call)} - {"user-agent"} | FRAMING
        if link.era is Era.MODERN:
            taken |= {wire.METHOD_HEADER, wire.NAME_HEADER}
        configured = {name: value for name, value in self.spec.headers.items() if name.lower() not in taken}
        if any(name.lower() == "user-agent" for name in configured):
            del own["User-Agent"]
        return "".join(_line(name, value) for name, value in {**configured, **own, **of_call}.items())

    async def _post(self, link: Link, call: Call, deadline: Deadline | None = None) -> Reply:
        """Send ``call`` and wait for its response, on whichever of the two forms it comes."""
        identity = next(self._ids)
        body = eras.request_text(identity, call, link.era).encode()
        try:
            response = await self._http.send(self._aim(), self._written("POST", link, call, body), deadline)
            try:
                if response.status in (401, 403, 407):
                    raise self._unusable(Reply(response.status, None))
                message = await self._response_to(identity, link, call, response)
                return Reply(response.status, message, response.headers.get(wire.SESSION_HEADER))
            finally:
                response.close()
        except asyncio.CancelledError:
            self._cancel(identity, link, call)
            raise
        except UpstreamFailed:
            if deadline is not None and asyncio.get_running_loop().time() >= deadline.at:
                self._cancel(identity, link, call)
            raise
        except EventTooLong as error:
            raise UpstreamFailed(f"it sends {error}", sent=True) from error
        except (NotJson, UnicodeDecodeError) as error:
            raise UpstreamFailed("its answer is not a JSON-RPC message", sent=True) from error

    def _cancel(self, identity: int, link: Link, call: Call) -> None:
        """Nobody waits for that answer any more. In the later era the server knows by the end of the connection."""
        if link.era is Era.LEGACY and call.method not in (eras.INITIALIZE, eras.DISCOVER):
            cancelled = {"requestId": identity, "reason": "the caller no longer waits"}
            self._later(self._tell(link, eras.notification_text(eras.CANCELLED, cancelled)))

    async def _response_to(self, identity: int, link: Link, call: Call, response: Response) -> Message | None:
        media_type = _media_type(response.headers.get("content-type", ""))
        if "content-encoding" in response.headers and response.headers["content-encoding"].lower() != "identity":
            raise UpstreamFailed("its answer is compressed, which was not asked for", sent=True)
        if media_type == "application/json":
            limit = self._settings.max_response_bytes if response.status < 400 else LONGEST_REFUSAL
            try:
                message = read_message(decode(await response.body(limit)))
            except NotJson:
                if response.status >= 400:
                    return None
                raise
            ours = message.id == identity and not isinstance(message.id, bool)
            return message if message.method is None and (ours or (message.error is not None and message.id is None)) else None
        if media_type != MEDIA_TYPE or response.status >= 400:
            return None
        limit, pause = (LONGEST_HELD, PER_EVENT) if call.held else (self._settings.max_response_bytes, 0.0)
        async for message in messages(response, limit, pause):
            if message.method is None:
                if message.id == identity and not isinstance(message.id, bool):
                    return message
            elif message.has_id:
                self._later(self._reply(link, message, call))
            elif message.method in eras.UNASKED:
                self._said(message.method, message.params)
            elif call.notify is not None:
                call.notify(message.method, message.params)
        return None

    async def _reply(self, link: Link, question: Message, call: Call) -> None:
        await self._tell(link, await eras.reply_text(question, call))

    async def _tell(self, link: Link, body: str) -> None:
        """Post something that has no answer. Its failure changes nothing for anybody."""
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                response = await self._request("POST", link, body.encode())
                try:
                    if response.status >= 400:
                        log.info("upstream refused a notification", server=self.spec.name, status=response.status)
                    await response.body(LONGEST_REFUSAL)
                finally:
                    response.close()
        except (UpstreamFailed, TimeoutError) as error:
            log.info("upstream did not take a notification", server=self.spec.name, error=str(error) or type(error).__name__)

    def _later(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(telling, context=Context())  # it may outlive the request that it began in
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)


@lru_cache(maxsize=64)
def _media_type(said: str) -> str:
    return said.partition(";")[0].strip().lower()


@lru_cache(maxsize=1024)
def _of_method(method: str, name: str | None) -> str:
    """The lines in which a modern request repeats its method, and what it is about.

    Raises:
        UpstreamFailed: they would be more.
    """
    return f"Mcp-Method: {method}\r\n" + (_line("Mcp-Name", name) if name is not None else "")


def _line(name: str, value: str) -> str:
    """One line of a head.

    Raises:
        UpstreamFailed: it would not be one line.
    """
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise UpstreamFailed("a header configured for it is not valid", lasting=True)
    return f"{name}: {value}\r\n"


def _forgets_session(reply: Reply) -> bool:
    """Whether that may mean that the session is unknown. It is 404 by the book; servers made from old examples say 400."""
    error = reply.message.error if reply.message is not None else None
    return reply.status == 400 and error is not None and error.code in (-32000, wire.INVALID_REQUEST)
