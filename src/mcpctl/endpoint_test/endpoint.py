"""The endpoint under test: requests of both eras, right or wrong in one respect, and what is asked of it only once."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from mcpctl.endpoint_test.addresses import is_loopback, is_public, origin
from mcpctl.endpoint_test.bounded_http import BoundedHttp, OutOfTime, Until
from mcpctl.endpoint_test.exchange import Exchange, Header
from mcpctl.endpoint_test.judge import Judge
from mcpctl.endpoint_test.mask import Mask
from mcpctl.endpoint_test.observed import Observed
from mcpctl.endpoint_test.official_schemas import LEGACY, MODERN
from mcpctl.endpoint_test.options import RUN_FACTOR, Options

T = TypeVar("T")

META: Final = "io.modelcontextprotocol/"
VERSION_KEY: Final = META + "protocolVersion"
CAPABILITIES_KEY: Final = META + "clientCapabilities"
CLIENT_KEY: Final = META + "clientInfo"
CLIENT: Final = {"name": "mcpctl-test", "version": "1"}
NO_SUCH_TOOL: Final = "mcpctl-test-no-such-tool"
NO_SUCH_SESSION: Final = "00000000-mcpctl-test-no-such-session"

OWN: Final = "own"
"""Stands for the bearer the run was given."""

TOO_MANY: Final = 429
ATTEMPTS: Final = 4
LONGEST_PAUSE: Final = 5.0
"""Seconds to wait at most when an endpoint asks for it (Retry-After)."""
CLOSING: Final = 2.0
"""Seconds in which all sessions are ended, or left to themselves."""

_ids = itertools.count(1)


@dataclass(slots=True)
class Session:
    """A session of the handshake era: a shaken hand, with or without an identifier."""

    version: str
    id: str
    shake: Exchange

    @property
    def headers(self) -> list[Header]:
        """What every further request carries."""
        return [("MCP-Protocol-Version", self.version), *([("Mcp-Session-Id", self.id)] if self.id else [])]


@dataclass(slots=True)
class Listing:
    """All pages of a list.

    Attributes:
        items: as they stand on the pages, if they are kept.
        names: of the items, in order.
        digests: a hash of each item.
        pages: the exchanges, without the items.
        wrong: why it could not be followed to its end.
    """

    items: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    pages: list[Exchange] = field(default_factory=list)
    wrong: str = ""

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.digests)

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Those items that are objects."""
        return [item for item in self.items if isinstance(item, dict)]


