"""Who hears of what: which client is told of which resource of which server, and which servers are listened to for their lists.

A subscription is a use like any other: the router decides about it and leaves an event. Here begins what follows, and lasts:
it is watched by the vigil, moves with its server's configuration, and ends with its right, its resource or its client.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from mcpctl.errors import Problem, Unavailable
from mcplocal import wire
from mcplocal.catalog import ProjectServers, ServerSpec
from mcplocal.discovery import Discovery
from mcplocal.offers.entries import Entry
from mcplocal.offers.kinds import RESOURCES
from mcplocal.settings import Settings
from mcplocal.subscriber import Subscribed, Subscriber
from mcplocal.upstream.answers import Answer, RpcError, UpstreamFailed
from mcplocal.upstream.hearing import Hearing
from mcplocal.upstream.pool import Pool
from mcplocal.uses import Full, Trace
from mcplocal.vigil import Renew, Vigil, Watched
from mcplocal.wire import Era

log = structlog.get_logger(__name__)

SETTLE: Final = 0.1
"""Seconds in which several changes of what there is are looked at as one."""

BEGUN_WITHIN: Final = 1.0
"""Seconds that whoever listens waits for the servers to be listened to. A slow one is heard later, and holds nobody up."""

PATIENCE: Final = 2.0
"""Seconds after which a patient client is told that it is subscribed although a server has not said so yet."""


class Subscriptions:
    """Keeps what clients are subscribed to, and listens to their servers meanwhile."""

    def __init__(self, settings: Settings, discovery: Discovery, pool: Pool, vigil: Vigil) -> None:
        """Listen through ``pool`` to what ``discovery`` finds, for whom ``vigil`` still lets."""
        self._settings = settings
        self._discovery = discovery
        self._pool = pool
        self._vigil = vigil
        self._all: dict[str, set[Subscribed]] = {}
        self._count = 0
        self._listeners: Counter[str] = Counter()
        self._servers: dict[str, ProjectServers] = {}
        self._heard: set[Hearing] = set()
        self._looking: asyncio.Task[None] | None = None
        self._again = False
        discovery.on_change(self._look_soon)

    async def begin(self, subscriber: Subscriber, trace: Trace, renew: Renew, entry: Entry, spec: ServerSpec) -> Answer:
        """Subscribe a client to ``entry``, a resource of ``spec`` that has just been decided about.

        Raises:
            Full: it is subscribed to as much as it may be, or the gateway is.
            UpstreamFailed: the server cannot be reached, and the client would rather know.
        """
        if subscriber.closed:
            return Answer(Era.LEGACY, error=RpcError(wire.INVALID_REQUEST, "the session has ended"))
        subscribed = subscriber.held.get(trace.use.name)
        if subscribed is None or (subscribed.ref, subscribed.digest) != (entry.ref, spec.digest):
            if subscribed is not None:
                self.end(subscribed)
            subscribed = self._hold(subscriber, trace, renew, entry, spec)
        wish = subscribed.wish
        try:
            async with asyncio.timeout(PATIENCE if subscriber.is_patient else self._settings.start_timeout):
                await wish.outcome.wait()
        except TimeoutError:
            if subscriber.is_patient:
                return Answer(Era.LEGACY, {})
            self.end(subscribed)
            raise UpstreamFailed("it does not answer in time") from None
        except BaseException:
            self.end(subscribed)
            raise
        if wish.refusal is not None:
            self.end(subscribed)
            return Answer(Era.LEGACY, error=wish.refusal)
        if wish.failure is not None and not subscriber.is_patient:
            self.end(subscribed)
            raise UpstreamFailed(wish.failure.detail, lasting=wish.failure.lasting)
        return Answer(Era.LEGACY, {})

    def end(self, subscribed: Subscribed) -> None:
        """It is over; the server is left if nobody else wants to hear of that resource."""
        subscriber, project = subscribed.subscriber, subscribed.watched.caller.project
        if subscriber.held.get(subscribed.uri) is not subscribed:
            return
        del subscriber.held[subscribed.uri]
        self._count -= 1
        self._all[project].discard(subscribed)
        if not self._all[project]:
            del self._all[project]
        self._vigil.end(subscribed.watched)
        subscribed.hearing.leave(subscribed.wish, subscribed.tell)

    def leave(self, subscriber: Subscriber, uri: str) -> None:
        """The client no longer wants to hear of what it knows as ``uri``."""
        subscribed = subscriber.held.get(uri)
        if subscribed is not None:
            self.end(subscribed)

    def close(self, subscriber: Subscriber) -> None:
        """The client has gone."""
        subscriber.closed = True
        for subscribed in list(subscriber.held.values()):
            self.end(subscribed)

    async def may_be_told(self, project: str) -> bool:
        """Whether any server of ``project`` tells of changes to single resources, or may, as it has not said yet."""
        try:
            servers = await self._discovery.project(project)
        except Problem:
            return True
        has = [self._pool.capabilities(spec) for spec in servers.servers]
        return any(capabilities is None or wire.SUBSCRIBES in capabilities for capabilities in has)

    @asynccontextmanager
    async def hearing_lists(self, project: str) -> AsyncIterator[None]:
        """Within the block the servers of ``project`` are listened to for changes of their lists."""
        self._listeners[project] += 1
        try:
            if project not in self._servers:
                self._servers[project] = await self._discovery.project(project)
                self._listen()
            hearings = [self._pool.hearing(spec) for spec in self._servers[project].servers]
            waiting = [asyncio.ensure_future(one.begun.wait()) for one in hearings if not one.begun.is_set()]
            if waiting:
                _, slow = await asyncio.wait(waiting, timeout=BEGUN_WITHIN)
                for one in slow:
                    one.cancel()
            yield
        finally:
            self._listeners[project] -= 1
            if not self._listeners[project]:
                del self._listeners[project]
                self._servers.pop(project, None)
                self._listen()

    async def stop(self) -> None:
        """Look at nothing any more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _hold(self, subscriber: Subscriber, trace: Trace, renew: Renew, entry: Entry, spec: ServerSpec) -> Subscribed:
        each, in_all = self._settings.max_subscriptions, self._settings.max_subscriptions_in_all
        if len(subscriber.held) >= each:
            raise Full(f"you are subscribed to {each} resources already: unsubscribe from one of them first")
        if self._count >= in_all:
            raise Full(f"this gateway has {in_all} subscriptions to resources already: try again later")
        use, hearing = trace.use, self._pool.hearing(spec, trace.use.holder, trace.use.client)
        watched = Watched(trace.caller, renew, entry.ref.asked, lambda: self.end(subscribed))

        def tell() -> None:
            subscriber.tell(subscribed)
            if subscribed.wish.refusal is not None:
                self.end(subscribed)  # once more, so that the client sees for itself

        wish = hearing.want(entry.original, tell)
        subscribed = Subscribed(
            subscriber,
            use.name,
            entry.ref,
            entry.original,
            use.holder,
            use.client,
            spec.digest,
            hearing,
            watched,
            wish,
            tell,
        )
        subscriber.held[use.name] = subscribed
        self._all.setdefault(trace.caller.project, set()).add(subscribed)
        self._count += 1
        self._vigil.begin(watched)
        return subscribed

    def _listen(self) -> None:
        """Listen to the servers of the projects that somebody listens to, and to no others."""
        wanted = {self._pool.hearing(spec) for servers in self._servers.values() for spec in servers.servers}
        for hearing in self._heard - wanted:
            hearing.want_lists(False)
        for hearing in wanted - self._heard:
            hearing.want_lists(True)
        self._heard = wanted

    def _look_soon(self) -> None:
        if not self._listeners and not self._all:
            return
        self._again = True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """See whether what clients are subscribed to is still there, and who is to be listened to."""
        while self._again:
            await asyncio.sleep(SETTLE)
            self._again = False
            for project in {*self._listeners, *self._all}:
                try:
                    servers = await self._discovery.project(project)
                except Unavailable:
                    continue
                except Exception as error:
                    if not isinstance(error, Problem):
                        log.exception("what is subscribed to cannot be looked at; it ends", project=project)
                    for subscribed in list(self._all.get(project, ())):
                        self.end(subscribed)
                    continue
                if project in self._listeners:
                    self._servers[project] = servers
                self._check(project, servers)
            self._listen()

    def _check(self, project: str, servers: ProjectServers) -> None:
        specs = {spec.name: spec for spec in servers.servers}
        offer = self._discovery.known_offer(servers, RESOURCES)
        for subscribed in list(self._all.get(project, ())):
            spec = specs.get(subscribed.ref.server)
            if spec is None:
                self.end(subscribed)
                continue
            if spec.digest != subscribed.digest:
                self._move(subscribed, spec)
            if offer is None or spec.name in offer.silent:
                continue  # what it has is not known now
            found = offer.find(subscribed.uri)
            if found is None or found.ref != subscribed.ref:
                subscribed.subscriber.tell(subscribed)  # so that the client sees for itself
                self.end(subscribed)

    def _move(self, subscribed: Subscribed, spec: ServerSpec) -> None:
        """Listen to the server as it is reached now; what it said meanwhile may have been missed."""
        subscribed.hearing.leave(subscribed.wish, subscribed.tell)
        subscribed.hearing = self._pool.hearing(spec, subscribed.holder, subscribed.client)
        subscribed.wish, subscribed.digest = subscribed.hearing.want(subscribed.original, subscribed.tell), spec.digest
        subscribed.tell()
