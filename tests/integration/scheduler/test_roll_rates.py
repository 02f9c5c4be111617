"""Roll rates compared with a count that walks over every debt on every day."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import ids
from libs.common.contracts.overdue_facts import OverdueFact
from services.scheduler.store import debts, reports
from tests.integration.scheduler.world import MORNING, amounts, late

ENDS = [MORNING + timedelta(days=n) for n in range(5)]
Told = tuple[int, OverdueFact]
facts = st.builds(
    late, loan_id=st.sampled_from(["L1", "L2", "L3"]), total=st.integers(1, 900), bucket=st.sampled_from(["M0", "M1", "M2"]),
    status=st.sampled_from(["active", "active", "active", "closed", "written_off"]), currency=st.just("CNY"),
)  # fmt: skip
histories = st.lists(st.tuples(st.integers(-30, 100), facts), max_size=14).map(lambda told: sorted(told, key=lambda one: one[0]))
"""Facts with the hour at which they became known."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(told=histories, later=histories)
async def test_what_rolled_is_what_a_walk_over_all_days_counts_whatever_is_known_later(
    engine: AsyncEngine, told: list[Told], later: list[Told]
) -> None:  # fmt: skip
    tenant = ids.fresh()
    await known(engine, tenant, told)
    assert await rolled(engine, tenant) == walked(told)
    await known(engine, tenant, [(100 + abs(hour), fact) for hour, fact in later], version=len(told))
    assert await rolled(engine, tenant) == walked(told)


async def known(engine: AsyncEngine, tenant: str, told: list[Told], version: int = 0) -> None:
    async with engine.begin() as conn:
        for number, (hour, fact) in enumerate(told, version + 1):
            row = debts.DebtRow(
                tenant, fact.borrower_id, fact.loan_id, fact.currency, 1, number, fact.as_of, MORNING, live=True, owed=True,
                fact=msgspec.json.encode(fact), told=debts.Told.by(fact), wake_at=None,
            )  # fmt: skip
            await debts.keep_newer(conn, [row], MORNING + timedelta(hours=hour))


async def rolled(engine: AsyncEngine, tenant: str, ends: list[datetime] = ENDS) -> dict[tuple[int, str, str], tuple[int, int, int]]:
    async with engine.connect() as conn:
        rows = (await reports.roll_rates(conn, tenant, ends)).rows
    shares: dict[tuple[int, str], float] = defaultdict(float)
    for row in rows:
        shares[row["n"], row["bucket_before"]] += row["rate"]
    assert all(abs(share - 1) < 0.0001 for share in shares.values()), "what left a bucket went somewhere"
    return {(r["n"], r["bucket_before"], r["bucket_after"]): (r["debts"], r["overdue_before"], r["overdue_after"]) for r in rows}


def walked(told: list[Told]) -> dict[tuple[int, str, str], tuple[int, int, int]]:
    counted: dict[tuple[int, str, str], Any] = defaultdict(lambda: (0, 0, 0))
    stood: dict[str, OverdueFact] = {}
    for n, end in enumerate(ENDS, 1):
        stands = {fact.loan_id: fact for hour, fact in told if MORNING + timedelta(hours=hour) < end}
        for loan, fact in stands.items() if n > 1 else ():
            before = stood.get(loan, late(bucket="new", overdue=amounts(0)))
            key = (n, _bucket(before), _bucket(fact))
            if key[1] == key[2] and key[2] in {"closed", "written_off"}:
                continue
            debts_, left, came = counted[key]
            counted[key] = (debts_ + 1, left + before.overdue.total, came + fact.overdue.total)
        stood = stands
    return dict(counted)


def _bucket(fact: OverdueFact) -> str:
    return fact.bucket if fact.status == "active" else fact.status
