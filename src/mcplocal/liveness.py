"""Looks after what happens without a request: default probes, fresh project lists, and reports to the control plane.

The default probe is the very ``tools/list`` that serves clients. A server that answers ordinary calls needs none.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic

import structlog

from mcpctl.errors import Problem
from mcplocal.control.control_plane import ControlPlane
from mcplocal.control.policy_feed import Change, PolicyFeed
from mcplocal.control.report import Instances
from mcplocal.discovery import Discovery
from mcplocal.settings import Settings

log = structlog.get_logger(__name__)

TICK = 1.0


class Liveness:
    """One task, once a second: renew what changed, probe and report when it is time."""

    def __init__(
        self, settings: Settings, control_plane: ControlPlane, feed: PolicyFeed, discovery: Discovery, instances: Instances
    ) -> None:
        """Probe through ``discovery`` and report ``instances``."""
        self._interval = settings.probe_interval
        self._name = settings.name
        self._control_plane = control_plane
        self._discovery = discovery
        self._instances = instances
        self._task: asyncio.Task[None] | None = None
        self._probing: set[asyncio.Task[None]] = set()
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
        for task in self._probing:
            task.cancel()
        await asyncio.gather(*self._probing, return_exceptions=True)

    def _note(self, _: Change) -> None:
        self._policy_changed = True

    async def _look_after(self) -> None:
        last_probe = last_report = monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = monotonic()
            try:
                if self._policy_changed or now - last_probe >= self._interval:
                    self._policy_changed = False
                    await self._discovery.renew()
                if now - last_probe >= self._interval:
                    last_probe = now
                    for spec in self._discovery.servers:
                        probe = asyncio.create_task(self._discovery.refresh(spec))
                        self._probing.add(probe)
                        probe.add_done_callback(self._probing.discard)
                if self._instances.changed or now - last_report >= self._interval:
                    self._instances.changed = False
                    last_report = now
                    await self._control_plane.send_status(self._name, self._instances.as_json())
            except Problem as problem:
                log.info("the status of the servers could not be reported", why=problem.detail)
            except Exception:
                log.exception("looking after the servers failed")
