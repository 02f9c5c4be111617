"""What is asked of the planner, for the statements that take a batch by its keys."""

from __future__ import annotations

from sqlalchemy import text

from libs.common.db.engine import by_keys
from tests.support.postgres import Databases

_PLAN = text(
    "explain update notifier.attempts a set turn = 2"
    " from unnest(cast(:keys as text[]), cast(:keys as text[]), cast(:keys as text[]), cast(:keys as text[]))"
    " as n(tenant, borrower_id, task_id, channel)"
    " where a.tenant = n.tenant and a.borrower_id = n.borrower_id and a.task_id = n.task_id and a.channel = n.channel"
)
_BATCH = {"keys": [f"k{number}" for number in range(200)]}


async def test_rows_of_a_table_that_nobody_has_counted_are_found_by_their_whole_key(databases: Databases) -> None:
    async with databases.fresh("notifier") as engine, engine.connect() as conn:
        before = "\n".join((await conn.execute(_PLAN, _BATCH)).scalars())
        await by_keys(conn)
        plan = "\n".join((await conn.execute(_PLAN, _BATCH)).scalars())
        assert "Seq Scan" in before, "while the table is empty, to read all of it seems cheapest"
        assert "Seq Scan" not in plan
        assert plan.count("using attempts_") == plan.count("_pkey on attempts_") == 16


async def test_what_a_transaction_asks_of_the_planner_ends_with_it(databases: Databases) -> None:
    shown = text("select current_setting('plan_cache_mode') || current_setting('enable_seqscan') || current_setting('enable_hashjoin')")
    async with databases.fresh("notifier") as engine, engine.connect() as conn:
        await by_keys(conn)
        within = (await conn.execute(shown)).scalar_one()
        await conn.commit()
        assert (within, (await conn.execute(shown)).scalar_one()) == ("force_generic_planoffoff", "autoonon")
