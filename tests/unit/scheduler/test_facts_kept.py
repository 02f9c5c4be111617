"""A debt is the same whether its fact was just received or stored."""

from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec
import pytest

from libs.common.contracts.overdue_facts import Amounts, Doubt, NextDue, OverdueFact, Pause
from services.scheduler.store.facts import debt_of, debt_stored

DAY, MOMENT = date(2026, 11, 24), datetime(2026, 11, 24, 2, 15, tzinfo=UTC)
BARE = OverdueFact(
    loan_id="L1", borrower_id="B1", product="cash-loan", currency="CNY", timezone="Asia/Shanghai", jurisdictions=("CN", "CN-SH"),
    status="active", epoch=2, version=3, as_of=DAY, overdue=Amounts(fee=1, total=4), outstanding=Amounts(total=9), bucket="M1",
)  # fmt: skip
FULL = msgspec.structs.replace(
    BARE, past_due_days_from=DAY, grace_days=5, pauses=(Pause(from_=DAY, until=None),), next_due=NextDue(n=2, due_on=DAY, total=7),
    doubt=Doubt(since=MOMENT, parked=("e",)), resting_until=MOMENT, received=6, segment="gold",
)  # fmt: skip


@pytest.mark.parametrize("fact", [BARE, FULL])
@pytest.mark.parametrize("segment", [None, "new"])
def test_a_debt_is_the_same_out_of_a_fact_and_out_of_what_was_kept_of_it(fact: OverdueFact, segment: str | None) -> None:
    assert debt_stored(msgspec.json.encode(fact), segment) == debt_of(fact, segment)
