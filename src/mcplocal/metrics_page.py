"""``/metrics`` of a gateway, on a listener of its own: what it has counted, and what is so at the moment of the scrape."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final, get_args

from starlette.types import ASGIApp

from mcpctl import metrics
from mcpctl.metrics import Gauge, Labels, Series
from mcplocal import metrics as ours
from mcplocal import wire
from mcplocal.control.report import Status
from mcplocal.gateway import Gateway
from mcplocal.results import counts

_STATUSES: Final = get_args(Status)

METRICS: Final = (*ours.METRICS, *counts.METRICS)
"""Every metric there is on the page."""


def app(gateway: Gateway) -> ASGIApp:
    """The application that shows it."""
    return metrics.app(partial(series, gateway))


def series(gateway: Gateway) -> Iterator[Series]:
    """Everything there is to show now. Nobody is asked, so a scrape says most while others are away."""
    yield Gauge(ours.BUILD_INFO, {(wire.IMPLEMENTATION["version"],): 1})
    yield Gauge(ours.READY, gateway.is_ready)
    yield Gauge(ours.REVISION, gateway.feed.revision)
    yield Gauge(ours.FEED_AGE, gateway.feed.silence)
    yield Gauge(ours.CALLERS, gateway.gate.remembered)
    yield Gauge(ours.SESSIONS, gateway.metrics.sessions())
    yield Gauge(ours.STREAMS, {(kind,): count for kind, count in gateway.metrics.streams.items()})
    yield Gauge(ours.UNDER_WAY, gateway.vigil.watched)
    yield Gauge(ours.SPOOLED, gateway.audit.waiting)
    yield Gauge(ours.SPOOLED_BYTES, gateway.audit.bytes_on_disk)
    known = gateway.instances.known
    yield Gauge(ours.UPSTREAM_STATUS, {(one.server, status): status == one.status for one in known for status in _STATUSES})
    yield Gauge(ours.UPSTREAM_TOOLS, {(one.server,): one.tools for one in known if one.tools is not None})
    latencies: dict[Labels, float] = {(one.server,): one.latency_ms / 1000 for one in known if one.latency_ms is not None}
    yield Gauge(ours.UPSTREAM_LATENCY, latencies)
    yield Gauge(ours.UPSTREAM_CONNECTIONS, {(server,): count for server, count in gateway.pool.connections.items()})
    yield from gateway.metrics.series()
