"""Which facts are stored, and which of them is the newest, whatever batches they come in."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import ids
from libs.common.errors import TransientError
from services.scheduler.store import changes, debts
from tests.integration.scheduler.world import MORNING, late
from tests.support.running import until

BATCHES = st.lists(st.dictionaries(st.sampled_from(["L1", "L2", "L3"]), st.integers(1, 5), min_size=1), min_size=1, max_size=5)
"""Versions by loan."""
_WAITS = text("select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')")
_KEPT = text("select loan_id, version, fact from scheduler.debt_facts where tenant = :tenant")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES)
async def test_every_fact_that_was_the_newest_stands_once_and_the_debt_is_as_the_last_of_them_says(
    engine: AsyncEngine, batches: list[dict[str, int]]
) -> None:  # fmt: skip
    tenant, newest, kept = ids.fresh(), dict[str, int](), set[tuple[str, int]]()
    for batch in batches:
        rows = [row_of(tenant, loan, version) for loan, version in sorted(batch.items())]
        async with engine.begin() as conn:
            homes = await debts.keep_newer(conn, rows, MORNING)
        newer = {loan: version for loan, version in batch.items() if version > newest.get(loan, 0)}
        assert homes == {(tenant, "B1", loan): debts.Home("", "" if loan in newest else None) for loan in newer}
        newest, kept = newest | newer, kept | set(newer.items())
    async with engine.connect() as conn:
        found = (await conn.execute(_KEPT, {"tenant": tenant})).all()
        live = await debts.live_facts(conn, [(tenant, "B1", "CNY", "")])
    assert sorted((row.loan_id, row.version) for row in found) == sorted(kept)
    assert [told[:2] for _, told in live] == [(loan, row_of(tenant, loan, version).fact) for loan, version in sorted(newest.items())]


async def test_debts_that_are_told_elsewhere_meanwhile_are_taken_in_again(engine: AsyncEngine) -> None:
    tenant = ids.fresh()
    async with engine.connect() as ours, engine.connect() as theirs:
        await ours.execute(text("set transaction isolation level repeatable read"))
        await ours.execute(text("select 1"))
        await debts.keep_newer(theirs, [row_of(tenant, "L1", 1)], MORNING)
        await theirs.commit()
        with pytest.raises(TransientError):
            await debts.keep_newer(ours, [row_of(tenant, "L1", 2)], MORNING)


async def test_a_debt_that_is_locked_comes_with_what_it_was_told_while_others_waited_for_it(engine: AsyncEngine) -> None:
    tenant = ids.fresh()
    async with engine.connect() as ours, engine.connect() as theirs:
        await debts.keep_newer(ours, [row_of(tenant, "L1", 1)], MORNING)
        await ours.commit()
        await debts.keep_newer(ours, [row_of(tenant, "L1", 2)], MORNING)
        told = asyncio.create_task(changes.debts_of(theirs, [(tenant, "B1")]))
        await until(lambda: _waits(engine), "the reader to wait for the debt")
        await ours.commit()
        assert [debt.fact for debt in await told] == [row_of(tenant, "L1", 2).fact]


async def _waits(engine: AsyncEngine) -> bool:
    async with engine.connect() as conn:
        return bool((await conn.execute(_WAITS)).scalar_one())


def row_of(tenant: str, loan: str, version: int) -> debts.DebtRow:
    fact = late(loan, version=version)
    return debts.DebtRow(
        tenant, "B1", loan, "CNY", 1, version, fact.as_of, MORNING, live=True, owed=True, fact=msgspec.json.encode(fact),
        told=debts.Told.by(fact), wake_at=None,
    )  # fmt: skip
