"""What is deleted and what stays: reports on kept days are the same before and after."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import ids
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Envelope
from libs.common.contracts.catalogue import PROFILES
from libs.common.contracts.wallet_borrowers import ContactRecorded
from libs.common.settings import Kept
from libs.common.sweeping import AT_ONCE, Sweep, Sweeper
from services.scheduler.store import keeping
from tests.integration.scheduler.policy_world import DOCUMENT, Office
from tests.integration.scheduler.simulating import ask, simulated
from tests.integration.scheduler.test_reports import FULL, report
from tests.integration.scheduler.test_roll_rates import ENDS, Told, histories, known, rolled
from tests.integration.scheduler.world import MORNING, TODAY, ZONE, World, late, paid
from tests.support.running import until

OTHER_KEY = "dw_other"


async def forget(engine: AsyncEngine, before: datetime, *, most: int = 2) -> int:
    """Walk over all debts, a few at a time; return the number of batches."""
    async with engine.begin() as conn:
        await conn.execute(text("update scheduler.fact_walks set before = '1970-01-01Z', tenant = '', borrower_id = '', loan_id = ''"))
    batches, more = 0, True
    while more:
        async with engine.begin() as conn:
            more = await keeping.forget_facts(conn, before, most)
        batches += 1
    return batches


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(told=histories, cut=st.integers(0, 4))
async def test_what_rolled_since_a_moment_is_the_same_without_what_was_superseded_before(
    engine: AsyncEngine, told: list[Told], cut: int
) -> None:  # fmt: skip
    tenant, ends = ids.fresh(), ENDS[cut:]
    await known(engine, tenant, told)
    before = await rolled(engine, tenant, ends)
    await forget(engine, ends[0], most=1)
    assert await rolled(engine, tenant, ends) == before
    stands = {fact.loan_id: number for number, (hour, fact) in enumerate(told, 1) if MORNING + timedelta(hours=hour) < ends[0]}
    later = {number for number, (hour, _) in enumerate(told, 1) if MORNING + timedelta(hours=hour) >= ends[0]}
    async with engine.connect() as conn:
        left = await conn.execute(text("select version from scheduler.debt_facts where tenant = :tenant"), {"tenant": tenant})
        assert set(left.scalars()) == {*stands.values(), *later}, "of each debt the newest of that moment, and all that came after"


async def test_every_report_of_the_days_that_are_kept_stays_as_it_was_and_others_are_refused(world: World) -> None:
    await world.tell(late("L1", "B1", total=100), late("L2", "B2", total=300), late("L3", "B3", total=500))
    await world.settle()
    for day in range(1, 7):
        await world.tell(late("L1", "B1", total=100 - day, version=2 * day, days=1 + day))
        await world.local(day, 10, 30)
        for task in world.of("contact.requested"):
            await world.outcome(task, "sent", day, channel="sms")
        await world.tell(late("L2", "B2", total=300 - day, version=2 * day + 1))
    await world.tell(paid("L3", "B3"))
    await world.local(9, 10)
    names = [("roll-rates", {}), ("funnel", {"within_days": 1}), ("cure-rates", {}), ("promises", {}), ("experiments", {})]
    before = [await report(world, name, 3, 8, **more) for name, more in names]
    assert [len(one) > 0 for one in before] == [True, True, True, False, False]
    facts = "select count(*) from scheduler.debt_facts"
    [(many,)] = await world.rows(facts)
    await forget(world.engine, MORNING.replace(hour=16, minute=0) + timedelta(days=2))
    assert [await report(world, name, 3, 8, **more) for name, more in names] == before
    assert (await world.rows(facts))[0][0] < many
    asked = {"from": (TODAY + timedelta(days=2)).isoformat(), "to": (TODAY + timedelta(days=8)).isoformat(), "timezone": ZONE}
    refused = await world.http.get("/v1/reports/roll-rates", params=asked)
    assert (refused.status_code, refused.json()["code"]) == (422, "days_no_longer_kept")
    assert refused.json()["first"] == (TODAY + timedelta(days=3)).isoformat()
    past = {"from": (MORNING + timedelta(days=1)).isoformat(), "to": (MORNING + timedelta(days=5)).isoformat()}
    asked_for = {"mode": "past", "document": DOCUMENT, **past}
    refused = await world.http.post("/v1/simulations", json=asked_for)
    assert (refused.status_code, refused.json()["code"]) == (422, "days_no_longer_kept")


async def test_a_walk_goes_on_where_it_was_and_begins_again_a_day_later(world: World) -> None:
    versions = [late(f"L{n}", f"B{n}", version=version) for version in (1, 2) for n in range(5)]
    for fact in versions:
        await world.tell(fact)
    counted = "select count(*) from scheduler.debt_facts"
    assert (await world.rows(counted))[0][0] == 10
    later = world.clock.now() + timedelta(hours=1)
    left = []
    for moment, most in ((later, 2), (later + timedelta(days=3), 2), (later, 2), (later + timedelta(hours=20), 2)):
        async with world.engine.begin() as conn:
            more = await keeping.forget_facts(conn, moment, most)
            left.append((await keeping.whole_since(conn), more, (await conn.execute(text(counted))).scalar_one()))
    assert left == [(later, True, 8), (later, True, 6), (later, False, 5), (later, False, 5)]
    async with world.engine.begin() as conn:
        assert await keeping.forget_facts(conn, later + timedelta(days=1), 2)
        assert await keeping.whole_since(conn) == later + timedelta(days=1)


async def test_of_two_replicas_one_walks(world: World) -> None:
    await world.tell(late(version=1))
    await world.tell(late(version=2))
    async with world.engine.begin() as one, world.engine.begin() as other:
        await keeping.forget_facts(one, world.clock.now() + timedelta(days=1), 1)
        async with asyncio.timeout(5):
            assert not await keeping.forget_facts(other, world.clock.now() + timedelta(days=1), 1)


async def test_links_go_when_they_have_long_ended_in_as_many_batches_as_it_takes(engine: AsyncEngine) -> None:
    made = AT_ONCE + 7
    async with engine.begin() as conn:
        await conn.execute(
            text(
                "insert into scheduler.borrower_links"
                " (token_hash, tenant, borrower_id, link_id, case_ids, spells, made_at, made_by, expires_at)"
                " select convert_to('t' || n, 'UTF8'), 'default', 'B' || n, 'k' || n, '{}', '{}', :at, 'wu',"
                " cast(:at as timestamptz) - make_interval(days => case when n > 3 then 91 else 89 end)"
                " from generate_series(1, cast(:made as int)) n"
            ),
            {"at": MORNING, "made": made},
        )
    await Sweeper(engine, DrivenClock(MORNING), "scheduler", [Sweep(Kept().spent, keeping.forget_links)]).sweep(asyncio.Event())
    async with engine.connect() as conn:
        left = await conn.execute(text("select link_id from scheduler.borrower_links order by link_id"))
        assert list(left.scalars()) == ["k1", "k2", "k3"]


async def test_contacts_made_elsewhere_go_when_no_simulation_can_reach_back_to_them(world: World) -> None:
    for days in (1, 1499, 1501, 1600):
        at = MORNING - timedelta(days=days)
        made = ContactRecorded(contact_id=f"k{days}", borrower_id="B1", channel="call", at=at, by="branch")
        message = world.writer.message(
            PROFILES,
            Envelope("contact.recorded.v1", "e", "test", at, "default", "B1"),
            made,
            key=f"default/B1/contact:k{days}",
            borrower_id="B1",
        )
        await world.bus.publish([message])
    assert len(await world.rows("select 1 from scheduler.reach")) == 4
    sweeper = next(worker for worker in world.scheduler.workers if worker.name == "sweeper")
    stop = asyncio.Event()
    sweeping = asyncio.ensure_future(sweeper.run(stop))

    async def swept() -> bool:
        return len(await world.rows("select 1 from scheduler.reach")) == 2

    await until(swept, "the sweep")
    stop.set()
    await sweeping
    left = await world.rows("select what from scheduler.reach order by what")
    assert [row.what for row in left] == ["contact:k1", "contact:k1499"]


async def test_a_sweep_that_is_stopped_leaves_the_rest_for_the_next(engine: AsyncEngine) -> None:
    stop, batches = asyncio.Event(), 0

    async def some(conn: Any, before: datetime, most: int) -> bool:
        nonlocal batches
        batches += 1
        stop.set()
        assert (before, most) == (MORNING - timedelta(days=40), AT_ONCE)
        return True

    await Sweeper(engine, DrivenClock(MORNING), "scheduler", [Sweep(timedelta(days=40), some)] * 2).sweep(stop)
    assert batches == 1


async def test_a_simulation_goes_unless_a_policy_was_approved_with_it_or_it_is_not_over(world: World) -> None:
    office = Office(world)
    await office.hire(OTHER_KEY, "ola")
    await office.draft()
    path = "/policies/gentle-ones/versions/1"
    pinned = await simulated(world, policy="gentle-ones", version=1)
    await simulated(world, document=DOCUMENT)
    waiting = await ask(world, document=DOCUMENT)
    assert (await office.ask("POST", f"{path}:submit")).status_code == 200
    approved = await office.ask("POST", f"{path}:approve", key=OTHER_KEY, json={"simulation": pinned["simulation_id"]})
    assert approved.status_code == 200, approved.text
    for days, left in ((0, 3), (1, 2)):
        async with world.engine.begin() as conn:
            await keeping.forget_simulations(conn, world.clock.now() + timedelta(days=days) - timedelta(hours=1), 10)
        found = await world.rows("select simulation_id from scheduler.simulations")
        assert len(found) == left
    assert {row[0] for row in found} == {pinned["simulation_id"], waiting["simulation_id"]}


async def test_corrections_go_with_the_facts_they_are_older_than(world: World) -> None:
    await world.tell(late())
    moment = world.clock.now() + timedelta(hours=1)
    async with world.engine.begin() as conn:
        for version, at in ((1, moment - timedelta(seconds=1)), (2, moment)):
            await conn.execute(
                text(
                    "insert into scheduler.corrections (tenant, borrower_id, loan_id, epoch, version, timezone, said_at, days)"
                    " values ('default', 'B1', 'L1', 1, :version, 'UTC', :at, '2026-11-03/=owed')"
                ),
                {"version": version, "at": at},
            )
    await forget(world.engine, moment)
    assert [tuple(row) for row in await world.rows("select version from scheduler.corrections")] == [(2,)]


async def test_a_step_of_the_walk_reads_the_facts_of_its_debts_alone(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        facts = FULL[2].replace("'', 'CNY'", "convert_to(repeat(md5(cast(n as text)), 25), 'UTF8'), 'CNY'")
        await conn.execute(text(facts), {"at": MORNING})
        await conn.execute(text("analyze scheduler.debt_facts"))
        values = {"tenant": "default", "borrower_id": "B1", "loan_id": "L1", "before": MORNING}
        values |= {"last_tenant": "default", "last_borrower_id": "B1200", "last_loan_id": "L1200"}
        plan = [row[0] for row in await conn.execute(text(f"explain {keeping.FORGET.text}"), values)]
    read = [line.strip() for line in plan if "Scan" in line and " on debt_facts " in line]
    assert len(read) == 2
    assert [line for line in read if "Index" not in line] == []
