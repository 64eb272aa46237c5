"""What a program counts about itself, and how ``/metrics`` shows it (Prometheus' text format 0.0.4).

Counting is plain integers behind a lock, because it happens with every request; ``prometheus_client`` is imported and its
objects are made when somebody scrapes. Label values come from configuration or from enumerations, never from what a client
sent; ``MOST_SERIES`` is the net below that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Literal, Protocol

from anyio import to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

MOST_SERIES: Final = 1000
"""Combinations of label values of one metric; further ones are counted together, as ``OTHER``."""

OTHER: Final = "other"

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the buckets of durations."""

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """One metric as it is named, meant and documented.

    Attributes:
        name: with its unit, and of a counter with ``_total``.
        meaning: one sentence.
        labels: by name, which values there are.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Series(Protocol):
    """A metric with its values."""

    metric: Metric

    def family(self) -> Any:
        """What ``prometheus_client`` writes."""


class Counter:
    """Counts, by label values in the order of the metric's labels. Safe between threads."""

    def __init__(self, metric: Metric) -> None:
        """Nothing is counted; without labels the one series stands at zero from the start."""
        self.metric = metric
        self._by: dict[Labels, int] = {} if metric.labels else {(): 0}
        self._lock = Lock()

    def add(self, *labels: str, amount: int = 1) -> None:
        """Count ``amount`` more."""
        with self._lock:
            by = self._by
            if labels not in by and len(by) >= MOST_SERIES:
                labels = (OTHER,) * len(labels)
            by[labels] = by.get(labels, 0) + amount

    def value(self, *labels: str) -> int:
        """What has been counted."""
        return self._by.get(labels, 0)

    def family(self) -> Any:
        """What ``prometheus_client`` writes."""
        from prometheus_client.core import CounterMetricFamily

        found = CounterMetricFamily(self.metric.name, self.metric.meaning, labels=tuple(self.metric.labels))
        for labels, value in self._by.copy().items():
            found.add_metric(labels, value)
        return found


class _Durations:
    """How often something took how long: a count for each bucket, and the sum."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0


class Histogram:
    """Durations in seconds, by label values. Safe between threads."""

    def __init__(self, metric: Metric) -> None:
        """Nothing has been observed."""
        self.metric = metric
        self._by: dict[Labels, _Durations] = {}
        self._lock = Lock()

    def observe(self, seconds: float, *labels: str) -> None:
        """Something took that long."""
        with self._lock:
            found = self._by.get(labels)
            if found is None:
                found = self._by.setdefault(labels if len(self._by) < MOST_SERIES else (OTHER,) * len(labels), _Durations())
            found.counts[bisect_left(SECONDS, seconds)] += 1
            found.seconds += seconds

    def count(self, *labels: str) -> int:
        """How often something was observed."""
        found = self._by.get(labels)
        return sum(found.counts) if found is not None else 0

    def family(self) -> Any:
        """What ``prometheus_client`` writes."""
        from prometheus_client.core import HistogramMetricFamily

        found = HistogramMetricFamily(self.metric.name, self.metric.meaning, labels=tuple(self.metric.labels))
        with self._lock:
            taken = [(labels, list(one.counts), one.seconds) for labels, one in self._by.items()]
        for labels, counts, total in taken:
            buckets, below = [], 0
            for bound, count in zip((*map(str, SECONDS), "+Inf"), counts, strict=True):
                below += count
                buckets.append((bound, below))
            found.add_metric(labels, buckets, total)
        return found


class Gauge:
    """What is so at the moment of the scrape, by label values; without labels one number."""

    def __init__(self, metric: Metric, values: float | Mapping[Labels, float]) -> None:
        """These values."""
        self.metric = metric
        self._values = values if isinstance(values, Mapping) else {(): float(values)}

    def family(self) -> Any:
        """What ``prometheus_client`` writes."""
        from prometheus_client.core import GaugeMetricFamily

        found = GaugeMetricFamily(self.metric.name, self.metric.meaning, labels=tuple(self.metric.labels))
        for labels, value in self._values.items():
            found.add_metric(labels, value)
        return found


class _Scrape:
    """Stands where ``prometheus_client`` expects a registry."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._series = series

    def collect(self) -> Iterator[Any]:
        from prometheus_client import ProcessCollector

        for one in self._series:
            yield one.family()
        yield from ProcessCollector(registry=None).collect()


def exposition(series: Iterable[Series]) -> bytes:
    """All of ``series`` and what the kernel says of this process (``process_…``), in Prometheus' text format."""
    from prometheus_client import generate_latest

    return generate_latest(_Scrape(series))


def app(series: Callable[[], Iterable[Series]]) -> ASGIApp:
    """The application of a listener that shows ``/metrics`` and nothing else.

    Args:
        series: asked at every scrape.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        status, kind, body = 404, b"text/plain; charset=utf-8", b"there is /metrics here and nothing else\n"
        if scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD"):
            from prometheus_client import CONTENT_TYPE_LATEST

            taken = list(series())  # here, where nothing changes meanwhile; written down elsewhere, as that takes long
            status, kind, body = 200, CONTENT_TYPE_LATEST.encode(), await to_thread.run_sync(exposition, taken)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})

    return serve
