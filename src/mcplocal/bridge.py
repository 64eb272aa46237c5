"""``mcplocal``: a local agent's STDIO entry to a gateway elsewhere.

Messages pass through as they are; the bridge adds the person's credential and the headers of the era they are in. No secret
of any upstream is on this machine. When the gateway was restarted and a session is gone, the bridge shakes hands again
behind the client's back: a client that keeps a dead session would fail until it is restarted itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from time import monotonic
from typing import Any, Final

import aiohttp

from mcpctl.errors import MissingCredential
from mcplocal import wire
from mcplocal.event_stream import MEDIA_TYPE, EventReader, EventTooLong
from mcplocal.json_text import NotJson, decode, read, write
from mcplocal.param_headers import ANNOTATION, InvalidSchema, ParamHeader, annotated, encode, headers_for
from mcplocal.protocol.envelope import Incoming, Rejection
from mcplocal.protocol.stdio import Emit, Pipes
from mcplocal.settings import Settings
from mcplocal.single_flight import SingleFlight

_CHANCE = Random()  # noqa: S311 - spreads attempts; nothing secret comes of it
LARGEST: Final = 64 << 20
MOST_REMEMBERED: Final = 1000
"""Subscriptions that are made again in a new session."""

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds between two attempts to hear the session's stream."""

LISTS_CHANGED: Final = [write({"jsonrpc": "2.0", "method": method}) for method in wire.LIST_CHANGED.values()]


