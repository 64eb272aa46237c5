"""An HTTP client for servers that may not mean well: bounded in time and size, and true to one origin.

Redirects are never followed. Bodies are asked for without compression, and a compressed one is not unpacked: it is a fault of
the server. There is no cookie jar and no proxy, and nothing is read from the environment or a netrc file.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from time import monotonic
from typing import Any, Final

import aiohttp
from yarl import URL

from mcpctl.endpoint_test.addresses import PublicOnly
from mcpctl.endpoint_test.bounded_json import NotJson, parse
from mcpctl.endpoint_test.event_stream import EventReader
from mcpctl.endpoint_test.exchange import EXCERPT, Exchange, Header

LARGEST: Final = 4 << 20
"""Bytes of one answer, whatever its form."""
MOST_EVENTS: Final = 1000
LINE: Final = 16 << 10
"""Bytes of one line of an answer's head; of these lines there may be 128."""

Until = Callable[[Exchange], bool]


class OutOfTime(Exception):
    """The time for the whole run is over."""


@dataclass(slots=True)
class _Connection:
    """Whether the connection of a request had served another one before."""

    reused: bool = False


class BoundedHttp:
    """Sends requests and reads what comes back, no longer and no more than it may.

    Args:
        timeout: seconds for one answer.
        deadline: when, on the monotonic clock, the whole run ends.
        verify: check the server's certificate.
        public_only: connect to public addresses only.
    """

    def __init__(self, timeout: float, deadline: float, *, verify: bool = True, public_only: bool = False) -> None:
        self._timeout = timeout
        self._deadline = deadline
        self._verify = verify
        self._public_only = public_only
        self._opened: list[aiohttp.ClientSession] = []
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        for session in self._opened:
            await session.close()
        self._opened.clear()
        self._session = None

    def reconnect(self) -> None:
        """Make the next request on a connection of its own."""
        self._session = None

    def left(self) -> float:
        """Seconds that a request may take now.

        Raises:
            OutOfTime: there are none.
        """
        left = self._deadline - monotonic()
        if left <= 0:
            raise OutOfTime
        return min(self._timeout, left)

    async def send(
        self,
        exchange: Exchange,
        *,
        until: Until | None = None,
        linger: float = 0.0,
        abandon: bool = False,
        within: float | None = None,
        repeatable: bool = True,
    ) -> Exchange:
        """Make the request of ``exchange`` and fill in what comes back; never raises for anything the server does.

        Args:
            exchange: what to send and where.
            until: when an event stream has said enough; by default, once the response is there.
            linger: seconds to go on reading after that.
            abandon: hang up as soon as the head of the answer is there.
            within: seconds, if it is to be shorter than usual.
            repeatable: it does no harm twice, so that it may be sent again if a kept connection turns out to be closed.
                Otherwise it goes on a connection of its own.

        Raises:
            OutOfTime: the time for the whole run is over.
        """
        allowed = min(within or self._timeout, self.left())
        began = monotonic()
        connection = _Connection()
        if not repeatable:
            self.reconnect()
        try:
            async with asyncio.timeout(allowed):
                try:
                    await self._exchange(exchange, connection, until or _has_response, linger, abandon)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    # Whoever has kept a connection for a while may close it at the very moment it is used again.
                    if exchange.status or not connection.reused:
                        raise
                    self.reconnect()
                    await self._exchange(exchange, connection, until or _has_response, linger, abandon)
        except TimeoutError:
            exchange.timed_out = True
            exchange.problem = (
                f"nothing more came within {allowed:.3g} s" if exchange.status else f"none within {allowed:.3g} s"
            )
        except aiohttp.ClientConnectorCertificateError as error:
            exchange.problem = f"its certificate is not trusted: {error.certificate_error}"
        except aiohttp.ClientConnectorError as error:
            exchange.problem = f"no connection: {error.os_error.strerror or error.os_error}"
        except aiohttp.ClientPayloadError:
            exchange.problem = "the body ended before its announced length"
        except aiohttp.ServerDisconnectedError:
            exchange.problem = "the connection was closed without an answer"
        except aiohttp.ClientResponseError as error:
            exchange.problem = f"it is no HTTP: {error.message[:200]}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            exchange.problem = f"{type(error).__name__}: {str(error)[:200]}"
        if not exchange.seconds:
            exchange.seconds = monotonic() - began
        return exchange

    async def _exchange(self, exchange: Exchange, connection: _Connection, until: Until, linger: float, abandon: bool) -> None:
        began = monotonic()
        answer = await self._client().request(
            exchange.method,
            URL(exchange.url, encoded=True),
            headers=list(exchange.headers),
            data=BytesIO(exchange.body) if exchange.body else None,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            allow_redirects=False,
            trace_request_ctx=connection,
        )
        try:
            exchange.status = answer.status
            exchange.answered = tuple(_headers(answer.raw_headers))
            exchange.http_version = f"{answer.version.major}.{answer.version.minor}" if answer.version else "?"
            exchange.seconds = monotonic() - began
            if abandon:
                return
            if exchange.header("content-encoding") not in ("", "identity"):
                exchange.problem = "it is compressed, although that was not accepted"
                return
            if exchange.header("content-type").partition(";")[0].strip().lower() == "text/event-stream":
                exchange.is_stream = True
                await self._read_events(exchange, answer, until, linger)
            else:
                await self._read_body(exchange, answer)
        finally:
            # Not release(): that would go on reading whatever there is.
            answer.close() if not exchange.ended else answer.release()
        if not exchange.is_stream:
            exchange.seconds = monotonic() - began

    async def _read_body(self, exchange: Exchange, answer: aiohttp.ClientResponse) -> None:
        body = b"".join([chunk async for chunk in self._chunks(exchange, answer)])
        looks_like_json = "json" in exchange.header("content-type") or body[:1] in (b"{", b"[")
        if exchange.ended and body and looks_like_json:
            _take(exchange, body)

    async def _read_events(self, exchange: Exchange, answer: aiohttp.ClientResponse, until: Until, linger: float) -> None:
        reader, began, count = EventReader(), monotonic(), 0
        chunks = aiter(self._chunks(exchange, answer))
        enough_at: float | None = None
        try:
            while True:
                if enough_at is None:
                    chunk = await anext(chunks, None)
                else:
                    chunk = await asyncio.wait_for(anext(chunks, None), max(enough_at - monotonic(), 0.02))
                if chunk is None:
                    break
                for data in reader.feed(chunk):
                    count += 1
                    if count > MOST_EVENTS:
                        exchange.problem = f"the stream has more than {MOST_EVENTS} events"
                        return
                    _take(exchange, data)
                if enough_at is None and until(exchange):
                    exchange.seconds = monotonic() - began + exchange.seconds
                    # A stream is over with its response; waiting for its end saves a connection.
                    enough_at = monotonic() + (linger or 0.02)
                if enough_at is not None and monotonic() >= enough_at:
                    return
        except TimeoutError:
            if enough_at is None:
                raise
        finally:
            exchange.faults += reader.faults

    async def _chunks(self, exchange: Exchange, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        while chunk := await answer.content.readany():
            exchange.size += len(chunk)
            if len(exchange.raw) < 4 * EXCERPT:
                exchange.raw = (exchange.raw + chunk)[: 4 * EXCERPT]
            if exchange.size > LARGEST:
                exchange.problem = f"the answer is larger than {LARGEST} bytes"
                return
            yield chunk
        exchange.ended = True

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            trust: Any = bool(self._verify)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=trust, limit=32, resolver=PublicOnly() if self._public_only else None, happy_eyeballs_delay=0.1
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                trace_configs=[_watching_reuse()],
                max_line_size=LINE,
                max_field_size=LINE,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout),
            )
            self._opened.append(self._session)
        return self._session


