"""HTTP/1.1 as a client of upstreams: one request after the other over kept connections, and nothing else.

It stands here instead of a client library because it is half of what a call costs: measured beside the rest of the gateway,
aiohttp's client takes as much processor time as everything else together. What it does not do is what the gateway must not
do: follow redirects, keep cookies, read proxies from the environment, unpack what it did not ask to be packed, send a
request again. Names are resolved and connections raced by aiohttp's own ``aiohappyeyeballs``; every socket is made by the
guard, so the address that was judged is the one that is connected to.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial
from typing import Final, NamedTuple

from aiohappyeyeballs import start_connection
from yarl import URL

from mcplocal.upstream.answers import UpstreamFailed
from mcplocal.upstream.http_exchange import Connection, Deadline, Response
from mcplocal.upstream.network_guard import AddressRefused, NetworkGuard

KEPT_FOR: Final = 15.0
"""Seconds an idle connection is kept."""

LOOKS_EVERY: Final = 0.1
"""Seconds between two looks at all connections, for what is late and for what is idle. A timer for each request costs more
than anything else that is done about it here."""

HAPPY_EYEBALLS_DELAY: Final = 0.25

_WANTED: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence before a host is asked whether it lives, seconds between askings, how often. Not all systems have them."""
_KEEP_ALIVE: Final = [(getattr(socket, name), value) for name, value in _WANTED.items() if hasattr(socket, name)]


class Target(NamedTuple):
    """Where requests go: what to connect to, and what the request itself says of it."""

    host: str
    port: int
    tls: bool
    authority: str
    path: str

    @classmethod
    def of(cls, text: str) -> Target:
        """The target that a URL names.

        Raises:
            UpstreamFailed: it names none.
        """
        try:
            url = URL(text)
            host, port = url.raw_host, url.port
        except ValueError:
            host = port = None
        if not host or not port or url.scheme not in ("http", "https"):
            raise UpstreamFailed("its URL is not valid", lasting=True)
        return cls(host, port, url.scheme == "https", url.host_port_subcomponent or host, url.raw_path_qs or "/")


class HttpClient:
    """The connections to all upstreams."""

    def __init__(self, guard: NetworkGuard, connect_timeout: float) -> None:
        """Connect where ``guard`` allows, within ``connect_timeout`` seconds."""
        self._guard = guard
        self._connect_timeout = connect_timeout
        self._all: set[Connection] = set()
        self._idle: dict[Target, list[Connection]] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None

    async def send(self, target: Target, request: bytes, deadline: Deadline | None) -> Response:
        """Send ``request``, head and body, and wait for the head of its answer. It is sent once, whatever happens.

        Args:
            target: where to.
            request: the bytes.
            deadline: when all of the answer must have come; ``None`` if others see to that.

        Raises:
            UpstreamFailed: there is no connection, or it broke; its ``sent`` tells the one from the other.
        """
        connection = self._take(target) or await self._connect(target)
        response = connection.send(request)
        response.deadline = deadline
        try:
            await response.head()
        except BaseException:
            response.close()
            raise
        return response

    async def close(self) -> None:
        """End every connection."""
        if self._looking is not None:
            self._looking.cancel()
        for connection in list(self._all):
            connection.cut()
        await asyncio.sleep(0)

    def _keep(self, target: Target, connection: Connection) -> None:
        """``connection`` may be used again."""
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(target, []).append(connection)

    def _forget(self, target: Target, connection: Connection) -> None:
        """``connection`` has ended."""
        self._all.discard(connection)
        idle = self._idle.get(target)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def _take(self, target: Target) -> Connection | None:
        """The connection used last: of those the server tires of, it does so last."""
        idle = self._idle.get(target)
        while idle:
            connection = idle.pop()
            if connection.is_usable:
                return connection
            connection.cut()
        return None

    def _look(self) -> None:
        """Give up answers that are late, and connections that nobody has used for long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._all):
            if connection.under_way is not None:
                connection.under_way.look_at_deadline(now)
        for target, idle in list(self._idle.items()):
            for connection in [one for one in idle if now - one.idle_since >= KEPT_FOR]:
                idle.remove(connection)
                connection.cut()
            if not idle:
                del self._idle[target]
        self._looking = loop.call_later(LOOKS_EVERY, self._look) if self._all else None

    async def _connect(self, target: Target) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                connected = await self._socket(target)
                try:
                    return await self._begin(target, connected)
                except BaseException:
                    connected.close()
                    raise
        except TimeoutError:
            raise UpstreamFailed("it does not accept a connection in time") from None

    async def _socket(self, target: Target) -> socket.socket:
        """A connected socket, to an address that the guard has let pass."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except (OSError, UnicodeError):
            raise UpstreamFailed("its host name does not resolve") from None
        try:
            return await start_connection(
                found, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, loop=loop, socket_factory=self._guard.socket
            )
        except AddressRefused as refusal:
            raise UpstreamFailed(f"the gateway may not connect there: {refusal}", lasting=True) from None
        except (OSError, RuntimeError) as error:
            objections = [self._guard.objection(str(info[4][0])) for info in found]
            if objections and all(objections):
                raise UpstreamFailed(f"the gateway may not connect there: {objections[0]}", lasting=True) from None
            raise UpstreamFailed("nothing accepts connections at its address") from error

    async def _begin(self, target: Target, connected: socket.socket) -> Connection:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # else a stream held open never hears of a dead host
        for option, seconds in _KEEP_ALIVE:
            connected.setsockopt(socket.IPPROTO_TCP, option, seconds)
        if target.tls and self._tls is None:
            self._tls = ssl.create_default_context()  # 30 ms, so once
            self._tls.set_alpn_protocols(["http/1.1"])
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(partial(self._keep, target), partial(self._forget, target)),
                sock=connected,
                ssl=self._tls if target.tls else None,
                server_hostname=target.host if target.tls else None,
            )
        except ssl.SSLError:
            raise UpstreamFailed("its TLS certificate is not trusted, or TLS fails") from None
        except OSError as error:
            raise UpstreamFailed("nothing accepts connections at its address") from error
        if connection.is_usable:
            self._all.add(connection)
            if self._looking is None:
                self._looking = asyncio.get_running_loop().call_later(LOOKS_EVERY, self._look)
        return connection
