"""What is asked of the planner, for the statements that take a batch by its keys; and what an error of the database tells."""

from __future__ import annotations

import logging

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from libs.common import logs
from libs.common.db.engine import by_keys
from tests.support.postgres import Databases

_PLAN = text(
    "explain update notifier.attempts a set turn = 2"
    " from unnest(cast(:keys as text[]), cast(:keys as text[]), cast(:keys as text[]), cast(:keys as text[]))"
    " as n(tenant, borrower_id, task_id, channel)"
    " where a.tenant = n.tenant and a.borrower_id = n.borrower_id and a.task_id = n.task_id and a.channel = n.channel"
)
CANARY = "Canary"
_BATCH = {"keys": [f"k{number}" for number in range(200)]}


async def test_rows_of_a_table_that_nobody_has_counted_are_found_by_their_whole_key(databases: Databases) -> None:
    async with databases.fresh("notifier") as engine, engine.connect() as conn:
        before = "\n".join((await conn.execute(_PLAN, _BATCH)).scalars())
        await by_keys(conn)
        plan = "\n".join((await conn.execute(_PLAN, _BATCH)).scalars())
        assert "Seq Scan" in before, "while the table is empty, to read all of it seems cheapest"
        assert "Seq Scan" not in plan
        assert "using attempts_pkey on attempts" in plan


async def test_what_a_transaction_asks_of_the_planner_ends_with_it(databases: Databases) -> None:
    shown = text("select current_setting('plan_cache_mode') || current_setting('enable_seqscan') || current_setting('enable_hashjoin')")
    async with databases.fresh("notifier") as engine, engine.connect() as conn:
        await by_keys(conn)
        within = (await conn.execute(shown)).scalar_one()
        await conn.commit()
        assert (within, (await conn.execute(shown)).scalar_one()) == ("force_generic_planoffoff", "autoonon")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into notifier.api_keys (tenant) values (:said)",
        "select cast(cast(:said as text) as uuid)",
        "select cast(:said as int)",
        "select 1 / (length(:said) - length(:said))",
    ],
)
async def test_the_log_says_which_statement_failed_and_not_what_it_was_given(
    databases: Databases, capsys: pytest.CaptureFixture[str], statement: str
) -> None:
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    logs.configure("notifier", "1")
    try:
        async with databases.fresh("notifier") as engine, engine.connect() as conn:
            with pytest.raises(DBAPIError) as failed:
                await conn.execute(text(statement), {"said": CANARY})
        logs.get("api").error("request_failed", reason=f"{type(failed.value).__name__}: {failed.value}", exc_info=failed.value)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**before)
        structlog.contextvars.clear_contextvars()
    said = capsys.readouterr().err
    assert CANARY not in said
    assert statement.partition("(")[0] in said
