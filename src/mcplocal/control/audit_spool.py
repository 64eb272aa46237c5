"""Call events on their way to the control plane: in memory for less than a second, on disk while it is away.

Noting an event never waits. Events leave in batches; what cannot be delivered is appended to a file of the state directory
and goes out, oldest first, when the control plane is back or this program is started again. An event may be delivered
twice; the control plane knows it by its id.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from ulid import ULID

from mcpctl.errors import InvalidInput, Problem
from mcplocal.control.control_plane import ControlPlane
from mcplocal.json_text import NotJson, read
from mcplocal.metrics import Metrics

log = structlog.get_logger(__name__)

Event = str
"""A call event as JSON text, see ``mcplocal.call_events``."""

BATCH: Final = 500
EVERY: Final = 0.5
"""Seconds between deliveries when there is something to deliver."""
RETRY: Final = 2.0
IN_MEMORY: Final = 50_000
ON_DISK: Final = 256 << 20
"""Bytes kept on disk at most; past that the oldest file is given up, and the log says how many events that cost."""


class AuditSpool:
    """Takes events and sees to it that they arrive."""

    def __init__(self, control_plane: ControlPlane, gateway: str, directory: Path, metrics: Metrics) -> None:
        """Keep what waits in ``directory``/audit."""
        self._control_plane = control_plane
        self._gateway = gateway
        self._directory = directory / "audit"
        self._waiting: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._own_file = f"{ULID()}.jsonl"
        self._have_files = True
        self._dropped = 0
        self._metrics = metrics

    def note(self, event: Event) -> None:
        """Take one event."""
        if len(self._waiting) >= IN_MEMORY:
            self._dropped += 1
            self._metrics.audit_lost.add()
            return
        self._waiting.append(event)
        self._wake.set()

    @property
    def waiting(self) -> int:
        """How many wait in memory."""
        return len(self._waiting)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of those that wait on disk."""
        found = 0
        for file in self._files() if self._have_files else []:
            with suppress(OSError):  # it has just been delivered
                found += file.stat().st_size
        return found

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.create_task(self._deliver_forever())

    async def stop(self) -> None:
        """Deliver what is left, or leave it on disk."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        while self._waiting:
            await self._deliver()

    async def _deliver_forever(self) -> None:
        while True:
            if self._have_files and not self._waiting:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), RETRY)
            else:
                await self._wake.wait()
            await asyncio.sleep(EVERY)
            try:
                # What comes in meanwhile waits for the next time, or a busy gateway would send its events one by one.
                for _ in range(-(-len(self._waiting) // BATCH)):
                    await self._deliver()
                if self._have_files:
                    await self._deliver_files()
            except Exception:
                log.exception("audit events could not be delivered")

    async def _deliver(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        if not self._waiting:
            self._wake.clear()
        if self._dropped:
            log.error("audit events were lost: too many at once", events=self._dropped)
            self._dropped = 0
        try:
            if not await self._send(batch):
                await asyncio.to_thread(self._keep, batch)
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(batch))
            raise

    async def _send(self, batch: Sequence[Event]) -> bool:
        """Deliver ``batch``; whether that is settled. Events that will never be taken are put aside one by one."""
        try:
            await self._control_plane.send_audit(self._gateway, batch)
        except InvalidInput as refusal:
            if len(batch) == 1:
                log.error("the control plane refuses an audit event; it is put aside", why=refusal.detail)
                await asyncio.to_thread(self._append, self._directory / "refused.log", batch)
                return True
            half = len(batch) // 2
            return await self._send(batch[:half]) and await self._send(batch[half:])
        except Problem as problem:
            if not self._have_files:
                log.warning("audit events wait on disk", why=problem.detail)
            return False
        self._metrics.audit_delivered.add(amount=len(batch))
        return True

    def _keep(self, batch: Sequence[Event]) -> None:
        self._append(self._directory / self._own_file, batch)
        self._have_files = True
        files = self._files()
        while len(files) > 1 and sum(file.stat().st_size for file in files) > ON_DISK:
            oldest = files.pop(0)
            self._metrics.audit_lost.add(amount=len(_events_of(oldest)))
            log.error("audit events were lost: no more room on disk", file=oldest.name, limit=ON_DISK)
            oldest.unlink(missing_ok=True)

    def _append(self, file: Path, batch: Sequence[Event]) -> None:
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "ab") as stream:
                stream.write("".join(f"{event}\n" for event in batch).encode())
            if file.name == self._own_file and file.stat().st_size > ON_DISK // 16:
                self._own_file = f"{ULID()}.jsonl"
        except OSError as error:
            self._metrics.audit_lost.add(amount=len(batch))
            log.error("audit events were lost: they cannot be written", events=len(batch), error=str(error))

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.jsonl")) if self._directory.is_dir() else []

    async def _deliver_files(self) -> None:
        for file in await asyncio.to_thread(self._files):
            events = await asyncio.to_thread(_events_of, file)
            for start in range(0, len(events), BATCH):
                if not await self._send(events[start : start + BATCH]):
                    return
            await asyncio.to_thread(file.unlink, missing_ok=True)
            if events:
                log.info("audit events that waited on disk were delivered", events=len(events))
        self._have_files = bool(await asyncio.to_thread(self._files))


def _events_of(file: Path) -> list[Event]:
    """The events of a file. A last line cut short by a crash is left out."""
    events: list[Event] = []
    with suppress(OSError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(NotJson):
                if isinstance(read(line, unique=False), dict):
                    events.append(line)
    return events
