"""Several instances at work, interruptions, and a misbehaving bus."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.bus.inprocess import InProcessBus
from libs.common.clock import WallClock
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.catalogue import FACTS
from libs.common.contracts.overdue_facts import DebtWatermark
from libs.common.lifecycle import Ending, working
from libs.common.metrics import Metrics
from libs.common.outbox import Outbox
from libs.common.ports import Ports
from services.scheduler import service
from services.scheduler.acting import Desk
from services.scheduler.metrics import meters
from services.scheduler.parking import ParkingLimit, TooManyParkedError
from services.scheduler.settings import Settings
from services.scheduler.store import cases
from services.scheduler.ticker import Ticker
from services.scheduler.watcher import CaseWatch
from tests.integration.scheduler.world import MORNING, SETTLED, World, late, paid, scheduling
from tests.support.running import until


def ticker_of(world: World, claim: int) -> Ticker:
    desk = Desk(world.writer, Outbox("scheduler"), meters(Metrics()), ParkingLimit(most=9))
    return Ticker(world.engine, world.clock, desk, world.bus.partitions, claim=claim)


async def ready_cases(world: World, count: int) -> None:
    await world.tell(*(late(f"L{n}", f"B{n}") for n in range(count)))
    await world.complete()
    world.clock.advance(SETTLED)


async def test_two_tickers_at_once_take_each_case_once(world: World) -> None:
    await ready_cases(world, 60)
    done = await asyncio.gather(*(ticker_of(world, claim=7).make_pass() for _ in range(3)))
    assert sum(done) == 60
    await world.scheduler.pump()
    tasks = [task.task_id for task in world.of("contact.requested")]
    assert (len(tasks), len(set(tasks))) == (60, 60)


async def test_payments_that_race_the_ticker_leave_no_request_standing(world: World) -> None:
    await ready_cases(world, 40)
    payments = [world.tell(*(paid(f"L{n}", f"B{n}") for n in range(first, first + 4))) for first in range(0, 40, 4)]
    await asyncio.gather(*(ticker_of(world, claim=3).make_pass() for _ in range(2)), *payments)
    await world.scheduler.pump()
    assert {task.task_id for task in world.of("contact.requested")} == {task.task_id for task in world.of("contact.cancelled")}
    assert len(world.of("case.cured")) == 40
    order: dict[str, list[str]] = {}
    for envelope, _ in world.published:
        order.setdefault(envelope.subject, []).append(envelope.type)
    assert all(types.index("contact.requested.v1") == 0 for types in order.values() if "contact.requested.v1" in types)


async def test_a_row_that_was_locked_during_a_pass_is_found_by_the_next(world: World) -> None:
    await ready_cases(world, 12)
    ticker = ticker_of(world, claim=5)
    async with world.engine.begin() as conn:
        await conn.execute(text("select 1 from scheduler.cases where borrower_id = 'B3' for update"))
        assert await ticker.make_pass() == 11
    assert await ticker.make_pass() == 1
    assert await ticker.make_pass() == 0


async def test_a_row_written_below_the_bound_of_a_pass_is_found_by_the_next(world: World) -> None:
    await ready_cases(world, 3)
    async with world.engine.begin() as conn:
        above = (world.clock.now(), "zzz")
        assert await cases.claim_due(conn, world.clock.now(), after=above, limit=9) == []
        assert len(await cases.claim_due(conn, world.clock.now(), after=cases.BEGINNING, limit=9)) == 3


async def test_a_restart_between_request_and_outcome_asks_for_nothing_twice(engine: AsyncEngine) -> None:
    async with scheduling(engine) as before:
        await before.tell(late())
        await before.settle()
        (asked,) = before.of("contact.requested")
    async with scheduling(engine, start=before.clock.now()) as after:
        await after.tell(late())
        await after.outcome(asked, "sent", 1, channel="sms")
        await after.settle()
        assert after.of("contact.requested") == []
        await after.local(2, 10)
        assert [task.step for task in after.of("contact.requested")] == ["firm"]


async def test_messages_written_before_a_crash_are_published_after_it(engine: AsyncEngine) -> None:
    async with scheduling(engine) as before:
        await ready_cases(before, 3)
        await ticker_of(before, claim=2).make_pass()
        assert before.of("contact.requested") == []
    async with scheduling(engine, start=before.clock.now()) as after:
        await after.scheduler.pump()
        assert len({task.task_id for task in after.of("contact.requested")}) == 3


@pytest.mark.parametrize("seed", range(4))
async def test_on_a_bus_that_repeats_and_delays_every_borrower_is_asked_for_once(engine: AsyncEngine, seed: int) -> None:
    async with scheduling(engine, seed=seed) as world:
        facts = [late(f"L{n}{k}", f"B{n}", version=v) for v, n, k in itertools.product((1, 2), range(4), "ab")]
        await world.tell(*facts)
        await delivered(world)
        await world.tell(*(paid(f"L0{k}", "B0", version=3) for k in "ab"), *facts[:5])
        await delivered(world)
        assert sorted(task.borrower_id for task in world.of("contact.requested")).count("B1") >= 1
        async with engine.connect() as conn:
            assert await counted(conn, "select count(*) from scheduler.case_steps") == 4
            assert await counted(conn, "select count(*) from scheduler.timeline where kind = 'case.cured'") == 1
            assert await counted(conn, "select count(*) from scheduler.timeline where kind = 'contact.requested'") == 4


async def delivered(world: World) -> None:
    """Deliver in the bus's own order, with the ticker running in between, until nothing is waiting and all cases have settled."""
    await world.complete()
    while await world.bus.step():
        world.clock.advance(timedelta(milliseconds=100))
        await world.scheduler.pump()
    world.clock.advance(SETTLED)
    await world.scheduler.pump()
    while await world.bus.step():
        pass


