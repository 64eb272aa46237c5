"""What ``/metrics`` says, read by Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from mcpctl.metrics import Series, exposition


class Scrape:
    """One answer of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kinds: dict[str, str] = {}
        self.meanings: dict[str, str] = {}
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            self.kinds[family.name], self.meanings[family.name] = family.type, family.documentation
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"{key} stands there twice"
                self.samples[key] = sample.value

    @classmethod
    def of(cls, series: Iterable[Series]) -> Scrape:
        """The same without a listener."""
        return cls(exposition(series).decode())

    def value(self, name: str, **labels: str) -> float:
        """One sample; zero if it is not there, as whoever sums sees it."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def labels(self, name: str) -> list[dict[str, str]]:
        """The label values of every sample of this name."""
        return [dict(labels) for found, labels in self.samples if found == name]

    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """All series but those of the kernel."""
        return {key for key in self.samples if not key[0].startswith("process_")}
