"""An upstream over Streamable HTTP, in the era it speaks.

Every request is its own POST, so a slow one holds up no other. Headers come from the server's configuration and from the
protocol; nothing of any caller's request is among them. Redirects are answers, never followed.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import structlog
from multidict import CIMultiDict

from mcplocal import wire
from mcplocal.catalog import ServerSpec
from mcplocal.event_stream import MEDIA_TYPE, EventReader, EventTooLong
from mcplocal.json_text import NotJson, decode
from mcplocal.settings import Settings
from mcplocal.single_flight import SingleFlight
from mcplocal.upstream import era as eras
from mcplocal.upstream.answers import Answer, Message, Note, UpstreamFailed, read_message
from mcplocal.upstream.era import Call
from mcplocal.upstream.network_guard import AddressRefused, NetworkGuard
from mcplocal.wire import Era

log = structlog.get_logger(__name__)

OWN_ERRORS: Final = frozenset({wire.METHOD_NOT_FOUND, wire.INVALID_PARAMS, wire.INTERNAL_ERROR})
"""Codes with which a modern server refuses a request it did understand, besides ``wire.MODERN_ONLY``."""

LONGEST_REFUSAL: Final = 1 << 20


def client_session(guard: NetworkGuard, settings: Settings) -> aiohttp.ClientSession:
    """The one HTTP client for all upstreams: guarded, without cookies, never following anything."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15, ttl_dns_cache=10, socket_factory=guard.socket)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout),
        headers={"User-Agent": f"mcplocal/{wire.IMPLEMENTATION['version']}", "Accept-Encoding": "identity"},
        trust_env=False,
    )


@dataclass(frozen=True)
class Link:
    """What was settled with the server: its era, and for the legacy one the revision and the session."""

    era: Era
    version: str
    session_id: str | None = None


