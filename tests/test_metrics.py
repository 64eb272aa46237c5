"""Counting: what is counted is shown in Prometheus' format, between threads nothing is lost, and series are bounded."""

from __future__ import annotations

import threading

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpctl import metrics
from mcpctl.metrics import MOST_SERIES, OTHER, SECONDS, Counter, Gauge, Histogram, Metric
from tests.scrapes import Scrape

COUNTED = Metric("things_total", "counter", "Things.", {"kind": "any"})
TOOK = Metric("thing_duration_seconds", "histogram", "How long.", {"kind": "any"})


@given(st.lists(st.floats(0, 1000, allow_nan=False), min_size=1, max_size=50))
def test_a_histogram_says_what_was_observed(seconds: list[float]) -> None:
    histogram = Histogram(TOOK)
    for one in seconds:
        histogram.observe(one, "a")
    scrape = Scrape.of([histogram])
    for bound in SECONDS:
        assert sum(one <= bound for one in seconds) == scrape.value("thing_duration_seconds_bucket", kind="a", le=str(bound))
    assert len(seconds) == scrape.value("thing_duration_seconds_bucket", kind="a", le="+Inf")
    assert len(seconds) == scrape.value("thing_duration_seconds_count", kind="a")
    assert sum(seconds) == pytest.approx(scrape.value("thing_duration_seconds_sum", kind="a"))


@given(st.text(max_size=20))
def test_no_label_value_breaks_the_format(text: str) -> None:
    counter = Counter(COUNTED)
    counter.add(text)
    scrape = Scrape.of([counter, Gauge(Metric("one", "gauge", "One."), 1)])
    assert 1 == scrape.value("things_total", kind=text)
    assert 1 == scrape.value("one")


def test_past_the_bound_everything_else_is_one_series() -> None:
    counter, histogram = Counter(COUNTED), Histogram(TOOK)
    for number in range(MOST_SERIES + 500):
        counter.add(str(number))
        histogram.observe(1, str(number))
    assert 500 == counter.value(OTHER)
    assert 1 == counter.value("0")
    scrape = Scrape.of([counter, histogram])
    assert MOST_SERIES + 1 == len(scrape.labels("things_total")) == len(scrape.labels("thing_duration_seconds_count"))
    assert 500 == scrape.value("thing_duration_seconds_count", kind=OTHER)


def test_between_threads_nothing_is_lost_and_a_scrape_may_happen_meanwhile() -> None:
    counter, histogram = Counter(COUNTED), Histogram(TOOK)

    def count(kind: int) -> None:
        for number in range(5_000):
            counter.add(str(number % 7))
            histogram.observe(0.1, str(kind))

    threads = [threading.Thread(target=count, args=(kind,)) for kind in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        Scrape.of([counter, histogram])
    assert 20_000 == sum(counter.value(str(kind)) for kind in range(7))
    assert [5_000] * 4 == [Scrape.of([histogram]).value("thing_duration_seconds_count", kind=str(kind)) for kind in range(4)]


@pytest.mark.anyio
async def test_there_is_metrics_on_that_listener_and_nothing_else() -> None:
    transport = httpx2.ASGITransport(metrics.app(lambda: [Counter(Metric("seen_total", "counter", "Seen."))]))
    async with httpx2.AsyncClient(transport=transport, base_url="http://metrics") as http:
        answer = await http.get("/metrics")
        assert (200, "text/plain") == (answer.status_code, answer.headers["content-type"].partition(";")[0])
        scrape = Scrape(answer.text)
        assert ("counter", "Seen.") == (scrape.kinds["seen"], scrape.meanings["seen"])
        assert ("seen_total", frozenset()) in scrape.samples, "it stands at zero before the first"
        assert 0 < scrape.value("process_resident_memory_bytes")
        head = await http.head("/metrics")
        assert (200, b"") == (head.status_code, head.content)
        assert [404, 404] == [(await http.get("/")).status_code, (await http.post("/metrics")).status_code]
