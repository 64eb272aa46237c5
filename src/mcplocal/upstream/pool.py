"""The connections to upstreams: one per server and configuration, shared, unless its state could leak between callers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Final, Literal, NamedTuple, Protocol

from mcplocal import wire
from mcplocal.catalog import ServerSpec
from mcplocal.client_side import ClientSide
from mcplocal.json_text import Members
from mcplocal.metrics import Metrics
from mcplocal.settings import Settings
from mcplocal.upstream.answers import Answer, UpstreamFailed
from mcplocal.upstream.era import Call
from mcplocal.upstream.hearing import Hearing
from mcplocal.upstream.http import HttpConnection
from mcplocal.upstream.http_client import HttpClient
from mcplocal.upstream.network_guard import NetworkGuard
from mcplocal.upstream.reaper import Reaper
from mcplocal.upstream.source import Source
from mcplocal.upstream.stdio import StdioConnection
from mcplocal.upstream.stdio_guard import StdioGuard
from mcplocal.upstream.wishes import Wishes
from mcplocal.wire import Era


class Connection(Source, Protocol):
    """What both transports offer.

    Attributes:
        spec: the server.
        answered: how many requests it has answered.
    """

    spec: ServerSpec

    answered: int

    @property
    def busy(self) -> int:
        """How many answers are waited for."""

    @property
    def is_ready(self) -> bool:
        """Whether ``ready`` has nothing to wait for."""

    async def close(self) -> None:
        """End it."""


NoteOf = Callable[[ServerSpec, Literal["stderr", "gateway"], str], None]
"""Takes one line of the log of a server."""


class Key(NamedTuple):
    """What tells connections apart: the server, everything about reaching it, and whose state it may hold."""

    server: str
    digest: str
    holder: str


JUST_USED: Final = 5.0
"""Seconds during which somebody who was handed a connection may not have used it yet."""

SHARED: Final = ""
"""The holder of a connection that keeps no state of any caller."""


@dataclass(eq=False)
class _Pooled:
    connection: Connection
    hearing: Hearing
    used_at: float = field(default_factory=monotonic)


class _Unusable:
    """Stands for a server that cannot be reached because of what the control plane says of it."""

    busy = answered = 0
    is_ready = False
    capabilities: frozenset[str] = frozenset()
    settled = None

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec

    async def ready(self) -> Era:
        raise self._failure()

    async def request(self, _call: Call) -> Answer:
        raise self._failure()

    async def hear(self, _streams: bool, _opened: Callable[[], None]) -> None:
        raise self._failure()

    def _failure(self) -> UpstreamFailed:
        return UpstreamFailed(f"it names a secret that cannot be used: {self.spec.unusable}", lasting=True)

    async def close(self) -> None:
        """Nothing is open."""


class Pool:
    """Opens, keeps and closes connections."""

    def __init__(self, settings: Settings, changed: Callable[[ServerSpec, str], None], note: NoteOf, metrics: Metrics) -> None:
        """Build an empty pool.

        Args:
            settings: the settings in force.
            changed: called with a server and the notification by which it says that a list of it has changed.
            note: takes each line of a server's log.
            metrics: counts child processes.
        """
        self._metrics = metrics
        self._settings = settings
        self._changed = changed
        self._note = note
        self._reaper = Reaper()
        self._stdio_guard = StdioGuard(settings.stdio_allow)
        self._http = HttpClient(NetworkGuard(settings.upstream_networks), settings.connect_timeout)
        self._pooled: dict[Key, _Pooled] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def connection(self, spec: ServerSpec, holder: str = SHARED, client: ClientSide | None = None) -> Connection:
        """The connection to ``spec``, opened on first use.

        Args:
            spec: the server.
            holder: for a server marked stateful, the session or principal whose state it is; ignored for others.
            client: likewise who that is, and what a server of the handshake's era is told that it may be asked.
        """
        return self._of(spec, holder, client).connection

    def hearing(self, spec: ServerSpec, holder: str = SHARED, client: ClientSide | None = None) -> Hearing:
        """What listens to the server at the other end of that very connection."""
        return self._of(spec, holder, client).hearing

    def capabilities(self, spec: ServerSpec) -> frozenset[str] | None:
        """What ``spec`` says it has; ``None`` while nobody is connected with it."""
        pooled = self._pooled.get(Key(spec.name, spec.digest, SHARED))
        return pooled.connection.capabilities if pooled is not None and pooled.connection.is_ready else None

    def _of(self, spec: ServerSpec, holder: str, client: ClientSide | None) -> _Pooled:
        key = Key(spec.name, spec.digest, holder if spec.stateful else SHARED)
        pooled = self._pooled.get(key)
        if pooled is None:
            pooled = self._pooled[key] = self._open(spec, client if spec.stateful else None)
        pooled.used_at = monotonic()
        return pooled

    def _open(self, spec: ServerSpec, client: ClientSide | None) -> _Pooled:
        wishes = Wishes(lambda: self._missed(spec, connection))
        said, note = partial(self._said, spec, wishes), partial(self._note, spec)
        connection: Connection
        if spec.unusable is not None:
            connection = _Unusable(spec)
        elif spec.transport == "stdio":
            started = partial(self._metrics.stdio_starts.add, spec.name)
            connection = StdioConnection(spec, self._stdio_guard, self._reaper, self._settings, said, note, started, client)
        else:
            connection = HttpConnection(spec, self._http, self._settings, said, note, client)
        return _Pooled(connection, Hearing(spec.name, connection, wishes, note))

    def _said(self, spec: ServerSpec, wishes: Wishes, method: str, params: Members) -> None:
        if method == wire.UPDATED:
            wishes.updated(params)
        else:
            self._changed(spec, method)

    def _missed(self, spec: ServerSpec, connection: Connection) -> None:
        """Each list that the server would have told of may have changed."""
        for what, method in wire.LIST_CHANGED.items():
            if f"{what}.listChanged" in connection.capabilities:
                self._changed(spec, method)

    def release(self, holder: str) -> None:
        """Close what holds the state of a session that ended."""
        for key in [key for key in self._pooled if key.holder == holder and holder != SHARED]:
            self._close_later(key)

    def keep_only(self, current: Iterable[ServerSpec]) -> None:
        """Close connections to servers or configurations that are in no project any more, and stateful ones long unused."""
        wanted = {(spec.name, spec.digest) for spec in current}
        now = monotonic()
        for key, pooled in list(self._pooled.items()):
            unused = now - pooled.used_at
            unwanted = (key.server, key.digest) not in wanted and unused > JUST_USED
            idle = key.holder != SHARED and unused > self._settings.idle_timeout
            if (unwanted or idle) and not pooled.connection.busy and not pooled.hearing.is_wanted:
                self._close_later(key)

    def _close_later(self, key: Key) -> None:
        pooled = self._pooled.pop(key)
        task = asyncio.create_task(_close(pooled))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    @property
    def connections(self) -> Mapping[str, int]:
        """How many connections there are to each server."""
        return Counter(key.server for key in self._pooled)

    def answered(self, spec: ServerSpec) -> int:
        """How many requests ``spec`` has answered over the connections there are."""
        return sum(pooled.connection.answered for key, pooled in self._pooled.items() if key.digest == spec.digest)

    async def close(self) -> None:
        """Close everything, children included."""
        for key in list(self._pooled):
            self._close_later(key)
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._reaper.close()
        await self._http.close()


async def _close(pooled: _Pooled) -> None:
    await pooled.hearing.close()
    await pooled.connection.close()
