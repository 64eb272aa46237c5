"""``/metrics`` on a listener of its own: what is counted is for whoever watches over the service, not for its clients."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version

from sqlalchemy.pool import QueuePool
from starlette.types import ASGIApp

from mcpctl import metrics
from mcpctl.api.control_plane import ControlPlane
from mcpctl.metrics import Gauge, Series
from mcpctl.services import metrics as ours


def app(control: ControlPlane) -> ASGIApp:
    """The application that shows what was counted, and how ``control`` fares."""
    return metrics.app(partial(series, control))


def series(control: ControlPlane) -> Iterator[Series]:
    """Everything there is to show now. Nothing is asked of the database, so a scrape says most while that is away."""
    yield Gauge(ours.BUILD_INFO, {(version("mcpctl"),): 1})
    yield Gauge(ours.READY, control.seems_ready)
    yield Gauge(ours.REVISION, control.feed.revision)
    yield Gauge(ours.FEED_AGE, control.feed.age)
    findings = control.directory.findings if control.directory is not None else None
    yield Gauge(ours.FILES_CURRENT, findings is None)
    yield Gauge(ours.FILES_BEHIND, control.behind)
    yield Gauge(ours.WATCHERS, control.watchers)
    yield Gauge(ours.PRINCIPALS, len(control.principals))
    pool = control.database.engine.pool
    if isinstance(pool, QueuePool):
        yield Gauge(ours.CONNECTIONS, {("in_use",): pool.checkedout(), ("idle",): pool.checkedin()})
        yield Gauge(ours.CONNECTIONS_MOST, pool.size() + pool._max_overflow)
    yield from ours.COUNTED
