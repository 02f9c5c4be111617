"""Fair shares: a tenant with a long queue does not keep the others waiting, and costs them nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import DrivenClock
from services.notifier.store import queue
from services.notifier.store.queue import Key
from services.notifier.tenant_turns import LEAP, LIST_AGAIN, TenantTurns
from tests.integration.notifier.world import MORNING
from tests.support.postgres import Databases

MANY, FEW = 5000, 5
_INSERT = (
    "insert into notifier.queue (tenant, borrower_id, task_id, state, next_at)"
    " select :tenant, 'b-' || n, 't-' || n, 'pending', cast(:at as timestamptz) + n * interval '1 millisecond'"
    " from generate_series(1, :number) n"
)


async def let_be_due(engine: AsyncEngine, **numbers: int) -> None:
    """Write this many deliveries per tenant, due within the last few minutes."""
    async with engine.begin() as conn:
        for tenant, number in numbers.items():
            await conn.execute(text(_INSERT), {"tenant": tenant, "at": MORNING - timedelta(minutes=5), "number": number})
        await conn.execute(text("analyze notifier.queue"))


async def dealt(turns: TenantTurns, limit: int = 200) -> Counter[str]:
    return Counter(key.tenant for key in await turns.next(limit))


async def test_a_hundred_thousand_of_one_tenant_do_not_keep_five_of_another_waiting(databases: Databases) -> None:
    async with databases.fresh("notifier") as engine:
        await let_be_due(engine, large=MANY, small=FEW)
        turns = TenantTurns(engine, DrivenClock(MORNING))
        assert await dealt(turns) == {"large": 100, "small": FEW}
        assert await dealt(turns) == {"large": 100}
        assert await dealt(turns) == {"large": 200}


async def test_a_pass_looks_at_everything_once_and_then_ends(databases: Databases) -> None:
    async with databases.fresh("notifier") as engine:
        await let_be_due(engine, a=730, b=20, c=1)
        turns = TenantTurns(engine, DrivenClock(MORNING))
        seen: list[Key] = []
        while keys := await turns.next(100):
            seen += keys
        assert len(seen) == len(set(seen))
        assert Counter(key.tenant for key in seen) == {"a": 730, "b": 20, "c": 1}


async def test_who_finds_that_others_have_all_of_it_goes_on_further_ahead_while_there_is_something(databases: Databases) -> None:
    async with databases.fresh("notifier") as engine:
        await let_be_due(engine, a=20 * (LEAP + 1) + 30)
        first, second = (TenantTurns(engine, DrivenClock(MORNING)) for _ in range(2))
        both = [await first.next(20), await second.next(20)]
        assert both[0] == both[1]
        ahead, next_to_it = await second.next(20, contested=True), await first.next(20)
        assert (ahead[0].next_at - next_to_it[0].next_at) / timedelta(milliseconds=1) == 20 * LEAP
        assert len(await second.next(20, contested=True)) == 10


async def test_with_more_tenants_than_places_each_has_its_turn(databases: Databases) -> None:
    async with databases.fresh("notifier") as engine:
        await let_be_due(engine, **{f"t{number:02d}": 3 for number in range(25)})
        turns = TenantTurns(engine, DrivenClock(MORNING))
        first = [await dealt(turns, 10) for _ in range(3)]
        assert set().union(*first) == {f"t{number:02d}" for number in range(25)}


async def test_who_becomes_due_while_a_long_queue_is_worked_off_has_its_turn_within_a_second(databases: Databases) -> None:
    async with databases.fresh("notifier") as engine:
        await let_be_due(engine, large=MANY)
        clock = DrivenClock(MORNING)
        turns = TenantTurns(engine, clock)
        assert await dealt(turns) == {"large": 200}
        await let_be_due(engine, small=FEW)
        clock.advance(LIST_AGAIN)
        assert (await dealt(turns))["small"] == FEW


@pytest.mark.parametrize("statement", ["tenants", "due"])
async def test_what_a_turn_costs_does_not_grow_with_the_queue_of_another_tenant(databases: Databases, statement: str) -> None:
    async with databases.fresh("notifier") as engine:
        await let_be_due(engine, large=200, small=FEW)
        async with engine.begin() as conn:
            before, _ = await looked(conn, statement)
        await let_be_due_more(engine)
        async with engine.begin() as conn:
            after, ways = await looked(conn, statement)
        assert after <= 3 * before, "a step more in each index is all that 200 times as many may cost"
        assert ways <= {"Index Scan", "Index Only Scan"}


async def let_be_due_more(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(
            text(_INSERT.replace("'b-'", "'more-'")), {"tenant": "large", "at": MORNING - timedelta(minutes=9), "number": 40_000}
        )
        await conn.execute(text("analyze notifier.queue"))


async def looked(conn: AsyncConnection, statement: str) -> tuple[int, set[str]]:
    """Return how many blocks PostgreSQL read for one look at the small tenant's queue, or for who has one at all, and by which scans."""
    values: Mapping[str, Any] = {"now": MORNING}
    if statement == "due":
        start = MORNING - timedelta(days=1)
        values = {"now": MORNING, "share": 100, "past": 0, "tenants": ["small"], "nexts": [start], "borrowers": [""], "tasks": [""]}
    wanted = queue.DUE if statement == "due" else queue.DUE_TENANTS
    plan = (await conn.execute(text(f"explain (analyze, buffers, format json) {wanted}"), values)).scalar_one()
    top = plan[0]["Plan"]
    ways = {node["Node Type"] for node in nodes(top) if node.get("Relation Name", "").startswith("queue")}
    return int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"]), ways


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]
