"""What ingest counts: every event once, by where it entered, and every record that was set aside."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from libs.common.bus.ports import Message
from libs.common.contracts.catalogue import FACTS, LOAN_EVENTS_TOPIC
from libs.common.errors import TransientError
from tests.integration.ingest_decisions.test_topic_decisions import binary, publish
from tests.support.postgres import Databases
from tests.support.running import Running, running_ingest
from tests.support.wallet import event, loan, repayment

TOPIC = LOAN_EVENTS_TOPIC.name


def shown(running: Running, metric: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by its labels' values, as a scrape has them."""
    metrics = running.service.app.state.metrics
    metrics.exposed()
    families = [family for family in metrics.registry.collect() if family.name in (metric, metric.removesuffix("_total"))]
    return {tuple(s.labels.values()): s.value for family in families for s in family.samples if s.name == metric}


def taken(running: Running) -> dict[tuple[str, ...], float]:
    """Return how many events were counted, where there were any."""
    return {labels: number for labels, number in shown(running, "dunwell_intake_events_total").items() if number}


def bad(value: bytes = b"{") -> Message:
    return Message(TOPIC, 0, b"k", value, ())


async def test_an_event_is_counted_once_by_where_it_entered(databases: Databases) -> None:
    async with databases.fresh("ingest") as engine, running_ingest(engine) as (running, _):
        by_http, on_topic = loan("L1"), loan("L2")
        await running.post(by_http, repayment("L1", 100), event("borrower.updated", borrower_id="B1", timezone="Asia/Taipei"))
        assert taken(running) == {("http", "accepted"): 3}
        await publish(running, binary(on_topic), binary(by_http), bad())
        assert taken(running) == {("http", "accepted"): 3, ("kafka", "accepted"): 1, ("kafka", "repeat"): 1, ("kafka", "rejected"): 1}


async def test_a_conflict_over_http_was_accepted_at_the_door_and_one_on_the_topic_is_rejected(databases: Databases) -> None:
    async with databases.fresh("ingest") as engine, running_ingest(engine) as (running, _):
        first = loan("L1")
        await publish(running, binary(first))
        await running.post({**first, "data": {**first["data"], "product": "another"}})
        await publish(running, binary({**first, "data": {**first["data"], "product": "third"}}))
        assert len((await running.get("/v1/parked"))["items"]) == 2
        assert taken(running) == {("http", "accepted"): 1, ("kafka", "accepted"): 1, ("kafka", "rejected"): 1}


async def test_a_record_that_is_set_aside_is_counted_with_its_reason_and_leaves_less_of_the_budget(databases: Databases) -> None:
    async with databases.fresh("ingest") as engine, running_ingest(engine) as (running, _):
        assert shown(running, "dunwell_dead_letters_total")[TOPIC, "not_json"] == 0
        assert shown(running, "dunwell_dead_letter_budget_ratio")[TOPIC,] == 1
        await publish(running, bad(), bad(b"[]"), bad(b'{"id": 1}'), binary({**loan("L1"), "type": "wallet.loan.unheard_of.v1"}))
        counted = {labels: number for labels, number in shown(running, "dunwell_dead_letters_total").items() if number}
        assert counted == {(TOPIC, "not_json"): 1, (TOPIC, "malformed"): 2, (TOPIC, "unknown_type"): 1}
        assert shown(running, "dunwell_dead_letter_budget_ratio")[TOPIC,] == 1 - 4 / 1000
        running.clock.advance(timedelta(hours=1))
        assert shown(running, "dunwell_dead_letter_budget_ratio")[TOPIC,] == 1


async def test_a_topic_that_stands_still_has_nothing_left(databases: Databases) -> None:
    async with databases.fresh("ingest") as engine, running_ingest(engine, FACTS) as (running, _):
        with contextlib.suppress(TransientError):
            await publish(running, *[bad(b"x%d" % n) for n in range(1001)])
        running.clock.advance(timedelta(hours=1))
        left = shown(running, "dunwell_dead_letter_budget_ratio")
        assert (left[TOPIC,], left["wallet.borrower-events",]) == (0, 1)