@dataclass(frozen=True)
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
        self, spec: ServerSpec, session: aiohttp.ClientSession, settings: Settings, changed: Callable[[], None], note: Note
    ) -> None:
        """Reach ``spec`` through ``session``.

        Args:
            spec: the server.
            session: the HTTP client.
            settings: the settings in force.
            changed: called when the server says that its tools have changed.
            note: takes what there is to say of the connection.
        """
        self.spec = spec
        self._changed = changed
        self._session = session
        self._settings = settings
        self._link: Link | None = None
        self._connecting: SingleFlight[str, Link] = SingleFlight()
        self._ids = itertools.count(1)
        self._aside: set[asyncio.Task[None]] = set()
        self._note = note
        self.busy = 0
        self.answered = 0

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
        try:
            async with asyncio.timeout(call.timeout):
                link = await self._linked()
                try:
                    return await self._send(link, call)
                except _Rejected as rejected:
                    if self._link is link:
                        self._link = None
                    anew = await self._linked()
                    if anew.era is Era.MODERN and link.era is Era.MODERN:
                        return self._refusal(rejected.reply)
                    return await self._send(anew, call)
        except TimeoutError:
            raise UpstreamFailed(f"no answer within {call.timeout:g} s", sent=True) from None
        except _Rejected:
            raise UpstreamFailed("it keeps losing the session") from None
        finally:
            self.busy -= 1

    async def close(self) -> None:
        """End the session, if there is one, and whatever is still under way."""
        await self._connecting.stop()
        link, self._link = self._link, None
        if link is not None and link.session_id is not None:
            headers = self._headers(link, None)
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with (
                    asyncio.timeout(1),
                    self._session.delete(self.spec.url or "", headers=headers, allow_redirects=False),
                ):
                    pass
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
        told = eras.era_told_by(reply.message) if reply.message is not None else None
        return link if told is Era.MODERN else None

    async def _initialize(self) -> Link:
        unversioned = Link(Era.LEGACY, "")
        reply = await self._post(unversioned, eras.initialize_call(self._settings.start_timeout))
        if reply.message is None:
            raise self._unusable(reply)
        link = Link(Era.LEGACY, eras.negotiated_version(reply.message), reply.session_id)
        await self._tell(link, eras.notification_text(eras.INITIALIZED))
        return link

    async def _send(self, link: Link, call: Call) -> Answer:
        reply = await self._post(link, call)
        error = reply.message.error if reply.message is not None else None
        if link.session_id is not None and reply.status == 404:
            raise _Rejected(reply)
        if link.era is Era.MODERN and reply.status in (400, 404, 405, 406):
            understood = error is not None and (error.code in OWN_ERRORS or error.code in wire.MODERN_ONLY or error.code >= 0)
            if not understood:
                raise _Rejected(reply)
        if reply.message is None or (reply.status >= 400 and error is None):
            raise self._unusable(reply)
        self.answered += 1
        return reply.message.answer(link.era)

    def _refusal(self, reply: Reply) -> Answer:
        """What a server of the modern era says no with, in words of its own."""
        if reply.message is None or reply.message.error is None:
            raise self._unusable(reply)
        return reply.message.answer(Era.MODERN)

    def _unusable(self, reply: Reply) -> UpstreamFailed:
        if reply.status in (401, 403, 407):
            return UpstreamFailed(f"it refuses the credential configured for it (HTTP {reply.status})", lasting=True)
        if 300 <= reply.status < 400:
            return UpstreamFailed(f"it redirects elsewhere (HTTP {reply.status}), which is not followed", lasting=True)
        what = f"HTTP {reply.status}" if reply.status != 200 else "no JSON-RPC response"
        return UpstreamFailed(f"it answers with {what}", sent=reply.status not in (400, 404, 405, 406, 413, 415, 429))

    def _headers(self, link: Link, call: Call | None) -> CIMultiDict[str]:
        headers = CIMultiDict(self.spec.headers)
        headers["Content-Type"] = "application/json"
        headers["Accept"] = f"application/json, {MEDIA_TYPE}"
        if link.version:
            headers["MCP-Protocol-Version"] = link.version
        if link.session_id is not None:
            headers["Mcp-Session-Id"] = link.session_id
        if call is not None and link.era is Era.MODERN:
            headers["Mcp-Method"] = call.method
            if call.name is not None:
                headers["Mcp-Name"] = call.name
            headers.update(call.headers)
        return headers

    async def _post(self, link: Link, call: Call) -> Reply:
        """Send ``call`` and wait for its response, on whichever of the two forms it comes."""
        identity = next(self._ids)
        body = eras.request_text(identity, call, link.era).encode()
        connected = False
        try:
            async with self._session.post(
                self.spec.url or "", data=body, headers=self._headers(link, call), allow_redirects=False
            ) as response:
                connected = True
                if response.status in (401, 403, 407):
                    raise self._unusable(Reply(response.status, None))
                message = await self._response_to(identity, link, call, response)
                return Reply(response.status, message, response.headers.get("Mcp-Session-Id"))
        except asyncio.CancelledError:
            if link.era is Era.LEGACY and call.method not in (eras.INITIALIZE, eras.DISCOVER):
                cancelled = {"requestId": identity, "reason": "the caller no longer waits"}
                self._later(self._tell(link, eras.notification_text(eras.CANCELLED, cancelled)))
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, ssl.SSLError) as error:
            raise _failure(error, connected) from error

    async def _response_to(self, identity: int, link: Link, call: Call, response: aiohttp.ClientResponse) -> Message | None:
        media_type = response.content_type
        if media_type == "application/json":
            limit = self._settings.max_response_bytes if response.status < 400 else LONGEST_REFUSAL
            try:
                message = read_message(decode(await _limited(response, limit)))
            except NotJson:
                if response.status >= 400:
                    return None
                raise
            ours = message.id == identity and not isinstance(message.id, bool)
            return message if message.method is None and (ours or (message.error is not None and message.id is None)) else None
        if media_type != MEDIA_TYPE or response.status >= 400:
            return None
        async for message in self._messages(response):
            if message.method is None:
                if message.id == identity and not isinstance(message.id, bool):
                    return message
            elif message.has_id:
                self._later(self._tell(link, eras.reply_text(message)))
            elif message.method == eras.LIST_CHANGED:
                self._changed()
            elif call.notify is not None:
                call.notify(message.method, message.params)
        return None

    async def _messages(self, response: aiohttp.ClientResponse) -> AsyncIterator[Message]:
        reader = EventReader(self._settings.max_response_bytes)
        async for chunk in response.content.iter_any():
            for event in reader.feed(chunk):
                if event.kind == "message" and event.data:
                    yield read_message(event.data)

    async def _tell(self, link: Link, body: str) -> None:
        """Post something that has no answer. Its failure changes nothing for anybody."""
        try:
            async with (
                asyncio.timeout(self._settings.connect_timeout),
                self._session.post(
                    self.spec.url or "", data=body.encode(), headers=self._headers(link, None), allow_redirects=False
                ) as response,
            ):
                if response.status >= 400:
                    log.info("upstream refused a notification", server=self.spec.name, status=response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.info("upstream did not take a notification", server=self.spec.name, error=type(error).__name__)

    def _later(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(telling)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)


async def _limited(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise UpstreamFailed(f"its answer is larger than {limit} bytes", sent=True)
        parts.append(chunk)
    return b"".join(parts)


def _failure(error: Exception, connected: bool) -> UpstreamFailed:
    """The failure in words that name no address."""
    if isinstance(error, aiohttp.ClientConnectorError):
        cause: BaseException | None = error.os_error
        if isinstance(cause, AddressRefused):
            return UpstreamFailed(f"the gateway may not connect there: {cause}", lasting=True)
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return UpstreamFailed("its host name does not resolve")
        if isinstance(error, aiohttp.ClientConnectorSSLError | aiohttp.ClientConnectorCertificateError):
            return UpstreamFailed("its TLS certificate is not trusted, or TLS fails")
        return UpstreamFailed("nothing accepts connections at its address")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return UpstreamFailed("its TLS certificate is not trusted, or TLS fails")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamFailed("it does not accept a connection in time")
    if isinstance(error, aiohttp.InvalidURL):
        return UpstreamFailed("its URL is not valid", lasting=True)
    if isinstance(error, EventTooLong):
        return UpstreamFailed(f"it sends {error}", sent=True)
    if isinstance(error, NotJson | UnicodeDecodeError):
        return UpstreamFailed("its answer is not a JSON-RPC message", sent=True)
    if isinstance(error, ValueError) and not connected:
        return UpstreamFailed("a header configured for it is not valid", lasting=True)
    return UpstreamFailed("the connection broke before it answered", sent=True)
