"""Prometheus metrics of one service, as listed in docs/operations.md; label values are closed sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
FACT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
LATENESS_BUCKETS_S = (0.5, 1, 5, 15, 60, 300, 900, 3600)


@dataclass(slots=True)
class Metrics:
    """A separate registry for each service, so that three of them can share a process."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _before_scrape: list[Callable[[], None]] = field(default_factory=list)

    def counter(self, name: str, meaning: str, **labels: Iterable[str]) -> Counter:
        """Return a counter; every combination of its label values starts at 0, else `increase()` would miss the first count."""
        made = Counter(f"dunwell_{name}", meaning, list(labels), registry=self.registry)
        _fill(made, [list(values) for values in labels.values()])
        return made

    def gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        """Return a gauge."""
        return Gauge(f"dunwell_{name}", meaning, list(labels), registry=self.registry)

    def histogram(self, name: str, meaning: str, buckets: Iterable[float], *labels: str) -> Histogram:
        """Return a histogram with these upper bounds."""
        return Histogram(f"dunwell_{name}", meaning, list(labels), registry=self.registry, buckets=tuple(buckets))

    def of_process(self, version: str) -> None:
        """Add the release, and what every Prometheus client reports of its process: memory, CPU, open files, start."""
        self.gauge("build_info", "Always 1, of this release", "version").labels(version).set(1)
        ProcessCollector(registry=self.registry)

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Call this before every scrape, for gauges that are read from memory."""
        self._before_scrape.append(refresh)

    def exposed(self) -> bytes:
        """Return the text format."""
        for refresh in self._before_scrape:
            refresh()
        return generate_latest(self.registry)


def _fill(counter: Counter, choices: list[list[str]], chosen: tuple[str, ...] = ()) -> None:
    if not choices:
        if chosen:
            counter.labels(*chosen)
        return
    for value in choices[0]:
        _fill(counter, choices[1:], (*chosen, value))