async def counted(conn: AsyncConnection, statement: str) -> Any:
    return (await conn.execute(text(statement))).scalar_one()


async def test_the_workers_together_turn_a_fact_into_a_request_and_report_it(engine: AsyncEngine) -> None:
    clock = WallClock()
    bus = InProcessBus(clock=clock, partitions=4)
    scheduler = service.build(Ports(engine, bus, clock, "test"), Settings(settle_s=0.3))
    now = clock.now()
    zone, writer = zone_where_it_is_ten(now), Writer("test", 4)
    today = (now + zone[1]).date()
    due_on = today - timedelta(days=1)
    fact = late(timezone=zone[0], as_of=today, past_due_days_from=due_on, delinquent_from=due_on)
    async with working([scheduler], ending := Ending()):
        await until(lambda: scheduler.consumers[0].health.joined, "the consumer")
        envelope = Envelope("debt.overdue.v1", "e", "test", now, "default", "L1")
        await bus.publish([writer.message(FACTS, envelope, fact, key="default/L1", borrower_id="B1")])
        mark = Envelope("debt.watermark.v1", "w", "test", now, "default", "w")
        await bus.publish(writer.broadcast(FACTS, mark, DebtWatermark(until=now), key="w"))
        await until(lambda: b'contacts_requested_total{purpose="dunning"} 1.0' in scheduler.app.state.metrics.exposed(), "the request")
        assert await scheduler.readiness.missing() == {}
        exposed = scheduler.app.state.metrics.exposed().decode()
    assert not ending.asked.is_set(), ending.reason
    for name in ("coverage_uncontacted_cases 0.0", 'timers_due{kind="case"}', "outbox_rows", 'timer_lateness_seconds_count{kind="case"}'):
        assert f"dunwell_{name}" in exposed


def zone_where_it_is_ten(now: datetime) -> tuple[str, timedelta]:
    offset = (10 - now.hour + 11) % 24 - 11
    return (f"Etc/GMT{-offset:+d}" if offset else "Etc/GMT"), timedelta(hours=offset)


def test_the_morning_of_these_tests_is_inside_the_window() -> None:
    assert (MORNING + timedelta(hours=8)).hour == 10


async def test_a_record_that_nobody_can_read_is_set_aside_and_the_rest_goes_on(world: World) -> None:
    good, other = world.message("debt.changed.v1", late()), world.message("debt.changed.v1", late("L2"))
    await world.bus.publish([good, msgspec.structs.replace(good, value=b'{"loan_id": 7}'), other])
    await world.settle()
    (task,) = world.of("contact.requested")
    assert {debt.loan_id for debt in task.debts} == {"L1", "L2"}


async def test_when_the_rules_fail_everywhere_the_ticker_stops_instead_of_parking_the_book(world: World) -> None:
    await world.tell(*(late(f"L{n}", f"B{n}", timezone="Mars/Olympus") for n in range(12)))
    await world.complete()
    world.clock.advance(SETTLED)
    with pytest.raises(TooManyParkedError):
        await ticker_of(world, claim=100).make_pass()
    assert len(await world.rows("select 1 from scheduler.cases where in_doubt is not null")) == 0


async def test_the_watcher_counts_a_late_debt_without_a_case_and_a_case_that_was_missed(world: World) -> None:
    await world.tell(late(), late("L2", "B2"))
    await world.settle()
    measured = meters(Metrics())
    watcher = CaseWatch(world.engine, world.clock, measured)
    await watcher.look()
    assert measured.uncontacted._value.get() == 0
    async with world.engine.begin() as conn:
        await conn.execute(text("delete from scheduler.cases where borrower_id = 'B2'"))
    await watcher.look()
    assert measured.uncontacted._value.get() == 1
    assert [(item["borrower_id"], item["reason"]) for item in (await world.get("/coverage"))["items"]] == [("B2", "no_case")]
    world.clock.advance(timedelta(days=3))
    await watcher.look()
    assert measured.uncontacted._value.get() == 2
