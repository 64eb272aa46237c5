"""How each server is reached from here, as the control plane shows it in ``mcpctl get instances``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from mcpctl.wire.shapes import rfc3339
from mcplocal.json_text import shown

Status = Literal["STARTING", "RUNNING", "DEGRADED", "UNREACHABLE", "ERROR"]

LONGEST_DETAIL = 1000


@dataclass(frozen=True)
class Instance:
    """One server as this gateway reaches it.

    ``DEGRADED`` serves from an older list or lost some entries; ``UNREACHABLE`` gives no answer; ``ERROR`` will give
    none until somebody changes something.
    """

    server: str
    status: Status = "STARTING"
    detail: str = ""
    tools: int | None = None
    latency_ms: float | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, Any]:
        """The shape of ``POST /api/v1/gateway/status``."""
        return {
            "server": self.server,
            "status": self.status,
            "detail": shown(self.detail, LONGEST_DETAIL),
            "tools": self.tools,
            "latencyMs": self.latency_ms,
            "at": rfc3339(self.at),
        }


class Instances:
    """What is known of every server, and whether that has changed since it was last reported."""

    def __init__(self) -> None:
        self._known: dict[str, Instance] = {}
        self.changed = False

    def note(self, instance: Instance) -> None:
        """Take what was just seen of a server."""
        before = self._known.get(instance.server)
        self._known[instance.server] = instance
        if before is None or replace(before, latency_ms=None, at=instance.at) != replace(instance, latency_ms=None):
            self.changed = True

    def keep_only(self, servers: Iterable[str]) -> None:
        """Forget servers that are in no project any more."""
        wanted = set(servers)
        for server in [server for server in self._known if server not in wanted]:
            del self._known[server]
            self.changed = True

    def status_of(self, server: str) -> Status | None:
        """The status of one server; ``None`` if nothing is known of it."""
        known = self._known.get(server)
        return known.status if known is not None else None

    @property
    def known(self) -> list[Instance]:
        """Every server of which anything is known."""
        return list(self._known.values())

    @property
    def servers(self) -> list[str]:
        """The names of the servers of which anything is known."""
        return sorted(self._known)

    def as_json(self) -> list[dict[str, Any]]:
        """Everything known, by name."""
        return [self._known[server].as_json() for server in self.servers]