async def certificate(host: str, port: int, within: float) -> dict[str, Any]:
    """The certificate a server shows, as ``ssl.SSLSocket.getpeercert`` gives it, once it was verified.

    Raises:
        OSError: there is no connection, or the certificate is not trusted (``ssl.SSLError``).
        TimeoutError: it took too long.
    """
    async with asyncio.timeout(within):
        _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context(), server_hostname=host)
    found: dict[str, Any] = writer.get_extra_info("peercert") or {}
    writer.transport.abort()
    return found


def _watching_reuse() -> aiohttp.TraceConfig:
    async def reused(_: aiohttp.ClientSession, context: Any, __: aiohttp.TraceConnectionReuseconnParams) -> None:
        context.trace_request_ctx.reused = True

    watching = aiohttp.TraceConfig()
    watching.on_connection_reuseconn.append(reused)
    return watching


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> Iterable[Header]:
    for name, value in raw:
        yield name.decode("ascii", "backslashreplace").lower(), value.decode("utf-8", "backslashreplace").strip(" \t")


def _take(exchange: Exchange, data: bytes) -> None:
    try:
        found = parse(data)
    except NotJson as error:
        exchange.problem = exchange.problem or str(error)
        return
    exchange.messages.append(found.value)
    exchange.nodes = max(exchange.nodes, found.nodes)
    exchange.faults += found.faults


def _has_response(exchange: Exchange) -> bool:
    return bool(exchange.response) or bool(exchange.problem)
