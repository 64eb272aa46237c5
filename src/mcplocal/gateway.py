"""The gateway as one thing: its parts, put together, started and stopped in order. It has no front door of its own."""

from __future__ import annotations

import asyncio
from types import TracebackType

import structlog

from mcplocal.bell import Bell
from mcplocal.control.audit_spool import AuditSpool
from mcplocal.control.control_plane import ControlPlane
from mcplocal.control.journal import Journal
from mcplocal.control.policy_feed import PolicyFeed
from mcplocal.control.report import Instances
from mcplocal.discovery import Discovery
from mcplocal.gate import Caller, Gate
from mcplocal.liveness import Liveness
from mcplocal.metrics import Metrics
from mcplocal.results.cache_key import CacheKeys
from mcplocal.results.shaping import Shaping
from mcplocal.router import OnDecision, Router
from mcplocal.sealed_state import StateSeal
from mcplocal.settings import Settings
from mcplocal.subscriptions import Subscriptions
from mcplocal.upstream.pool import Pool
from mcplocal.vigil import Renew, Vigil

log = structlog.get_logger(__name__)

FIRST_HEARTBEAT = 2.0
"""Seconds the start waits for the control plane. Without it the gateway starts all the same, and refuses."""


class Gateway:
    """Everything behind the front doors. ``async with`` starts and stops it.

    Attributes:
        bell: rung when what somebody may see may have changed.
        metrics: what is counted.
        draining: rung when streams without an end are to end, so that the rest can be answered in time.
    """

    def __init__(self, settings: Settings, on_decision: OnDecision | None = None, *, waits: bool = True) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            settings: the settings in force.
            on_decision: called with the audit event of every call, a moment after its answer.
            waits: whether starting waits a moment for the control plane; who does not want that waits for ``heard``.
        """
        self._waits = waits
        self.settings = settings
        self.metrics = Metrics()
        self._leaving = False
        self.control_plane = ControlPlane(settings)
        self.feed = PolicyFeed(self.control_plane)
        self.control_plane.at_least = lambda: self.feed.revision
        self.gate = Gate(settings, self.control_plane, self.feed)
        journal, self.instances = Journal(), Instances()
        self.pool = Pool(
            settings, lambda spec, said: self.discovery.listings.invalidate(spec, said), journal.note, self.metrics
        )
        self.discovery = Discovery(settings, self.control_plane, self.feed, self.pool, self.instances, journal, self.metrics)
        self.audit = AuditSpool(self.control_plane, settings.name, settings.state_dir, self.metrics)
        self.vigil = Vigil(self.feed, settings.trust_for)
        self.bell, self.draining = Bell(), Bell()
        self.discovery.on_change(self.bell.ring)
        seal = StateSeal(lambda: self.control_plane.bearer)
        self.shaping = Shaping(settings, CacheKeys(lambda: self.control_plane.bearer))
        self.metrics.also_show(lambda: self.shaping.counts.series)
        self.subscriptions = Subscriptions(settings, self.discovery, self.pool, self.vigil)
        self.router = Router(
            settings,
            self.discovery,
            self.pool,
            self.vigil,
            self.audit,
            seal,
            self.shaping,
            self.subscriptions,
            on_decision,
            self.metrics,
        )
        self.liveness = Liveness(settings, self.control_plane, self.feed, self.discovery, self.pool, self.instances, journal)

    async def __aenter__(self) -> Gateway:
        """Start: follow the control plane, deliver events, look after the servers."""
        await self.control_plane.open()
        self.feed.start()
        self.audit.start()
        self.vigil.start()
        self.liveness.start()
        if self._waits:
            await self.heard()
        return self

    async def heard(self) -> None:
        """Wait until the control plane is heard, but not for long."""
        try:
            await asyncio.wait_for(self.feed.first_heartbeat(), FIRST_HEARTBEAT)
        except TimeoutError:
            log.warning("the control plane does not answer yet; until it does, everything is refused")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop: end children and connections, deliver what is left or leave it on disk."""
        await self.vigil.stop()
        await self.subscriptions.stop()
        await self.liveness.stop()
        await self.discovery.stop()
        await self.gate.stop()
        await self.pool.close()
        await self.shaping.close()
        self.router.settle()
        await self.audit.stop()
        await self.feed.stop()
        await self.control_plane.close()

    def leave(self) -> None:
        """Be ready for nobody more; whoever comes all the same is served until ``drain``."""
        self._leaving = True

    def drain(self) -> None:
        """Say to open streams that the gateway is about to stop."""
        self._leaving = True
        self.draining.ring()

    @property
    def is_ready(self) -> bool:
        """Whether calls can be decided now."""
        return not self._leaving and self.feed.silence <= max(1.0, self.settings.trust_for)

    async def admit(self, bearer: str, project: str | None) -> tuple[Caller, Renew]:
        """Who is asking, and how to make sure of that again.

        Args:
            bearer: the raw credential.
            project: the project in the path, or ``None`` at ``/mcp``.

        Raises:
            InvalidCredential: the bearer is not, or no longer, good.
            NotFound: that endpoint does not exist for it.
            Unavailable: it cannot be known now.
        """
        caller = self.gate.known_caller(bearer, project) or await self.gate.caller(bearer, project, self.settings.project)
        return caller, lambda: self.gate.caller(bearer, caller.project, None)
