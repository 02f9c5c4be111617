"""What the services show to Prometheus: closed sets of labels, and every counter there from the start."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

from libs.common.lifecycle import Service
from libs.common.metrics import Metrics
from tests.support.built import built_platform

SERVICES = ("ingest", "scheduler", "notifier")
FORBIDDEN = {
    "tenant",
    "borrower",
    "borrower_id",
    "loan",
    "loan_id",
    "case",
    "case_id",
    "task",
    "task_id",
    "policy",
    "template",
    "rule",
    "path",
    "error",
    "country",
    "service",
    "person",
    "key",
}
SERIES_OF_A_REPLICA = 2000


def metrics_of(service: Service) -> Metrics:
    found: Metrics = service.app.state.metrics
    return found


def collectors(metrics: Metrics) -> list[MetricWrapperBase]:
    return [one for one in metrics.registry._collector_to_names if isinstance(one, MetricWrapperBase)]


def series(metrics: Metrics) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    metrics.exposed()
    return {(sample.name, tuple(sorted(sample.labels.items()))) for family in metrics.registry.collect() for sample in family.samples}


@pytest.mark.parametrize("name", SERVICES)
async def test_no_metric_has_a_label_that_grows_with_the_business(name: str) -> None:
    async with built_platform() as (platform, _):
        metrics = metrics_of(getattr(platform, name))
        labels = {one._name: set(one._labelnames) for one in collectors(metrics)}
    assert len(labels) > 5
    assert {metric: bad for metric, own in labels.items() if (bad := own & FORBIDDEN)} == {}


@pytest.mark.parametrize("name", SERVICES)
async def test_every_metric_is_named_by_the_rules(name: str) -> None:
    async with built_platform() as (platform, _):
        found = collectors(metrics_of(getattr(platform, name)))
    for one in found:
        assert one._name.startswith("dunwell_")
        assert one._documentation
        assert one._type in ("counter", "gauge", "histogram")
        assert not (one._type == "histogram" and not one._name.endswith("_seconds"))
        assert not (one._type == "gauge" and one._name.endswith("_total"))


@pytest.mark.parametrize("name", SERVICES)
async def test_strange_requests_make_no_series_of_their_own(name: str) -> None:
    async with built_platform() as (platform, client):
        metrics = metrics_of(getattr(platform, name))

        async def ask(number: int) -> None:
            for method, path in (
                ("GET", f"nowhere/{number}"),
                (f"X{number}", "healthz"),
                (f"Y{number}", f"v1/{number}"),
                ("GET", "healthz"),
            ):
                await client.request(method, f"/{name}/{path}", headers={"Authorization": f"Bearer {'' if number % 2 else ' '}"})

        await asyncio.gather(*[ask(number) for number in range(3)])
        first = series(metrics)
        await asyncio.gather(*[ask(number) for number in range(3, 30)])
        assert series(metrics) == first
        assert len(first) < SERIES_OF_A_REPLICA


def test_a_counter_exists_at_0_with_every_label_value_before_anything_happened() -> None:
    metrics = Metrics()
    metrics.counter("things_total", "Things", kind=("a", "b"), outcome=("x", "y"))
    text = metrics.exposed().decode()
    for kind in "ab":
        for outcome in "xy":
            assert f'dunwell_things_total{{kind="{kind}",outcome="{outcome}"}} 0.0' in text


def test_two_services_in_one_process_do_not_share_a_registry() -> None:
    one, other = Metrics(), Metrics()
    made: Any = one.counter("things_total", "Things")
    other.counter("things_total", "Things")
    made.inc()
    assert b"dunwell_things_total 1.0" in one.exposed()
    assert b"dunwell_things_total 0.0" in other.exposed()


def test_gauges_from_memory_are_read_at_every_scrape() -> None:
    metrics = Metrics()
    gauge, seen = metrics.gauge("depth", "Depth"), iter((1, 2))
    metrics.before_scrape(lambda: gauge.set(next(seen)))
    assert b"dunwell_depth 1.0" in metrics.exposed()
    assert b"dunwell_depth 2.0" in metrics.exposed()


@pytest.mark.parametrize("name", SERVICES)
async def test_dead_letters_are_counted_from_0_for_every_topic_that_a_service_reads(name: str) -> None:
    async with built_platform() as (platform, _):
        service: Service = getattr(platform, name)
        found = series(metrics_of(service))
    topics = {topic for worker in service.consumers for topic in worker.subscription.topics}
    assert len(topics) >= 2
    for topic in topics:
        assert ("dunwell_dead_letters_total", (("reason", "unreadable"), ("topic", topic))) in found
        assert ("dunwell_dead_letter_budget_ratio", (("topic", topic),)) in found
