"""Looks after what happens without a request: probes, fresh project lists, and reports to the control plane.

The default probe is the very ``tools/list`` that serves clients, and a server that answers ordinary requests needs none. A
server's own ``healthCheck`` says how often it is probed, how long that may take, and perhaps which tool is called instead.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from time import monotonic

import structlog

from mcpctl.errors import Problem
from mcplocal.catalog import ServerSpec
from mcplocal.control.control_plane import ControlPlane
from mcplocal.control.journal import Journal
from mcplocal.control.policy_feed import Change, PolicyFeed
from mcplocal.control.report import Instances
from mcplocal.discovery import Discovery
from mcplocal.settings import Settings
from mcplocal.upstream.pool import Pool

log = structlog.get_logger(__name__)
_CHANCE = Random()  # noqa: S311 - spreads attempts; nothing secret comes of it

TICK = 1.0
REPORTS = 3
"""Reports of one tick at most: a server that never stops writing loses lines, and must not keep all else from happening."""


@dataclass(eq=False)
class _Probe:
    """When a server is probed next, how many requests it had answered at the last probe, and the probe under way."""

    due: float
    answered: int = 0
    task: asyncio.Task[None] | None = None


class Liveness:
    """One task, once a second: renew what changed, probe and report when it is time."""

    def __init__(
        self,
        settings: Settings,
        control_plane: ControlPlane,
        feed: PolicyFeed,
        discovery: Discovery,
        pool: Pool,
        instances: Instances,
        journal: Journal,
    ) -> None:
        """Probe through ``discovery``, and report ``instances`` and the lines of ``journal``."""
        self._interval = settings.probe_interval
        self._name = settings.name
        self._control_plane = control_plane
        self._discovery = discovery
        self._pool = pool
        self._instances = instances
        self._journal = journal
        self._task: asyncio.Task[None] | None = None
        self._probes: dict[str, _Probe] = {}
        self._policy_changed = False
        feed.on_change(self._note)

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._look_after())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        probing = [probe.task for probe in self._probes.values() if probe.task is not None]
        for task in probing:
            task.cancel()
        await asyncio.gather(*probing, return_exceptions=True)

    def _note(self, _: Change) -> None:
        self._policy_changed = True

    async def _look_after(self) -> None:
        last_renewal = last_report = monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = monotonic()
            try:
                if self._policy_changed or now - last_renewal >= self._interval:
                    self._policy_changed, last_renewal = False, now
                    await self._discovery.renew()
                self._probe_who_is_due(now)
                if self._instances.changed or self._journal.has_lines or now - last_report >= self._interval:
                    last_report = now
                    await self._report()
            except Problem as problem:
                log.info("the status of the servers could not be reported", why=problem.detail)
            except Exception:
                log.exception("looking after the servers failed")

    def _probe_who_is_due(self, now: float) -> None:
        servers = {spec.digest: spec for spec in self._discovery.servers}
        for digest in [digest for digest in self._probes if digest not in servers]:
            if (task := self._probes.pop(digest).task) is not None:
                task.cancel()
        for digest, spec in servers.items():
            interval = spec.health_check.interval_seconds if spec.health_check is not None else self._interval
            probe = self._probes.setdefault(digest, _Probe(now + interval * _CHANCE.uniform(0.5, 1)))
            if now < probe.due or (probe.task is not None and not probe.task.done()):
                continue
            probe.due = now + interval
            answered = self._pool.answered(spec)
            lives = answered > probe.answered and self._instances.status_of(spec.name) == "RUNNING"
            if spec.health_check is not None or not lives:
                probe.task = asyncio.create_task(self._probe(spec, probe))
            else:
                probe.answered = answered

    async def _probe(self, spec: ServerSpec, probe: _Probe) -> None:
        check = spec.health_check
        try:
            if check is not None and check.tool is not None:
                await self._discovery.listings.check(spec, check.tool, check.arguments or {}, check.timeout_seconds)
            else:
                await self._discovery.listings.refresh(spec, check.timeout_seconds if check is not None else None)
        except Exception:
            log.exception("a probe failed", server=spec.name)
        probe.answered = self._pool.answered(spec)  # its own answer is no traffic

    async def _report(self) -> None:
        """Report every server's status, and the lines that wait; a report that does not arrive is made again."""
        self._instances.changed = False
        for _ in range(REPORTS):
            lines = self._journal.take(self._instances.servers)
            instances = self._instances.as_json()
            for instance in instances:
                instance["log"] = [line.as_json() for line in lines.get(instance["server"], ())]
            try:
                await self._control_plane.send_status(self._name, instances)
            except BaseException:
                self._instances.changed = True
                self._journal.put_back(lines)
                raise
            if not self._journal.has_lines:
                return