class Endpoint:
    """One endpoint during one run."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.url = options.url
        self.mask = Mask(options.secrets)
        self.sessions: list[Session] = []
        self._deadline = monotonic() + RUN_FACTOR * options.timeout
        self.http = BoundedHttp(options.timeout, self._deadline, verify=options.verify)
        self.judge = Judge(self.http.left)
        self.observed = Observed(self.mask, self.judge)
        self._outside = BoundedHttp(options.timeout, self._deadline, public_only=True)
        self._memory: dict[str, Any] = {}
        self._fastest = math.inf

    @property
    def host(self) -> str:
        """The host that was named."""
        return urlsplit(self.options.url).hostname or ""

    @property
    def on_loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)

    async def close(self) -> None:
        """End the sessions that were opened, and all connections."""
        until = monotonic() + CLOSING
        for session in self.sessions:
            left = until - monotonic()
            if session.id and left > 0:
                with suppress(OutOfTime):
                    await self.send(None, "DELETE", headers=session.headers, within=left, attempts=1)
        await self.http.close()
        await self._outside.close()

    async def once(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        """What ``ask`` gave when it was first asked for under this name."""
        if name not in self._memory:
            self._memory[name] = await ask()
        found: T = self._memory[name]
        return found

    async def send(
        self,
        body: bytes | Mapping[str, Any] | Sequence[Any] | None,
        method: str = "POST",
        *,
        headers: Iterable[Header] = (),
        also: Iterable[Header] = (),
        without: Iterable[str] = (),
        token: str | None = OWN,
        url: str | None = None,
        until: Until | None = None,
        linger: float = 0.0,
        abandon: bool = False,
        within: float | None = None,
        attempts: int = ATTEMPTS,
    ) -> Exchange:
        """One HTTP request to the endpoint.

        Args:
            body: sent as it is, or as the JSON it stands for.
            method: of HTTP.
            headers: replace those of the same name.
            also: come in addition, even to one of the same name.
            without: names of headers to leave out.
            token: another bearer, or ``None`` for no credential of any kind.
            url: another path of the same origin.
            until: as in ``BoundedHttp.send``.
            linger: as in ``BoundedHttp.send``.
            abandon: as in ``BoundedHttp.send``.
            within: as in ``BoundedHttp.send``.
            attempts: how often it is sent at most, if the answer is 429.

        Raises:
            OutOfTime: the time for the whole run is over.
        """
        where = url or self.url
        if origin(where) != origin(self.url):
            raise AssertionError("credentials stay with the endpoint's origin")
        raw = b"" if body is None else body if isinstance(body, bytes) else _json(body)
        base: list[Header] = [("User-Agent", "mcpctl-test"), ("Accept-Encoding", "identity")]
        if body is not None:
            base += [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
        bearer = self.options.token if token == OWN else token
        if token == OWN:
            base += self.options.headers
        if bearer is not None:
            base.append(("Authorization", f"Bearer {bearer}"))
        given = list(headers)
        gone = {name.lower() for name, _ in given} | {name.lower() for name in without}
        sent = [*(pair for pair in base if pair[0].lower() not in gone), *given, *also]
        message = body if isinstance(body, Mapping) else None
        calls = message is not None and message.get("method") == "tools/call"
        for attempt in range(attempts):
            exchange = Exchange(method, where, tuple(sent), raw, message)
            await self.http.send(exchange, until=until, linger=linger, abandon=abandon, within=within, repeatable=not calls)
            if exchange.status:
                self._fastest = min(self._fastest, exchange.seconds)
            if exchange.status != TOO_MANY or attempt == attempts - 1:
                break
            # Nothing was done, so it may be sent again, a tool call too.
            await asyncio.sleep(min(_pause(exchange), self.http.left()))
        return exchange

    def patience(self, seconds: float) -> float:
        """``seconds``, or longer where the endpoint is far away."""
        return seconds if self._fastest == math.inf else max(seconds, 20 * self._fastest)

    async def modern(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        meta: Mapping[str, Any] | None = None,
        version: str = MODERN,
        headers: Iterable[Header] = (),
        without: Iterable[str] = (),
        right: bool = True,
        **how: Any,
    ) -> Exchange:
        """A request of the era of 2026-07-28.

        Args:
            method: of JSON-RPC.
            params: without ``_meta``.
            meta: members of ``_meta`` that replace its own; a value of ``None`` removes one.
            version: named in header and body.
            headers: replace those of the same name.
            without: names of headers to leave out.
            right: nothing is wrong with it, so that the answer is watched closely.
            how: as in ``send``.
        """
        envelope = {VERSION_KEY: version, CAPABILITIES_KEY: {}, CLIENT_KEY: CLIENT, **(meta or {})}
        params = {"_meta": {key: value for key, value in envelope.items() if value is not None}, **(params or {})}
        body = {"jsonrpc": "2.0", "id": f"mcpctl-{next(_ids)}", "method": method, "params": params}
        given = {name.lower(): (name, value) for name, value in headers}
        base: list[Header] = [("MCP-Protocol-Version", version), ("Mcp-Method", method)]
        target = params.get("uri") if method == "resources/read" else params.get("name")
        if isinstance(target, str):
            base.append(("Mcp-Name", target))
        merged = [pair for pair in base if pair[0].lower() not in given] + list(given.values())
        gone = {name.lower() for name in without}
        exchange = await self.send(body, headers=[one for one in merged if one[0].lower() not in gone], without=without, **how)
        if right:
            self.observed.note(exchange, version)
        return exchange

    async def shake(self, version: str = LEGACY, **how: Any) -> Session:
        """Shake hands in the handshake era. Whether it worked is in ``shake.result``."""
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}
        body = {"jsonrpc": "2.0", "id": next(_ids), "method": "initialize", "params": params}
        exchange = await self.send(body, **how)
        result = exchange.result or {}
        settled = result.get("protocolVersion")
        session = Session(settled if isinstance(settled, str) else version, exchange.header("mcp-session-id"), exchange)
        if result:
            self.observed.note(exchange, session.version if session.version in _KNOWN else LEGACY)
            self.sessions.append(session)
            confirmed = await self.notify(session, "notifications/initialized")
            if "token" not in how:
                self._memory.setdefault("initialized", confirmed)
        return session

    async def legacy(
        self, session: Session, method: str, params: Mapping[str, Any] | None = None, *, right: bool = True, **how: Any
    ) -> Exchange:
        """A request of the handshake era, in a session."""
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": how.pop("id", None) or next(_ids), "method": method}
        if params:
            body["params"] = params
        given = {name.lower(): (name, value) for name, value in [*session.headers, *how.pop("headers", ())]}
        exchange = await self.send(body, headers=given.values(), **how)
        if right:
            self.observed.note(exchange, session.version if session.version in _KNOWN else LEGACY)
        return exchange

    async def notify(self, session: Session, method: str, params: Mapping[str, Any] | None = None) -> Exchange:
        """A notification of the handshake era, in a session."""
        body = {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}
        return await self.send(body, headers=session.headers)

    async def discovered(self) -> Exchange:
        """``server/discover``, asked once."""
        return await self.once("discover", lambda: self.modern("server/discover"))

    async def session(self) -> Session:
        """The session most checks of the handshake era share."""
        return await self.once("session", self.shake)

    async def speaks_modern(self) -> bool:
        """Whether ``server/discover`` has a result."""
        return self.options.era != "legacy" and (await self.discovered()).result is not None

    async def speaks_legacy(self) -> bool:
        """Whether ``initialize`` has a result."""
        return self.options.era != "modern" and (await self.session()).shake.result is not None

    async def ask(self, method: str, params: Mapping[str, Any] | None = None, **how: Any) -> Exchange:
        """A request in the newest era spoken."""
        if await self.speaks_modern():
            return await self.modern(method, params, **how)
        return await self.legacy(await self.session(), method, params, **how)

    async def capabilities(self) -> Mapping[str, Any]:
        """What the server declares in the newest era spoken; tools, if that cannot be read."""
        modern = await self.speaks_modern()
        result = ((await self.discovered()) if modern else (await self.session()).shake).result or {}
        found = result.get("capabilities")
        return found if isinstance(found, Mapping) else {"tools": {}}

    async def fetch(self, url: str) -> Exchange:
        """A document named by the endpoint, asked for without any credential; only ever from its own origin or the public net.

        A document elsewhere must come over https. If the endpoint is on this machine, so may the document be.
        """
        exchange = Exchange("GET", url, (("User-Agent", "mcpctl-test"), ("Accept", "application/json")))
        try:
            scheme, host, _ = origin(url)
            own = origin(url) == origin(self.url)
        except ValueError:
            exchange.problem = "that is no address"
            return exchange
        nearby = self.on_loopback and is_loopback(host)
        if scheme not in ("http", "https") or "@" in urlsplit(url).netloc:
            exchange.problem = "that is no address of a document"
        elif not own and not nearby and scheme != "https":
            exchange.problem = "it is not asked over plain http"
        elif not own and not nearby and _is_literal(host) and not is_public(host):
            exchange.problem = "its address is not public, and the endpoint's is another one"
        else:
            client = self.http if own or nearby else self._outside
            await client.send(exchange, until=lambda _: True)
        return exchange


_KNOWN: Final = (MODERN, LEGACY, "2025-06-18", "2025-03-26")


def _pause(exchange: Exchange) -> float:
    said = exchange.header("retry-after")
    return min(float(said), LONGEST_PAUSE) if said.isdecimal() else 1.0


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        # Numbers that some resolvers take for an address (2130706433, 0x7f.1) are resolved, and judged then.
        return False
    return True


def _json(body: Any) -> bytes:
    try:
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a cursor of half a character
        return json.dumps(body, separators=(",", ":")).encode()
