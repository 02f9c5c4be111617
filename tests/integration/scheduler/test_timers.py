"""What a pass of the timers queries, that nothing due is missed, and how a case's row begins."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text

from libs.common.db.failures import is_transient
from libs.common.errors import TransientError
from services.scheduler.changing import LET_FACTS_BY
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.store import cases, watch
from services.scheduler.store.held import case_key
from tests.integration.scheduler.test_together import ready_cases, ticker_of
from tests.integration.scheduler.world import MORNING, SETTLED, World, late

POLICY = (BUILT_IN.name, BUILT_IN.version)
TICK = timedelta(microseconds=1)
ROWS = {
    "changes": "insert into scheduler.policy_changes (tenant, change_id, effective_at, wakes) values ('default', 'c', :at, false)",
    "segments": "insert into scheduler.segment_changes (tenant, borrower_id, at) values ('default', 'B1', :at)",
    "tasks": "insert into scheduler.tasks (tenant, borrower_id, task_id, case_id, spell, key, occurrence, queue, kind, state, created_at,"
    " due_at) values ('default', 'B1', 't', 'c', 1, 'k', 1, 'q', 'call', 'claimed', :at, :at)",
    "reminders": "insert into scheduler.debts (tenant, borrower_id, loan_id, currency, epoch, version, as_of, fact_at, live, owed,"
    " wake_at, case_loan) values ('default', 'B1', 'L1', 'CNY', 1, 1, '2026-11-24', :at, true, false, :at, '')",
    "cases": "insert into scheduler.cases (tenant, borrower_id, case_id, assignment, currency, policy, policy_version, state, stage, spell,"
    " next_at) values ('default', 'B1', 'c', 'default', 'CNY', 'p', 1, 'open', 'overdue', 1, :at)",
}
"""A row of each kind that is due at a moment; changes of policies and segments wait for facts first."""
BATCH = "insert into scheduler.hold_batches (tenant, batch_id, asked, by, at, number) values ('default', 'h', '', 'mei', :at, 1)"
DONE = {
    "tasks": "update scheduler.tasks set state = 'done'",
    "hold_batches": "update scheduler.hold_batches set ended_at = at",
    "cases": "update scheduler.cases set next_at = null",
}


async def seen(world: World, now: datetime | None) -> set[str]:
    async with watch.looking(world.engine) as look:
        due = await look(now, LET_FACTS_BY)
    named = {name for name in (*ROWS, "hold_batches") if getattr(due, name)}
    assert due.any == bool(named)
    return named


async def write(world: World, statement: str, at: datetime | None = None) -> None:
    async with world.engine.begin() as conn:
        await conn.execute(text(statement), {} if at is None else {"at": at})


@pytest.mark.parametrize("kind", ROWS)
async def test_every_kind_of_timer_is_seen_at_its_moment_and_not_before(world: World, kind: str) -> None:
    await write(world, ROWS[kind], MORNING)
    moment = MORNING + (LET_FACTS_BY if kind in {"changes", "segments"} else timedelta())
    assert await seen(world, moment - TICK) == set()
    assert await seen(world, moment) == {kind}
    if kind in DONE:
        await write(world, DONE[kind])
        assert await seen(world, moment) == set()


async def test_holds_for_many_cases_are_seen_until_they_are_set(world: World) -> None:
    await write(world, BATCH, MORNING)
    assert await seen(world, MORNING - timedelta(days=1)) == {"hold_batches"}
    await write(world, DONE["hold_batches"])
    assert await seen(world, MORNING) == set()


async def test_where_no_moment_is_given_the_database_says_what_is_due(world: World) -> None:
    async with world.engine.connect() as conn:
        now: datetime = (await conn.execute(text("select clock_timestamp()"))).scalar_one()
    await write(world, ROWS["cases"], now + timedelta(hours=1))
    await write(world, ROWS["reminders"], now)
    assert await seen(world, None) == {"reminders"}


async def test_a_look_whose_connection_is_cut_fails_as_what_passes_and_leaves_the_pool_whole(world: World) -> None:
    async def looked_at_twice() -> None:
        async with watch.looking(world.engine) as look:
            await look(MORNING, LET_FACTS_BY)
            await write(world, "select pg_terminate_backend(pid) from pg_stat_activity where query = $look$" + watch.LOOK + "$look$")
            await look(MORNING, LET_FACTS_BY)

    with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is the driver's; what counts is how it is judged
        await looked_at_twice()
    assert is_transient(caught.value)
    assert await seen(world, MORNING) == set()


async def test_a_pass_in_which_nothing_is_due_asks_nothing_but_its_look(world: World) -> None:
    await ready_cases(world, 3)
    await world.scheduler.pump()
    asked: list[str] = []
    ticker = ticker_of(world, claim=5)
    event.listen(world.engine.sync_engine, "before_cursor_execute", lambda *about: asked.append(about[2]))
    assert await ticker.make_pass() == 0
    assert asked == []
    world.clock.move_to(datetime(2026, 11, 26, 2, 15, tzinfo=UTC))
    await world.complete()
    assert await ticker.make_pass() == 3


async def test_a_case_that_a_reminder_wakes_is_planned_in_the_same_pass(world: World) -> None:
    await write(world, ROWS["reminders"], MORNING)
    await write(world, "update scheduler.debts set live = false")
    await world.complete()
    assert await ticker_of(world, claim=5).make_pass() == 2
    [case] = await world.rows("select state, spell, next_at from scheduler.cases")
    assert (case.state, case.next_at) == ("closed", None)


async def test_a_case_that_was_begun_elsewhere_meanwhile_is_not_written_over(world: World) -> None:
    key, other = case_key("default", "B1", "CNY"), case_key("default", "B2", "CNY")
    async with world.engine.connect() as ours, world.engine.connect() as theirs:
        held = await cases.lock_or_begin(ours, [key, other], [key, other], policy=POLICY)
        assert [one.key for one in held] == sorted([key, other])
        async with theirs.begin():
            await cases.wake(theirs, {key: MORNING}, MORNING, policy=POLICY)
        with pytest.raises(TransientError):
            await cases.save(ours, held)
    [row] = await world.rows("select borrower_id, next_at from scheduler.cases")
    assert (row.borrower_id, row.next_at) == ("B1", MORNING)


async def test_a_case_that_facts_begin_is_counted_under_its_reason(world: World) -> None:
    await world.tell(late("L1", "B1"), late("L2", "B1"), late("L3", "B2"))
    [row] = await world.rows("select tenant, reason, sum(number) as number from scheduler.case_counts group by 1, 2")
    assert tuple(row) == ("default", "settling", 2)


async def test_facts_that_begin_cases_while_reminders_do_leave_one_row_and_one_opening_each(world: World) -> None:
    keys = {case_key("default", f"B{n}", "CNY"): MORNING for n in range(0, 40, 2)}

    async def wake() -> None:
        async with world.engine.begin() as conn:
            await cases.wake(conn, keys, MORNING, policy=POLICY)

    await asyncio.gather(wake(), *(world.tell(*(late(f"L{n}", f"B{n}") for n in range(first, first + 8))) for first in range(0, 40, 8)))
    world.clock.advance(SETTLED)
    await world.complete()
    await world.scheduler.pump()
    [row] = await world.rows(
        "select count(*) as cases, sum(spell) as spells from scheduler.cases where state = 'open' and stage = 'overdue'"
    )
    assert (row.cases, row.spells) == (40, 40)
    assert len(world.of("case.opened")) == 40
    [counted] = await world.rows("select sum(number) as number from scheduler.case_counts")
    assert counted.number == 40
