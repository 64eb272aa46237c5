"""What happened to results, counted in this process and shown on ``/metrics``.

Counted from the event loop and from threads. A stage's name comes from a proxy model, so the control plane bounds it.
"""

from __future__ import annotations

from typing import Final, Literal

from mcpctl.metrics import Counter, Histogram, Metric, Series

StageOutcome = Literal["changed", "unchanged", "failed", "timeout"]


class ResultCounts:
    """Counters since the start. What can be counted under few known labels stands at zero before the first."""

    def __init__(self) -> None:
        """Nothing is counted."""
        self.stages = Histogram(
            Metric(
                "mcplocal_result_stage_duration_seconds",
                "histogram",
                "Results that passed a stage of a proxy model, and how long it took, waiting for a thread or a language model "
                "included.",
                {
                    "stage": "a stage of a proxy model in use",
                    "outcome": "`changed`, `unchanged`, `failed` or `timeout`; after the last two the result went on without "
                    "it, and after those of `redact` there was none",
                },
            )
        )
        self.lookups = Counter(
            Metric(
                "mcplocal_result_cache_lookups_total",
                "counter",
                "Calls of tools whose results may be cached.",
                {"result": "`hit`: the server was not asked; `miss`: it was"},
            )
        )
        self.writes = Counter(
            Metric(
                "mcplocal_result_cache_writes_total",
                "counter",
                "Results that were to be kept.",
                {"outcome": "`stored`, or `unavailable`: the directory or its disk does not serve"},
            )
        )
        self.damaged = Counter(
            Metric(
                "mcplocal_result_cache_damaged_total",
                "counter",
                "Kept results that were not what this gateway's credential had written, and were removed; each is a miss, too.",
            )
        )
        self.evicted = Counter(
            Metric(
                "mcplocal_result_cache_evictions_total",
                "counter",
                "Results and pages removed before their time, because there is no room.",
            )
        )
        self.pages = Counter(
            Metric(
                "mcplocal_result_pages_total",
                "counter",
                "Pages asked for with `mcplocal__next_page`.",
                {"outcome": "`given`, or `refused`: there is no such page for the caller, or not any more"},
            )
        )
        self.summarizer_tokens = Counter(
            Metric(
                "mcplocal_summarizer_tokens_total",
                "counter",
                "Tokens of questions to the language model and of its answers, as it says or else as they are estimated.",
            )
        )
        _at_zero(self.lookups, "hit", "miss")
        _at_zero(self.writes, "stored", "unavailable")
        _at_zero(self.pages, "given", "refused")

    @property
    def series(self) -> tuple[Series, ...]:
        """All of them."""
        return (self.stages, self.lookups, self.writes, self.damaged, self.evicted, self.pages, self.summarizer_tokens)

    def passed(self, stage: str, outcome: StageOutcome, seconds: float) -> None:
        """A result has passed that stage, or was passed over by it."""
        self.stages.observe(seconds, stage, outcome)


def _at_zero(counter: Counter, *labels: str) -> None:
    for label in labels:
        counter.add(label, amount=0)


METRICS: Final = tuple(one.metric for one in ResultCounts().series)
"""Every metric of results."""