class Bridge:
    """Carries messages between a pair of pipes and one endpoint of a gateway."""

    def __init__(self, url: str, bearer: Callable[[], str | None], settings: Settings) -> None:
        """Carry to ``url``.

        Args:
            url: the endpoint.
            bearer: the person's credential as it is now; asked again when it was refused.
            settings: the settings in force.
        """
        self._url = url
        self._bearer = bearer
        self._connect_timeout = settings.connect_timeout
        self._http: aiohttp.ClientSession | None = None
        self._session: str | None = None
        self._version = ""
        self._handshake: bytes | None = None
        self._opened = asyncio.Event()
        self._opened.set()
        self._subscriptions: dict[str, bytes] = {}
        self._shaking: SingleFlight[str, None] = SingleFlight()
        self._modern: set[tuple[type, Any]] = set()
        self._param_headers: dict[str, tuple[ParamHeader, ...]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._pipes = Pipes(self._carry)

    async def run(self) -> None:
        """Carry until the client closes its end. Nothing is connected before the first message."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
            self._http = http
            await self._pipes.run()
            await self._shaking.stop()
            if self._listening is not None:
                self._listening.cancel()
                await asyncio.gather(self._listening, return_exceptions=True)
            if self._session is not None:
                await self._say_goodbye()

    async def _carry(self, message: Incoming, line: bytes, emit: Emit) -> None:
        if message.kind == "notification" and message.method == "notifications/cancelled":
            identity = message.value("requestId")
            if isinstance(identity, str | int) and (type(identity), identity) in self._modern:
                self._pipes.cancel(identity)  # in that era, letting go of the request is how it is cancelled
                return
        if message.is_enveloped:
            key = (type(message.id), message.id)
            self._modern.add(key)
            try:
                await self._post(message, line, self._modern_headers(message), emit)
            finally:
                self._modern.discard(key)
            return
        if message.kind == "request" and message.method == "initialize":
            self._session, self._handshake = None, line
            self._subscriptions.clear()
            self._opened.clear()
            try:
                await self._post(message, line, {}, emit)
            finally:
                self._opened.set()
            return
        await self._opened.wait()  # a script pipes everything at once, and waits for no answer
        session = self._session
        try:
            await self._post(message, line, self._legacy_headers(), emit)
        except _SessionGone:
            if self._session == session:
                await self._shaking.run("", self._shake_hands)
            try:
                await self._post(message, line, self._legacy_headers(), emit)
            except _SessionGone:
                raise Rejection(wire.INTERNAL_ERROR, "the gateway keeps losing the session") from None
        self._remember(message, line)

    def _remember(self, message: Incoming, line: bytes) -> None:
        """What the client is subscribed to, so that a new session can be, too."""
        uri = message.value("uri")
        if message.method == wire.SUBSCRIBE and isinstance(uri, str) and len(self._subscriptions) < MOST_REMEMBERED:
            self._subscriptions[uri] = line
        elif message.method == wire.UNSUBSCRIBE and isinstance(uri, str):
            self._subscriptions.pop(uri, None)

    def _modern_headers(self, message: Incoming) -> dict[str, str]:
        headers = {"MCP-Protocol-Version": str(message.meta[wire.VERSION_KEY]), "Mcp-Method": message.method}
        named_by = wire.NAMED_BY.get(message.method)
        name = message.value(named_by) if named_by else None
        if isinstance(name, str):
            headers["Mcp-Name"] = encode(name)
        if isinstance(name, str) and message.method == "tools/call":
            headers |= headers_for(self._param_headers.get(name, ()), message.value("arguments"))
        return {key: value for key, value in headers.items() if value.isprintable() and value.isascii()}

    def _legacy_headers(self) -> dict[str, str]:
        if self._session is None:
            return {}
        return {"Mcp-Session-Id": self._session} | ({"MCP-Protocol-Version": self._version} if self._version else {})

    async def _post(self, message: Incoming, line: bytes, headers: dict[str, str], emit: Emit) -> None:
        if self._http is None:
            raise Rejection(wire.INTERNAL_ERROR, "the bridge has not been started")
        refused: str | None = None
        for _ in range(2):
            bearer = self._bearer()
            if bearer is None or bearer == refused:
                break
            try:
                async with self._http.post(
                    self._url,
                    data=line,
                    headers={
                        "Authorization": f"Bearer {bearer}",
                        "Content-Type": "application/json",
                        "Accept": f"application/json, {MEDIA_TYPE}",
                        **headers,
                    },
                    allow_redirects=False,
                ) as response:
                    if response.status == 401:
                        refused = bearer
                        continue
                    if response.status == 404 and "Mcp-Session-Id" in headers:
                        raise _SessionGone
                    await self._deliver(message, response, emit)
                    return
            except (aiohttp.ClientError, OSError, EventTooLong, UnicodeDecodeError) as error:
                kind = type(error).__name__
                raise Rejection(wire.INTERNAL_ERROR, f"the gateway at {self._url} does not answer ({kind})") from None
        raise Rejection(
            wire.INTERNAL_ERROR, "the gateway does not take this credential: run 'mcpctl login', or set MCPCTL_TOKEN anew"
        )

    async def _deliver(self, message: Incoming, response: aiohttp.ClientResponse, emit: Emit) -> None:
        """Hand what the gateway answers to the client; nothing for what has no answer."""
        if response.content_type == MEDIA_TYPE:
            reader = EventReader(LARGEST)
            async for chunk in response.content.iter_any():
                for event in reader.feed(chunk):
                    emit(event.data)
            return
        body = await response.read()
        if message.kind != "request":
            return
        try:
            answer = read(decode(body), unique=False)
        except NotJson:
            answer = None
        if not isinstance(answer, dict) or answer.get("jsonrpc") != "2.0":
            detail = answer.get("detail") if isinstance(answer, dict) else None
            raise Rejection(wire.INTERNAL_ERROR, str(detail or f"the gateway answers with HTTP {response.status}"))
        if isinstance(answer.get("error"), dict) and answer.get("id") is None:
            error = answer["error"]
            raise Rejection(int(error.get("code", wire.INTERNAL_ERROR)), str(error.get("message", "")), data=error.get("data"))
        self._learn(message, answer, response)
        emit(decode(body))

    def _learn(self, message: Incoming, answer: dict[str, Any], response: aiohttp.ClientResponse) -> None:
        result = answer.get("result")
        if not isinstance(result, dict):
            return
        if message.method == "initialize":
            self._session = response.headers.get("Mcp-Session-Id")
            self._version = str(result.get("protocolVersion", ""))
            self._begin_listening()
        if message.method == "tools/list":
            self._param_headers = {}
            for tool in result.get("tools", []):
                if ANNOTATION in str(tool.get("inputSchema")):
                    try:
                        self._param_headers[tool["name"]] = annotated(tool["inputSchema"])
                    except (InvalidSchema, KeyError):
                        continue

    def _begin_listening(self) -> None:
        """Carry what the gateway says unasked, of the session there is now and no other."""
        if self._listening is not None:
            self._listening.cancel()
        again = self._listening is not None
        self._listening = asyncio.create_task(self._listen(again)) if self._session is not None else None

    async def _listen(self, again: bool) -> None:
        pause = FIRST_PAUSE
        while True:
            if again:
                for changed in LISTS_CHANGED:
                    self._pipes.emit(changed)  # nobody was listening meanwhile
            again = True
            begun = monotonic()
            try:
                if not await self._heard():
                    return
            except (aiohttp.ClientError, OSError, EventTooLong, UnicodeDecodeError, Rejection):
                pass
            pause = FIRST_PAUSE if monotonic() - begun > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            await asyncio.sleep(pause * _CHANCE.uniform(0.8, 1.2))

    async def _heard(self) -> bool:
        """Hear the session's stream to its end; whether there may be another."""
        if self._http is None or (bearer := self._bearer()) is None:
            return False
        headers = {"Authorization": f"Bearer {bearer}", "Accept": MEDIA_TYPE, **self._legacy_headers()}
        session = self._session
        async with self._http.get(self._url, headers=headers, allow_redirects=False) as response:
            if response.status == 404 and session is not None:
                if self._session == session:  # else somebody has shaken hands meanwhile, and there is another stream
                    await self._shaking.run("", self._shake_hands)
                return True
            if response.status != 200 or response.content_type != MEDIA_TYPE:
                return response.status >= 500
            await self._deliver(Incoming("notification"), response, self._pipes.emit)
        return True

    async def _shake_hands(self) -> None:
        """A new session for the old one, with the client's own words."""
        if self._handshake is None:
            raise Rejection(wire.INVALID_REQUEST, "send initialize first")
        request = Incoming("request", "initialize", 0, "0")
        await self._post(request, self._handshake, {}, lambda _: None)
        done = write({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
        await self._post(Incoming("notification"), done, self._legacy_headers(), lambda _: None)
        for uri, line in list(self._subscriptions.items()):
            try:
                await self._post(Incoming("request", wire.SUBSCRIBE), line, self._legacy_headers(), lambda _: None)
            except Rejection:
                continue  # the client looks for itself
            finally:
                # Nobody was subscribed meanwhile.
                self._pipes.emit(write({"jsonrpc": "2.0", "method": wire.UPDATED, "params": {"uri": uri}}))

    async def _say_goodbye(self) -> None:
        if self._http is None or (bearer := self._bearer()) is None:
            return
        headers = {"Authorization": f"Bearer {bearer}", **self._legacy_headers()}
        try:
            async with asyncio.timeout(1), self._http.delete(self._url, headers=headers, allow_redirects=False):
                pass
        except (aiohttp.ClientError, TimeoutError, OSError):
            return


class _SessionGone(Exception):
    """The gateway does not know the session any more. It did not carry out the request."""


def endpoint_of(gateway: str, project: str | None) -> str:
    """The URL of a project's endpoint, or of the credential's own."""
    base = gateway.rstrip("/")
    return f"{base}/projects/{project}/mcp" if project else f"{base}/mcp"


async def run(settings: Settings, gateway: str, bearer: Callable[[], str | None]) -> None:
    """Bridge standard input and output to ``gateway``.

    Raises:
        MissingCredential: there is nothing to present to it.
    """
    if bearer() is None:
        raise MissingCredential("you are not logged in: run 'mcpctl login --server URL', or set MCPCTL_TOKEN")
    await Bridge(endpoint_of(gateway, settings.project), bearer, settings).run()
